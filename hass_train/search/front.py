"""Pareto fronts of points in a plane, and their hypervolume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def front(points: Iterable[T], fast: Callable[[T], float], accurate: Callable[[T], float]) -> list[T]:
    """The points that no other one matches or beats in both respects, the fastest first; of equal points the first.

    Args:
        points: any number of points, in any order.
        fast, accurate: the two respects, as functions of a point; larger is better.
    """
    best: list[T] = []
    for point in sorted(points, key=lambda one: (-fast(one), -accurate(one))):
        if not best or accurate(point) > accurate(best[-1]):
            best.append(point)
    return best


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """The area between a reference point and the points that dominate it; larger coordinates are better.

    Args:
        points: any number of points, in any order.
        reference: the reference; points that are not better in both coordinates add nothing.
    """
    area, reached = 0.0, reference[1]
    for x, y in sorted(points, reverse=True):
        if x > reference[0] and y > reached:
            area += (x - reference[0]) * (y - reached)
            reached = y
    return area
