"""Exact design-space exploration (hardware-model, section 6).

The slowest layer sets the rate and resources add up, so for a candidate interval T every operation takes a design with
interval ≤ T, and whether that fits is monotone in T. DSPs alone give a bound at once; `Knapsack` decides where
DSPs, block RAM, UltraRAM and off-chip bandwidth pull apart. The answer is the exact optimum over all designs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.knapsack import Fit, Knapsack
from hass_train.hardware.dataflow.tables import Designs
from hass_train.hardware.estimate import CannotFit

Ints = NDArray[np.int64]

RESOURCES = ("dsp", "bram18", "uram")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device lets a design spend.

    Args:
        counts: (3,) DSPs, block RAMs, UltraRAMs.
        bits_per_cycle: off-chip bandwidth.
        image_bits: bits of one image in and one result out, which take their part of it.
    """

    counts: Ints
    bits_per_cycle: float
    image_bits: int

    def budget(self, interval: int, replicas: int) -> Ints:
        """(4,) what each of `replicas` copies may spend, the last in off-chip weight bits per image; -1 if not even
        the images get through."""
        stream = self.bits_per_cycle * interval / replicas - self.image_bits
        return np.append(self.counts // replicas, max(int(stream), -1))


@dataclass(frozen=True, slots=True)
class Demand:
    """Fewest DSPs of a whole network at each interval.

    Args:
        intervals: ascending, from the fastest that any number of DSPs reaches.
        dsp: falling; `dsp[k]` holds from `intervals[k]` up to the next.
    """

    intervals: Ints
    dsp: Ints

    @classmethod
    def of(cls, operations: Sequence[Designs]) -> Demand:
        """Sum of the operations' staircases."""
        stairs = [operation.staircase for operation in operations]
        fastest = max(int(intervals[0]) for intervals, _ in stairs)
        intervals = np.concatenate([steps for steps, _ in stairs])
        change = np.concatenate([np.append(dsp[:1], dsp[1:] - dsp[:-1]) for _, dsp in stairs])
        order = np.argsort(intervals, kind="stable")
        total = np.cumsum(change[order])
        intervals = intervals[order]
        last = np.append(intervals[1:] != intervals[:-1], True) & (intervals >= fastest)
        return cls(intervals[last], total[last])

    def at(self, interval: int) -> int:
        """Fewest DSPs at an interval not below the fastest."""
        return int(self.dsp[np.searchsorted(self.intervals, interval, side="right") - 1])

    def fastest_within(self, dsp: Ints) -> Ints:
        """Shortest interval for each DSP count; counts must allow the slowest interval."""
        return self.intervals[np.searchsorted(-self.dsp, -dsp, side="left")]


@dataclass(frozen=True, slots=True)
class Exploration:
    """The fastest design of a network.

    Args:
        interval: cycles per image of one replica.
        replicas: copies of the pipeline.
        designs: for each operation, which of its designs.
        weights_in: for each operation, where its weights live.
        resources: (4,) of one replica.
        demand: DSPs against interval, for those who ask what one step more would cost.
    """

    interval: int
    replicas: int
    designs: tuple[int, ...]
    weights_in: tuple[int, ...]
    resources: Ints
    demand: Demand


@dataclass(frozen=True, slots=True)
class _Found:
    interval: int
    replicas: int
    knapsack: Knapsack
    rows: Ints


def explore(
    operations: Sequence[Designs], limits: Limits, max_replicas: int = 0, tolerance: float = 0.0
) -> Exploration:
    """Find interval and replicas with the highest replicas / interval within the limits.

    Args:
        operations: designs of every operation of the network.
        limits: of the device.
        max_replicas: most copies; 0 = as many as fit.
        tolerance: how far above the optimal interval the answer may be, as a fraction; 0 = exact.

    Raises:
        CannotFit: not even one copy fits at any interval.
    """
    explorer = _Explorer(operations, limits, tolerance)
    many = int(limits.counts[0] // max(int(explorer.demand.dsp[-1]), 1))
    most = explorer.most_copies(min(many, max_replicas or many))
    if most == 0:
        raise CannotFit(explorer.why_unfit())
    copies = np.arange(1, most + 1)
    promise = zip(copies.tolist(), explorer.demand.fastest_within(limits.counts[0] // copies).tolist(), strict=True)
    best: _Found | None = None
    for replicas, fastest in sorted(promise, key=lambda pair: (-pair[0] / pair[1], pair[0])):
        bound = None if best is None else (1 - tolerance) * replicas * best.interval / best.replicas
        if bound is not None and fastest >= bound:
            break
        best = explorer.fastest_fit(replicas, fastest, bound) or best
    assert best is not None
    rows = best.knapsack.thrifty(best.rows, limits.budget(best.interval, best.replicas))
    chosen = list(zip(best.knapsack.choices, rows - best.knapsack.starts, strict=True))
    return Exploration(
        best.interval,
        best.replicas,
        tuple(int(choice.design[k]) for choice, k in chosen),
        tuple(int(choice.weights_in[k]) for choice, k in chosen),
        best.knapsack.resources[rows].sum(axis=0),
        explorer.demand,
    )


class _Explorer:
    def __init__(self, operations: Sequence[Designs], limits: Limits, tolerance: float) -> None:
        self.operations, self.limits, self.tolerance = operations, limits, tolerance
        self.demand = Demand.of(operations)
        self.slowest = int(self.demand.intervals[-1])

    def knapsack(self, interval: int, replicas: int) -> Knapsack:
        # what one operation may take beyond its fewest DSPs is what all together leave of the budget
        spare = int(self.limits.counts[0]) // replicas - self.demand.at(interval)
        return Knapsack([operation.choices(interval, max(spare, 0)) for operation in self.operations])

    def most_copies(self, most: int) -> int:
        """How many of at most `most` copies fit at all, at the slowest interval; bisection."""
        knapsack = self.knapsack(self.slowest, 1)
        low, high = 0, most + 1
        while high - low > 1:
            middle = (low + high) // 2
            fits = knapsack.fit(self.limits.budget(self.slowest, middle)) is not None
            low, high = (middle, high) if fits else (low, middle)
        return low

    def fastest_fit(self, replicas: int, fastest: int, bound: float | None) -> _Found | None:
        """Smallest interval ≥ `fastest`, below `bound`, at which the copies fit.

        Quick trials first narrow the answer to between the longest interval proved too short and the shortest with a
        design; the exact knapsack closes what gap is left, down to the tolerance.
        """
        high = self.slowest if bound is None else min(self.slowest, int(np.ceil(bound)) - 1)
        found: _Found | None = None
        proved = fastest - 1  # longest interval proved too short

        def attempt(interval: int, exact: bool) -> bool:
            nonlocal found, proved
            knapsack, budget = self.knapsack(interval, replicas), self.limits.budget(interval, replicas)
            rows = knapsack.fit(budget) if exact else knapsack.quick_fit(budget)
            if rows is None or rows is Fit.IMPOSSIBLE:
                proved = max(proved, interval)
            elif not isinstance(rows, Fit):
                found = _Found(interval, replicas, knapsack, rows)
                return True
            return False

        if high < fastest or attempt(fastest, exact=False):
            return found
        if bound is not None and not attempt(high, exact=True):
            return None  # the usual case: these copies cannot beat the best so far
        step = max(fastest // 16, 1)
        low = fastest  # the answer is often near what the DSPs alone allow
        while low + step < high and not attempt(low + step, exact=False):
            low, step = low + step, step * 2
        if found is None and not attempt(high, exact=True):
            return None
        assert found is not None
        for exact in (False, True):
            low = proved if exact else max(low, proved)
            while found.interval - low > 1 + self.tolerance * found.interval:
                middle = (low + found.interval) // 2
                if not attempt(middle, exact):
                    low = middle
        return found

    def why_unfit(self) -> str:
        """Which resource is short even for the slowest, smallest design."""
        choices = [one.choices(self.slowest, int(self.limits.counts[0])).resources for one in self.operations]
        least = np.sum([rows.min(axis=0) for rows in choices], axis=0)
        budget = self.limits.budget(self.slowest, 1)
        for name, need, limit in zip((*RESOURCES, "off-chip bits per image"), least, budget, strict=True):
            if need > limit:
                return f"one copy of the network needs at least {need:,} {name}; the device has {limit:,}"
        largest = max(range(len(choices)), key=lambda k: int(choices[k][:, 1].min()))
        return (
            f"one copy of the network has no design within {budget[0]:,} dsp, {budget[1]:,} bram18 and {budget[2]:,} "
            f"uram together (its largest buffers take {int(choices[largest][:, 1].min()):,} bram18)"
        )
