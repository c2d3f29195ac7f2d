"""How operations on maps become operations of a workload: pools, unfolding, resizing and shuffles of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import fx

from hass_train.hardware.layout import CHANNEL, PIXEL, Axis, Layout, is_all, size_of
from hass_train.hardware.spans import pooled
from hass_train.hardware.tracer import Handler, Stream, Tracer, arguments_of, operation_of, shape_of
from hass_train.hardware.workload import FeatureMap, OperationKind

_RESIZED_BY = {"nearest": (2, 1), "bilinear": (3, 2), "linear": (3, 2), "bicubic": (5, 4)}
"""Rows and columns that resizing keeps: those that it reads, which it reads again, and a row that comes meanwhile."""


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(rows, columns) from one number or two; of one number in a list, which is that of a line, one row."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def pair_of(value: int | Sequence[int], rank: int, neutral: int) -> tuple[int, int]:
    """(rows, columns) of an operation on lines (rank 3), of which there is one row, or on maps."""
    rows, columns = pair(value)
    return (neutral, columns) if rank == 3 else (rows, columns)


def _shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's result, or of the first one: pools that also say where their maxima were have two."""
    value = node.meta["val"]
    return tuple((value[0] if isinstance(value, (tuple, list)) else value).shape)


def layout_of(tracer: Tracer, node: fx.Node, of: fx.Node) -> Layout:
    """The layout of a tensor that is read or made as a map (N×C×H×W) or a line (N×C×L); windows in N are pixels."""
    shape = _shape(of)
    if len(shape) not in (3, 4):
        text = "×".join(map(str, shape))
        raise tracer.refusal(node, f"works on a tensor of shape {text}, which is neither maps nor lines of a batch")
    roles = (PIXEL, CHANNEL, *[PIXEL] * (len(shape) - 2))
    return tuple(
        ((size, role),) if size > 1 or place else ()
        for place, (size, role) in enumerate(zip(shape, roles, strict=True))
    )


def map_of(shape: Sequence[int]) -> FeatureMap:
    """The map that a tensor of N×C×H×W or N×C×L is, N windows below each other."""
    height = shape[2] if len(shape) == 4 else 1
    return FeatureMap(shape[0] * height, shape[-1], shape[1])


def read_map(tracer: Tracer, node: fx.Node, operand: fx.Node) -> tuple[str, FeatureMap]:
    """What makes an operand that is read as a map, and the map."""
    value = tracer.read_as(node, tracer.stream(operand), layout_of(tracer, node, operand))
    return value.source, map_of(shape_of(operand))


def padded(
    tracer: Tracer, node: fx.Node, read: str, source: FeatureMap, count: int, sides: tuple[int, int]
) -> tuple[str, FeatureMap]:
    """Append a padding of each of `count` windows by (rows, columns) in all, unless there is nothing to pad."""
    rows, columns = sides
    if not rows and not columns:
        return read, source
    padded = FeatureMap(source.height + count * rows, source.width + columns, source.channels)
    return tracer.append(tracer.path(node, "pad"), OperationKind.PAD, (read,), source, padded), padded


