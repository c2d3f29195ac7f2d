"""How independent compute engines side by side are, measured on a sample of real windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.rounds import logit
from hass_train.hardware.lanes import LEVELS, Lanes, grid
from hass_train.sparsity.count_kernel import occurrences

RUN = 4
"""Length of a run: neighbouring output pixels, which the engines of several columns would compute at once."""
_PAIRS = 2**22  # limit on windows × kernels in the sample of a layer


def sample_size(lanes: int, pixels: int) -> int:
    """The number of runs of `RUN` output pixels to sample in a layer.

    Args:
        lanes: input channels × filters of the layer.
        pixels: output pixels to choose from.
    """
    return max(2, min(64, _PAIRS // max(lanes * RUN, 1), ceil_div(pixels, RUN)))


def measure_lanes(windows: Tensor, kernels: Tensor) -> Lanes:
    """Measure how far the compute engines of a layer depend on each other.

    Args:
        windows: (runs, columns, groups, channels, taps) 1 where the activations of the sampled windows are not zero, 0
            elsewhere; the taps are the Kh·Kw kernel positions.
        kernels: (groups, filters, channels, taps) 1 where the weights are not zero, 0 elsewhere.
    """
    channels, taps = windows.shape[3:]
    # an engine multiplies the window of one channel or, where a window is a single pixel, a bundle of channels
    sizes = [1] if taps > 1 or channels == 1 else bundle_sizes(channels)
    axes = [grid(windows.shape[1], 2), grid(windows.shape[2] * channels), grid(kernels.shape[1])]
    if taps == 1:
        axes[1] = [1]
    table, lasting = [], []
    for size in sizes:
        pairs = _pairs(windows, kernels, size)
        lasting.append(_lasting(pairs))
        table.append(_independent(pairs.short(), axes))
    return Lanes(tuple(sizes), tuple(axes[0]), tuple(axes[1]), tuple(axes[2]), tuple(table), tuple(lasting))


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


def bundle_sizes(channels: int) -> list[int]:
    """The bundle sizes, in channels, that are measured in a layer with windows of one pixel: 4, 16, … and all."""
    return sorted({*grid(channels)[1:], channels})


def bundled(densities: Tensor, size: int) -> Tensor:
    """Distribute channels over bundles so that all bundles are about equally dense.

    Args:
        densities: (channels,) by which the channels are sorted.
        size: channels of a bundle.

    Returns:
        (bundles, size) channel indices; the sparsest channels are left out where the size does not divide their number.
    """
    count = len(densities) // size
    return densities.argsort(descending=True)[: count * size].reshape(size, count).T


def _pairs(windows: Tensor, kernels: Tensor, bundle: int) -> Tensor:
    """The numbers of non-zero pairs of all engines, (runs, columns, engines, filters).

    Channels are distributed over bundles, and engines and filters sorted by density, as a compiler would do it.

    Args:
        windows, kernels: as in `measure_lanes`.
        bundle: channels of an engine.
    """
    if bundle > 1:
        dealt = bundled(windows.mean((0, 1, 2, 4)), bundle)
        windows = windows[:, :, :, dealt].flatten(4)
        kernels = kernels[:, :, dealt].flatten(3)
    windows = windows.flatten(2, 3)  # (runs, columns, engines, taps)
    kernels = kernels.transpose(1, 2).flatten(0, 1)  # (engines, filters, taps)
    density = windows.mean((0, 1))
    dense = (density * kernels.mean(1)).sum(1).argsort(descending=True)  # engines of similar density side by side
    heavy = torch.einsum("ek,efk->f", density, kernels).argsort(descending=True)
    return torch.einsum("rpek,efk->rpef", windows[:, :, dense], kernels[dense][:, heavy])


def _independent(pairs: Tensor, axes: list[list[int]]) -> Any:
    """The number of independent engines at every grid point of the three axes and every level.

    Args:
        pairs: (runs, columns, engines, filters) numbers of non-zero pairs, of an integer type.
        axes: the grid points of columns, channels and filters.

    Returns:
        (columns, channels, filters, levels) as nested tuples.
    """
    most = int(pairs.max())
    one = _survival(pairs, most)
    table = []
    over_columns = pairs
    for c, columns in enumerate(axes[0]):
        over_columns = _largest(over_columns, 1, columns, axes[0][c - 1] if c else 1)
        plane, over_channels = [], over_columns
        for b, channels in enumerate(axes[1]):
            over_channels = _largest(over_channels, 2, channels, axes[1][b - 1] if b else 1)
            row, over_filters = [], over_channels
            for a, filters in enumerate(axes[2]):
                over_filters = _largest(over_filters, 3, filters, axes[2][a - 1] if a else 1)
                row.append(tuple(_worth(one, _survival(over_filters, most), columns * channels * filters)))
            plane.append(tuple(row))
        table.append(tuple(plane))
    return tuple(table)


def _largest(pairs: Tensor, axis: int, lanes: int, before: int) -> Tensor:
    """The maximum over groups of `lanes` neighbours along an axis, where groups of `before` are reduced already.

    Neighbours that do not fill a group are dropped.
    """
    step = lanes // before
    if step == 1:
        return pairs
    whole = pairs.shape[axis] // step * step
    return pairs.narrow(axis, 0, whole).unflatten(axis, (-1, step)).amax(axis + 1)


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
