"""Selections, one design for each operation, and rate balancing, which gives back what the rate does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs import passes
from hass_train.hardware.dataflow.designs.tables import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SECOND = 1e-2  # weight of the other resources beside DSPs when designs are swapped


@dataclass(frozen=True, slots=True)
class Selection:
    """One design for each operation.

    Args:
        designs, places: (operations,) the design's index in its table, and the place of its memories.
        intervals: (operations,) cycles per image.
        resources: (operations, 6) what each design takes.
    """

    designs: Ints
    places: Ints
    intervals: Ints
    resources: Floats

    @property
    def total(self) -> Floats:
        """(6,) what all operations take together."""
        return np.asarray(self.resources.sum(axis=0))


@dataclass(frozen=True, slots=True)
class PipelineDesign:
    """The design of a whole pipeline, of a network or of a part of one.

    Args:
        interval: cycles per image of one replica.
        replicas: copies of the pipeline.
        selection: the designs of its operations.
        slack: how much faster the same number of copies could be at most, as a fraction; 0 = none is faster.
    """

    interval: int
    replicas: int
    selection: Selection
    slack: float = 0.0

    @property
    def resources(self) -> Floats:
        """(6,) what one replica takes."""
        return self.selection.total


def balanced(tables: Sequence[Table], selection: Selection, interval: int, budget: Floats) -> Selection:
    """Swap single designs for ones that take fewer DSPs, then less of the rest, and keep the interval.

    The rate stays the same; what is left over serves the user (hardware-model, section 6).

    Args:
        tables: the tables of all operations.
        selection: designs with intervals up to `interval`, within the budget.
        interval: cycles per image.
        budget: (6,) what one replica may spend; infinite for a resource that does not count.
    """
    designs, places = selection.designs.copy(), selection.places.copy()
    resources = selection.resources.copy()
    unit = np.where(np.isfinite(budget), np.maximum(budget, 0.5), np.maximum(selection.total, 1.0))
    worth = np.r_[1.0, np.full(5, _SECOND)] / unit
    spent = resources.sum(axis=0)
    owners: dict[Table, list[int]] = {}
    for k, table in enumerate(tables):
        owners.setdefault(table, []).append(k)
    for table, alike in owners.items():
        end = int(np.searchsorted(table.interval, interval, side="right"))
        for k in alike:
            rest = budget - (spent - resources[k])
            below = float(resources[k] @ worth) - 1e-12
            _, design, place = passes.lightest(table.logic, table.memory, end, worth, below, rest)
            if design < 0:
                continue
            designs[k], places[k] = design, place
            spent = spent - resources[k]
            resources[k] = table.resources(design, place)
            spent = spent + resources[k]
    intervals = np.array([table.interval[design] for table, design in zip(tables, designs, strict=True)])
    return Selection(designs, places, intervals, resources)
