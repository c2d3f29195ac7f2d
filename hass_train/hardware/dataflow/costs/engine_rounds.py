"""How many cycles each round of a compute engine takes, from the operands that it meets (engines, section 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


# ---- engines that skip zeros of weights or of pairs ------------------------------------------------------------------


def pooled_rounds(nonzero: Bools, multipliers: int) -> Ints:
    """The cycles of rounds whose multipliers take any of the window's positions: `weight`, `crossbar`.

    Args:
        nonzero: (rounds, engines, positions) whether a weight, or a pair, counts; engines run in lock-step.
        multipliers: N of each engine.

    Returns:
        (rounds,) max over engines of ⌈non-zeros / N⌉, at least 1.
    """
    return np.asarray(np.maximum(-(-nonzero.sum(2).max(1) // multipliers), 1), np.int64)


def lane_rounds(nonzero: Bools, multipliers: int) -> Ints:
    """The cycles of rounds whose multiplier j takes the positions k with k mod N = j alone: `weight` by lanes, `pair`.

    Args:
        nonzero: (rounds, engines, positions) whether a weight, or a pair, counts; engines run in lock-step.
        multipliers: N of each engine.

    Returns:
        (rounds,) max over engines and lanes of the lane's non-zeros, at least 1.
    """
    lanes = np.stack([nonzero[..., lane::multipliers].sum(2) for lane in range(multipliers)], axis=2)
    return np.asarray(np.maximum(lanes.max((1, 2)), 1), np.int64)
