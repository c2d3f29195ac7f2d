"""All designs of a network under one set of weights: bounds, good selections, and the few designs that still matter.

Weighting the resources so that the budget costs 1, the cheapest design of every operation bounds what any selection
costs from below. A design dearer than its operation's cheapest by more than what the bound leaves of the budget is in
no selection that fits. What survives is small enough for `Knapsack`, which decides exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from hass_train.hardware.dataflow.designs.tables import ENGINES, MEMORY, Table, per_unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_Cost = tuple[Floats, Floats, Floats]
"""Of every design of a table: cost of its engines, of its memories at each place, and of both beyond the cheapest."""

_STEPS = 40
_CLOSE = 1e-3  # how much more, as a fraction of the budget, other weights might prove where it is not worth looking
_STEADY = 0.3  # share of the best weights so far in the next ones, without which cutting planes jump about
_BLOCK = 64
_ENOUGH = 4000  # surviving designs, of all operations, that are few enough to decide among


@dataclass(frozen=True, slots=True)
class Survivors:
    """Designs that may be in a selection within the budget, all operations laid end to end.

    Args:
        resources: (rows, 6).
        owner: (rows,) which operation, ascending.
        design, place: (rows,) which design of its table, memories at which place.
        interval: (rows,) cycles per image.
        possible: for each distinct table, the designs that may be in a selection at this interval or a shorter one: of
            those, only the undominated at this interval are rows.
    """

    resources: Floats
    owner: Ints
    design: Ints
    place: Ints
    interval: Ints
    possible: tuple[Ints, ...]


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Outcome of a relaxation: the last weights, and what is left, or None if nothing fits.

    Args:
        weights: (6,) of the resources, with which the budget costs 1.
        survivors: what may fit.
    """

    weights: Floats
    survivors: Survivors | None


class Field:
    """The tables of a network, equal ones once.

    Args:
        tables: of every operation.
        alive: for each distinct table, which of its designs to look at; all by default.
    """

    def __init__(self, tables: Sequence[Table], alive: Sequence[Ints | None] | None = None) -> None:
        self.tables = tables
        distinct: dict[Table, list[int]] = {}
        for k, table in enumerate(tables):
            distinct.setdefault(table, []).append(k)
        self.owners = list(distinct.values())
        self.alive = list(alive) if alive is not None else [None] * len(self.owners)
        self._parts = [
            self._part(tables[owners[0]], chosen) for owners, chosen in zip(self.owners, self.alive, strict=True)
        ]

    @staticmethod
    def _part(table: Table, chosen: Ints | None) -> tuple[Ints, Floats, Floats]:
        if chosen is None:
            return table.interval, table.engines, table.memory
        return table.interval[chosen], table.engines[chosen], table.memory[:, chosen]

    def relax(self, interval: int, budget: Floats, start: Floats | None, most: int | None = None) -> Relaxed:
        """Tighten the weights until nothing can fit, or few designs are left.

        Args:
            interval: cycles per image that every design must keep.
            budget: (6,) what may be spent; infinite where it does not count.
            start: (6,) weights, as shares of the budget, to begin with.
            most: survivors of a table to keep, the cheapest; all by default, which a proof needs.
        """
        counted = np.isfinite(budget)
        scale = per_unit(budget)
        weights = counted / counted.sum() if start is None else start
        ends = [int(np.searchsorted(part[0], interval, side="right")) for part in self._parts]
        if (budget < 0).any() or 0 in ends:
            return Relaxed(weights, None)
        best: tuple[float, Floats, list[_Cost]] | None = None
        cuts: list[Floats] = []  # what selections spend, as shares of the budget
        for step in range(_STEPS):
            priced = weights * scale
            bound, spent = 0.0, np.zeros(6)
            costs: list[_Cost] = []
            for (_, engines, memory), end, owners in zip(self._parts, ends, self.owners, strict=True):
                own = engines[:end] @ priced[ENGINES]
                places = memory[:, :end] @ priced[MEMORY]
                total = own + places.min(axis=0)
                design = int(total.argmin())
                place = int(places[:, design].argmin())
                bound += len(owners) * float(total[design])
                spent[ENGINES] += len(owners) * engines[design]
                spent[MEMORY] += len(owners) * memory[place, design]
                costs.append((own, places, total - total[design]))
            if bound > 1 + 1e-9:
                return Relaxed(weights, None)
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
        return Relaxed(best[1], self._survivors(best[0], best[2], counted, most))

    def _left(self, bound: float, costs: Sequence[_Cost]) -> int:
        count = 0
        for (_, _, reduced), owners in zip(costs, self.owners, strict=True):
            count += len(owners) * int((reduced <= 1 - bound + 1e-7).sum())
        return count

    def _survivors(
        self, bound: float, costs: Sequence[_Cost], counted: NDArray[np.bool_], most: int | None
    ) -> Survivors:
        found: list[tuple[int, Ints, Ints, Floats, Ints]] = []
        possible = []
        for (own, places, reduced), owners, chosen, part in zip(
            costs, self.owners, self.alive, self._parts, strict=True
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
            rows[:, ENGINES], rows[:, MEMORY] = part[1][design], part[2][place, design]
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

    def narrowed(self, survivors: Survivors) -> Field:
        """The field of the surviving designs alone: enough for all shorter intervals at the same number of copies."""
        return Field(self.tables, survivors.possible)


def cutting_plane(cuts: Sequence[Floats]) -> tuple[float, Floats]:
    """The weights under which the cheapest of some selections costs most, and that cost: no weights reach more.

    The least cost of all selections is concave in the weights, and each selection's own cost lies above it (Kelley's
    method).

    Args:
        cuts: (k,) what each selection spends, as shares of the budget.
    """
    k = len(cuts[0])
    found = linprog(
        c=np.r_[np.zeros(k), -1.0],
        A_ub=np.c_[-np.asarray(cuts), np.ones(len(cuts))], b_ub=np.zeros(len(cuts)),
        A_eq=np.r_[np.ones(k), 0.0][None], b_eq=[1.0],
        bounds=[(1e-6, 1.0)] * k + [(None, None)], method="highs",
    )  # fmt: skip
    return float(found.x[-1]), np.asarray(found.x[:-1])


def undominated(resources: Floats) -> Ints:
    """Indices of rows that no other row matches or beats in everything (one of equals is kept).

    Args:
        resources: (rows, k).
    """
    order = np.lexsort(resources.T[::-1])
    columns = np.ascontiguousarray(resources[order].T)
    alive = np.arange(len(order))
    done = 0
    while done < len(alive):  # in this order only earlier rows can beat one
        block, rest = alive[done : done + _BLOCK], alive[done:]
        beaten: NDArray[np.bool_] = ~np.tri(len(block), len(rest), dtype=bool)
        for column in columns:
            beaten &= np.asarray(column[block, None] <= column[rest])
        keep = np.logical_not(np.any(beaten, axis=0), dtype=bool)
        alive = np.r_[alive[:done], rest[keep]]
        done += int(keep[: len(block)].sum())
    return np.sort(order[alive])
