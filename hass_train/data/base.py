"""The base class of all data modules: three splits, their loaders, and checks of what a user may get wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any, ClassVar, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from hass_train.data.collate import Collate
from hass_train.data.order import Drawn, Draws, seeded
from hass_train.runtime.errors import UserError

_EVALUATED, _MOST = 4, 512
"""Batches of training that are evaluated at once, since nothing is kept for gradients and small batches take longer by
the image; but no more images than that, or than a batch of training has."""
_LUMA = (0.299, 0.587, 0.114)


class ImageData(pl.LightningDataModule):
    """Images and labels in a training, a validation and a test split.

    Args:
        name: name of the data set.
        classes: number of labels.
        input_size: (channels, height, width) of one image as the network receives it.
        batch_size: images per batch of training, in each of the processes that train together; `evaluated` are
            evaluated at once.
        workers: number of loader processes.
        seed: seed of the order of training images, and of their random transforms.
    """

    CONVERTS: ClassVar[bool] = False
    """Whether `load` gives as many channels as `input_size` says, be it 1 or 3."""

    def __init__(
        self, name: str, classes: int, input_size: tuple[int, int, int], batch_size: int, workers: int, seed: int
    ) -> None:
        super().__init__()
        self.name, self.classes, self.input_size = name, classes, input_size
        self.batch_size, self.workers, self.seed = batch_size, workers, seed
        self.splits: dict[str, Dataset[Any]] = {}
        self.position = 0, 0  # the epoch that training begins in, and how many of its batches are done

    def load(self) -> dict[str, Dataset[Any]]:
        """Load the splits `train`, `val` and `test`; called once.

        Raises:
            UserError: the files are missing or damaged.
        """
        raise TypeError(f"{type(self).__name__} does not say where its images come from")

    def serve(self, channels: Any) -> None:
        """Give images of as many channels as the network takes; called before `setup`.

        Args:
            channels: 1 becomes 3 by three equal channels, and 3 becomes 1 by luma (ITU-R 601).

        Raises:
            UserError: the images cannot be converted.
        """
        own = self.input_size[0]
        if channels != own and not (self.CONVERTS and channels in (1, 3)):
            raise UserError(
                f"{self.name} gives images of {own} channel{'s' * (own != 1)}, and the network takes {channels}; leave "
                f"model.kwargs.in_chans and model.input_size out, or set them to {own}"
            )
        self.input_size = (channels, *self.input_size[1:])

    def setup(self, stage: str | None = None) -> None:
        """Load the splits, unless they are loaded already, and try the first image of each.

        Raises:
            UserError: files are missing, a split is empty, there are fewer than two classes, an image or a label is not
                as `Collate` wants it, or a batch is larger than the training split.
        """
        if self.splits:
            return
        splits = self.load()
        if self.classes < 2:
            raise UserError(f"{self.name} has {self.classes} class; a classifier needs at least two")
        for split in ("train", "val", "test"):
            images = splits.get(split)
            if images is not None and not hasattr(images, "__len__"):
                raise UserError(f"{self.name}'s {split} split has no length; give it __len__ and __getitem__")
            if images is None or not len(cast(Sized, images)):
                raise UserError(f"{self.name} has no images in its {split} split; it needs train, val and test")
            with seeded(self.seed):  # transforms that are random leave no trace
                self.collate([images[0]])
            if isinstance(images, TensorImages):
                self.collate.check_labels(images.labels)
        self.splits = splits
        count = len(cast(Sized, splits["train"]))
        if self.batch_size > count:
            raise UserError(
                f"data.batch_size is {self.batch_size}, but {self.name} has {count} training images; "
                f"use at most {count}"
            )

    @property
    def collate(self) -> Collate:
        """What makes batches of single images."""
        return Collate(str(self.name), self.classes, self.input_size)

    def state_dict(self) -> dict[str, Any]:
        """How far training has come: finished epochs, finished batches of the present one, and number of processes."""
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
        """Continue where a checkpoint was made.

        Raises:
            UserError: it was made in the middle of an epoch, by another number of processes than there are now.
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
        """The rank of this process, and the number of processes."""
        trainer = self._training()
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    def train_dataloader(self) -> DataLoader[Any]:
        """Load this process's share of the training images, in an order that seed and epoch determine.

        Raises:
            UserError: the share is smaller than a batch.
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
        return self._loader(Drawn(images), self.batch_size, sampler=order, drop_last=True)

    @property
    def evaluated(self) -> int:
        """Images per batch of evaluation: four batches of training, but at most 512 where a batch has fewer."""
        return max(self.batch_size, min(_EVALUATED * self.batch_size, _MOST))

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self._share("val"), self.evaluated)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(self._share("test"), self.evaluated)

    def _share(self, split: str) -> Dataset[Any]:
        """This process's share of a split; over all processes every image occurs exactly once."""
        (rank, processes), images = self._place(), self.splits[split]
        return images if processes == 1 else Subset(images, range(rank, len(cast(Sized, images)), processes))

    def statistics_dataloader(self, split: str, images: int = 0) -> DataLoader[Any]:
        """Load a whole split in a fixed order, for measurements; the order of training is not affected.

        Batches of training images are as large as in training, for statistics that networks keep of them.

        Args:
            split: `train`, `val` or `test`.
            images: how many are looked at, so that larger batches are not loaded; 0 = all.
        """
        training = split == "train"
        size = self.batch_size if training else min(images or sys.maxsize, self.evaluated)
        return DataLoader(self.splits[split], batch_size=size, drop_last=training, collate_fn=self.collate)

    def images(
        self, split: str, model: nn.Module | None, images: int = 0, batches: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Tensor]:
        """Yield batches of images, (n, channels, height, width) as `placed` returns them, in a fixed order.

        Args:
            split: `train`, `val` or `test`.
            model: the network that is to see the images; None = as they were loaded.
            images, batches: limits on the number of images and of batches; 0 = no limit.
            share: (k, n) to yield only the k-th of n consecutive parts of the images, counted from 0.
        """
        left = min(images or sys.maxsize, len(cast(Sized, self.splits[split])))
        first, last = (number * left // share[1] for number in (share[0], share[0] + 1))
        seen = 0
        for batch, _ in islice(self.statistics_dataloader(split, left), batches or None):
            mine = batch[max(first - seen, 0) : max(last - seen, 0)]
            seen += len(batch)
            if len(mine):
                yield mine if model is None else placed(mine, model)
            if seen >= last:
                return

    def _loader(self, images: Dataset[Any], size: int, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            images,
            batch_size=size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=self.collate,
            generator=torch.Generator().manual_seed(self.seed),  # else loaders draw from torch's global generator
            **options,
        )


def placed(images: Tensor, model: nn.Module) -> Tensor:
    """Return images (n, channels, height, width) as a model takes them: on its device, of its floating type, and in
    channels-last format."""
    weight = next(model.parameters())
    return images.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last)


class TensorImages(Dataset[tuple[Tensor, Tensor]]):
    """Images held in memory, with an optional random transform for training.

    Args:
        images: (n, channels, height, width) normalised images.
        labels: (n,) integers.
        transform: function of one image (channels, height, width), applied when it is loaded; None = no transform.
    """

    def __init__(self, images: Tensor, labels: Tensor, transform: Any = None) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        return (image if self.transform is None else self.transform(image)), self.labels[index]


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Convert between grey and colour images.

    Args:
        images: (n, 1 or 3, height, width) of any type.
        channels: 1 for luma (ITU-R 601, as Pillow's), 3 for three equal channels.

    Returns:
        (n, channels, height, width) of the same type; bytes are rounded.
    """
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    luma = sum((weight * images[:, [k]] for k, weight in enumerate(_LUMA)), torch.zeros(()))
    return luma if images.is_floating_point() else luma.round().to(images.dtype)
