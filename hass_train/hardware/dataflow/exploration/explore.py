"""Exact design-space exploration (hardware-model, section 6).

The slowest layer sets the rate and resources add up. So at a given interval T every operation takes a design with an
interval ≤ T, and whether that fits is monotone in T. Any weighted sum of resources gives a lower bound of T at once
(`Demand`). `CandidateSet` leaves the few designs that matter at T, `Knapsack` decides among them, and the weights of
their proofs sharpen the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, Table, per_unit
from hass_train.hardware.dataflow.exploration.demand import Demand, Limits
from hass_train.hardware.dataflow.exploration.knapsack import FEW_NODES, SOME_NODES, Knapsack, NoSelection
from hass_train.hardware.dataflow.exploration.relax import CandidateSet, Relaxation, Survivors
from hass_train.hardware.dataflow.exploration.selection import PipelineDesign, Selection, balanced
from hass_train.hardware.dataflow.options import LIMITS
from hass_train.hardware.estimate import CannotFit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEW = 200  # designs of each table that are looked at where nothing is to be proved
_CLOSE, _QUICK_CLOSE = 1e-3, 1e-2  # gains of a bound that end a relaxation, where it is to decide and where not
MOST_COPIES = 4096
"""A number of replicas that no device holds."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A selection that fits in `replicas` copies at an interval."""

    interval: int
    replicas: int
    selection: Selection


