"""The cycles of rounds whose multipliers have lanes: max(1, the fullest lane's non-zeros).

Multiplier j of N owns the positions k with k mod N = j of the M positions of a window, and takes a cycle for each of
its non-zeros (`lane_rounds` of `engine_rounds` counts them). Given the number n of non-zeros, the positions are taken
as exchangeable, so that a lane's share is hypergeometric. Of the C(M, n) ways to place them,

    [zⁿ] Π_j Σ_{t ≤ x} C(S_j, t) zᵗ

leave no lane of S_j positions with more than x: the coefficients of a product of polynomials, one factor a lane. The
sum over x of the probability that some lane has more is the mean of the fullest.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.initiation import hypergeometric, multiplier_choices
from hass_train.runtime.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXACT = 128  # positions up to which the product is formed; it takes M³ steps
_POINTS = 65  # numbers of non-zeros that are looked at beyond


def lane_cycles(histogram: Floats, engines: ArrayLike = 1) -> Floats:
    """The mean cycles of a round of engines in lock-step, for each N of `multiplier_choices(M)`.

    Args:
        histogram: (…, M + 1) probabilities of 0 … M non-zeros in a window, of one or several distributions.
        engines: how many of them run side by side, each with a window of its own, independent of the others; numbers
            that broadcast with the leading axes, not necessarily whole.

    Returns:
        (…, choices) cycles.
    """
    _, _, starts = loads(np.shape(histogram)[-1] - 1)
    below = fullest_lane(histogram) ** np.asarray(engines, float)[..., None]
    return np.asarray(1.0 + np.add.reduceat(1.0 - below, starts, axis=-1))


def fullest_lane(histogram: Floats) -> Floats:
    """The distribution of the non-zeros of an engine's fullest lane.

    Args:
        histogram: (…, M + 1) probabilities of 0 … M non-zeros in a window.

    Returns:
        (…, rows) the probability that no lane has more than x, for the N and x of `loads`.
    """
    positions = np.shape(histogram)[-1] - 1
    spread = histogram if positions <= EXACT else histogram @ _between(positions)
    return np.clip(spread @ _given(positions).T, 0.0, 1.0)


@lru_cache(maxsize=256)
def loads(positions: int) -> tuple[Ints, Ints, Ints]:
    """The loads of the fullest lane that `fullest_lane` tells of: 1 … ⌈M/N⌉ for every N, laid end to end.

    Args:
        positions: M.

    Returns:
        (rows,) N, (rows,) the load x, and (choices,) the first row of each N of `multiplier_choices(M)`.
    """
    choices = multiplier_choices(positions)
    most = ceil_div(positions, choices)
    x = np.concatenate([np.arange(1, one + 1) for one in most])
    return np.repeat(choices, most), x, np.cumsum(most) - most


@lru_cache(maxsize=256)
def _given(positions: int) -> Floats:
    """(rows, non-zeros) the probability that no lane has more than x, given 0 … M non-zeros or, beyond `EXACT`
    positions, those of `_points`."""
    choices = multiplier_choices(positions)
    if positions > EXACT:
        return np.concatenate([_apart(positions, int(lanes)) for lanes in choices])
    own = (ceil_div(positions - np.arange(lanes), lanes) for lanes in choices)
    return np.concatenate([placed(each, int(each[0])) for each in own])


def placed(own: Ints, most: int) -> Floats:
    """The probability that no lane has more than so many non-zeros, which lie anywhere.

    Args:
        own: (lanes,) positions of each.
        most: the largest load that is asked for, at least that of the largest lane.

    Returns:
        (most, positions of all + 1) for loads of 1, 2, … and 0, 1, … non-zeros.
    """
    positions = int(own.sum())
    ways = np.zeros((most, positions + 1))
    _place(ways, own, comb(own[:, None], np.arange(most + 1)))
    return np.asarray(ways / comb(positions, np.arange(positions + 1)))


@compiled
def _place(ways, own, choices):  # type: ignore[no-untyped-def]
    """Count the ways in which non-zeros can be placed, lane by lane.

    Args:
        ways: (loads, positions + 1) becomes the ways in which no lane has more than 1, 2, … of 0, 1, … non-zeros.
        own: (lanes,) positions of each.
        choices: (lanes, loads + 1) ways to choose 0, 1, … of these.
    """
    ways[:, 0] = 1.0
    before = np.empty(ways.shape[1])
    for row in range(len(ways)):
        filled = 0
        for lane in range(len(own)):
            before[: filled + 1] = ways[row, : filled + 1]
            ways[row, : filled + 1] = 0.0
            for taken in range(min(own[lane], row + 1) + 1):
                for one in range(filled + 1):
                    ways[row, taken + one] += choices[lane, taken] * before[one]
            filled += own[lane]


def _apart(positions: int, lanes: int) -> Floats:
    """(⌈M/N⌉, points) the same as if each lane were hypergeometric by itself.

    With one lane that is exact, and with many almost. Between, rounds of a single engine are up to 6 % too short at a
    density of 0.1 and 2 % at 0.5 (128 positions; 4 % and 1.5 % at 256), and those of 16 engines within 1 %. Below 0.05
    errors reach 8 %, in either direction, since `_points` lie far apart for so few non-zeros.
    """
    most = ceil_div(positions, lanes)
    full = positions - (most - 1) * lanes  # lanes with as many positions as any
    below = np.clip(np.cumsum(hypergeometric(positions, _points(positions), most), axis=1), 0.0, 1.0) ** full
    if full < lanes:
        below[:, :-1] *= np.cumsum(hypergeometric(positions, _points(positions), most - 1), axis=1) ** (lanes - full)
    return below[:, 1:].T


def _points(positions: int) -> Ints:
    """(points,) some numbers of non-zeros from 0 to M, evenly spaced."""
    return np.rint(np.linspace(0, positions, _POINTS)).astype(np.int64)


@lru_cache(maxsize=256)
def _between(positions: int) -> Floats:
    """(M + 1, points) weights that divide every number of non-zeros between the two of `_points` beside it."""
    units = np.eye(_POINTS)
    at = np.arange(positions + 1)
    return np.stack([np.interp(at, _points(positions), unit) for unit in units], axis=1)