def pool(kind: OperationKind) -> Handler:
    """The handler of pools over windows of maps or lines."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        given, shape = arguments_of(node), shape_of(data[0])
        rank = len(shape)
        kernel = pair_of(given["kernel_size"], rank, 1)
        padding = pair_of(given["padding"], rank, 0)
        read, source = read_map(tracer, node, data[0])
        if shape[0] > 1:
            read, source = padded(tracer, node, read, source, shape[0], (2 * padding[0], 2 * padding[1]))
            padding = (0, 0)
        name = tracer.append(
            tracer.path(node, operation_of(node)), kind, (read,), source, map_of(_shape(node)), kernel=kernel,
            stride=pair_of(given["stride"], rank, 1) if given["stride"] else kernel, padding=padding,
            dilation=pair_of(given.get("dilation", 1), rank, 1), windows=shape[0],
        )  # fmt: skip
        tracer.put(node, Stream(name, layout_of(tracer, node, node)))

    return handler


def adaptive_pool(kind: OperationKind) -> Handler:
    """The handler of pools to a given size: of all pixels, of windows of one size, or of windows that differ."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        read, source = read_map(tracer, node, data[0])
        count, name, layout = (
            shape_of(data[0])[0],
            tracer.path(node, operation_of(node)),
            layout_of(tracer, node, node),
        )
        result = map_of(_shape(node))
        details: dict[str, Any] = {}
        if source.pixels == result.pixels:
            tracer.put(node, Stream(read, layout))
            return
        if result.pixels == count == 1 and kind is OperationKind.AVERAGE_POOL:
            how = OperationKind.GLOBAL_POOL
        elif result.pixels == count:
            how, details = OperationKind.REDUCE, {"function": "max", "block": source.words // count}
            if kind is OperationKind.AVERAGE_POOL:
                details["function"] = "mean"
        else:
            how, sizes = kind, [(one.height // count, one.width) for one in (source, result)]
            windows = (pooled(size, parts) for size, parts in zip(*sizes, strict=True))
            kernel = tuple(int((last - first).max()) + 1 for first, last in windows)
            details = {"kernel": kernel, "stride": kernel}
            if any(size % parts for size, parts in zip(*sizes, strict=True)):
                details = {"kernel": kernel, "function": "adaptive"}
        tracer.put(node, Stream(tracer.append(name, how, (read,), source, result, **details), layout))

    return handler


def resize(function: str) -> Handler:
    """The handler of resizing by constant factors."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        read, source = read_map(tracer, node, data[0])
        result, layout = map_of(shape_of(node)), layout_of(tracer, node, node)
        if source == result:
            tracer.put(node, Stream(read, layout))
            return
        rows, columns = _RESIZED_BY[function]
        if source.height == result.height:
            rows = 1
        name = tracer.append(
            tracer.path(node, operation_of(node)), OperationKind.RESIZE, (read,), source, result,
            kernel=(rows, columns), function="bilinear" if function == "linear" else function,
        )  # fmt: skip
        tracer.put(node, Stream(name, layout))

    return handler


def windows_as_channels(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the windows of a map as pixels of k·k·C channels (im2col)."""
    given, shape = arguments_of(node), shape_of(node)
    read, source = read_map(tracer, node, data[0])
    kernel, stride, padding, dilation = (pair(given[name]) for name in ("kernel_size", "stride", "padding", "dilation"))
    sizes = (source.height, source.width)
    height, width = (
        (size + 2 * pad - (reach - 1) * apart - 1) // step + 1
        for size, pad, reach, apart, step in zip(sizes, padding, kernel, dilation, stride, strict=True)
    )
    name = tracer.append(
        tracer.path(node, "unfold"), OperationKind.UNFOLD, (read,), source, FeatureMap(height, width, shape[1]),
        kernel=kernel, stride=stride, padding=padding, dilation=dilation,
    )  # fmt: skip
    tracer.put(node, Stream(name, ((), ((shape[1], CHANNEL),), ((shape[2], PIXEL),))))


def channels_as_windows(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the sum of windows where they overlap (col2im)."""
    given, shape = arguments_of(node), shape_of(data[0])
    wanted: Layout = ((), ((shape[1], CHANNEL),), ((shape[2], PIXEL),))
    value = tracer.read_as(node, tracer.stream(data[0]), wanted)
    kernel, stride, padding = (pair(given[name]) for name in ("kernel_size", "stride", "padding"))
    result = map_of(shape_of(node))
    rows = (result.height + 2 * padding[0] - (kernel[0] - 1) * pair(given["dilation"])[0] - 1) // stride[0] + 1
    source = FeatureMap(rows, shape[2] // rows, shape[1])
    name = tracer.append(
        tracer.path(node, "fold"), OperationKind.FOLD, (value.source,), source, result, kernel=kernel, stride=stride,
        block=source.words // rows,
    )  # fmt: skip
    tracer.put(node, Stream(name, layout_of(tracer, node, node)))


def windows_along(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the windows along one axis of pixels (`Tensor.unfold`), each written as pixels of its own."""
    given, layout = arguments_of(node), tracer.layouts[data[0]]
    axis, size, step = given["dimension"] % len(layout), given["size"], given["step"]
    count = shape_of(node)[axis]
    apart = size == step and count * size == shape_of(data[0])[axis]
    if apart and len(layout[axis]) == 1:  # nothing is repeated
        ((_, role),) = layout[axis]
        parts: list[Axis] = [((part, role),) for part in (count, size)]
        tracer.rename(node, data[0], (*layout[:axis], parts[0], *layout[axis + 1 :], parts[1]))
        return
    if not is_all(layout[axis], PIXEL):
        raise tracer.refusal(node, f"over axis {axis}, which is of channels, has no windows of pixels")
    before, inner = (math.prod(size_of(one, PIXEL) for one in part) for part in (layout[:axis], layout[axis + 1 :]))
    channels = math.prod(size_of(one, CHANNEL) for one in layout)
    name = tracer.append(
        tracer.path(node, "unfold"), OperationKind.UNFOLD, (tracer.sources[data[0]],),
        FeatureMap(before * shape_of(data[0])[axis], inner, channels),
        FeatureMap(before * count, inner * size, channels), kernel=(size, 1), stride=(step, 1),
        windows=before,
    )  # fmt: skip
    tracer.put(node, Stream(name, (*layout[:axis], ((count, PIXEL),), *layout[axis + 1 :], ((size, PIXEL),))))


def pixels_from_channels(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a pixel shuffle, which keeps a row until its channels have become rows; or the opposite, which keeps r."""
    read, source = read_map(tracer, node, data[0])
    result = map_of(shape_of(node))
    block = max(source.words // max(source.height, 1), result.words // max(result.height, 1))
    name = tracer.append(
        tracer.path(node, operation_of(node)), OperationKind.REARRANGE, (read,), source, result, block=block
    )
    tracer.put(node, Stream(name, layout_of(tracer, node, node)))


MAP_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(["max_pool1d", "max_pool2d", "max_pool2d_with_indices"], pool(OperationKind.MAX_POOL)),
    **dict.fromkeys(["avg_pool1d", "avg_pool2d"], pool(OperationKind.AVERAGE_POOL)),
    **dict.fromkeys(["adaptive_avg_pool1d", "adaptive_avg_pool2d"], adaptive_pool(OperationKind.AVERAGE_POOL)),
    **dict.fromkeys(["adaptive_max_pool1d", "adaptive_max_pool2d"], adaptive_pool(OperationKind.MAX_POOL)),
    **dict.fromkeys(["upsample_nearest1d", "upsample_nearest2d", "_upsample_nearest_exact2d"], resize("nearest")),
    "upsample_linear1d": resize("linear"),
    "upsample_bilinear2d": resize("bilinear"),
    "upsample_bicubic2d": resize("bicubic"),
    "im2col": windows_as_channels,
    "col2im": channels_as_windows,
    "unfold": windows_along,
    "pixel_shuffle": pixels_from_channels,
    "pixel_unshuffle": pixels_from_channels,
}
"""The handlers of operations on maps, but for convolutions."""
