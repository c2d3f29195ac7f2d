"""Sums over the lanes of engines, for one engine or for many side by side.

Lane j of N takes the positions j, j + N, … of M, so that lanes have one of two sizes; what else differs from lane to
lane is looked up in running sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div

Ints = NDArray[np.int64]


def least(one: Any, other: Any) -> Any:
    """The smaller of two numbers, or of the numbers of two arrays."""
    return one + (other - one) * (other < one)


def largest_lanes(positions: Any, multipliers: Any) -> Any:
    """How many of N lanes, the first ones, have ⌈M/N⌉ positions; the others have one less."""
    return positions - (ceil_div(positions, multipliers) - 1) * multipliers


def lanes_choosing(positions: Any, multipliers: Any) -> Any:
    """How many of N lanes, the first ones, have several positions to choose from."""
    return least(positions - least(positions, multipliers), multipliers)


def over_sizes(positions: Any, multipliers: Any, counted: Callable[[Any], Any]) -> Any:
    """The sum of something over the lanes of an engine, by the number of positions of each."""
    most, many = ceil_div(positions, multipliers), largest_lanes(positions, multipliers)
    return many * counted(most) + (multipliers - many) * counted(most - 1)


def over_numbers(kinds: Any, count: Any, counted: Callable[[Any, Ints], Any]) -> Any:
    """The sum of something over the numbers 0, 1, … below a count.

    Args:
        kinds, count: of one engine, or of each; `counted` differs between kinds.
        counted: of (kinds, 1) different kinds and (numbers,) numbers, all it is for them.
    """
    different, which = np.unique(kinds, return_inverse=True)
    numbers = np.arange(int(np.max(count, initial=0)))
    each = np.broadcast_to(counted(different[:, None], numbers), (len(different), len(numbers)))
    return running(each)[which.reshape(np.shape(kinds)), count]


def running(values: Any) -> Any:
    """(…, n + 1) sums over the first 0, 1, … n of (…, n) values."""
    sums = np.cumsum(values, axis=-1)
    return np.concatenate([np.zeros((*sums.shape[:-1], 1), sums.dtype), sums], axis=-1)
