"""How rounds grow with a density, for designs whose cycles are known at a density nearby.

What a kind's mean round takes by itself at some densities is kept for every M, with zeros independent of each other.
The ratio between two densities is then two interpolations, for many designs at once, where the exact distributions take
a hundred times as long.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.initiation import binomial, initiation_intervals
from hass_train.hardware.dataflow.costs.lane_cycles import lane_cycles

Floats = NDArray[np.float64]

_LEVELS = 32  # densities between which cycles are interpolated


def rounds_ratio(cycles: Floats, before: float, after: float) -> Floats:
    """(designs,) the mean cycles of an engine's round at one density over those at another.

    Args:
        cycles: (levels, designs) of their `rounds_by_density`.
        before, after: densities of what their kind skips by.
    """
    return np.asarray(_at(cycles, after) / np.maximum(_at(cycles, before), 1e-9))


def _at(cycles: Floats, density: float) -> Floats:
    """(designs,) cycles at a density."""
    place = density * _LEVELS
    below = min(int(place), _LEVELS - 1)
    return np.asarray(cycles[below] + (place - below) * (cycles[below + 1] - cycles[below]))


@lru_cache(maxsize=4096)
def rounds_by_density(positions: int, t_min: int, lanes: bool) -> Floats:
    """(levels, choices) the mean cycles of an engine's round at densities from 0 to 1, for each N.

    Args:
        positions: M.
        t_min: least cycles of a round; with lanes it is 1.
        lanes: whether each multiplier takes only positions of its own.
    """
    histograms = np.stack([binomial(positions, k / _LEVELS) for k in range(_LEVELS + 1)])
    return lane_cycles(histograms) if lanes else initiation_intervals(histograms, t_min)
