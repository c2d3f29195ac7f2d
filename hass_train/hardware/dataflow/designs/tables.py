"""Tables of designs: all designs of one operation with their intervals and costs, as the exploration sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.designs import passes, table_kernel
from hass_train.hardware.estimate import LayerEstimate
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOGIC = [0, 3, 4]
"""Columns of a resource vector that do not depend on where memories are: DSPs, LUTs and flip-flops."""
MEMORY = [1, 2, 5]
"""Columns that do: block RAMs, UltraRAMs and off-chip bits per image."""
BANDWIDTH = 5
"""Column of the off-chip bits per image."""
FORBIDDEN = 1e15
"""Cost of a place where a design's memories cannot be; more than any device has, and still a number."""


class WeightsIn(StrEnum):
    """Where the weights of a design, or the FIFOs of an operation, are stored; small banks are always in LUTs."""

    LUTRAM = "lutram"
    BRAM = "bram"
    URAM = "uram"
    OFF_CHIP = "off_chip"
    NONE = ""


def per_unit(budget: Floats) -> Floats:
    """(6,) factors from spending to fractions of a budget; 0 for what does not count, and finite at a budget of 0."""
    counted = np.isfinite(budget)
    return np.where(counted, 1 / np.maximum(np.where(counted, budget, 1.0), 0.5), 0.0)


@dataclass(frozen=True, slots=True)
class DesignSpace:
    """The bounds within which designs are enumerated.

    Args:
        budget: (6,) what the whole device offers: DSPs, block RAMs, UltraRAMs, LUTs, flip-flops and off-chip bits per
            image; infinite for a resource that does not count.
        floor: cycles per image that some layer of the network cannot go below. No other layer needs to be faster, so
            folds are not widened beyond it.
        family: what the device is made of, as the costs of modules know it.
    """

    budget: Floats
    floor: int = 1
    family: Family = "xc7"


class Table:
    """The designs of one operation, and the places where their memories can be put.

    Tables are equal only if they are the same object, so that one can be a key.

    Args:
        interval: (n,) cycles per image.
        logic: (n, 3) DSPs, LUTs and flip-flops.
        memory: (places, n, 3) block RAMs, UltraRAMs and off-chip bits per image; `FORBIDDEN` where a design's memories
            cannot be.
        space: the bounds of the design space.

    Attributes:
        interval, logic, memory: those of the designs that fit the device by themselves, in ascending order of interval.
        kept: (designs,) indices of these among the n given ones.
        least: (6,) the least of each resource that any given design takes.
    """

    def __init__(self, interval: Ints, logic: Floats, memory: Floats, space: DesignSpace) -> None:
        columns = np.ascontiguousarray(logic.T, float)
        planes = np.ascontiguousarray(memory.transpose(0, 2, 1), float)
        self.least = np.empty(6)
        order = np.flatnonzero(table_kernel.fitting(columns, planes, space.budget, self.least))
        self.kept = order[np.argsort(interval[order], kind="stable")]
        self.interval = interval[self.kept].astype(np.int64)
        self.logic, self.memory = table_kernel.rounded(columns, planes, self.kept)
        self._rows: dict[tuple[int, int], LayerEstimate] = {}

    def __len__(self) -> int:
        return len(self.interval)

    @property
    def size(self) -> int:
        """Bytes of intervals and resources."""
        return self.interval.nbytes + self.logic.nbytes + self.memory.nbytes

    def resources(self, design: int, place: int) -> Floats:
        """(6,) what a design takes of every resource, with its memories at a place."""
        vector = np.zeros(6)
        vector[LOGIC], vector[MEMORY] = self.logic[design], self.memory[place, design]
        return vector

    def keep(self, rows: Ints, interval: Ints) -> None:
        """Keep some rows of an own copy of the table.

        Args:
            rows: (n,) their indices, in an order in which intervals ascend.
            interval: (all rows,) cycles per image.
        """
        self.interval, self.logic = interval[rows], self.logic[rows]
        self.memory = np.ascontiguousarray(self.memory[:, rows])
        self._rows = {}

    def cost(self, weights: Floats) -> Floats:
        """(n,) the weighted sum of resources of every design, its memories where that is least; weights (6,)."""
        cost = self.logic @ weights[LOGIC]
        if weights[MEMORY].any():
            cost = cost + (self.memory @ weights[MEMORY]).min(axis=0)
        return np.asarray(cost)

    def staircase(self, weights: Floats) -> tuple[Ints, Floats]:
        """The least weighted sum of resources with which a design reaches each interval.

        Args:
            weights: (6,) of the resources.

        Returns:
            (steps,) intervals, ascending, and (steps,) costs, strictly falling.
        """
        found: tuple[Ints, Floats] = passes.steps(self.interval, self.logic, self.memory, weights)
        return found

    def describe(self, operation: Operation, design: int, place: int) -> LayerEstimate:
        """The row of the estimate for a design of this table, its memories at a place, under the operation's name."""
        if (design, place) not in self._rows:
            self._rows[design, place] = self._describe(design, place)
        return replace(self._rows[design, place], name=operation.name)

    def _describe(self, design: int, place: int) -> LayerEstimate:
        """The row of a design; subclasses know what it is."""
        raise TypeError("a table of designs says what a design is")
