"""How much of a resource, or of a weighted sum of resources, a whole network needs at each interval; and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs.laid import Laid, steps
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device lets a design spend.

    Args:
        counts: (5,) DSPs, block RAMs, UltraRAMs, LUTs and flip-flops; infinite for one that does not count.
        bits_per_cycle: off-chip bandwidth; infinite if it does not count.
        image_bits: bits of one image in and one result out, which take their share of the bandwidth.
    """

    counts: Floats
    bits_per_cycle: float
    image_bits: int

    def budget(self, interval: int, replicas: int) -> Floats:
        """(6,) what each of `replicas` copies may spend at an interval.

        The last is in off-chip bits per image beside the image itself, and −1 if not even the images get through.
        """
        bits = self.bits_per_cycle * interval / replicas - self.image_bits
        return np.append(np.floor(self.counts / replicas), bits if bits >= 0 else -1.0)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(6,) whether each resource is limited."""
        return np.isfinite(np.append(self.counts, self.bits_per_cycle))


@dataclass(frozen=True, slots=True)
class Demand:
    """The least weighted sum of resources over all operations, as a step function of the interval.

    Args:
        weights: (6,) weights of the sum, ≥ 0; 0 for a resource that does not count.
        intervals: (steps,) ascending, from the fastest that any design reaches.
        need: (steps,) falling; `need[k]` holds from `intervals[k]` up to the next interval.
    """

    weights: Floats
    intervals: Ints
    need: Floats

    @classmethod
    def of(cls, blocks: Sequence[Laid], weights: Floats) -> Demand:
        """The demand of a network: the sum of its tables' staircases. Every table has a design.

        Args:
            blocks: the tables, some of them laid end to end.
            weights: (6,) weights of the sum.
        """
        ats, changes, fastest = zip(*(steps(block, weights) for block in blocks), strict=True)
        at, by = np.concatenate(ats), np.concatenate(changes)
        order = np.argsort(at, kind="stable")
        total, intervals = np.cumsum(by[order]), at[order]
        last = np.append(intervals[1:] != intervals[:-1], True) & (intervals >= max(fastest))
        return cls(weights, intervals[last], total[last])

    def at(self, interval: int) -> float:
        """The need at an interval, which must not be below the fastest."""
        return float(self.need[np.searchsorted(self.intervals, interval, side="right") - 1])

    def fastest(self, limits: Limits, replicas: int) -> float:
        """A lower bound of the interval at which `replicas` copies could fit; infinite if they never do."""
        per_cycle = self.weights[BANDWIDTH] * limits.bits_per_cycle / replicas if self.weights[BANDWIDTH] else 0.0
        fixed = np.floor(limits.counts / replicas)
        held = self.weights[:BANDWIDTH] > 0
        have = float((self.weights[:BANDWIDTH] * np.where(held, fixed, 0.0)).sum())
        if per_cycle:
            have -= self.weights[BANDWIDTH] * limits.image_bits
        short = self.need - have - 1e-9 * (1 + abs(have))
        if not per_cycle:
            enough = np.flatnonzero(short <= 0)
            return float(self.intervals[enough[0]]) if len(enough) else np.inf
        needed = np.maximum(self.intervals, short / per_cycle)
        within = needed < np.append(self.intervals[1:].astype(float), np.inf)
        return float(np.ceil(needed[np.argmax(within)] * (1 - 1e-9)))
