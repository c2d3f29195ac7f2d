"""How convolutions over lines, maps and volumes, and transposed ones, become operations of a workload."""

from __future__ import annotations

import math

from torch import fx

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.layout import CHANNEL, PIXEL
from hass_train.hardware.trace_maps import layout_of, map_of, padded, pair_of, read_map
from hass_train.hardware.tracer import Handler, Stream, Tracer, arguments_of, shape_of
from hass_train.hardware.workload import FeatureMap, OperationKind


def convolution(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a convolution over maps or lines. Windows in a batch are padded each for itself."""
    given, shape = arguments_of(node), shape_of(data[0])
    layer, layout, rank = tracer.layer_of(node, given["weight"]), layout_of(tracer, node, node), len(shape)
    kernel = pair_of(shape_of(given["weight"])[2:], rank, 1)
    stride, dilation = (pair_of(given[name], rank, 1) for name in ("stride", "dilation"))
    read, source = read_map(tracer, node, data[0])
    padding = given.get("padding", 0)
    if isinstance(padding, str):  # torch spells 'same' and 'valid' as words
        whole = [(size - 1) * step * (padding == "same") for size, step in zip(kernel, dilation, strict=True)]
    else:
        whole = [2 * size for size in pair_of(padding, rank, 0)]
    if shape[0] > 1 or any(size % 2 for size in whole):  # timm's layer, too, pads apart where sides differ
        read, source = padded(tracer, node, read, source, shape[0], (whole[0], whole[1]))
        whole = [0, 0]
    tracer.put(node, Stream(tracer.append(
        kind=OperationKind.CONV, inputs=(read,), source=source, result=map_of(shape_of(node)), kernel=kernel,
        stride=stride, padding=(whole[0] // 2, whole[1] // 2), dilation=dilation, groups=given["groups"],
        bias=given["bias"] is not None, windows=shape[0], **layer,
    ), layout))  # fmt: skip


def volume_convolution(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a convolution over volumes whose kernel spans two axes: each place of the third is a group of its own.

    All groups have the same weights, which are stored for each.
    """
    given, shape, made = arguments_of(node), shape_of(data[0]), shape_of(node)
    kernel = shape_of(given["weight"])[2:]
    sizes = {name: [*given[name]] * (3 // len(given[name])) for name in ("stride", "padding", "dilation")}
    flat = [k for k in range(3) if (kernel[k], sizes["stride"][k], sizes["padding"][k]) == (1, 1, 0)]
    if shape[0] != 1 or not flat:
        raise tracer.refusal(node, f"has a kernel of {kernel}, which spans all three axes of a volume; take maps")
    axis, others = flat[-1] + 2, [k for k in range(3) if k != flat[-1]]
    layout, result = (
        tuple(((size, CHANNEL if place in (1, axis) else PIXEL),) if place else () for place, size in enumerate(one))
        for one in (shape, made)
    )
    read = tracer.read_as(node, tracer.stream(data[0]), layout)
    rows, columns = others[0] + 2, others[1] + 2
    stride, padding, dilation = (
        (sizes[name][others[0]], sizes[name][others[1]]) for name in ("stride", "padding", "dilation")
    )
    name = tracer.append(
        kind=OperationKind.CONV, inputs=(read.source,),
        source=FeatureMap(shape[rows], shape[columns], shape[1] * shape[axis]),
        result=FeatureMap(made[rows], made[columns], made[1] * made[axis]),
        kernel=(kernel[others[0]], kernel[others[1]]), stride=stride, padding=padding, dilation=dilation,
        groups=given["groups"] * shape[axis], bias=given["bias"] is not None, fixed=True,
        name=tracer.layer_of(node, given["weight"])["name"],
    )  # fmt: skip
    tracer.put(node, Stream(name, result))


def transposed_convolution(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a transposed convolution as its phases: s·s convolutions of one small kernel each, on the map as it is.

    Every s-th row and column of the result meets the same ⌈k/s⌉ weights of the kernel. So a convolution makes all s·s
    phases of a pixel as channels, and a rearrangement lays them out as rows and columns.
    """
    given, shape, rank = arguments_of(node), shape_of(data[0]), len(shape_of(data[0]))
    stride, dilation = (pair_of(given[name], rank, 1) for name in ("stride", "dilation"))
    kernel = pair_of(shape_of(given["weight"])[2:], rank, 1)
    if any(step > 1 and apart > 1 for step, apart in zip(stride, dilation, strict=True)):
        raise tracer.refusal(node, f"with stride {stride} and dilation {dilation} has no phases of equal kernels")
    layer = {"fixed": True, "name": tracer.layer_of(node, given["weight"])["name"]}
    read, source = read_map(tracer, node, data[0])
    result = map_of(shape_of(node))
    window, phases = [ceil_div(size, step) for size, step in zip(kernel, stride, strict=True)], math.prod(stride)
    rows, columns = ceil_div(result.height // shape[0], stride[0]), ceil_div(result.width, stride[1])
    reach = [(size - 1) * apart for size, apart in zip(window, dilation, strict=True)]
    around = max(rows + reach[0] - source.height // shape[0], 0), max(columns + reach[1] - source.width, 0)
    read, source = padded(tracer, node, read, source, shape[0], around)
    made = FeatureMap(rows * shape[0], columns, result.channels * phases)
    name = tracer.append(
        kind=OperationKind.CONV, inputs=(read,), source=source, result=made, kernel=(window[0], window[1]),
        dilation=dilation, groups=given["groups"], bias=given["bias"] is not None, windows=shape[0], **layer,
    )  # fmt: skip
    if phases > 1:
        path = tracer.path(node, "rearrange")
        name = tracer.append(path, OperationKind.REARRANGE, (name,), made, result, block=made.words // made.height)
    tracer.put(node, Stream(name, layout_of(tracer, node, node)))


CONV_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(["conv1d", "conv2d"], convolution),
    "conv3d": volume_convolution,
    **dict.fromkeys(["conv_transpose1d", "conv_transpose2d"], transposed_convolution),
}
"""The handlers of convolutions."""
