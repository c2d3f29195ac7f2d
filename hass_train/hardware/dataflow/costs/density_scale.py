"""How rounds grow with a density, for designs whose cycles are known at a density nearby.

What a kind's mean round takes by itself at some densities is kept for every M, with zeros independent of each other.
The ratio between two densities is then two interpolations, where the exact distributions take a hundred times as long.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.initiation import binomial, initiation_intervals
from hass_train.hardware.dataflow.costs.lane_cycles import lane_cycles

Floats = NDArray[np.float64]

_LEVELS = 32  # densities between which cycles are interpolated


def rounds_ratio(positions: int, before: float, after: float, t_min: int, lanes: bool) -> Floats:
    """(choices,) the mean cycles of an engine's round at one density over those at another, for each N.

    Args:
        positions: M.
        before, after: densities of what the kind skips by.
        t_min: least cycles of a round; with lanes it is 1.
        lanes: whether each multiplier takes only positions of its own.
    """
    cycles = [_at(_levels(positions, t_min, lanes), density) for density in (after, before)]
    return np.asarray(cycles[0] / np.maximum(cycles[1], 1e-9))


def _at(table: Floats, density: float) -> Floats:
    """(choices,) cycles at a density."""
    place = density * _LEVELS
    below = min(int(place), _LEVELS - 1)
    return np.asarray(table[below] + (place - below) * (table[below + 1] - table[below]))


@lru_cache(maxsize=4096)
def _levels(positions: int, t_min: int, lanes: bool) -> Floats:
    """(_LEVELS + 1, choices) cycles at the densities 0, 1/_LEVELS, … 1."""
    histograms = np.stack([binomial(positions, k / _LEVELS) for k in range(_LEVELS + 1)])
    return lane_cycles(histograms) if lanes else initiation_intervals(histograms, t_min)
