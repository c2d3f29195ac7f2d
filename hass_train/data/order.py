"""The order of training images, and the randomness of their transforms, as functions of seed and epoch alone.

A resumed run, even one that stopped in the middle of an epoch, therefore sees the same transformed images as one that
was never interrupted, whatever the number of loader processes.
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
        image: index of the image in the data set.
        seed: seed of its random transform.
    """

    image: int
    seed: int


class Draws(Sampler[Draw]):
    """Samples a new permutation of all images in every epoch, and distributes it over the processes.

    Args:
        images: number of images in the data set.
        seed: seed of the run.
        rank, processes: number of this process, from 0, and number of processes. All have equally many images; those
            that are left over are skipped in this epoch.
        epoch: the first epoch.
        start: number of images of this process's share of the first epoch that are skipped, since a run that is
            resumed has seen them.
    """

    def __init__(
        self, images: int, seed: int, rank: int = 0, processes: int = 1, epoch: int = 0, start: int = 0
    ) -> None:
        self.images, self.seed, self.rank, self.processes = images, seed, rank, processes
        self.epoch, self.start = epoch, start

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch; Lightning calls this before each."""
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
    """A data set whose random transforms are seeded by the draw; a whole batch by its first draw, which is faster.

    Args:
        images: the data set; plain indices are passed on to it without seeding.
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
    """Mix several numbers into one seed below 2³¹."""
    return int(np.random.SeedSequence([number % 2**63 for number in numbers]).generate_state(1)[0]) >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of torch (CPU), Python and NumPy inside the body; their states are restored afterwards."""
    # NumPy's global generator too, since transforms of other libraries draw from it
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
