"""How independent engines side by side are, measured on a sample of real windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.rounds import logit
from hass_train.hardware.lanes import LEVELS, Lanes, grid

RUN = 4
"""Neighbouring output pixels of a sample, which engines of several columns compute at once."""
_PAIRS = 2**22  # windows × kernels of a layer that are looked at


def sample_size(lanes: int, pixels: int) -> int:
    """How many runs of pixels to look at in a layer of so many channels × filters."""
    return max(2, min(64, _PAIRS // max(lanes * RUN, 1), ceil_div(pixels, RUN)))


def measure_lanes(windows: Tensor, kernels: Tensor) -> Lanes:
    """The `Lanes` of one layer.

    Args:
        windows: (runs, columns, groups, channels, taps) 1 where the activations of sampled windows are not zero.
        kernels: (groups, filters, channels, taps) 1 where weights are not zero.
    """
    channels, taps = windows.shape[3:]
    # an engine takes the window of one channel or, where that is a single pixel, a bundle of channels
    sizes = [1] if taps > 1 or channels == 1 else bundle_sizes(channels)
    axes = [grid(windows.shape[1], 2), grid(windows.shape[2] * channels), grid(kernels.shape[1])]
    if taps == 1:
        axes[1] = [1]
    table, lasting = [], []
    for size in sizes:
        pairs = _pairs(windows, kernels, size)
        table.append(_independent(pairs, axes))
        lasting.append(_lasting(pairs))
    return Lanes(tuple(sizes), tuple(axes[0]), tuple(axes[1]), tuple(axes[2]), tuple(table), tuple(lasting))


def _lasting(pairs: Tensor) -> float:
    """Share of the variance that lies between kernels: of their means over pixels, less what few pixels leave to
    chance."""
    windows = pairs.flatten(0, 1)
    total = float(pairs.var())
    if windows.shape[0] < 2 or not total > 0:
        return 0.0
    within = float(windows.var(0).mean())
    between = float(windows.mean(0).var(correction=0)) - within / len(windows)
    return round(min(max(between / total, 0.0), 1.0), 4)


def bundle_sizes(channels: int) -> list[int]:
    """Bundles of single pixels' channels that are measured: 4, 16, … and all."""
    return sorted({*grid(channels)[1:], channels})


def bundled(densities: Tensor, size: int) -> Tensor:
    """(bundles, size) channels, dealt so that all bundles are equally dense; a remainder is left out."""
    count = len(densities) // size
    return densities.argsort(descending=True)[: count * size].reshape(size, count).T


def _pairs(windows: Tensor, kernels: Tensor, bundle: int) -> Tensor:
    """(runs, columns, engines, filters) non-zero pairs of bundles of channels, dealt and sorted as compilers would."""
    if bundle > 1:
        dealt = bundled(windows.mean((0, 1, 2, 4)), bundle)
        windows = windows[:, :, :, dealt].flatten(4)
        kernels = kernels[:, :, dealt].flatten(3)
    pairs = torch.einsum("rpgck,gfck->rpgcf", windows, kernels).flatten(2, 3)
    pairs = pairs[:, :, pairs.mean((0, 1, 3)).argsort(descending=True)]  # alike densities side by side
    return pairs[..., pairs.mean((0, 1, 2)).argsort(descending=True)]


def _independent(pairs: Tensor, axes: list[list[int]]) -> Any:
    """(columns, channels, filters, levels) independent engines, nested."""
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
    """Largest of every `lanes` / `before` neighbours along an axis; what is left over is dropped."""
    step = lanes // before
    if step == 1:
        return pairs
    whole = pairs.shape[axis] // step * step
    return pairs.narrow(axis, 0, whole).unflatten(axis, (-1, step)).amax(axis + 1)


def _survival(pairs: Tensor, most: int) -> Tensor:
    """P(pairs > x) for x = 0 … most."""
    counts = torch.bincount(pairs.flatten().long(), minlength=most + 1)
    return (1 - counts.double().cumsum(0) / counts.sum()).clamp(0, 1)


def _worth(one: Tensor, largest: Tensor, lanes: int) -> list[float]:
    """The independent engines that lanes are worth at every level: P(largest ≤ x) = P(one ≤ x)^k.

    Args:
        one, largest: survival of a single engine and of the largest of all lanes.
        lanes: how many there are, and so the most that they are worth.
    """
    below, all_below = 1 - one.numpy(), 1 - largest.numpy()
    inside = (below > 0) & (below < 1)
    if lanes == 1 or not inside.any():
        return [float(lanes)] * len(LEVELS)
    with np.errstate(divide="ignore"):
        k = np.clip(np.log(all_below[inside]) / np.log(below[inside]), 1, lanes)
    levels, first = np.unique(logit(below[inside]), return_index=True)
    return [round(float(value), 3) for value in np.interp(logit(np.array(LEVELS)), levels, k[first])]
