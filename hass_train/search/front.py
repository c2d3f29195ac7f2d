"""Pareto fronts of points in a plane, and their hyper-volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area that points dominate beyond a reference, both coordinates being better the larger they are.

    Args:
        points: any number, in any order.
        reference: points not better than it in both coordinates count nothing.
    """
    area, reached = 0.0, reference[1]
    for x, y in sorted(points, reverse=True):
        if x > reference[0] and y > reached:
            area += (x - reference[0]) * (y - reached)
            reached = y
    return area
