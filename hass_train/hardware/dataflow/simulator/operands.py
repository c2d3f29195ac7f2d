"""Operands of stages: how far a map must have arrived before each read step, and how much of it is used up after it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.branches import is_repeated
from hass_train.hardware.dataflow.simulator.stages import Operand
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind

Ints = NDArray[np.int64]


def padded_operand(operation: Operation, maps: Mapping[str, FeatureMap], streams: int, pixels: int) -> Operand:
    """The first operand, read pixel by pixel, its border included: `streams` channels of `pixels` pixels a step.

    Args:
        operation: the operation that reads it.
        maps: feature maps by the name of what makes them.
        streams, pixels: parallel channels, and pixels read at once.
    """
    source, (height, width) = operation.source, operation.rows_read
    grid = np.zeros((height, ceil_div(width, pixels) * pixels), bool)  # every row begins a step
    if operation.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
        grid[:, :width] = True
    else:
        (rows, _), (columns, _) = operation.border
        grid[rows : rows + source.height, columns : columns + source.width] = True
    inside = grid.ravel()
    ends = np.arange(pixels, len(inside) + 1, pixels)
    seen = np.append(0, np.cumsum(inside))
    steps = ceil_div(source.channels, streams)
    part = np.minimum((np.arange(steps) + 1) * streams, source.channels)
    before = seen[np.append(0, ends[:-1])]
    used = (before[:, None] * source.channels + (seen[ends] - before)[:, None] * part).ravel()
    taken = np.repeat(seen[ends] > before, steps)
    return _scaled(operation.inputs[0], maps, used, np.where(taken, used, 0), source.words)


def whole_operand(name: str, maps: Mapping[str, FeatureMap], words: int, reads: int) -> Operand:
    """An operand of `words` words that must be there whole before the first read step, and is needed to the last.

    Args:
        name: name of what makes it.
        maps: feature maps by the name of what makes them.
        words: words that are read of it.
        reads: read steps of an image.
    """
    used, needed = np.zeros(reads, np.int64), np.full(reads, words, np.int64)
    used[-1] = words
    return _scaled(name, maps, used, needed, words)


def elementwise_operand(operation: Operation, k: int, maps: Mapping[str, FeatureMap], written: Ints) -> Operand:
    """The k-th operand of an operation that goes through its result word by word.

    Args:
        operation: the operation that reads it.
        k: which operand.
        maps: feature maps by the name of what makes them.
        written: (writes,) words written after each step; there is one read step for each.
    """
    name, result = operation.inputs[k], operation.result
    own = maps[name]
    if operation.kind is OperationKind.CONCAT:
        if operation.joins_end_to_end:
            first, whole = (sum(maps[other].words for other in operation.inputs[:end]) for end in (k, None))
            reached = ceil_div(written * whole, result.words)  # of cut maps, and beside constants, in proportion
            used = np.clip(reached - first, 0, own.words)
            used[-1:] = own.words
            return Operand(name, used, np.where(np.diff(used, prepend=0) > 0, used, 0))
        before = sum(maps[other].channels for other in operation.inputs[:k])
        pixel, channel = (written - 1) // result.channels, (written - 1) % result.channels + 1
        used = np.minimum(pixel, own.pixels) * own.channels + np.clip(channel - before, 0, own.channels)
        fresh = np.diff(used, prepend=0) > 0
        return _scaled(name, maps, used, np.where(fresh, used, 0), own.words)
    if is_repeated(operation, own):
        pixel, channel = np.divmod(written - 1, result.channels)  # one row, or one pixel, for all rows of the result
        row = own.width == result.width > 1
        reached = ceil_div((channel + 1) * own.channels, result.channels)
        reached = reached + (pixel % own.width if row else 0) * own.channels
        last = pixel >= result.pixels - (own.width if row else 1)
        return Operand(name, np.where(last, np.minimum(reached, own.words), 0), np.minimum(reached, own.words))
    used = written * own.words // result.words
    needed = ceil_div(written * own.words, result.words)
    used[-1:] = own.words
    return Operand(name, used, needed)


def _scaled(name: str, maps: Mapping[str, FeatureMap], used: Ints, needed: Ints, words: int) -> Operand:
    """An operand of `words` words, in proportion where the producer's map has more or fewer (slices, repeats)."""
    there = maps[name].words
    if there != words:
        used, needed = ceil_div(used * there, words), ceil_div(needed * there, words)
        used[-1:] = there
    return Operand(name, used, needed)
