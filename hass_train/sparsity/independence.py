"""How independent compute engines side by side are, measured on a sample of real windows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.rounds import logit
from hass_train.hardware.lanes import LEVELS, Lanes, grid, nested
from hass_train.sparsity.count_kernel import occurrences

Floats = NDArray[np.float64]

RUN = 4
"""Length of a run: neighbouring output pixels, which the engines of several columns would compute at once."""
_POSITIONS = 64
"""Positions among which a multiplier chooses at most (`costs.synthesised`), so that wider bundles are not built."""
_PAIRS = 2**22  # limit on windows × kernels in the sample of a layer


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
    """Measure how far the compute engines of a layer depend on each other.

    Where so many engines of a large bundle as a grid point says are more than the layer has, k is taken to grow from
    all there are as it does with smaller bundles.

    Args:
        windows: (runs, columns, groups, channels, taps) 1 where the activations of the sampled windows are not zero, 0
            elsewhere; the taps are the Kh·Kw kernel positions.
        kernels: (groups, filters, channels, taps) 1 where the weights are not zero, 0 elsewhere.
    """
    channels, taps = windows.shape[3:]
    sizes = bundle_sizes(channels, taps)
    engines = [windows.shape[2] * (channels // size) for size in sizes]
    sides = (windows.shape[1], engines[0], kernels.shape[1])
    axes = [sorted({*grid(side, ratio), side}) for side, ratio in zip(sides, (2, 4, 4), strict=True)]
    most = np.multiply.outer(np.multiply.outer(axes[0], axes[1]), axes[2])[..., None]
    tables: list[Floats] = []
    lasting = []
    for size, there in zip(sizes, engines, strict=True):
        pairs = _pairs(windows, kernels, size)
        table = _independent(pairs.short(), axes)
        last = int(np.searchsorted(axes[1], there, "right")) - 1
        if last + 1 < len(axes[1]):
            grown = table[:, last : last + 1] * tables[-1][:, last + 1 :] / tables[-1][:, last : last + 1]
            table = np.clip(np.concatenate([table[:, : last + 1], grown], axis=1), 1, most).round(3)
        tables.append(table)
        lasting.append(_lasting(pairs))
    return Lanes(tuple(sizes), tuple(axes[0]), tuple(axes[1]), tuple(axes[2]), nested(np.stack(tables)), tuple(lasting))


def _lasting(pairs: Tensor) -> float:
    """The share of the variance of non-zero pairs that lies between kernels.

    It is the variance of the kernels' means over pixels, less what sampling few pixels adds to it, over the total.

    Args:
        pairs: (runs, columns, engines, filters) numbers of non-zero pairs.
    """
    windows = pairs.flatten(0, 1)
    total = float(pairs.var())
    if windows.shape[0] < 2 or not total > 0:
        return 0.0
    within = float(windows.var(0).mean())
    between = float(windows.mean(0).var(correction=0)) - within / len(windows)
    return round(min(max(between / total, 0.0), 1.0), 4)


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


def _pairs(windows: Tensor, kernels: Tensor, bundle: int) -> Tensor:
    """The numbers of non-zero pairs of all engines, (runs, columns, engines, filters).

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
    return torch.einsum("rpek,efk->rpef", windows[:, :, dense], kernels[dense][:, heavy])


def _independent(pairs: Tensor, axes: list[list[int]]) -> Floats:
    """The number of independent engines at every grid point of the three axes and every level.

    Args:
        pairs: (runs, columns, engines, filters) numbers of non-zero pairs, of an integer type.
        axes: the grid points of columns, channels and filters; the last of each may be all there are.

    Returns:
        (columns, channels, filters, levels); as at the last possible point where there are fewer engines.
    """
    most = int(pairs.max())
    one = _survival(pairs, most)
    table = np.ones((*map(len, axes), len(LEVELS)))
    sizes = pairs.shape[1:]
    over_columns = pairs
    for c, columns in enumerate(axes[0]):
        over_columns = _largest(over_columns, 1, columns, axes[0][c - 1] if c else 1)
        over_channels = over_columns
        for b, channels in enumerate(axes[1]):
            if channels > sizes[1]:
                table[c, b] = table[c, b - 1]
                continue
            over_channels = _largest(over_channels, 2, channels, axes[1][b - 1] if b else 1)
            over_filters = over_channels
            for a, filters in enumerate(axes[2]):
                over_filters = _largest(over_filters, 3, filters, axes[2][a - 1] if a else 1)
                full = over_filters[:, : sizes[0] // columns, : sizes[1] // channels, : sizes[2] // filters]
                table[c, b, a] = _worth(one, _survival(full, most), columns * channels * filters)
    return table


def _largest(pairs: Tensor, axis: int, lanes: int, before: int) -> Tensor:
    """The maximum over groups of `lanes` neighbours along an axis, where groups of `before` are reduced already.

    The last group may have fewer; it is all there is where `before` does not divide `lanes`.
    """
    step = pairs.shape[axis] if lanes % before else lanes // before
    if step == 1:
        return pairs
    short = -pairs.shape[axis] % step
    if short:
        shape = list(pairs.shape)
        shape[axis] = short
        pairs = torch.cat([pairs, pairs.new_zeros(shape)], axis)
    return pairs.unflatten(axis, (-1, step)).amax(axis + 1)


def _survival(pairs: Tensor, most: int) -> Tensor:
    """P(pairs > x) for x = 0 … most, (most + 1,)."""
    counts = occurrences(pairs, most)
    return (1 - counts.double().cumsum(0) / counts.sum()).clamp(0, 1)


def _worth(one: Tensor, largest: Tensor, lanes: int) -> list[float]:
    """The number k of independent engines that some lanes amount to at every level: P(largest ≤ x) = P(one ≤ x)^k.

    Args:
        one, largest: survival functions of the pairs of a single engine, and of the largest number among the lanes.
        lanes: number of lanes, which k does not exceed.
    """
    below, all_below = 1 - one.numpy(), 1 - largest.numpy()
    inside = (below > 0) & (below < 1)
    if lanes == 1 or not inside.any():
        return [float(lanes)] * len(LEVELS)
    with np.errstate(divide="ignore"):
        k = np.clip(np.log(all_below[inside]) / np.log(below[inside]), 1, lanes)
    levels, first = np.unique(logit(below[inside]), return_index=True)
    return [round(float(value), 3) for value in np.interp(logit(np.array(LEVELS)), levels, k[first])]
