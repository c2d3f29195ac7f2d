"""Stages of operations without multipliers: pools, and operations that go through their result word by word."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.simulator.operands import elementwise_operand, padded_operand
from hass_train.hardware.dataflow.simulator.stages import Stage, StageDesign
from hass_train.hardware.dataflow.simulator.windows import Windows
from hass_train.hardware.spans import spans
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind

Ints = NDArray[np.int64]

_WHOLE_PIXELS = frozenset({OperationKind.LAYER_NORM, OperationKind.SOFTMAX})
_POOLS = frozenset({OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL, OperationKind.GLOBAL_POOL})


def stream_stage(operation: Operation, design: StageDesign, maps: Mapping[str, FeatureMap]) -> Stage:
    """The stage of an operation without multipliers.

    Args:
        operation: any but a convolution, a linear layer or a matrix product.
        design: how it is built, with the fold `s`.
        maps: feature maps by the name of what makes them.
    """
    streams, result = design.folds["s"], operation.result
    out = ceil_div(result.channels, streams)
    write = np.arange(result.pixels * out)
    written = write // out * result.channels + np.minimum((write % out + 1) * streams, result.channels)
    if operation.block:
        return _block_stage(operation, streams, out, written, maps)
    if operation.kind is OperationKind.RESIZE or operation.function == "adaptive":
        return _resizing_stage(operation, streams, out, written, maps)
    if operation.kind in _POOLS or operation.slides:
        return _window_stage(operation, streams, out, written, maps)
    # one read step for each write step; a reshaped or padded map is read in proportion
    reads, base, offset = result.pixels * out, np.arange(result.pixels) * out, np.arange(out)
    release, window = np.arange(reads), 0
    if operation.kind in _WHOLE_PIXELS:
        offset, window = np.full(out, out - 1), 2 * out  # one pixel is written while the next is read
        release = (release // out) * out + out - 1
    operands = tuple(elementwise_operand(operation, k, maps, written) for k in range(len(operation.inputs)))
    return Stage(
        operation.name, operands, reads, base, offset, release, 1, 1, written, window, streams, streams, streams
    )


def _window_stage(operation: Operation, streams: int, out: int, written: Ints, maps: Mapping[str, FeatureMap]) -> Stage:
    """The stage of a pool or of a padding that repeats the map, which writes each pixel in `out` steps."""
    operand, steps = padded_operand(operation, maps, streams, 1), ceil_div(operation.source.channels, streams)
    reads = len(operand.used)
    if operation.kind is OperationKind.GLOBAL_POOL:
        base, offset = np.array([reads - steps]), np.full(out, steps - 1)
        release, window = np.full(reads, out - 1), 2 * reads  # one image's sums are emitted while the next's form
    elif operation.kind is OperationKind.PAD:
        pixel, offset = _repeated(operation), np.arange(steps)
        arrived, last = np.maximum.accumulate(pixel), np.zeros(operation.source.pixels, np.int64)
        np.maximum.at(last, pixel, np.arange(len(pixel)))
        base, release = arrived * steps, np.ravel(last[:, None] * steps + offset)
        window = int((arrived - np.minimum.accumulate(pixel[::-1])[::-1]).max()) * steps
    else:
        windows = Windows.of(operation, 1, 1)
        base, offset, window = windows.base * steps, np.arange(steps), windows.reach * steps
        if out != steps:  # an unfold, which writes all words of a window
            offset = np.full(out, steps - 1)
        release = windows.release(offset, steps, reads)
    return Stage(
        operation.name, (operand,), reads, base, offset, release, 1, 1, written, window, streams, streams, out * streams
    )


def _block_stage(operation: Operation, streams: int, out: int, written: Ints, maps: Mapping[str, FeatureMap]) -> Stage:
    """The stage of a reduction, fold or rearrangement: the results of a block leave while the next one is read."""
    operand, steps = padded_operand(operation, maps, streams, 1), ceil_div(operation.source.channels, streams)
    reads, pixels = len(operand.used), operation.result.pixels
    ends = np.minimum(ceil_div(np.arange(1, operation.blocks + 1) * operation.source.pixels, operation.blocks), reads)
    block = np.arange(pixels) * operation.blocks // pixels
    base = ends[block] * steps - 1
    of_read = np.searchsorted(ends, np.arange(reads) // steps, side="right")
    release = np.searchsorted(block, of_read, side="right") * out - 1  # the last step of the last pixel of that block
    window = 2 * int(np.diff(ends, prepend=0).max()) * steps
    return Stage(
        operation.name, (operand,), reads, base, np.zeros(out, np.int64), release, 1, 1, written, window, streams,
        streams, out * streams,
    )  # fmt: skip


def _resizing_stage(
    operation: Operation, streams: int, out: int, written: Ints, maps: Mapping[str, FeatureMap]
) -> Stage:
    """The stage of a resizing or of an adaptive pool, whose windows are not at equal distances."""
    operand, steps = padded_operand(operation, maps, streams, 1), ceil_div(operation.source.channels, streams)
    source, result, (rows, columns) = operation.source, operation.result, (spans(operation, axis) for axis in (0, 1))
    newest, oldest = (np.add.outer(rows[k] * source.width, columns[k]).ravel() for k in (1, 0))
    newest = np.maximum.accumulate(newest)
    last_row, last_column = (
        np.maximum(np.searchsorted(first, np.arange(size), side="right") - 1, 0)
        for (first, _), size in ((rows, source.height), (columns, source.width))
    )
    pixel = np.maximum.accumulate(np.add.outer(last_row * result.width, last_column).ravel())
    offset = np.arange(out) if out == steps else np.full(out, steps - 1)
    release = np.ravel(pixel[:, None] * out + np.arange(steps).clip(max=out - 1))
    oldest = np.minimum.accumulate(oldest[::-1])[::-1]
    window = int((newest - oldest).max() + 1) * steps
    return Stage(
        operation.name, (operand,), len(operand.used), newest * steps, offset, release, 1, 1, written, window, streams,
        streams, out * streams,
    )  # fmt: skip


def _repeated(operation: Operation) -> Ints:
    """(pixels of the result,) the pixel of the map that each repeats; an odd one is padded above and on the left."""
    source, result = operation.source, operation.result
    sizes = (result.height - source.height, result.width - source.width)
    sides = [(ceil_div(size, 2), size // 2) for size in sizes]
    pixels = np.arange(source.pixels).reshape(source.height, source.width)
    return np.pad(pixels, sides, mode="reflect" if operation.function == "reflect" else "edge").ravel()
