"""The fullest lane of real windows, which reach into padding and have neighbours (hardware-model, section 2).

At the border of a map some kernel positions read zeros in all channels at once. Lanes take positions k with
k mod N = j, which may be few kernel positions of many channels (a column of a 3×3 kernel where N is 3), so that some
lanes are empty there and the others hold everything. What is left of a window depends on the pixel alone. Its non-zeros
are taken to lie anywhere in what is left, as those of whole windows are (`lane_cycles`).

How many non-zeros such windows have is not measured. All pixels are taken to be equally dense where they read the map,
about which the windows' densities are normally distributed; with the histogram of all windows that says how likely each
kind of window is given its non-zeros.

What a calibration pass saw of single channels' windows says more: neighbours tend to be zero together, on small maps
above each other more than beside, and lanes of N hold some of them and not others. Wider engines average most of that
out. Probabilities given the non-zeros are those that were seen and the above, weighed by the windows seen and `_DOUBT`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.costs.lane_cycles import EXACT, fullest_lane, loads, placed
from hass_train.hardware.lanes import Counts
from hass_train.hardware.workload import Operation, OperationKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Taps = tuple[bool, ...]
"""Which of the Kh·Kw kernel positions read the map, not padding."""
Borders = tuple[tuple[Taps, float], ...]
"""The kinds of windows, and the fraction of pixels that have each."""

_DOUBT = 8.0  # windows seen that say as much as the assumption that non-zeros lie anywhere
_RARE = 0.02  # fraction of pixels below which windows count as whole ones


@lru_cache(maxsize=1024)
def borders(layer: Operation) -> Borders:
    """The kinds of windows of a layer by what they read of the map; empty if nearly all are whole."""
    if layer.kind is not OperationKind.CONV or layer.window == 1 or not any(layer.padding):
        return ()
    sides = []
    sizes = ((layer.source.height, layer.result.height), (layer.source.width, layer.result.width))
    for axis, (size, results) in enumerate(sizes):
        first = np.arange(results)[:, None] * layer.stride[axis] - layer.padding[axis]
        at = first + np.arange(layer.kernel[axis]) * layer.dilation[axis]
        sides.append(np.unique((at >= 0) & (at < size), axis=0, return_counts=True))
    (rows, times), (columns, of_these) = sides
    found: dict[Taps, float] = {}
    for row, above in zip(rows, times, strict=True):
        for column, beside in zip(columns, of_these, strict=True):
            share = float(above * beside) / layer.result.pixels
            taps = np.outer(row, column).ravel() | (share < _RARE)
            found[tuple(taps.tolist())] = found.get(tuple(taps.tolist()), 0.0) + share
    return tuple(found.items()) if any(not all(taps) for taps in found) else ()


def fullest_padded(histogram: Floats, kinds: Borders, seen: Counts = ()) -> Floats:
    """The distribution of the non-zeros of an engine's fullest lane, as it was seen or as padding makes it.

    Args:
        histogram: (M + 1,) probabilities of 0 … M non-zeros in a window.
        kinds: of the layer's windows.
        seen: `Lanes.fullest`, for engines of a single channel; lanes are as full in other windows of as many non-zeros.

    Returns:
        (rows,) the probability that no lane has more than x, for the N and x of `lane_cycles.loads`.
    """
    positions = len(histogram) - 1
    if not seen:
        return _anywhere(histogram, kinds, 1.0)
    counts = np.array(seen, float)[:, _rows(positions)]
    windows = counts.max(axis=1)  # all of which have no lane with more than it has positions
    trust = windows / (windows + _DOUBT)
    below = (trust * histogram) @ (counts / np.maximum(windows, 1.0)[:, None])
    return np.clip(below + _anywhere(histogram, kinds, 1 - trust), 0.0, 1.0)


def _anywhere(histogram: Floats, kinds: Borders, part: Floats | float) -> Floats:
    """The same where non-zeros lie anywhere in what is left of a window.

    Args:
        histogram, kinds: as of `fullest_padded`.
        part: (M + 1,) the part of the windows with so many non-zeros that is asked about, or one for all.
    """
    positions = len(histogram) - 1
    if not kinds or positions > EXACT:
        return fullest_lane(histogram * part)
    bundle = positions // len(kinds[0][0])
    share = np.array([share for _, share in kinds])
    left = np.array([sum(taps) for taps, _ in kinds], float) * bundle
    likely = share[:, None] * _likelihood(histogram, left, share)
    weight = likely / np.maximum(likely.sum(axis=0), 1e-300) * histogram * part
    below = np.zeros(len(loads(positions)[0]))
    for (taps, _), own in zip(kinds, weight, strict=True):
        below += own @ _given(taps, bundle)[0]
    return np.clip(below, 0.0, 1.0)


@lru_cache(maxsize=256)
def _rows(positions: int) -> Ints:
    """(rows,) those of `Lanes.fullest` that have the N and x of `loads`."""
    most = ceil_div(positions, np.arange(1, positions + 1))
    lanes, x, _ = loads(positions)
    return np.asarray((np.cumsum(most) - most)[lanes - 1] + x - 1)


def lanes_in_use(positions: int, kinds: Borders) -> Floats:
    """(choices,) how many lanes of N, equally full, would hold what an engine's lanes hold on average over pixels."""
    choices = multiplier_choices(positions).astype(float)
    if not kinds or positions > EXACT:
        return choices
    bundle = positions // len(kinds[0][0])
    return np.asarray(sum(share * _given(taps, bundle)[1] for taps, share in kinds))


def _likelihood(histogram: Floats, left: Floats, share: Floats) -> Floats:
    """(kinds, M + 1) how likely so many non-zeros are in windows that have so many positions left.

    Args:
        histogram: (M + 1,) of all windows.
        left: (kinds,) positions that read the map.
        share: (kinds,) fraction of pixels.
    """
    n = np.arange(len(histogram))
    mean = float(histogram @ n)
    density = min(mean / max(float(share @ left), 1e-9), 1.0)
    spread = float(histogram @ (n - mean) ** 2) - density**2 * float(share @ left**2 - (share @ left) ** 2)
    deviation = np.sqrt(max(spread / float(share @ left**2), 0.0)) * left + 0.5  # at least that of rounding
    away = (n - density * left[:, None]) / deviation[:, None]
    likely = np.exp(-0.5 * np.minimum(away**2, 1000.0)) / deviation[:, None]
    likely[n > left[:, None]] = 0.0
    likely[left == left.max()] += 1e-250  # more than fit are those of the largest
    return np.asarray(likely)


@lru_cache(maxsize=512)
def _given(taps: Taps, bundle: int) -> tuple[Floats, Floats]:
    """(M + 1, rows) the probability that no lane has more than x given 0 … M non-zeros, and (choices,) positions that
    are left over those of the lane with most."""
    left = np.flatnonzero(np.tile(taps, bundle))
    positions = len(taps) * bundle
    parts, use = [], []
    for lanes in multiplier_choices(positions).tolist():
        own = np.bincount(left % lanes, minlength=lanes)
        ways = placed(own, -(-positions // lanes))
        parts.append(np.pad(ways, [(0, 0), (0, positions + 1 - ways.shape[1])], mode="edge"))
        use.append(len(left) / max(own.max(), 1))
    return np.ascontiguousarray(np.concatenate(parts).T), np.array(use)
