"""The relaxation of a network's exploration: bounds from weighted resources, and the few designs that still matter.

With the resources weighted so that the budget costs 1, the cheapest designs of all operations bound from below what any
selection costs. A design that is dearer than its operation's cheapest by more than what the bound leaves of the budget
is in no selection that fits. What survives is small enough for `Knapsack`, which decides exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs import laid
from hass_train.hardware.dataflow.designs.laid import Laid, by_size, lay
from hass_train.hardware.dataflow.designs.tables import Table, per_unit
from hass_train.hardware.dataflow.exploration import walk
from hass_train.hardware.dataflow.exploration.selection import Selection

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = 40  # most cutting planes
_STEADY = 0.3  # share of the best weights so far in the next ones, without which cutting planes jump about
_ALL = 2**62  # more designs than any table has
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
        ends: for each block, (tables,) how many designs of each table keep the interval.
        least: (distinct tables,) the cost of the cheapest design of each.
    """

    weights: Floats
    budget: Floats
    bound: float = np.inf
    ends: Sequence[Ints] = ()
    least: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def gap(self) -> float:
        """How much dearer than its operation's cheapest a design may be and still be in a selection that fits."""
        return 1 - self.bound + 1e-7


class CandidateSet:
    """The candidate designs of a network, with each distinct table held once.

    Args:
        owners: for each distinct table, the operations that it serves.
        blocks: the tables in this order, some of them laid end to end.
    """

    def __init__(self, owners: Sequence[Sequence[int]], blocks: Sequence[Laid]) -> None:
        self.owners, self.blocks = owners, blocks
        self._ends_of_blocks = np.cumsum([len(block.copies) for block in blocks])[:-1]

    @classmethod
    def of(cls, tables: Sequence[Table]) -> CandidateSet:
        """All designs of the tables of all operations, one of which may serve several."""
        distinct: dict[Table, list[int]] = {}
        for k, table in enumerate(tables):
            distinct.setdefault(table, []).append(k)
        together = by_size(list(distinct))
        blocks = [lay(some, [len(distinct[table]) for table in some]) for some in together]
        return cls([distinct[table] for some in together for table in some], blocks)

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
        ends = [laid.ends_at(block, interval) for block in self.blocks]
        if (budget < 0).any() or not all(end.all() for end in ends):
            return Relaxation(weights, budget)
        best: Relaxation | None = None
        cuts: list[Floats] = []  # what selections spend, as shares of the budget
        for _ in range(_STEPS):
            spent, least = np.zeros(6), np.empty(len(self.owners))
            parts = zip(self.blocks, ends, np.split(least, self._ends_of_blocks), strict=True)
            bound = sum(laid.cheapest(block, end, weights * scale, own, spent) for block, end, own in parts)
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
        priced, columns = relaxed.weights * per_unit(relaxed.budget), np.flatnonzero(np.isfinite(relaxed.budget))
        gap = relaxed.gap if most is None else min(relaxed.gap, max(_FAR, 0.5 / sum(map(len, self.owners))))
        complete, counts = gap == relaxed.gap, []
        found: list[tuple[Ints, Ints, Floats, Ints]] = []
        for block, end, least in self._relaxed(relaxed):
            begin, design, place, resources, all_of_them = laid.survivors(
                block, end, priced, least + gap, _ALL if most is None else most, columns
            )
            counts.append(np.diff(begin))
            row = design + np.repeat(block.first[:-1], counts[-1])
            found.append((block.name[row], place, resources, block.interval[row]))
            complete &= all_of_them
        table = np.empty(sum(map(len, self.owners)), np.int64)  # of each operation
        for k, owners in enumerate(self.owners):
            table[owners] = k
        count = np.concatenate(counts)
        first, own = np.cumsum(count) - count, count[table]
        rows = np.arange(own.sum()) + np.repeat(first[table] - (np.cumsum(own) - own), own)
        design, place, resources, interval = (np.concatenate(parts)[rows] for parts in zip(*found, strict=True))
        return Survivors(resources, np.repeat(np.arange(len(own)), own), design, place, interval, complete)

    def narrowed(self, relaxed: Relaxation) -> CandidateSet:
        """The candidates that a bound leaves: all that matters at shorter intervals of the same number of copies."""
        priced = relaxed.weights * per_unit(relaxed.budget)
        left = []
        for block, end, least in self._relaxed(relaxed):
            first, held, *rest = laid.within(block, end, priced, least + relaxed.gap)
            left.append(Laid(block.copies, first, held, block.places, *rest))
        return CandidateSet(self.owners, [laid.joined(left)])

    def _relaxed(self, relaxed: Relaxation) -> Iterator[tuple[Laid, Ints, Floats]]:
        """The blocks with how many designs of each table keep the interval, and the costs of the cheapest."""
        yield from zip(self.blocks, relaxed.ends, np.split(relaxed.least, self._ends_of_blocks), strict=True)


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
