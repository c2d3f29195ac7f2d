"""Compiled ranking of few values, which tensor operations do in several passes over memory for each pair of places."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hass_train.runtime.compiled import compiled
from hass_train.sparsity.gate import keep_strides

Ints = NDArray[np.int64]

_BLOCK = 256  # columns, or groups, that stay in the cache


@torch.library.custom_op("hass_train::places_on_cpu", mutates_args=())
def places_on_cpu(sizes: Tensor) -> Tensor:
    """The place of each value in its column, as `group_ranks.places_of` has it, of a tensor on the CPU.

    Args:
        sizes: (members, …), at most 255 members.
    """
    flat = sizes.detach().float().reshape(len(sizes), -1).contiguous()
    places = np.empty(flat.shape, np.uint8)
    _place(flat.numpy(), places)
    return torch.from_numpy(places).reshape(sizes.shape)


@places_on_cpu.register_fake
def _(sizes: Tensor) -> Tensor:
    return torch.empty_like(sizes, dtype=torch.uint8)


@compiled
def _place(sizes, places):  # type: ignore[no-untyped-def]
    """See `places_on_cpu`."""
    members, columns = sizes.shape
    own = np.empty((members, _BLOCK), np.int32)
    for start in range(0, columns, _BLOCK):
        count = min(_BLOCK, columns - start)
        _rank(sizes, start, count, own)
        for member in range(members):
            for column in range(count):
                places[member, start + column] = own[member, column]


@compiled
def _rank(sizes, start, count, own):  # type: ignore[no-untyped-def]
    """Count for each value of some columns those of its column that are larger, or as large and before it.

    Args:
        sizes: (members, columns).
        start, count: the columns.
        own: (members, at least count) becomes the counts; int32, as wide as what is compared, so that no lane is
            repacked.
    """
    for member in range(len(sizes)):
        own[member] = member
    for first in range(len(sizes)):
        for second in range(first + 1, len(sizes)):
            for column in range(count):
                passed = np.int32(sizes[second, start + column] > sizes[first, start + column])
                own[first, column] += passed
                own[second, column] -= passed


def gated_by_place(weight: Tensor, channels: int, whole: bool, factors: NDArray[Any]) -> tuple[list[Tensor], Ints]:
    """Gate the weights of a layer by their places in their groups, in one pass over them.

    Args:
        weight: (filters, channels of a group, *kernel) or (filters, channels), on the CPU.
        channels: consecutive input channels in a group; a last one with fewer is filled up with losers.
        whole: whether a group holds its channels at all kernel positions, or at one.
        factors: (one or two, members of a group) of weights, by place.

    Returns:
        The weight times each of the factors, of its strides, and (members,) how many weights have each place.
    """
    last = weight.detach().flatten(2).movedim(1, -1) if weight.dim() > 2 else weight.detach()[:, None]
    values = last.contiguous().numpy()  # (filters, positions, channels)
    results, counts = np.empty((len(factors), *values.shape), values.dtype), np.zeros(factors.shape[1], np.int64)
    _gate(values, channels, whole, factors.astype(values.dtype), results, counts)
    shape = (len(weight), *weight.shape[2:], weight.shape[1])
    found = (torch.from_numpy(one).reshape(shape).movedim(-1, 1) for one in results)
    return [keep_strides(one, weight) for one in found], counts


@compiled
def _gate(values, channels, whole, factors, results, counts):  # type: ignore[no-untyped-def]
    """See `gated_by_place`; members of a group are in the order of its channels, then of positions."""
    filters, positions, wide = values.shape
    inside = positions if whole else 1  # positions in a group
    across = (wide + channels - 1) // channels  # groups along the channels
    members, groups, both = channels * inside, filters * across * (positions // inside), len(results) > 1
    sizes, own = np.empty((members, _BLOCK), values.dtype), np.empty((members, _BLOCK), np.int32)
    for start in range(0, groups, _BLOCK):
        count = min(_BLOCK, groups - start)
        for column in range(count):
            filter, position, first = _group(start + column, across, positions // inside, channels)
            for channel in range(channels):
                for place in range(inside):
                    size = values.dtype.type(-1)
                    if first + channel < wide:
                        size = abs(values[filter, position + place, first + channel])
                    sizes[channel * inside + place, column] = size
        _rank(sizes, 0, count, own)
        for column in range(count):
            filter, position, first = _group(start + column, across, positions // inside, channels)
            for channel in range(min(channels, wide - first)):
                for place in range(inside):
                    rank = own[channel * inside + place, column]
                    counts[rank] += 1
                    value = values[filter, position + place, first + channel]
                    results[0, filter, position + place, first + channel] = value * factors[0, rank]
                    if both:
                        results[1, filter, position + place, first + channel] = value * factors[1, rank]


@compiled
def _group(number, across, within, channels):  # type: ignore[no-untyped-def]
    """The filter, first position and first channel of a group; of `across` along the channels and `within` a kernel."""
    return number // (across * within), number // across % within, number % across * channels
