"""Tables of designs: what exploration may ask of any operation, and what all tables share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.estimate import LayerEstimate
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class WeightsIn(IntEnum):
    """Where a design's weights live; `LUTRAM` never has to be chosen, small banks go there by themselves."""

    BRAM = 0
    URAM = 1
    OFF_CHIP = 2


@dataclass(frozen=True, slots=True)
class Choices:
    """Designs of one operation that are worth choosing from at some interval: no other beats them in every resource.

    Args:
        resources: (choices, 4) DSPs, block RAMs, UltraRAMs, off-chip bits per image.
        design: which design of the operation.
        weights_in: where its weights live (`WeightsIn`).
    """

    resources: Ints
    design: Ints
    weights_in: Ints


class Designs(Protocol):
    """All designs of one operation."""

    @property
    def staircase(self) -> tuple[Ints, Ints]:
        """(interval, dsp): intervals ascending, DSPs strictly falling; the fewest DSPs that reach each interval."""
        ...

    def choices(self, interval: int, spare_dsp: int) -> Choices:
        """The undominated designs with at most this interval and at most `spare_dsp` DSPs more than the fewest.

        Empty if nothing is as fast.
        """
        ...

    def describe(self, operation: Operation, design: int, weights_in: int) -> LayerEstimate:
        """A design as a row of the estimate."""
        ...


def lower_staircase(intervals: Ints, dsp: Ints) -> tuple[Ints, Ints]:
    """Points (interval, dsp) such that none is beaten in one and equalled in the other, intervals ascending."""
    order = np.lexsort((dsp, intervals))
    intervals, dsp = intervals[order], dsp[order]
    best = np.minimum.accumulate(dsp)
    keep = np.ones(len(dsp), bool)
    keep[1:] = best[1:] < best[:-1]
    return intervals[keep], dsp[keep]


def undominated(resources: Ints) -> Ints:
    """Indices of rows that no other row matches or beats in every column (one of equals is kept)."""
    order = np.lexsort(resources.T[::-1])
    points = resources[order]
    beaten = (points[:, None, :] <= points[None]).all(axis=2)
    return order[~np.triu(beaten, 1).any(axis=0)]  # in ascending order only earlier rows can beat one


def front(first: Ints, second: Ints, group: Ints) -> Ints:
    """Indices that, within their group, nothing matches or beats in both costs (one of equals is kept)."""
    order = np.lexsort((second, first, group))
    keep: list[Ints] = []
    groups = group[order]
    for rows in np.split(order, np.flatnonzero(groups[1:] != groups[:-1]) + 1):
        best = np.minimum.accumulate(second[rows])
        front = np.ones(len(rows), bool)
        front[1:] = best[1:] < best[:-1]
        keep.append(rows[front])
    return np.concatenate(keep)


def without_choices() -> Choices:
    return Choices(np.zeros((0, 4), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


class RememberingTable:
    """Keeps answers: explorations of similar profiles ask the same questions again."""

    def __init__(self) -> None:
        self._choices: dict[tuple[int, int], Choices] = {}
        self._rows: dict[tuple[int, int], LayerEstimate] = {}

    def choices(self, interval: int, spare_dsp: int) -> Choices:
        key = (interval, spare_dsp)
        if key not in self._choices:
            if len(self._choices) > 256:  # a bisection asks for a few dozen intervals
                self._choices.clear()
            self._choices[key] = self._compute_choices(interval, spare_dsp)
        return self._choices[key]

    def describe(self, operation: Operation, design: int, weights_in: int) -> LayerEstimate:
        key = (design, weights_in)
        if key not in self._rows:
            if len(self._rows) > 256:
                self._rows.clear()
            self._rows[key] = self._row(design, weights_in)
        return replace(self._rows[key], name=operation.name)

    def _compute_choices(self, interval: int, spare_dsp: int) -> Choices:
        raise TypeError("a table of designs says what its choices are")

    def _row(self, design: int, weights_in: int) -> LayerEstimate:
        raise TypeError("a table of designs says what a design is")
