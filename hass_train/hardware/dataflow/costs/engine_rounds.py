"""The cycles that compute engines take for a round, a filter block meeting a window: what the RTL asserts (engines.md).

M positions are shared out among N lanes: lane j owns the positions k with k mod N = j, ⌈M/N⌉ of them or one less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div

Ints = NDArray[np.int64]


def dense_cycles(positions: int, multipliers: int) -> int:
    """The cycles of a round of a `dense` engine: ⌈M/N⌉."""
    return int(ceil_div(positions, multipliers))


def lane_counts(nonzero: NDArray[np.bool_], multipliers: int) -> Ints:
    """How many of its positions every lane has to take.

    Args:
        nonzero: (…, M) which positions are not zero.
        multipliers: N lanes.

    Returns:
        (…, N) positions.
    """
    return np.stack([nonzero[..., lane::multipliers].sum(axis=-1) for lane in range(multipliers)], axis=-1)


def activation_cycles(nonzero: NDArray[np.bool_], multipliers: int) -> Ints:
    """The cycles of a round of `activation` engines in lock-step: the fullest lane's non-zeros, at least 1.

    Args:
        nonzero: (windows, engines, M) which activations are not zero.
        multipliers: N lanes of each engine.

    Returns:
        (windows,) cycles of each round that meets the window.
    """
    return np.maximum(lane_counts(nonzero, multipliers).max(axis=(1, 2)), 1)
