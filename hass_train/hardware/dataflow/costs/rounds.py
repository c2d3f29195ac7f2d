"""How long a round of compute engines takes that are not equally busy (hardware-model, section 2).

In *lock-step* a round takes as long as its slowest engine, E[max ⌈nnz/N⌉], where `Lanes` says how far engines depend on
each other. *Decoupled* engines, each behind a FIFO of D rounds, may be D rounds ahead of the slowest. What is lost then
falls as 1/(1 + D/ℓ), as in queues that fork and join through finite buffers, where ℓ is the number of rounds that a
difference between engines lasts:

- filters meet other kernels in every round: ℓ = 1;
- channels keep their activations, and columns their pixels, over a number of rounds, though with other kernels each
  time: ℓ is the root of that number. What remains of the channels' differences in the mean over a pixel's blocks lasts
  for some pixels, as long as the map looks alike;
- two differences never end: between channels that are always denser than others (`balance`), and between kernels. An
  engine meets the same R kernels in every pixel, and the slowest of L engines is z·σ·√(share/R) above the mean, where z
  is the expected maximum of L normal draws.

The two constants are rounded from simulations of single layers (`benchmarks/truth.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hass_train.hardware.dataflow.costs.engine_rounds import pooled_cycles
from hass_train.hardware.dataflow.costs.initiation import initiation_intervals, multiplier_choices
from hass_train.hardware.dataflow.costs.lane_cycles import fullest_lane, loads
from hass_train.hardware.lanes import LEVELS, Lanes, interpolation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Engines = Literal["auto", "lockstep", "decoupled", "averaged"]

_KEPT = 0.5  # share of the channels' differences that a pixel's mean keeps where one block holds all channels
_ALIKE = 4.0  # pixels for which the density of activations lasts


@dataclass(frozen=True)
class LockstepRounds:
    """The cycles of a layer's rounds where compute engines of one bundle size run in lock-step.

    Args:
        lanes: how engines side by side depend on each other.
        bundle: channels of one engine.
        histogram: (pairs + 1,) distribution of what is not zero in an initiation: pairs or activations.
        t_min: least cycles of an initiation where multipliers take any position; with lanes it is 1.
        by_lanes: whether each multiplier takes only positions of its own, so that its fullest lane sets an engine's
            cycles (`lane_cycles`).
    """

    lanes: Lanes
    bundle: int
    histogram: Floats
    t_min: int
    by_lanes: bool = False

    @cached_property
    def alone(self) -> Floats:
        """(choices,) mean cycles of one engine by itself, for each N of `multiplier_choices`."""
        return self._cycles(self._below)

    @cached_property
    def deviation(self) -> Floats:
        """(choices,) standard deviation of one engine's cycles that lies between kernels, for each N."""
        pairs = np.arange(len(self.histogram))
        if self.by_lanes:
            _, x, starts = loads(len(pairs) - 1)  # E[t²] = 1 + Σ (2x + 1)·P(t > x)
            squares = 1.0 + np.add.reduceat((2 * x + 1) * (1.0 - self._below), starts)
        else:
            cycles = pooled_cycles(pairs, multiplier_choices(len(pairs) - 1)[:, None], self.t_min)
            squares = cycles**2 @ self.histogram
        variance = np.maximum(squares - self.alone**2, 0.0)
        return np.asarray(np.sqrt(variance * self.lanes.lasting_of(self.bundle)))

    @cached_property
    def _below(self) -> Floats:
        """(levels,) the probability that an engine has at most so many non-zeros, or its fullest lane at most x."""
        if self.by_lanes:
            return fullest_lane(self.histogram)
        return np.asarray(np.clip(np.cumsum(self.histogram), 0.0, 1.0))

    def _cycles(self, below: Floats) -> Floats:
        """(…, choices) mean cycles where those probabilities are (…, levels)."""
        if self.by_lanes:
            starts = loads(len(self.histogram) - 1)[2]
            return np.asarray(1.0 + np.add.reduceat(1.0 - below, starts, axis=-1))
        return initiation_intervals(np.diff(below, axis=-1, prepend=0), self.t_min)

    @cached_property
    def _planes(self) -> dict[int, Floats]:
        """The (channels, filters, choices) cycles at the lanes' grid points, by number of columns; filled on demand."""
        return {}

    @cached_property
    def _table(self) -> Floats:
        """(columns, channels, filters, choices) cycles of the slowest engine at the lanes' grid points."""
        each = self.lanes.of_bundle(self.bundle)
        k = each.reshape(-1, each.shape[-1]) @ _at_levels(logit(self._below)).T  # (points of the grid, levels)
        return np.asarray(self._cycles(self._below**k).reshape(*each.shape[:-1], -1))

    def slowest(self, columns: int, channels: Ints, choice: Ints, filters: Ints) -> Floats:
        """The mean cycles of the slowest of columns × channels × filters engines.

        Args:
            columns: columns side by side.
            channels, choice: (rows,) bundles side by side, and the index of N in `multiplier_choices`.
            filters: (filters,) numbers of filters side by side.

        Returns:
            (rows, filters) cycles.
        """
        if columns not in self._planes:
            weights = interpolation(self.lanes.columns, np.array([columns]))[0]
            self._planes[columns] = np.tensordot(weights, self._table, axes=1)
        different, place = np.unique(channels, return_inverse=True)
        over_channels = np.tensordot(interpolation(self.lanes.channels, different), self._planes[columns], axes=1)
        own = over_channels[place, :, choice]  # (rows, filters of the grid)
        return np.asarray(own @ interpolation(self.lanes.filters, filters).T)


