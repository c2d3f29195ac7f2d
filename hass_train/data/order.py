"""The order of training images, and the chance in their transforms: functions of seed and epoch alone.

A run that is resumed, even in the middle of an epoch, so sees the same images, transformed alike, as one that was never
interrupted, whatever the number of loader processes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


class Draw(NamedTuple):
    """An image to load.

    Args:
        image: its index in the data set.
        seed: of its random transform.
    """

    image: int
    seed: int


class Draws(Sampler[Draw]):
    """A permutation of all images for every epoch, dealt to the processes that train together.

    Args:
        images: in the data set.
        seed: of the run.
        rank, processes: which share to take, of how many; a remainder is left out.
        epoch: to begin with.
        start: images of that epoch's share that have been seen already.
    """

    def __init__(
        self, images: int, seed: int, rank: int = 0, processes: int = 1, epoch: int = 0, start: int = 0
    ) -> None:
        self.images, self.seed, self.rank, self.processes = images, seed, rank, processes
        self.epoch, self.start = epoch, start

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch comes."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        return self.images // self.processes

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(mixed(self.seed, self.epoch))
        order = torch.randperm(self.images, generator=generator)
        seeds = torch.randint(2**31, (self.images,), generator=generator)
        share = slice(self.rank, len(self) * self.processes, self.processes)
        chosen = list(zip(order[share].tolist(), seeds[share].tolist(), strict=True))
        start, self.start = self.start, 0
        return (Draw(*one) for one in chosen[start:])


class Drawn(Dataset[Any]):
    """A data set whose transforms take their chance from the draw; a batch from its first, which is quicker.

    Args:
        images: the data set; indices that are no draws go to it as they are.
    """

    def __init__(self, images: Dataset[Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: Draw | int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, batch: list[Draw | int]) -> list[Any]:
        first = batch[0]
        with seeded(first.seed) if isinstance(first, Draw) else nullcontext():
            return [self.images[one.image if isinstance(one, Draw) else one] for one in batch]


def mixed(*numbers: int) -> int:
    """A seed below 2³¹ from several numbers, well mixed."""
    return int(np.random.SeedSequence([number % 2**63 for number in numbers]).generate_state(1)[0]) >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch (CPU), Python and NumPy, which transforms draw from; afterwards they go on as before."""
    # transforms of other libraries draw from NumPy's global generator
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002
