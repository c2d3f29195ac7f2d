"""How independent compute engines side by side are, measured on a sample of real windows."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.rounds import logit
from hass_train.hardware.lanes import LEVELS, Counts, Lanes, grid, nested
from hass_train.sparsity.lane_kernel import count_fullest, count_largest

Floats = NDArray[np.float64]
Ints = NDArray[np.int16]

RUN = 4
"""Length of a run: neighbouring output pixels, which the engines of several columns would compute at once."""
_POSITIONS = 64
"""Positions among which a multiplier chooses at most (`costs.synthesised`), so that wider bundles are not built."""
_PAIRS = 2**22  # limit on windows × kernels in the sample of a layer
_FULLEST_POSITIONS = 32  # of windows whose fullest lanes are counted: larger ones have many lanes and loads
_ENGINES = 2**13  # a sample of a layer's windows and kernels in which they are counted
_LOGITS = logit(np.array(LEVELS))


def sample_size(lanes: int, pixels: int) -> int:
    """The number of runs of `RUN` output pixels to sample in a layer.

    Args:
        lanes: input channels × filters of the layer.
        pixels: output pixels to choose from.
    """
    return max(2, min(64, _PAIRS // max(lanes * RUN, 1), ceil_div(pixels, RUN)))


def spread(runs: int, total: int) -> Tensor:
    """(runs,) ascending places to sample among `total`, one at random in each of as many equal parts.

    Evenly spaced ones would hit the same columns, or every other row, wherever their distance divides a map's.
    """
    jitter = torch.rand(runs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((torch.arange(runs) + jitter) * total / runs).long().clamp(max=total - 1)


def measure_lanes(windows: Tensor, kernels: Tensor) -> Lanes:
    """Measure how far the compute engines of a layer depend on each other, and how full the fullest lanes of one are.

    Where so many engines of a large bundle as a grid point says are more than the layer has, k is taken to grow from
    all there are as it does with smaller bundles.

    Args:
        windows: (runs, columns, groups, channels, taps) 1 where the activations of the sampled windows are not zero, 0
            elsewhere; the taps are the Kh·Kw kernel positions.
        kernels: (groups, filters, channels, taps) 1 where the weights are not zero, 0 elsewhere.
    """
    channels, taps = windows.shape[3:]
    sizes = bundle_sizes(channels, taps)
    sides = (windows.shape[1], windows.shape[2] * (channels // sizes[0]), kernels.shape[1])
    axes = [sorted({*grid(side, ratio), side}) for side, ratio in zip(sides, (2, 4, 4), strict=True)]
    most = np.multiply.outer(np.multiply.outer(axes[0], axes[1]), axes[2])[..., None]
    tables: list[Floats] = []
    lasting = []
    fullest: Counts = ()
    for size in sizes:
        engines = _engines(windows, kernels, size)
        pairs = np.ascontiguousarray(torch.einsum("rpek,efk->rpef", *engines).short().cpu().numpy())
        if size == 1 < taps <= _FULLEST_POSITIONS:
            fullest = _fullest(*engines)
        table = _independent(pairs, axes)
        if table.shape[1] < len(axes[1]):
            last = table.shape[1] - 1
            grown = table[:, last:] * tables[-1][:, last + 1 :] / tables[-1][:, last : last + 1]
            table = np.clip(np.concatenate([table, grown], axis=1), 1, most).round(3)
        tables.append(table)
        lasting.append(_lasting(pairs))
    columns, channel_axis, filters = (tuple(axis) for axis in axes)
    return Lanes(tuple(sizes), columns, channel_axis, filters, nested(np.stack(tables)), tuple(lasting), fullest)


def _fullest(windows: Tensor, kernels: Tensor) -> Counts:
    """How full the fullest lane was in a sample of engines, as `Lanes.fullest` has it.

    Args:
        windows, kernels: of single channels, as `_engines` answers them.
    """
    pixels = windows.flatten(0, 1)
    every = (len(pixels), *kernels.shape[:2])
    some = np.random.default_rng(0).choice(math.prod(every), min(math.prod(every), _ENGINES), replace=False)
    pixel, engine, of = (torch.from_numpy(at).to(windows.device) for at in np.unravel_index(some, every))
    counts = count_fullest((pixels[pixel, engine] * kernels[engine, of]).byte().cpu().numpy())
    return tuple(tuple(one) for one in counts.tolist())


def _lasting(pairs: Ints) -> float:
    """The share of the variance of non-zero pairs that lies between kernels.

    It is the variance of the kernels' means over pixels, less what sampling few pixels adds to it, over the total.

    Args:
        pairs: (runs, columns, engines, filters) numbers of non-zero pairs.
    """
    windows = pairs.shape[0] * pairs.shape[1]
    if windows < 2:
        return 0.0
    numbers = pairs.reshape(windows, -1).astype(float)
    sums, squares = numbers.sum(0), np.square(numbers).sum(0)  # exact: whole numbers
    total = (squares.sum() - sums.sum() ** 2 / pairs.size) / (pairs.size - 1)
    if not total > 0:
        return 0.0
    within = float((squares - sums**2 / windows).mean()) / (windows - 1)
    between = float((sums / windows).var()) - within / windows
    return round(min(max(between / float(total), 0.0), 1.0), 4)


def bundle_sizes(channels: int, taps: int) -> list[int]:
    """The bundle sizes, in channels, that are measured in a layer: some that designs have, and all.

    Zeros of a channel lie together, so that larger windows of fewer channels are not like the windows that designs
    have: these are measured about as large as they are. Where windows are single pixels, 4, 16, … are enough; a single
    pair has no distribution beyond its density.

    Args:
        channels: input channels of a filter.
        taps: kernel positions.
    """
    if taps == 1:
        return sorted({*grid(channels)[1:], channels})
    widest = min(max(_POSITIONS // taps, 1), channels)
    return sorted({*grid(widest, 2), widest, channels})


def bundled(densities: Tensor, size: int) -> Tensor:
    """Deal channels to bundles in snake order, the densest first, so that all bundles are about equally dense.

    Args:
        densities: (channels,) by which the channels are sorted.
        size: channels of a bundle.

    Returns:
        (bundles, size) channel indices; where the size does not divide their number some are left out, evenly from the
        densest to the sparsest.
    """
    count = len(densities) // size
    kept = (torch.arange(count * size) * 2 + 1) * len(densities) // (2 * count * size)
    hands = densities.argsort(descending=True, stable=True)[kept.to(densities.device)].reshape(size, count)
    hands[1::2] = hands[1::2].flip(1)
    return hands.T


def _engines(windows: Tensor, kernels: Tensor, bundle: int) -> tuple[Tensor, Tensor]:
    """What all engines take: windows, (runs, columns, engines, positions), and kernels, (engines, filters, positions).

    Channels are distributed over bundles, and engines and filters sorted by density, as a compiler would do it: filters
    by how many weights they have in all channels, those included that bundles of this size leave out.

    Args:
        windows, kernels: as in `measure_lanes`.
        bundle: channels of an engine.
    """
    heavy = kernels.mean((0, 2, 3)).argsort(descending=True, stable=True)
    if bundle > 1:
        dealt = bundled(windows.mean((0, 1, 2, 4)), bundle)
        windows = windows[:, :, :, dealt].flatten(4)
        kernels = kernels[:, :, dealt].flatten(3)
    windows = windows.flatten(2, 3)  # (runs, columns, engines, taps)
    kernels = kernels.transpose(1, 2).flatten(0, 1)  # (engines, filters, taps)
    density = windows.mean((0, 1))
    dense = (density * kernels.mean(1)).sum(1).argsort(descending=True)  # engines of similar density side by side
    return windows[:, :, dense], kernels[dense][:, heavy]


def _independent(pairs: Ints, axes: list[list[int]]) -> Floats:
    """The number k of independent engines that those at every grid point amount to, at every level.

    P(largest ≤ x) = P(one ≤ x)^k, and k does not exceed the number of engines.

    Args:
        pairs: (runs, columns, engines, filters) numbers of non-zero pairs.
        axes: the grid points of columns, channels and filters; the last of each may be all there are.

    Returns:
        (columns, channels, filters, levels), without the grid points of channels that exceed the engines there are.
    """
    sides = [np.array(axis) for axis in axes]
    sides[1] = sides[1][sides[1] <= pairs.shape[2]]
    counts = count_largest(pairs, *sides).astype(float)
    below = np.clip(counts.cumsum(-1) / counts.sum(-1, keepdims=True), 0, 1)  # P(largest ≤ x) for x = 0, 1, …
    one = below[0, 0, 0]
    lanes = np.multiply.outer(np.multiply.outer(sides[0], sides[1]), sides[2])[..., None].astype(float)
    inside = (one > 0) & (one < 1)
    if not inside.any():
        return lanes.repeat(len(LEVELS), -1)
    with np.errstate(divide="ignore"):
        k = np.clip(np.log(below[..., inside]) / np.log(one[inside]), 1, lanes)
    levels, first = np.unique(logit(one[inside]), return_index=True)
    k = k[..., first]
    # linearly between the levels that there are, constant beyond them
    at = np.interp(_LOGITS, levels, np.arange(len(levels), dtype=float))
    left = np.minimum(at.astype(int), max(len(levels) - 2, 0))
    right = np.minimum(left + 1, len(levels) - 1)
    return np.asarray((k[..., left] + (at - left) * (k[..., right] - k[..., left])).round(3))
