"""Whole-number arithmetic of folds: divisions rounded up, and the parallelisms that are worth building."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@overload
def ceil_div(numerator: int, denominator: int) -> int: ...
@overload
def ceil_div(numerator: float, denominator: float) -> float: ...
@overload
def ceil_div(numerator: Ints, denominator: int | Ints) -> Ints: ...
@overload
def ceil_div(numerator: int, denominator: Ints) -> Ints: ...
def ceil_div(numerator: Any, denominator: Any) -> Any:
    """⌈numerator / denominator⌉, exact in integers.

    Args:
        numerator, denominator: numbers or arrays that broadcast; the denominator is positive.

    Returns:
        A number for two numbers, otherwise an array. Floats stay floats.
    """
    return -(-numerator // denominator)


def useful_folds(dimension: int, divisors_only: bool = False) -> list[int]:
    """The parallelisms worth building for a dimension: the smallest p for each value of ⌈dimension/p⌉, ascending.

    A larger parallelism with the same number of passes would cost more and gain nothing. With `divisors_only`, these
    are the divisors of the dimension (the peer's rule).
    """
    if divisors_only:
        small = [p for p in range(1, math.isqrt(dimension) + 1) if dimension % p == 0]
        return sorted({*small, *(dimension // p for p in small)})
    return sorted({ceil_div(dimension, passes) for passes in range(1, dimension + 1)})


def spaced(values: list[int], ratio: float) -> list[int]:
    """Those of some ascending values that are at least `ratio` times the one kept before, and always the last."""
    kept = values[:1]
    for value in values[1:]:
        if value >= ratio * kept[-1]:
            kept.append(value)
    return kept if kept[-1] == values[-1] else [*kept, values[-1]]
