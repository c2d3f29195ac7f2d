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

The two constants, in `rounds_kernel`, are rounded from simulations of single layers (`benchmarks/truth.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hass_train.hardware.dataflow.costs import rounds_kernel
from hass_train.hardware.dataflow.costs.engine_rounds import pooled_cycles
from hass_train.hardware.dataflow.costs.initiation import initiation_intervals, multiplier_choices
from hass_train.hardware.dataflow.costs.lane_cycles import loads
from hass_train.hardware.dataflow.costs.padded_lanes import Borders, fullest_padded, lanes_in_use
from hass_train.hardware.lanes import LEVELS, Lanes, axis_place, interpolation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Engines = Literal["auto", "lockstep", "decoupled", "averaged"]


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
        borders: what the layer's windows read of the map.
    """

    lanes: Lanes
    bundle: int
    histogram: Floats
    t_min: int
    by_lanes: bool = False
    borders: Borders = ()

    @cached_property
    def alone(self) -> Floats:
        """(choices,) mean cycles of one engine by itself, for each N of `multiplier_choices`."""
        if self.by_lanes:
            return np.asarray(1.0 + np.add.reduceat(1.0 - self._below, loads(len(self.histogram) - 1)[2]))
        return initiation_intervals(self.histogram, self.t_min)

    @cached_property
    def deviation(self) -> Floats:
        """(choices,) standard deviation of one engine's cycles that lies between kernels, for each N."""
        lasting = self.lanes.lasting_of(self.bundle)
        if not lasting:
            return np.zeros(len(self.alone))
        pairs = np.arange(len(self.histogram))
        if self.by_lanes:
            _, x, starts = loads(len(pairs) - 1)  # E[t²] = 1 + Σ (2x + 1)·P(t > x)
            squares = 1.0 + np.add.reduceat((2 * x + 1) * (1.0 - self._below), starts)
        else:
            cycles = pooled_cycles(pairs, multiplier_choices(len(pairs) - 1)[:, None], self.t_min)
            squares = cycles**2 @ self.histogram
        variance = np.maximum(squares - self.alone**2, 0.0)
        return np.asarray(np.sqrt(variance * lasting))

    @cached_property
    def _below(self) -> Floats:
        """(levels,) the probability that an engine has at most so many non-zeros, or its fullest lane at most x."""
        if self.by_lanes:
            return fullest_padded(self.histogram, self.borders, self.lanes.fullest if self.bundle == 1 else ())
        return np.asarray(np.clip(np.cumsum(self.histogram), 0.0, 1.0))

    def slowest(self, columns: int, channels: Ints, choice: Ints, filters: Ints) -> Floats:
        """The mean cycles of the slowest of columns × channels × filters engines.

        Args:
            columns: columns side by side.
            channels, choice: (rows,) bundles side by side, and the index of N in `multiplier_choices`.
            filters: (filters,) numbers of filters side by side.

        Returns:
            (rows, filters) cycles.
        """
        (own,) = self.at_filters([(np.full_like(channels, columns), channels)], choice)
        return np.asarray(own @ interpolation(self.lanes.filters, filters).T)

    def at_filters(self, beside: Sequence[tuple[Ints, Ints]], choice: Ints, points: int = 0) -> Floats:
        """The same at the lanes' grid points of filters, between which `slowest` interpolates.

        Args:
            beside: some (rows,) columns and bundles side by side.
            choice: (rows,) as of `slowest`.
            points: how many of the grid points; 0 = all.

        Returns:
            (len(beside), rows, points) cycles.
        """
        pairs = len(self.histogram) - 1
        if self.by_lanes:
            _, x, first = loads(pairs)
            last, step, least, empty = np.append(first[1:], len(x)), np.ones_like(first), 1, 0
        else:  # more than 0, N, 2N, … non-zeros
            step = multiplier_choices(pairs)
            first, last, least, empty = np.zeros_like(step), np.full_like(step, pairs), 0, self.t_min
        logs = self.lanes.logs
        logs = np.ascontiguousarray(logs[:, :, :, : points or logs.shape[3]])
        sizes = axis_place(self.lanes.bundles, self.bundle / self._share)
        columns, channels = (np.concatenate(side) for side in zip(*beside, strict=True))
        found = rounds_kernel.slowest(
            self._below, self._level, logs, sizes, (first, last, step), least, empty,
            axis_place(self.lanes.columns, columns), axis_place(self.lanes.channels, channels), choice,
        )  # fmt: skip
        return np.asarray(found.reshape(len(beside), len(choice), -1))

    @cached_property
    def _share(self) -> Floats:
        """(choices,) the number of parts of an engine's window that are counted apart.

        A lane of N is to lanes of other engines about as a bundle of a N-th of the channels is to others, so that the
        fullest of all depend on each other as those do at the level of a single lane.
        """
        pairs = len(self.histogram) - 1
        return lanes_in_use(pairs, self.borders) if self.by_lanes else np.ones(len(multiplier_choices(pairs)))

    @cached_property
    def _level(self) -> Floats:
        """(levels,) where the probabilities lie among `LEVELS`, by their logits; constant beyond them."""
        below = self._below
        if self.by_lanes:
            lanes, _, first = loads(len(self.histogram) - 1)
            below = below ** np.repeat(1.0 / self._share, np.diff(first, append=len(lanes)))
        return np.interp(logit(below), _LOGITS, np.arange(len(LEVELS), dtype=float))


def logit(level: Floats) -> Floats:
    """log u/(1−u), kept finite at both ends."""
    inside = np.clip(level, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


_LOGITS = logit(np.array(LEVELS))


@dataclass(frozen=True, slots=True)
class LockstepCycles:
    """Mean cycles of a round in lock-step, by how many compute engines run side by side; each (rows, filters).

    Args:
        alone: (rows, 1) cycles of one engine by itself.
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
    over = (lockstep.over_filters, lockstep.over_channels, lockstep.over_columns)
    by_row = (np.ascontiguousarray(one[:, 0]) for one in (lockstep.alone, lockstep.deviation, uneven, blocks))
    lasts = fifo > 0 and lockstep.deviation.any()
    largest = expected_maximum(lockstep.engines) if lasts else np.zeros((1, 1))
    return np.asarray(rounds_kernel.waiting(*by_row, *over, largest, rounds, fifo))


def expected_maximum(draws: Floats) -> Floats:
    """The expected largest of n standard normal draws, by Blom's approximation."""
    return np.asarray(ndtri((draws - 0.375) / (draws + 0.25)))
