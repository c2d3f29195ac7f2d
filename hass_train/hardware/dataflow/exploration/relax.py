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
from scipy.optimize import linprog

from hass_train.hardware.dataflow.designs.tables import LOGIC, MEMORY, Table, per_unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_Cost = tuple[Floats, Floats, Floats]
"""Costs of a table's designs: (n,) of their logic, (places, n) of their memories, (n,) of both beyond the cheapest."""

_STEPS = 40  # most cutting planes
_CLOSE = 1e-3  # a gain, as a fraction of the budget, for which other weights are not worth looking for
_STEADY = 0.3  # share of the best weights so far in the next ones, without which cutting planes jump about
_BLOCK = 64  # rows that are compared with all others at once
_ENOUGH = 4000  # surviving designs, of all operations together, that are few enough to decide among


@dataclass(frozen=True, slots=True)
class Survivors:
    """The designs that may be in a selection within the budget, those of all operations laid end to end.

    Args:
        resources: (rows, 6) what each takes.
        owner: (rows,) the operation that it is a design of, ascending.
        design, place: (rows,) the design's index in its table, and the place of its memories.
        interval: (rows,) cycles per image.
        possible: for each distinct table, the designs that may be in a selection at this interval or a shorter one.
            Only those that no other dominates at this interval are rows.
    """

    resources: Floats
    owner: Ints
    design: Ints
    place: Ints
    interval: Ints
    possible: tuple[Ints, ...]


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The outcome of a relaxation.

    Args:
        weights: (6,) weights of the resources as shares of the budget, which sum to 1: those of the best bound.
        survivors: the designs that may still fit; None if nothing fits.
    """

    weights: Floats
    survivors: Survivors | None


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
        return table.interval[chosen], table.logic[chosen], table.memory[:, chosen]

    def relax(self, interval: int, budget: Floats, start: Floats | None, most: int | None = None) -> Relaxation:
        """Adapt the weights by cutting planes until nothing can fit, or few designs are left.

        Args:
            interval: cycles per image that every design must keep.
            budget: (6,) what may be spent; infinite for a resource that does not count.
            start: (6,) weights to begin with, as shares of the budget.
            most: how many survivors of each table to keep, the cheapest ones; None = all, which a proof needs.
        """
        counted = np.isfinite(budget)
        scale = per_unit(budget)
        weights = counted / counted.sum() if start is None else start
        ends = [int(np.searchsorted(part[0], interval, side="right")) for part in self._parts]
        if (budget < 0).any() or 0 in ends:
            return Relaxation(weights, None)
        best: tuple[float, Floats, list[_Cost]] | None = None
        cuts: list[Floats] = []  # what selections spend, as shares of the budget
        for step in range(_STEPS):
            priced = weights * scale
            bound, spent = 0.0, np.zeros(6)
            costs: list[_Cost] = []
            for (_, logic, memory), end, owners in zip(self._parts, ends, self.owners, strict=True):
                own = logic[:end] @ priced[LOGIC]
                places = memory[:, :end] @ priced[MEMORY]
                total = own + places.min(axis=0)
                design = int(total.argmin())
                place = int(places[:, design].argmin())
                bound += len(owners) * float(total[design])
                spent[LOGIC] += len(owners) * logic[design]
                spent[MEMORY] += len(owners) * memory[place, design]
                costs.append((own, places, total - total[design]))
            if bound > 1 + 1e-9:
                return Relaxation(weights, None)
            if best is None or bound > best[0]:
                best = (bound, weights, costs)
            if step >= 2 and self._left(best[0], best[2]) <= _ENOUGH:
                break
            cuts.append(spent[counted] * scale[counted])
            if (cuts[-1] <= 1).all():
                break  # the cheapest selection fits
            roof, wanted = cutting_plane(cuts)
            if roof <= min(1.0, best[0] + _CLOSE):
                break  # no weights rule out everything, and hardly any rule out more
            weights = np.zeros(len(counted))
            weights[counted] = (1 - _STEADY) * wanted + _STEADY * best[1][counted]
            weights /= weights.sum()  # exactly: the solver's own tolerance would make false proofs
        assert best is not None
        return Relaxation(best[1], self._survivors(best[0], best[2], counted, most))

    def _left(self, bound: float, costs: Sequence[_Cost]) -> int:
        """How many designs a bound leaves, those of all operations together."""
        count = 0
        for (_, _, reduced), owners in zip(costs, self.owners, strict=True):
            count += len(owners) * int((reduced <= 1 - bound + 1e-7).sum())
        return count

    def _survivors(
        self, bound: float, costs: Sequence[_Cost], counted: NDArray[np.bool_], most: int | None
    ) -> Survivors:
        """The designs that a bound leaves, without those that others dominate in what is `counted`."""
        found: list[tuple[int, Ints, Ints, Floats, Ints]] = []
        possible = []
        for (own, places, reduced), owners, chosen, part in zip(
            costs, self.owners, self.chosen, self._parts, strict=True
        ):
            left = np.flatnonzero(reduced <= 1 - bound + 1e-7)
            total = own[left] + places[:, left]
            place, design = np.nonzero(total - total.min() <= 1 - bound + 1e-7)
            if most is not None and len(place) > most:
                cheapest = np.argpartition(total[place, design], most)[:most]
                place, design = place[cheapest], design[cheapest]
            design = left[design]
            names = np.arange(len(part[0])) if chosen is None else chosen
            possible.append(names[left])
            rows = np.zeros((len(design), 6))
            rows[:, LOGIC], rows[:, MEMORY] = part[1][design], part[2][place, design]
            best = undominated(rows[:, counted])
            design, place, rows = design[best], place[best], rows[best]
            found.extend((owner, names[design], place, rows, part[0][design]) for owner in owners)
        found.sort(key=lambda entry: entry[0])
        return Survivors(
            np.concatenate([rows for _, _, _, rows, _ in found]),
            np.repeat([owner for owner, *_ in found], [len(entry[1]) for entry in found]),
            np.concatenate([design for _, design, *_ in found]),
            np.concatenate([place for _, _, place, *_ in found]),
            np.concatenate([interval for *_, interval in found]),
            tuple(possible),
        )

    def narrowed(self, survivors: Survivors) -> CandidateSet:
        """The candidates that survived: all that matters at shorter intervals of the same number of copies."""
        return CandidateSet(self.tables, survivors.possible)


def cutting_plane(cuts: Sequence[Floats]) -> tuple[float, Floats]:
    """The weights under which the cheapest of some selections costs most (Kelley's cutting planes).

    The least cost over all selections is concave in the weights, and the cost of each selection lies above it.

    Args:
        cuts: what each selection spends, (k,) shares of the budget.

    Returns:
        That cost, which no weights exceed, and the (k,) weights.
    """
    k = len(cuts[0])
    found = linprog(
        c=np.r_[np.zeros(k), -1.0],
        A_ub=np.c_[-np.asarray(cuts), np.ones(len(cuts))], b_ub=np.zeros(len(cuts)),
        A_eq=np.r_[np.ones(k), 0.0][None], b_eq=[1.0],
        bounds=[(1e-6, 1.0)] * k + [(None, None)], method="highs",
    )  # fmt: skip
    return float(found.x[-1]), np.asarray(found.x[:-1])


def _beaten(columns: Floats, count: int) -> NDArray[np.bool_]:
    """Whether one of the `count` cheapest rows matches or beats a row in every column, (rows,); of equal ones the first
    is not beaten.

    Args:
        columns: (k, rows) what each row spends.
        count: fewer than the rows.
    """
    shares = columns / np.maximum(columns.max(axis=1, keepdims=True), 1e-300)
    cheapest = np.argpartition(shares.sum(axis=0), count)[:count]
    matched = np.ones((count, columns.shape[1]), dtype=bool)
    better = cheapest[:, None] < np.arange(columns.shape[1])
    for column in columns:
        matched &= np.asarray(column[cheapest, None] <= column)
        better |= np.asarray(column[cheapest, None] < column)
    return np.any(matched & better, axis=0)  # type: ignore[no-any-return]


def undominated(resources: Floats) -> Ints:
    """The ascending indices of the rows that no other row matches or beats in every column; of equal rows one is kept.

    Args:
        resources: (rows, k) what each row spends.
    """
    left = np.arange(len(resources))
    for count in (4, 16, _BLOCK):  # the cheapest rows beat most others, which need no comparison with all of these
        if len(left) > 4 * _BLOCK:
            left = left[~_beaten(np.ascontiguousarray(resources[left].T), count)]
    order = left[np.lexsort(resources[left].T[::-1])]
    columns = np.ascontiguousarray(resources[order].T)
    alive, done = np.arange(len(order)), 0
    while done < len(alive):  # in this order only earlier rows can beat one
        block, rest = alive[done : done + _BLOCK], alive[done:]
        beaten: NDArray[np.bool_] = ~np.tri(len(block), len(rest), dtype=bool)
        for column in columns:
            beaten &= np.asarray(column[block, None] <= column[rest])
        keep = np.logical_not(np.any(beaten, axis=0), dtype=bool)
        alive = np.r_[alive[:done], rest[keep]]
        done += int(keep[: len(block)].sum())
    return np.sort(order[alive])
