"""What all data modules share: three splits, loaders, and the checks that users need."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from hass_train.data.order import Drawn, Draws
from hass_train.runtime.errors import UserError


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
        self.position = 0, 0  # epoch and batches of it that are over when training begins

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

    def state_dict(self) -> dict[str, Any]:
        """How far training is: epochs that are over, and batches of the present one."""
        trainer = self._training()
        if trainer is None:
            return {}
        loop: Any = trainer.fit_loop
        over, batches = loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.processed
        return {
            "epoch": over,
            "batches": 0 if batches >= trainer.num_training_batches else batches,
            "processes": trainer.world_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was.

        Raises:
            UserError: in the middle of an epoch whose images were dealt to another number of processes.
        """
        (_, processes), before = self._place(), int(state.get("processes", 1))
        if state["batches"] and processes != before:
            raise UserError(
                f"ckpt_path: the checkpoint was made by {before} processes in the middle of an epoch, and there are "
                f"{processes} now; use as many, or an earlier checkpoint"
            )
        self.position = int(state["epoch"]), int(state["batches"])

    def _training(self) -> pl.Trainer | None:
        return self.trainer if isinstance(self.trainer, pl.Trainer) else None

    def _place(self) -> tuple[int, int]:
        """Rank of this process, and how many there are."""
        trainer = self._training()
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches in an order that seed and epoch decide; processes have shares of their own.

        Raises:
            UserError: a share is smaller than a batch.
        """
        (rank, processes), (epoch, batches) = self._place(), self.position
        images = self.splits["train"]
        count = len(cast(Sized, images))
        if count // processes < self.batch_size:
            raise UserError(
                f"data.batch_size is {self.batch_size} for each of {processes} processes, but {self.name} has {count} "
                f"training images; use at most {count // processes}"
            )
        order = Draws(count, self.seed, rank, processes, epoch, batches * self.batch_size)
        return self._loader(Drawn(images), sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self._share("val"))

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(self._share("test"))

    def _share(self, split: str) -> Dataset[Any]:
        """This process's images of a split: none twice, none left out."""
        (rank, processes), images = self._place(), self.splits[split]
        return images if processes == 1 else Subset(images, range(rank, len(cast(Sized, images)), processes))

    def statistics_dataloader(self, split: str) -> DataLoader[Any]:
        """A split in a fixed order, for measurements between epochs; does not disturb the training order."""
        return DataLoader(self.splits[split], batch_size=self.batch_size, drop_last=split == "train")

    def images(
        self, split: str, device: torch.device, images: int = 0, batches: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Tensor]:
        """Images of a split in a fixed order, channels-last, for measurements.

        Args:
            split: `train`, `val` or `test`.
            device: to put them on.
            images, batches: at most so many; 0 = all.
            share: only this one of so many successive parts of them.
        """
        left = min(images or sys.maxsize, len(cast(Sized, self.splits[split])))
        first, last = (number * left // share[1] for number in (share[0], share[0] + 1))
        seen = 0
        for batch, _ in islice(self.statistics_dataloader(split), batches or None):
            mine = batch[max(first - seen, 0) : max(last - seen, 0)]
            seen += len(batch)
            if len(mine):
                yield mine.to(device).contiguous(memory_format=torch.channels_last)
            if seen >= last:
                return

    def _loader(self, images: Dataset[Any], **options: Any) -> DataLoader[Any]:
        return DataLoader(
            images,
            batch_size=self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            generator=torch.Generator().manual_seed(self.seed),  # else loaders draw from the run's own
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
