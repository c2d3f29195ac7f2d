"""One design for each operation, and rate balancing: giving back what the rate does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs.tables import ENGINES, MEMORY, Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SECOND = 1e-2  # how little other resources weigh beside DSPs when designs are exchanged


@dataclass(frozen=True, slots=True)
class Selection:
    """One design for each operation.

    Args:
        designs, places: for each operation, which design of its table and where its memories are.
        intervals: of those designs.
        resources: (operations, 6).
    """

    designs: Ints
    places: Ints
    intervals: Ints
    resources: Floats

    @property
    def total(self) -> Floats:
        """(6,) all operations together."""
        return np.asarray(self.resources.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Exploration:
    """The best design of a network, or of a part of it.

    Args:
        interval: cycles per image of one replica.
        replicas: copies of the pipeline.
        selection: the designs.
        slack: how much faster the same number of copies could at most be, as a fraction; 0 = this is the fastest.
    """

    interval: int
    replicas: int
    selection: Selection
    slack: float = 0.0

    @property
    def resources(self) -> Floats:
        """(6,) of one replica."""
        return self.selection.total


def balanced(tables: Sequence[Table], selection: Selection, interval: int, budget: Floats) -> Selection:
    """Give back what a selection does not need at its interval: single swaps to fewer DSPs, then less of the rest.

    The rate stays the same; what is left over serves the user (hardware-model, section 6).

    Args:
        tables: of every operation.
        selection: designs with intervals up to `interval`, within the budget.
        interval: cycles per image.
        budget: (6,) of one replica, infinite where a resource does not count.
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
        engines, memories = table.engines[:end], table.memory[:, :end]
        value = engines @ worth[ENGINES] + memories @ worth[MEMORY]
        for k in alike:
            better = value < float(resources[k] @ worth) - 1e-12
            if not better.any():
                continue
            rest = budget - (spent - resources[k])
            better &= (memories <= rest[MEMORY]).all(axis=2) & (engines <= rest[ENGINES]).all(axis=1)
            if not better.any():
                continue
            place, design = np.unravel_index(int(np.argmin(np.where(better, value, np.inf))), value.shape)
            designs[k], places[k] = design, place
            spent = spent - resources[k]
            resources[k] = table.resources(int(design), int(place))
            spent = spent + resources[k]
    intervals = np.array([table.interval[design] for table, design in zip(tables, designs, strict=True)])
    return Selection(designs, places, intervals, resources)
