"""The cycles that a round of compute engines takes, from the operands that it meets (hardware-model, section 2).

In a round a window of M positions meets a block of filters; engines side by side begin and end it together. What is
asserted of the RTL, cycle by cycle, is what the dataflow model takes the expectation of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def dense_rounds(positions: Any, multipliers: Any) -> Any:
    """The cycles of every round of `dense` engines, ⌈M/N⌉, for numbers or arrays."""
    return ceil_div(positions, multipliers)


def pooled_cycles(nonzeros: Any, multipliers: Any, least: int = 1) -> Any:
    """The cycles in which one engine of N multipliers takes some pairs, whichever they are: ⌈pairs / N⌉, at least 1.

    Args:
        nonzeros, multipliers: numbers or arrays that broadcast.
        least: cycles of a round without any pair; the peer's rule is 0.
    """
    return np.maximum(ceil_div(nonzeros, multipliers), least)


def pooled_rounds(nonzero: Bools, multipliers: int) -> Ints:
    """The cycles of rounds whose multipliers take any of the window's positions: `weight`, `crossbar`.

    Args:
        nonzero: (rounds, engines, positions) whether an activation, weight or pair counts; engines run in lock-step.
        multipliers: N of each engine.

    Returns:
        (rounds,) max over engines of ⌈non-zeros / N⌉, at least 1.
    """
    return np.asarray(pooled_cycles(nonzero.sum(2).max(1), multipliers), np.int64)


def lane_rounds(nonzero: Bools, multipliers: int) -> Ints:
    """The cycles of rounds whose multiplier j takes positions j, j + N, …: `activation`, `pair`, `weight` by lanes.

    Args:
        nonzero: (rounds, engines, positions) whether an activation, weight or pair counts; engines run in lock-step.
        multipliers: N of each engine.

    Returns:
        (rounds,) max over engines and lanes of the lane's non-zeros, at least 1.
    """
    lanes = np.stack([nonzero[..., lane::multipliers].sum(2) for lane in range(multipliers)], axis=2)
    return np.asarray(np.maximum(lanes.max((1, 2)), 1), np.int64)
