"""Blocks of zero weights as an array sees them: in the size of the tiles that it can skip, dealt to rows of cores."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.structure import Blocks
from hass_train.hardware.workload import Operation


def densities(
    operation: Operation, sparsity: LayerSparsity, lanes: tuple[int, int], rows: int, balance: bool
) -> tuple[float, float]:
    """The fraction of tiles that an array computes: those of the whole layer, and those of its busiest row of cores.

    An array skips a tile of input × output lanes, with the full kernel, if it holds nothing but zeros. Zeros that come
    in other blocks, or anywhere, rarely leave one empty.

    Args:
        operation: convolution or linear layer.
        sparsity: its sparsity.
        lanes: input × output channels of a tile that can be skipped.
        rows: rows of cores, to which filters are dealt in rows of tiles.
        balance: whether they are dealt so that all have about equally many tiles to compute; else in order.
    """
    structure = sparsity.structure
    if structure is not None and structure.blocks is not None and structure.blocks.groups == 1:
        return _dealt(structure.blocks, operation.result.channels, operation.source.channels, lanes, rows, balance)
    whole = 1.0 - (1.0 - sparsity.weight_density) ** _blocks_in_tile(operation, sparsity, lanes)
    return whole, whole


def sensitivity(operation: Operation, sparsity: LayerSparsity, lanes: tuple[int, int]) -> float:
    """∂(fraction of computed tiles)/∂(weight density): how much fewer tiles fewer weights leave.

    It is 1 where zeros come in blocks of a tile's size, and nearly 0 where they lie anywhere. The slope is taken from
    the present density down to half of it, since zeros in smaller blocks gain nothing at first. The arguments are those
    of `densities`.
    """
    beside, half = _blocks_in_tile(operation, sparsity, lanes), sparsity.weight_density / 2
    if half <= 0:
        return 1.0
    return float(((1.0 - half) ** beside - (1.0 - 2 * half) ** beside) / half)


def _blocks_in_tile(operation: Operation, sparsity: LayerSparsity, lanes: tuple[int, int]) -> int:
    """How many blocks, zero independently of each other, must all be zero for a tile to be skipped."""
    structure = sparsity.structure
    size = None
    if structure is not None and structure.filters:
        return 1
    if structure is not None:
        size = structure.block or (structure.blocks.size if structure.blocks is not None else None)
    if size is None:
        return lanes[0] * lanes[1] * operation.window
    return ceil_div(lanes[1], size[0]) * ceil_div(lanes[0], size[1])


@lru_cache(maxsize=4096)
def _dealt(
    blocks: Blocks, filters: int, channels: int, lanes: tuple[int, int], rows: int, balance: bool
) -> tuple[float, float]:
    """`densities` of a layer whose blocks are known."""
    computed = skippable_tiles(blocks, filters, channels, lanes)
    each = computed.sum(1)
    per_core = ceil_div(len(each), rows)
    padded = np.pad(each, (0, per_core * rows - len(each)))
    if balance:  # the fullest rows of tiles first, back and forth over the rows of cores
        dealt = -np.sort(-padded).reshape(per_core, rows)
        dealt[1::2] = dealt[1::2, ::-1].copy()
    else:
        dealt = padded.reshape(rows, per_core).T
    return float(computed.mean()), float(dealt.sum(0).max() / (per_core * computed.shape[1]))


def skippable_tiles(blocks: Blocks, filters: int, channels: int, lanes: tuple[int, int]) -> NDArray[np.bool_]:
    """The skippable tiles of a layer, and whether each must be computed because it holds a non-zero weight.

    Args:
        blocks: the blocks of a layer without groups, of any size.
        filters, channels: output and input channels of the layer.
        lanes: input × output channels of a tile.

    Returns:
        (rows, columns) True for a tile of output × input lanes that is computed, False for one that is skipped.
    """
    live = np.array([[one == "1" for one in row] for row in blocks.live])
    if blocks.size == (lanes[1], lanes[0]):
        return live
    for axis, (count, size, wanted) in enumerate(
        ((filters, blocks.size[0], lanes[1]), (channels, blocks.size[1], lanes[0]))
    ):
        step = math.gcd(size, wanted)
        fine = np.repeat(live, size // step, axis)
        fine = np.take(fine, range(ceil_div(count, step)), axis)
        missing = -fine.shape[axis] % (wanted // step)
        fine = np.pad(fine, [(0, missing if axis == 0 else 0), (0, missing if axis == 1 else 0)])
        parts = fine.shape[axis] // (wanted // step)
        shape = list(fine.shape)
        shape[axis : axis + 1] = [parts, wanted // step]
        live = np.asarray(fine.reshape(shape).any(axis + 1))
    return live
