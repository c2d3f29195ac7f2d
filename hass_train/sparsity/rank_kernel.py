"""Compiled ranking of few values, which tensor operations do in several passes over memory for each pair of places."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hass_train.runtime.compiled import compiled

_BLOCK = 256  # columns that stay in the cache


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
    """Count for each value those of its column that are larger, or as large and before it."""
    members, columns = sizes.shape
    own = np.empty((members, _BLOCK), np.int32)  # as wide as what is compared, so that no lane is repacked
    for start in range(0, columns, _BLOCK):
        count = min(_BLOCK, columns - start)
        for member in range(members):
            own[member] = member
        for first in range(members):
            for second in range(first + 1, members):
                for column in range(count):
                    passed = np.int32(sizes[second, start + column] > sizes[first, start + column])
                    own[first, column] += passed
                    own[second, column] -= passed
        for member in range(members):
            for column in range(count):
                places[member, start + column] = own[member, column]
