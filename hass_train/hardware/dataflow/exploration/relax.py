"""The relaxation of a network's exploration: bounds from weighted resources, and the few designs that still matter.

With the resources weighted so that the budget costs 1, the cheapest designs of all operations bound from below what any
selection costs. A design that is dearer than its operation's cheapest by more than what the bound leaves of the budget
is in no selection that fits. What survives is small enough for `Knapsack`, which decides exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs import passes
from hass_train.hardware.dataflow.designs.tables import Table, per_unit
from hass_train.hardware.dataflow.exploration import walk
from hass_train.hardware.dataflow.exploration.selection import Selection

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = 40  # most cutting planes
_STEADY = 0.3  # share of the best weights so far in the next ones, without which cutting planes jump about
_FAR = 5e-3  # of the budget: how much dearer than the cheapest a design may be that is tried without a proof


@dataclass(frozen=True, slots=True)
class Survivors:
    """The designs that may be in a selection within the budget, those of all operations laid end to end.

    Args:
        resources: (rows, 6) what each takes.
        owner: (rows,) the operation that it is a design of, ascending.
        design, place: (rows,) the design's index in its table, and the place of its memories.
        interval: (rows,) cycles per image.
        complete: whether none of these designs was left out.
    """

    resources: Floats
    owner: Ints
    design: Ints
    place: Ints
    interval: Ints
    complete: bool

    def selection(self, rows: Ints) -> Selection:
        """The selection of some rows, one for each operation."""
        return Selection(self.design[rows], self.place[rows], self.interval[rows], self.resources[rows])


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The outcome of a relaxation.

    Args:
        weights: (6,) weights of the resources as shares of the budget, which sum to 1: those of the best bound.
        budget: (6,) what may be spent.
        bound: what any selection costs at least, in budgets; infinite if nothing fits.
        ends: for each distinct table, the designs that keep the interval.
        least: for each distinct table, the cost of its cheapest design.
    """

    weights: Floats
    budget: Floats
    bound: float = np.inf
    ends: Sequence[int] = ()
    least: Sequence[float] = ()

    @property
    def gap(self) -> float:
        """How much dearer than its operation's cheapest a design may be and still be in a selection that fits."""
        return 1 - self.bound + 1e-7


