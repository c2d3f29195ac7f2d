"""Engines side by side are not equally busy: how much longer a round takes than one engine's mean (section 2).

In *lock-step* a round takes as long as its slowest engine, E[max ⌈nnz/N⌉], with what engines depend on each other taken
from `Lanes`. *Decoupled* engines, each behind a FIFO of D rounds, may be D rounds ahead of the slowest; what is lost
falls as 1/(1 + D/ℓ), as in queues that fork and join through finite buffers, where ℓ is how many rounds a difference
between engines lasts. Filters meet other kernels in every round (ℓ = 1). Channels keep their activations, and columns
their pixels, over a number of rounds, though with other kernels each time: ℓ is the root of it. What is left of the
channels' differences in the mean over a pixel's blocks lasts as long as the map looks alike, some pixels. Two of the
differences never end: between channels that are always denser than others (`balance`), and between kernels: an engine
meets the same R in every pixel, and the slowest of L is z·σ·√(share/R) above the mean, z the expected maximum of L
normal draws. The two constants are rounded from simulations of single layers (`benchmarks/truth.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.initiation import initiation_intervals, multiplier_choices
from hass_train.hardware.lanes import LEVELS, Lanes, interpolation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Engines = Literal["auto", "lockstep", "decoupled", "averaged"]

_KEPT = 0.5  # of channels' differences that a pixel's mean keeps where one block holds all channels
_ALIKE = 4.0  # pixels over which the density of activations lasts


@dataclass(frozen=True)
class Rounds:
    """Cycles of rounds of engines of one bundle size, in lock-step.

    Args:
        lanes: of the layer.
        bundle: channels of an engine.
        histogram: non-zero pairs of its initiations.
        t_min: least cycles of one.
    """

    lanes: Lanes
    bundle: int
    histogram: Floats
    t_min: int

    @cached_property
    def alone(self) -> Floats:
        """(choices,) of one engine, for each N of `multiplier_choices`."""
        return initiation_intervals(self.histogram, self.t_min)

    @cached_property
    def spread(self) -> Floats:
        """(choices,) standard deviation of one engine's cycles between kernels."""
        pairs = np.arange(len(self.histogram))
        cycles = np.maximum(ceil_div(pairs, multiplier_choices(len(pairs) - 1)[:, None]), self.t_min)
        variance = np.maximum(cycles**2 @ self.histogram - (cycles @ self.histogram) ** 2, 0.0)
        return np.asarray(np.sqrt(variance * self.lanes.lasting_of(self.bundle)))

    @cached_property
    def _planes(self) -> dict[int, Floats]:
        """By columns: (channels, filters, choices) at the grid points of the lanes, filled as asked for."""
        return {}

    @cached_property
    def _table(self) -> Floats:
        """(columns, channels, filters, choices) at the grid points of the lanes."""
        below = np.clip(np.cumsum(self.histogram), 0.0, 1.0)
        each = self.lanes.of_bundle(self.bundle)
        k = each.reshape(-1, each.shape[-1]) @ _at_levels(logit(below)).T  # (points of the grid, non-zero pairs)
        largest = np.diff(below**k, axis=1, prepend=0.0)
        return np.asarray(initiation_intervals(largest, self.t_min).reshape(*each.shape[:-1], -1))

    def slowest(self, columns: int, channels: Ints, choice: Ints, filters: Ints) -> Floats:
        """Cycles of the slowest of so many engines.

        Args:
            columns: side by side.
            channels, choice: (rows,) bundles side by side, and which N.
            filters: (filters,) side by side.

        Returns:
            (rows, filters).
        """
        if columns not in self._planes:
            weights = interpolation(self.lanes.columns, np.array([columns]))[0]
            self._planes[columns] = np.tensordot(weights, self._table, axes=1)
        different, place = np.unique(channels, return_inverse=True)
        over_channels = np.tensordot(interpolation(self.lanes.channels, different), self._planes[columns], axes=1)
        own = over_channels[place, :, choice]  # (rows, filters of the grid)
        return np.asarray(own @ interpolation(self.lanes.filters, filters).T)


def _at_levels(at: Floats) -> Floats:
    """(points, levels) weights that interpolate between `LEVELS`, linearly in the logit; constant beyond their ends."""
    return np.stack([np.interp(at, logit(np.array(LEVELS)), unit) for unit in np.eye(len(LEVELS))], axis=1)


def logit(level: Floats) -> Floats:
    """log u/(1−u), finite at both ends."""
    inside = np.clip(level, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


@dataclass(frozen=True, slots=True)
class Slowest:
    """Cycles of a round by what computes side by side, each (rows, filters).

    Args:
        alone: of one engine.
        spread: (rows, 1) standard deviation between kernels.
        lanes: engines with kernels of their own.
        over_filters, over_channels, over_columns: of the slowest, in lock-step.
    """

    alone: Floats
    spread: Floats
    lanes: Floats
    over_filters: Floats
    over_channels: Floats
    over_columns: Floats


def round_cycles(slowest: Slowest, uneven: Floats, blocks: Floats, rounds: Floats, fifo: int) -> Floats:
    """Cycles of a round, on average, waiting for slower engines included.

    Args:
        slowest: of engines in lock-step.
        uneven: (rows, 1) the persistently slowest lane over the mean.
        blocks: (rows, 1) blocks of channels and groups.
        rounds: (rows, filters) of a pixel.
        fifo: rounds that an engine may be ahead; 0 = lock-step.

    Returns:
        (rows, filters).
    """
    mean = slowest.alone * uneven
    over_channels = np.maximum(slowest.over_channels, slowest.over_filters)
    over_columns = np.maximum(slowest.over_columns, over_channels)
    if not fifo:
        return np.maximum(over_columns, mean)
    whole = np.maximum(over_columns - slowest.alone, 1e-12)
    lasting = np.minimum(expected_maximum(slowest.lanes) * slowest.spread / np.sqrt(rounds), whole)
    kept = _KEPT / np.sqrt(blocks)
    lost = (slowest.over_filters - slowest.alone) / (1 + fifo)
    alike = np.sqrt(rounds / blocks)  # blocks of filters share a window
    passing = (1 - kept) / (1 + fifo / alike) + kept / (1 + fifo / (rounds * _ALIKE))
    lost = lost + (over_channels - slowest.over_filters) * passing
    lost = lost + (over_columns - over_channels) / (1 + fifo / np.sqrt(rounds))
    return np.asarray(mean + lasting + (1 - lasting / whole) * lost)


def expected_maximum(draws: Floats) -> Floats:
    """Expected largest of n standard normal draws (Blom's approximation)."""
    return np.asarray(ndtri((draws - 0.375) / (draws + 0.25)))
