"""Tables of designs: what exploration may ask of any operation, and what all tables share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.estimate import LayerEstimate
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENGINES = [0, 3, 4]
"""Columns of a resource vector that do not depend on where memories are: DSPs, LUTs, flip-flops."""
MEMORY = [1, 2, 5]
"""Columns that do: block RAMs, UltraRAMs, off-chip bits per image."""
BANDWIDTH = 5
"""The column of off-chip bits."""
FORBIDDEN = 1e15
"""Cost of a place where a design's memories cannot be; more than any device has, and still a number."""


class WeightsIn(StrEnum):
    """Where a design's weights (or an operation's FIFOs) live; banks small enough are in LUTs by themselves."""

    LUTRAM = "lutram"
    BRAM = "bram"
    URAM = "uram"
    OFF_CHIP = "off_chip"
    NONE = ""


def per_unit(budget: Floats) -> Floats:
    """What turns spending into fractions of a budget; 0 where it does not count, and defined where it is 0."""
    counted = np.isfinite(budget)
    return np.where(counted, 1 / np.maximum(np.where(counted, budget, 1.0), 0.5), 0.0)


@dataclass(frozen=True, slots=True)
class Space:
    """What the tables are made for.

    Args:
        budget: (6,) what the whole device offers: DSPs, block RAMs, UltraRAMs, LUTs, flip-flops, and off-chip bits per
            image; infinite where the resource does not count.
        floor: cycles per image below which no layer has to go, because some other layer of the network cannot; folds
            are not widened beyond it.
    """

    budget: Floats
    floor: int = 1


class Table:
    """Designs of one operation, and the places where their memories can be.

    Args:
        interval: (n,) cycles per image.
        engines: (n, 3) DSPs, LUTs, flip-flops.
        memory: (places, n, 3) block RAMs, UltraRAMs, off-chip bits per image; `FORBIDDEN` where nothing can be.
        space: what there is.

    Attributes:
        interval, engines, memory: of the designs that fit the device by themselves, intervals ascending.
        kept: which of the n given designs they are.
        least: (6,) the least of each resource that any given design takes.
    """

    def __init__(self, interval: Ints, engines: Floats, memory: Floats, space: Space) -> None:
        engines, memory = np.ceil(engines), np.ceil(memory)
        self.least = np.zeros(6)
        self.least[ENGINES] = engines.min(axis=0, initial=np.inf)
        self.least[MEMORY] = memory.min(axis=(0, 1), initial=np.inf)
        fits = (engines <= space.budget[ENGINES]).all(axis=1)
        fits &= (memory <= space.budget[MEMORY]).all(axis=2).any(axis=0)
        order = np.flatnonzero(fits)
        self.kept = order[np.argsort(interval[order], kind="stable")]
        self.interval = interval[self.kept]
        self.engines = np.ascontiguousarray(engines[self.kept])
        self.memory = np.ascontiguousarray(memory[:, self.kept])
        self._rows: dict[tuple[int, int], LayerEstimate] = {}

    def __len__(self) -> int:
        return len(self.interval)

    def resources(self, design: int, place: int) -> Floats:
        """(6,) of a design."""
        vector = np.zeros(6)
        vector[ENGINES], vector[MEMORY] = self.engines[design], self.memory[place, design]
        return vector

    def staircase(self, weights: Floats) -> tuple[Ints, Floats]:
        """(intervals ascending, costs strictly falling): the least weighted sum of resources that reaches each
        interval."""
        cost = self.engines @ weights[ENGINES]
        if weights[MEMORY].any():
            cost = cost + (self.memory @ weights[MEMORY]).min(axis=0)
        least = np.minimum.accumulate(cost)
        fresh = np.r_[True, least[1:] < least[:-1]]
        steps, costs = self.interval[fresh], least[fresh]
        last = np.r_[steps[1:] != steps[:-1], True]
        return steps[last], costs[last]

    def describe(self, operation: Operation, design: int, place: int) -> LayerEstimate:
        """A design as a row of the estimate."""
        if (design, place) not in self._rows:
            self._rows[design, place] = self._describe(design, place)
        return replace(self._rows[design, place], name=operation.name)

    def _describe(self, design: int, place: int) -> LayerEstimate:
        raise TypeError("a table of designs says what a design is")
