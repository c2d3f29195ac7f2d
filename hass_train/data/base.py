"""What all data modules share: three splits, loaders, and the checks that users need."""

from __future__ import annotations

import hass_train.torchvision_shim  # noqa: F401 - before anything imports torchvision

# isort: split
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hass_train.errors import UserError


class ImageData(pl.LightningDataModule):
    """Images and labels in a train, a validation and a test split.

    Args:
        name: of the data set.
        classes: number of labels.
        input_size: (channels, height, width) of one image as the network sees it.
        batch_size: images per step; at most the training split's size.
        workers: loader processes.
        seed: decides the order of training images, together with the epoch.
    """

    def __init__(
        self, name: str, classes: int, input_size: tuple[int, int, int], batch_size: int, workers: int, seed: int
    ) -> None:
        super().__init__()
        self.name, self.classes, self.input_size = name, classes, input_size
        self.batch_size, self.workers, self.seed = batch_size, workers, seed
        self.splits: dict[str, Dataset[Any]] = {}

    def load(self) -> dict[str, Dataset[Any]]:
        """The splits `train`, `val` and `test`; called once.

        Raises:
            UserError: the files are missing or not as they should be.
        """
        raise TypeError(f"{type(self).__name__} does not say where its images come from")

    def setup(self, stage: str | None = None) -> None:
        """Load the splits.

        Raises:
            UserError: files missing, or a batch larger than the training split.
        """
        if self.splits:
            return
        self.splits = self.load()
        images = len(cast(Sized, self.splits["train"]))
        if self.batch_size > images:
            raise UserError(
                f"data.batch_size is {self.batch_size}, but {self.name} has {images} training images; "
                f"use at most {images}"
            )

    def train_dataloader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(self.seed)
        return self._loader("train", shuffle=True, drop_last=True, generator=generator)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader("test")

    def statistics_dataloader(self, split: str) -> DataLoader[Any]:
        """A split in a fixed order, for measurements between epochs; does not disturb the training order."""
        return DataLoader(self.splits[split], batch_size=self.batch_size, drop_last=split == "train")

    def images(self, split: str, device: torch.device, images: int = 0, batches: int = 0) -> Iterator[Tensor]:
        """Images of a split in a fixed order, channels-last, for measurements.

        Args:
            split: `train`, `val` or `test`.
            device: to put them on.
            images, batches: at most so many; 0 = all.
        """
        left = images or len(cast(Sized, self.splits[split]))
        for batch, _ in islice(self.statistics_dataloader(split), batches or None):
            yield batch[:left].to(device).contiguous(memory_format=torch.channels_last)
            left -= len(batch)
            if left <= 0:
                return

    def _loader(self, split: str, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            self.splits[split],
            batch_size=self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            **options,
        )


class TensorImages(Dataset[tuple[Tensor, Tensor]]):
    """Images held in memory, with an optional random transform for training.

    Args:
        images: (n, channels, height, width), ready for the network.
        labels: (n,) integers.
        transform: of one image.
    """

    def __init__(self, images: Tensor, labels: Tensor, transform: Any = None) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        return (image if self.transform is None else self.transform(image)), self.labels[index]
