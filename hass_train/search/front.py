"""Which of several points no other one beats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def front(points: Iterable[T], fast: Callable[[T], float], accurate: Callable[[T], float]) -> list[T]:
    """Points that no other one matches or beats in both respects, the fastest first; of equal ones the first.

    Args:
        points: any number, in any order.
        fast, accurate: what is better the larger it is.
    """
    best: list[T] = []
    for point in sorted(points, key=lambda one: (-fast(one), -accurate(one))):
        if not best or accurate(point) > accurate(best[-1]):
            best.append(point)
    return best