class CandidateSet:
    """The candidate designs of a network, with each distinct table held once.

    Args:
        tables: the tables of all operations, one of which may serve several.
        chosen: for each distinct table, the designs to look at; None = all of them.

    Attributes:
        owners: for each distinct table, the operations that it serves.
    """

    def __init__(self, tables: Sequence[Table], chosen: Sequence[Ints | None] | None = None) -> None:
        self.tables = tables
        distinct: dict[Table, list[int]] = {}
        for k, table in enumerate(tables):
            distinct.setdefault(table, []).append(k)
        self.owners = list(distinct.values())
        self.chosen = list(chosen) if chosen is not None else [None] * len(self.owners)
        self._parts = [
            self._part(tables[owners[0]], some) for owners, some in zip(self.owners, self.chosen, strict=True)
        ]

    @staticmethod
    def _part(table: Table, chosen: Ints | None) -> tuple[Ints, Floats, Floats]:
        if chosen is None:
            return table.interval, table.logic, table.memory
        return table.interval[chosen], table.logic[chosen], table.memory.take(chosen, axis=1)

    def relax(self, interval: int, budget: Floats, start: Floats | None, close: float) -> Relaxation:
        """Adapt the weights by cutting planes until nothing can fit, or no weights bound much better.

        Args:
            interval: cycles per image that every design must keep.
            budget: (6,) what may be spent; infinite for a resource that does not count.
            start: (6,) weights to begin with, as shares of the budget.
            close: a gain, as a fraction of the budget, for which other weights are not worth looking for.
        """
        counted = np.isfinite(budget)
        scale = per_unit(budget)
        weights = counted / counted.sum() if start is None else start
        ends = [int(np.searchsorted(part[0], interval, side="right")) for part in self._parts]
        if (budget < 0).any() or 0 in ends:
            return Relaxation(weights, budget)
        best: Relaxation | None = None
        cuts: list[Floats] = []  # what selections spend, as shares of the budget
        for _ in range(_STEPS):
            priced = weights * scale
            bound, spent = 0.0, np.zeros(6)
            least: list[float] = []
            for (_, logic, memory), end, owners in zip(self._parts, ends, self.owners, strict=True):
                cost = passes.cheapest(logic, memory, end, priced, len(owners), spent)
                least.append(cost)
                bound += len(owners) * cost
            if bound > 1 + 1e-9:
                return Relaxation(weights, budget)
            if best is None or bound > best.bound:
                best = Relaxation(weights, budget, bound, ends, least)
            cuts.append(spent[counted] * scale[counted])
            if (cuts[-1] <= 1).all():
                break  # the cheapest selection fits
            roof, wanted = cutting_plane(cuts)
            if roof <= min(1.0, best.bound + close):
                break  # no weights rule out everything, and hardly any rule out more
            weights = np.zeros(len(counted))
            weights[counted] = (1 - _STEADY) * wanted + _STEADY * best.weights[counted]
            weights /= weights.sum()  # exactly: the solver's own tolerance would make false proofs
        assert best is not None
        return best

    def survivors(self, relaxed: Relaxation, most: int | None = None) -> Survivors:
        """The designs that a bound leaves, without those that others dominate.

        Args:
            relaxed: the bound, on these candidates.
            most: how many of each table to keep, the cheapest; None = all, which a proof needs.
        """
        priced, counted = relaxed.weights * per_unit(relaxed.budget), np.isfinite(relaxed.budget)
        gap = relaxed.gap if most is None else min(relaxed.gap, max(_FAR, 0.5 / len(self.tables)))
        complete = gap == relaxed.gap
        found: list[tuple[int, Ints, Ints, Floats, Ints]] = []
        for part, end, least, owners, chosen in zip(
            self._parts, relaxed.ends, relaxed.least, self.owners, self.chosen, strict=True
        ):
            interval, logic, memory = part
            design, place, cost = passes.near(logic, memory, end, priced, least + gap)
            if most is not None and len(design) > most:
                cheapest = np.sort(np.argpartition(cost, most)[:most])
                design, place, cost = design[cheapest], place[cheapest], cost[cheapest]
                complete = False
            rows = passes.gathered(logic, memory, design, place)
            best = undominated(rows[:, counted], cost)
            design, place, rows = design[best], place[best], rows[best]
            names = design if chosen is None else chosen[design]
            found.extend((owner, names, place, rows, interval[design]) for owner in owners)
        found.sort(key=lambda entry: entry[0])
        return Survivors(
            np.concatenate([rows for _, _, _, rows, _ in found]),
            np.repeat([owner for owner, *_ in found], [len(entry[1]) for entry in found]),
            np.concatenate([design for _, design, *_ in found]),
            np.concatenate([place for _, _, place, *_ in found]),
            np.concatenate([interval for *_, interval in found]),
            complete,
        )

    def narrowed(self, relaxed: Relaxation) -> CandidateSet:
        """The candidates that a bound leaves: all that matters at shorter intervals of the same number of copies."""
        priced = relaxed.weights * per_unit(relaxed.budget)
        left: list[Ints | None] = []
        for (_, logic, memory), end, least, chosen in zip(
            self._parts, relaxed.ends, relaxed.least, self.chosen, strict=True
        ):
            designs = passes.within(logic, memory, end, priced, least + relaxed.gap)
            left.append(designs if chosen is None else chosen[designs])
        return CandidateSet(self.tables, left)


def cutting_plane(cuts: Sequence[Floats]) -> tuple[float, Floats]:
    """The weights under which the cheapest of some selections costs most (Kelley's cutting planes).

    The least cost over all selections is concave in the weights, and the cost of each selection lies above it.

    Args:
        cuts: what each selection spends, (k,) shares of the budget.

    Returns:
        That cost, which no weights exceed, and the (k,) weights.
    """
    roof, weights, _ = walk.dearest(np.asarray(cuts))
    return float(roof), np.asarray(weights)


def undominated(resources: Floats, cost: Floats) -> Ints:
    """The ascending indices of the rows that no other row matches or beats in every column; of equal rows one is kept.

    Args:
        resources: (rows, k) what each row spends.
        cost: (rows,) less for a row than for any other that it beats; where it is not, a beaten row may stay.
    """
    order = np.argsort(cost, kind="stable")
    return np.sort(order[passes.alive(np.ascontiguousarray(resources[order]))])