class Explorer:
    """Finds the best designs of a network within a device's limits.

    Args:
        tables: the tables of all operations; each has at least one design.
        limits: what the device lets a design spend.
        tolerance: how far above the optimal interval an answer may be, as a fraction; 0 = exact.
        prove: whether branch and bound decides where bounds leave a question open; without it answers are good designs,
            and come quickly.
        proofs: (6,) weights of resources that bounded the interval at a profile nearby, and may bound this one too.

    Attributes:
        counted: (6,) whether each resource is limited.
        fastest, slowest: shortest and longest interval worth asking about, resources aside.
        demands: the weighted sums of resources that bound the interval: each limited resource, and what proofs taught.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        limits: Limits,
        tolerance: float = 0.0,
        prove: bool = True,
        proofs: Sequence[Floats] = (),
    ) -> None:
        self.tables, self.limits, self.tolerance, self.prove = tables, limits, tolerance, prove
        self.candidates = CandidateSet.of(tables)
        distinct = list(dict.fromkeys(tables))
        self._distinct = distinct
        self.counted = limits.counted
        self.fastest = max(int(table.interval[0]) for table in tables)
        self.slowest = max(int(table.interval[-1]) for table in tables)
        alone = [np.eye(6)[k] for k in np.flatnonzero(self.counted)]
        self.demands = [Demand.of(self.candidates.blocks, weights) for weights in (*alone, *proofs)]
        self._taught = len(self.demands)  # forgotten ones included
        read = {table: float(table.memory[:, :, -1].max()) for table in distinct}
        self._most_bits = limits.image_bits + sum(read[table] for table in tables)
        self._start: Floats | None = None
        self._narrow: tuple[int, int, CandidateSet] | None = None  # for a number of replicas, up to an interval
        self._bounds: dict[int, tuple[int, float]] = {}  # for numbers of replicas, from so many demands
        self._impossible: dict[int, int] = {}  # for numbers of replicas, an interval at which they do not fit
        self.undecided = False  # whether a limit of nodes was reached anywhere

    def event_before(self, interval: int) -> int:
        """The last interval below this one at which some operation has a design; 0 if there is none."""
        places = ((table.interval, int(np.searchsorted(table.interval, interval)) - 1) for table in self._distinct)
        return max(int(intervals[place]) if place >= 0 else 0 for intervals, place in places)

    # ---- what fits -------------------------------------------------------------------------------------------

    def attempt(self, interval: int, replicas: int, exact: bool) -> Selection | NoSelection:
        """Try to find a selection that reaches an interval within the limits.

        Args:
            interval: cycles per image.
            replicas: copies that share the device.
            exact: whether to decide by branch and bound where bounds leave the answer open.
        """
        candidates = self._candidates(interval, replicas)
        answer, relaxed = self._within(candidates, interval, self.limits.budget(interval, replicas), exact)
        if answer is NoSelection.IMPOSSIBLE:
            self._impossible[replicas] = max(interval, self._impossible.get(replicas, 0))
        found = not isinstance(answer, NoSelection)
        if found and (self._narrow is None or self._narrow[:2] != (replicas, interval)):
            self._narrow = (replicas, interval, candidates.narrowed(relaxed))
        return answer

    def _within(
        self, candidates: CandidateSet, interval: int, budget: Floats, exact: bool
    ) -> tuple[Selection | NoSelection, Relaxation]:
        """A selection within a budget, or why there is none, and the bound that the search began with."""
        relaxed = candidates.relax(interval, budget, self._start, _CLOSE if exact else _QUICK_CLOSE)
        self._start = relaxed.weights
        if not np.isfinite(relaxed.bound):
            self._learn(relaxed.weights, budget)
            return NoSelection.IMPOSSIBLE, relaxed
        # the cheapest designs usually have a selection that fits; only a proof needs all that the bound leaves
        left = candidates.survivors(relaxed, _FEW)
        knapsack = self._knapsack(left, budget)
        answer = knapsack.quick_fit(relaxed.weights[self.counted])
        if answer is NoSelection.UNKNOWN:
            answer = knapsack.branched_fit(FEW_NODES)
        if not isinstance(answer, NoSelection):
            return left.selection(answer), relaxed
        if not left.complete:
            if not exact or not self.prove:
                return NoSelection.UNKNOWN, relaxed
            left = candidates.survivors(relaxed)
            knapsack = self._knapsack(left, budget)
            knapsack.weights = relaxed.weights[self.counted]
        if exact and self.prove:
            answer = knapsack.fit(SOME_NODES if self.tolerance else None)
            self.undecided |= answer is NoSelection.UNKNOWN
        if not isinstance(answer, NoSelection):
            return left.selection(answer), relaxed
        if answer is NoSelection.IMPOSSIBLE and knapsack.possible:
            weights = np.zeros(6)
            weights[self.counted] = knapsack.weights
            self._learn(weights, budget)
        return answer, relaxed

    def _knapsack(self, left: Survivors, budget: Floats) -> Knapsack:
        """The knapsack over some designs, in the resources that count."""
        return Knapsack(left.resources[:, self.counted], left.owner, len(self.tables), budget[self.counted])

    def _candidates(self, interval: int, replicas: int) -> CandidateSet:
        """The designs that matter at an interval: what did not survive at a longer one does not at a shorter one."""
        if self._narrow is not None and self._narrow[0] == replicas and interval <= self._narrow[1]:
            return self._narrow[2]
        return self.candidates

    def cheapest(self, interval: int, replicas: int, column: int, gap: float, known: Selection) -> Selection:
        """The selection within the limits that takes least of one resource.

        Args:
            interval: cycles per image.
            replicas: copies that share the device.
            column: index of the resource.
            gap: how far above the least the answer may be, as a fraction.
            known: a selection within the limits at this interval, the answer where the search finds none.
        """
        candidates, budget = self._candidates(interval, replicas), self.limits.budget(interval, replicas)
        answer = self.attempt(interval, replicas, exact=True)
        best = known if isinstance(answer, NoSelection) else answer
        low = Demand.of(self.candidates.blocks, np.eye(6)[column]).at(interval)
        while best.total[column] - low > gap * best.total[column] and best.total[column] - low >= 1:
            budget[column] = np.floor((low + best.total[column]) / 2)
            answer, _ = self._within(candidates, interval, budget, exact=True)
            if isinstance(answer, NoSelection):
                low = float(budget[column]) + 1
            else:
                best = answer
        return best

    def _learn(self, weights: Floats, budget: Floats) -> None:
        """Keep the weights of a proof that nothing fits: they bound other intervals too."""
        self.demands.append(Demand.of(self.candidates.blocks, weights * per_unit(budget)))
        self._taught += 1
        if len(self.demands) > 24:
            del self.demands[int(self.counted.sum())]

    @property
    def learned(self) -> list[Floats]:
        """The (6,) weights of resources whose sum proved that something does not fit."""
        return [demand.weights for demand in self.demands[int(self.counted.sum()) :]]

    def best_proofs(self, replicas: int, most: int) -> list[Floats]:
        """The (6,) weights of resources that bound the interval of `replicas` copies best."""
        learned = self.demands[int(self.counted.sum()) :]
        return [one.weights for one in sorted(learned, key=lambda one: -one.fastest(self.limits, replicas))[:most]]

    def bound(self, replicas: int) -> float:
        """A lower bound of the interval of `replicas` copies."""
        seen, known = self._bounds.get(replicas, (0, float(self.fastest)))
        if seen < self._taught:
            new = self.demands[-(self._taught - seen) :]
            known = max(known, *(demand.fastest(self.limits, replicas) for demand in new))
            self._bounds[replicas] = self._taught, known
        return max(known, *(interval + 1 for fewer, interval in self._impossible.items() if fewer <= replicas), 0)

    # ---- the fastest -----------------------------------------------------------------------------------------

    def fastest_design(self, max_replicas: int = 0) -> PipelineDesign:
        """The design with the highest rate, replicas / interval.

        Args:
            max_replicas: most copies; 0 = as many as fit.

        Raises:
            CannotFit: not even one copy fits at any interval.
        """
        # a heap of cycles per image: of equal ones the fewest copies; as fractions, since floats do not tie
        promise: list[tuple[Fraction, int]] = []
        for replicas in range(1, (max_replicas or MOST_COPIES) + 1):
            bound = self.bound(replicas)
            if bound > self.horizon(replicas):
                break  # more copies only need more
            promise.append((Fraction(int(bound), replicas), replicas))
        heapify(promise)
        best: _Found | None = None
        while promise:
            least, replicas = heappop(promise)
            bound = float(least * replicas)
            if best is not None:
                to_beat = best.replicas / best.interval * (1 + self.tolerance + 1e-12)
                if replicas / bound <= to_beat:
                    break
                learned = self.bound(replicas)
                if learned > bound:
                    if learned <= self.horizon(replicas):
                        heappush(promise, (Fraction(int(learned), replicas), replicas))
                    continue
            found = self.fastest_of(replicas, best)
            if found is not None:
                best = found
            elif best is None:
                promise = [one for one in promise if one[1] < replicas]
                heapify(promise)
        if best is None:
            raise CannotFit(self.why_unfit())
        return self.settled(best.interval, best.replicas, best.selection)

    def horizon(self, replicas: int) -> int:
        """An interval beyond which no more designs fit than at it."""
        if not self.counted[BANDWIDTH]:
            return self.slowest
        return max(self.slowest, int(np.ceil(self._most_bits * replicas / self.limits.bits_per_cycle)))

    def fastest_of(self, replicas: int, best: _Found | None = None) -> _Found | None:
        """The fastest design of `replicas` copies that beats the best so far; None if there is none.

        Bounds first narrow the interval from below and quick trials from above; exact knapsacks close the gap.
        """
        high = self.horizon(replicas)
        if best is not None:
            high = min(high, int(np.ceil(replicas * best.interval / best.replicas)) - 1)
        bound = self.bound(replicas)
        if bound > high:
            return None
        low = target = int(bound)  # below `low` nothing fits
        step, tries = max(low // 128, 1), 0
        while True:
            answer = self.attempt(target, replicas, exact=target >= high)
            if not isinstance(answer, NoSelection):
                return self._narrowed(_Found(self._tight(target, replicas, answer), replicas, answer), low)
            if answer is NoSelection.IMPOSSIBLE:
                low = int(min(max(low, target + 1, self.bound(replicas)), 2.0**62))
            if target >= high or low > high:
                return None
            tries += 1
            if answer is NoSelection.IMPOSSIBLE and tries <= 3:
                target = low  # proofs teach bounds that are often met
            else:
                target, step = max(low, target + step), 2 * step
            target = min(target, high)

    def _narrowed(self, found: _Found, low: int) -> _Found:
        """Bisect between what is impossible (below `low`) and what was found: quick trials first, then exact ones.

        The first exact one is just below what quick trials found, since that is often the best.
        """
        for exact in (False, True) if self.prove else (False,):
            floor, first = low, exact
            while floor < found.interval and found.interval - floor >= self.tolerance * found.interval:
                asked = (floor + found.interval - 1) // 2
                if first:
                    asked, first = (
                        max(min(int(found.interval * (1 - self.tolerance)), found.interval - 1), floor),
                        False,
                    )
                middle = self._changing(asked)
                if middle < floor:  # no design comes within reach between
                    floor = asked + 1
                    continue
                answer = self.attempt(middle, found.replicas, exact)
                if not isinstance(answer, NoSelection):
                    found = _Found(self._tight(middle, found.replicas, answer), found.replicas, answer)
                    continue
                floor = middle + 1
                if answer is NoSelection.IMPOSSIBLE:
                    low = floor = int(min(max(floor, self.bound(found.replicas)), found.interval))
        return found

    def _changing(self, interval: int) -> int:
        """The last interval up to this one at which another design comes within reach.

        Where bandwidth counts that is any interval, since every cycle more lets through more bits.
        """
        if self.counted[BANDWIDTH]:
            return interval
        return self.event_before(interval + 1)

    def _tight(self, interval: int, replicas: int, selection: Selection) -> int:
        """The shortest interval that a selection itself allows."""
        shortest = int(selection.intervals.max())
        if self.counted[BANDWIDTH]:
            bits = float(selection.total[BANDWIDTH]) + self.limits.image_bits
            shortest = max(shortest, int(np.ceil(bits * replicas / self.limits.bits_per_cycle - 1e-9)))
        return min(interval, shortest)

    def settled(self, interval: int, replicas: int, selection: Selection, column: int | None = None) -> PipelineDesign:
        """The pipeline's design from a selection: balanced, and with a bound on how much faster it could be.

        Args:
            interval: cycles per image.
            replicas: copies of the pipeline.
            selection: designs within the limits.
            column: a resource that it was chosen to save, of which no more may be taken.
        """
        budget = self.limits.budget(interval, replicas)
        if column is not None:
            budget[column] = min(budget[column], selection.total[column])
        slack = interval / self.bound(replicas) - 1 if self.undecided or not self.prove else self.tolerance
        return PipelineDesign(interval, replicas, balanced(self.tables, selection, interval, budget), slack)

    def why_unfit(self) -> str:
        """A text that says which resource is short even for the slowest, smallest design."""
        budget = self.limits.budget(self.slowest, 1)
        names = (*LIMITS[:-1], "off-chip bits per image")
        for k in np.flatnonzero(self.counted):
            least = Demand.of(self.candidates.blocks, np.eye(6)[k]).at(self.slowest)
            if least > budget[k]:
                return f"one copy needs at least {least:,.0f} {names[k]} and there are {max(budget[k], 0):,.0f}"
        there = ", ".join(f"{budget[k]:,.0f} {names[k]}" for k in np.flatnonzero(self.counted))
        return f"one copy has no design within {there} together"