def _at_levels(at: Floats) -> Floats:
    """(points, levels) weights that interpolate linearly between the logits of `LEVELS`, constant beyond them."""
    return np.stack([np.interp(at, logit(np.array(LEVELS)), unit) for unit in np.eye(len(LEVELS))], axis=1)


def logit(level: Floats) -> Floats:
    """log u/(1−u), kept finite at both ends."""
    inside = np.clip(level, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


@dataclass(frozen=True, slots=True)
class LockstepCycles:
    """Mean cycles of a round in lock-step, by how many compute engines run side by side; each (rows, filters).

    Args:
        alone: cycles of one engine by itself.
        deviation: (rows, 1) standard deviation of one engine's cycles that lies between kernels.
        engines: number of engines with kernels of their own.
        over_filters, over_channels, over_columns: cycles of the slowest engine of a column and bundle, of a column, and
            of all.
    """

    alone: Floats
    deviation: Floats
    engines: Floats
    over_filters: Floats
    over_channels: Floats
    over_columns: Floats


def round_cycles(lockstep: LockstepCycles, uneven: Floats, blocks: Floats, rounds: Floats, fifo: int) -> Floats:
    """The mean cycles of a round, waiting for slower compute engines included.

    Args:
        lockstep: cycles of the same engines in lock-step.
        uneven: (rows, 1) load imbalance: the always slowest stream over the mean.
        blocks: (rows, 1) blocks of channels and groups that a pixel takes.
        rounds: (rows, filters) rounds that a pixel takes.
        fifo: rounds that an engine may be ahead of the slowest; 0 = lock-step.

    Returns:
        (rows, filters) cycles.
    """
    mean = lockstep.alone * uneven
    over_channels = np.maximum(lockstep.over_channels, lockstep.over_filters)
    over_columns = np.maximum(lockstep.over_columns, over_channels)
    if not fifo:
        return np.maximum(over_columns, mean)
    whole = np.maximum(over_columns - lockstep.alone, 1e-12)
    lasting = np.minimum(expected_maximum(lockstep.engines) * lockstep.deviation / np.sqrt(rounds), whole)
    kept = _KEPT / np.sqrt(blocks)
    lost = (lockstep.over_filters - lockstep.alone) / (1 + fifo)
    alike = np.sqrt(rounds / blocks)  # blocks of filters share a window
    passing = (1 - kept) / (1 + fifo / alike) + kept / (1 + fifo / (rounds * _ALIKE))
    lost = lost + (over_channels - lockstep.over_filters) * passing
    lost = lost + (over_columns - over_channels) / (1 + fifo / np.sqrt(rounds))
    return np.asarray(mean + lasting + (1 - lasting / whole) * lost)


def expected_maximum(draws: Floats) -> Floats:
    """The expected largest of n standard normal draws, by Blom's approximation."""
    return np.asarray(ndtri((draws - 0.375) / (draws + 0.25)))
