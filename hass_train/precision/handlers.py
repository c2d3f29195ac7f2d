"""How each torch operation becomes an integer operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from hass_train.hardware.tracer import arguments_of, operation_of, shape_of
from hass_train.precision.builder import Builder
from hass_train.precision.graph import LAYERS, Kind

Handler = Callable[[Builder, fx.Node], None]
TABLES = ("hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh", "leaky_relu", "elu", "mish")
"""Pointwise functions that become tables."""


def drops(module: nn.Module) -> bool:
    """Whether a module drops values in training, as torch's and timm's do."""
    return not [*module.children()] and (
        isinstance(module, nn.modules.dropout._DropoutNd) or hasattr(module, "drop_prob")
    )


def _layer(build: Builder, node: fx.Node) -> None:
    """A convolution or linear layer."""
    given, kind = arguments_of(node), Kind(operation_of(node).removesuffix("2d"))
    image, name = given["input"], build.made[node][-1]
    operation = build.operations[name]
    details: dict[str, Any] = {}
    if kind is Kind.CONV:
        own = given.get("padding", 0)
        rows, columns = _same(operation.kernel, given["dilation"]) if own == "same" else _sides(own)
        details = {
            "stride": operation.stride, "dilation": operation.dilation, "groups": operation.groups,
            "padding": (*columns, *rows),
        }  # fmt: skip
        image, details["padding"] = _without_pad(build, node, image, details["padding"])
    build.add(
        node, kind, [image], name, layer="" if operation.fixed else operation.owner, bias=build.path_of(given["bias"]),
        weight=build.path_of(given["weight"]), **details,
    )  # fmt: skip


def _sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """((above, below), (left, right)) of a torch padding."""
    if padding == "valid":
        return (0, 0), (0, 0)
    sides = [padding] if isinstance(padding, int) else list(padding)
    return (sides[0], sides[0]), (sides[-1], sides[-1])


def _same(kernel: tuple[int, int], dilation: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """((above, below), (left, right)) of torch's padding "same", which has more on the second side."""
    whole = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
    return (whole[0] // 2, whole[0] - whole[0] // 2), (whole[1] // 2, whole[1] - whole[1] // 2)


def _without_pad(build: Builder, node: fx.Node, image: fx.Node, padding: tuple[int, ...]) -> tuple[fx.Node, Any]:
    """The input and the padding of a layer that, as timm's, pads its input by itself: layer and padding are one."""
    maker = build.nodes[-1] if build.nodes else None
    if maker is None or maker.kind is not Kind.PAD or build.values[image] != maker.name or maker.function:
        return image, padding
    if build.tracer.module_of(image) != build.tracer.module_of(node):
        return image, padding
    build.nodes.pop()
    whole = tuple(a + b for a, b in zip(padding, maker.padding, strict=True))
    return image.all_input_nodes[0], whole


def _norm(build: Builder, node: fx.Node) -> None:
    """A batch norm, which folds as the tracer says, or is a depthwise convolution of one weight a channel."""
    given = arguments_of(node)
    path, image = build.path_of(given["running_mean"]).rpartition(".")[0], given["input"]
    if not isinstance(build.tracer.modules[path], nn.modules.batchnorm._BatchNorm):
        raise build.refusal(node, "of a module that is no torch batch norm has no integer meaning")
    if node in build.made:
        if len(shape_of(node)) != 4:
            raise build.refusal(node, "that folds into no layer has an integer meaning for images alone")
        build.add(node, Kind.CONV, [image], build.made[node][0], groups=shape_of(node)[1], norms=(path,))
        return
    name = build.values[image]
    place = next(place for place, one in enumerate(build.nodes) if one.name == name)
    maker = build.nodes[place]
    if maker.kind not in LAYERS:
        raise build.refusal(node, f"folds into the layers before {name}, which has no integer meaning")
    build.nodes[place] = replace(maker, norms=(*maker.norms, path))
    build.values[node] = name


def _pool(kind: Kind) -> Handler:
    """The handler of pools over windows."""

    def handler(build: Builder, node: fx.Node) -> None:
        given = arguments_of(node)
        operation = build.operations[build.made[node][-1]]
        rows, columns = operation.padding
        source = shape_of(given["self"])
        if kind is Kind.AVERAGE_POOL and not (rows or columns) and math.prod(shape_of(node)[2:]) == 1:
            whole = [min(size, reach) for size, reach in zip(source[2:], operation.reach, strict=True)]
            if tuple(whole) == source[2:]:  # one window, of the whole map, beyond which it may reach
                build.add(node, Kind.MEAN, [given["self"]], arguments=(2, 3), count=math.prod(whole))
                return
        if kind is Kind.AVERAGE_POOL and (rows or columns) and not given["count_include_pad"]:
            raise build.refusal(node, "of windows that count fewer values at borders has no integer meaning")
        sides = zip(shape_of(given["self"])[2:], operation.padding, operation.reach, operation.stride, strict=True)
        if given["ceil_mode"] and shape_of(node)[2:] != tuple((n + 2 * p - r) // s + 1 for n, p, r, s in sides):
            raise build.refusal(node, "of windows that reach beyond the map (ceil_mode) has no integer meaning")
        if given.get("divisor_override"):
            raise build.refusal(node, "with a divisor of its own has no integer meaning")
        build.add(
            node, kind, [given["self"]], kernel=operation.kernel, stride=operation.stride, dilation=operation.dilation,
            padding=(columns, columns, rows, rows), count=math.prod(operation.kernel),
        )  # fmt: skip

    return handler


def _mean(build: Builder, node: fx.Node) -> None:
    """A mean over all pixels."""
    given, rank = arguments_of(node), len(shape_of(node.all_input_nodes[0]))
    axes = tuple(sorted(axis % rank for axis in given.get("dim") or range(rank)))
    if 0 in axes:
        raise build.refusal(node, "over images has no integer meaning")
    shape = shape_of(node.all_input_nodes[0])
    count = math.prod(shape[axis] for axis in axes)
    build.add(node, Kind.MEAN, node.all_input_nodes[:1], arguments=axes, count=count)


def _adaptive(build: Builder, node: fx.Node) -> None:
    """An adaptive average pool: a mean over all pixels, a pool over equal windows, or nothing."""
    image = node.all_input_nodes[0]
    if node not in build.made:
        build.values[node] = build.value(node, image)
        return
    operation = build.operations[build.made[node][-1]]
    if math.prod(shape_of(node)[2:]) == 1:
        build.add(node, Kind.MEAN, [image], arguments=(2, 3), count=math.prod(shape_of(image)[2:]))
    else:
        count = math.prod(operation.kernel)
        build.add(node, Kind.AVERAGE_POOL, [image], kernel=operation.kernel, stride=operation.stride, count=count)


def _pair(kind: Kind, sign: int = 1) -> Handler:
    """The handler of sums, differences and products of two streams."""

    def handler(build: Builder, node: fx.Node) -> None:
        given = arguments_of(node)
        if given.get("alpha", 1) != 1:
            raise build.refusal(node, "with a factor has no integer meaning")
        operands = [given["self"], given["other"]]
        build.add(node, kind, operands, arguments=(1, sign) if kind is Kind.ADD else ())

    return handler


def _concat(build: Builder, node: fx.Node) -> None:
    """A concatenation."""
    given = arguments_of(node)
    axis = given["dim"] % len(shape_of(node))
    build.add(node, Kind.CONCAT, list(given["tensors"]), arguments=(axis,))


def _pad(build: Builder, node: fx.Node) -> None:
    """A padding with zeros, or with what no maximum selects."""
    given = arguments_of(node)
    if not any(given["pad"]):
        build.values[node] = build.value(node, node.all_input_nodes[0])
        return
    value, mode = given.get("value") or 0.0, given.get("mode", "constant")
    sides = (*given["pad"], 0, 0)[:4]
    if mode != "constant" or value not in (0.0, -math.inf) or len(given["pad"]) > 4 or min(sides) < 0:
        raise build.refusal(node, f"that pads by {mode if mode != 'constant' else value} has no integer meaning")
    build.add(node, Kind.PAD, node.all_input_nodes[:1], padding=sides, function="lowest" if value else "")


def _clip(build: Builder, node: fx.Node) -> None:
    """ReLU, ReLU6, or another function that clips."""
    given, name = arguments_of(node), operation_of(node)
    limits = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
    low, high = limits.get(name) or (float(given["min_val"]), float(given["max_val"]))
    bounds = {"low": low, "high": high}
    build.add(
        node, Kind.CLIP, node.all_input_nodes[:1], options={key: x for key, x in bounds.items() if math.isfinite(x)}
    )


def _table(build: Builder, node: fx.Node) -> None:
    """A pointwise function."""
    options = {key: value for key, value in arguments_of(node).items() if key != "self"}
    build.add(node, Kind.TABLE, node.all_input_nodes[:1], function=operation_of(node), options=options)


def _same_value(build: Builder, node: fx.Node) -> None:
    """A node that changes nothing, or a mark behind what drops values in training."""
    image = node.all_input_nodes[0]
    if operation_of(node) == "alias" and drops(build.tracer.modules[path := build.tracer.module_of(node)]):
        build.add(node, Kind.DROP, [image], layer=path)
    else:
        build.values[node] = build.value(node, image)


def _view(kind: Kind) -> Handler:
    """The handler of reshapes and permutations, which keep images apart."""

    def handler(build: Builder, node: fx.Node) -> None:
        source, result = shape_of(node.all_input_nodes[0]), shape_of(node)
        order = list(range(len(source)))
        if kind is Kind.PERMUTE:
            given = arguments_of(node)
            if "dims" in given:
                order = [axis % len(source) for axis in given["dims"]]
            else:
                first, second = given["dim0"] % len(source), given["dim1"] % len(source)
                order[first], order[second] = second, first
        if order[0] != 0 or source[0] != 1 or not result or result[0] != 1:
            raise build.refusal(node, "that moves images has no integer meaning")
        build.add(node, kind, node.all_input_nodes[:1], arguments=tuple(order) if kind is Kind.PERMUTE else ())

    return handler


def _cut(build: Builder, node: fx.Node) -> None:
    """A part of a tensor along one axis."""
    given, shape = arguments_of(node), shape_of(node.all_input_nodes[0])
    axis = given["dim"] % len(shape)
    start = given["start"] or 0
    stop = given["end"] if "end" in given else start + given["length"]
    start, stop, step = slice(start, stop, given.get("step", 1)).indices(shape[axis])
    if axis == 0:
        raise build.refusal(node, "of some images has no integer meaning")
    if (start, stop, step) == (0, shape[axis], 1):
        build.values[node] = build.value(node, node.all_input_nodes[0])
        return
    build.add(node, Kind.SLICE, node.all_input_nodes[:1], arguments=(axis, start, stop, step))


def _split(build: Builder, node: fx.Node) -> None:
    """A tensor in parts, each of which `getitem` takes."""
    image = node.all_input_nodes[0]
    axis, parts = arguments_of(node)["dim"] % len(shape_of(image)), node.meta["val"]
    ends: list[int] = torch.tensor([part.shape[axis] for part in parts]).cumsum(0).tolist()
    build.parts[node] = (axis, list(zip([0, *ends[:-1]], ends, strict=True)))
    build.values[node] = build.value(node, image)


def _item(build: Builder, node: fx.Node) -> None:
    """One of the parts of a tensor."""
    split, place = node.args
    assert isinstance(split, fx.Node)
    assert isinstance(place, int)
    axis, parts = build.parts[split]
    build.add(node, Kind.SLICE, [split], arguments=(axis, *parts[place], 1))


HANDLERS: dict[str, Handler] = {
    "conv2d": _layer,
    "linear": _layer,
    "batch_norm": _norm,
    "max_pool2d": _pool(Kind.MAX_POOL),
    "avg_pool2d": _pool(Kind.AVERAGE_POOL),
    "adaptive_avg_pool2d": _adaptive,
    "mean": _mean,
    "add": _pair(Kind.ADD),
    "sub": _pair(Kind.ADD, -1),
    "mul": _pair(Kind.MULTIPLY),
    "cat": _concat,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "permute": _view(Kind.PERMUTE),
    "transpose": _view(Kind.PERMUTE),
    "slice": _cut,
    "narrow": _cut,
    "split": _split,
    "split_with_sizes": _split,
    "chunk": _split,
    "getitem": _item,
    **dict.fromkeys(["contiguous", "clone", "alias", "detach", "dropout", "feature_dropout", "identity"], _same_value),
    **dict.fromkeys(
        ["view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"], _view(Kind.RESHAPE)
    ),
    **dict.fromkeys(["relu", "relu6", "hardtanh"], _clip),
    **dict.fromkeys(TABLES, _table),
}
"""The handler of each torch operation that has an integer meaning."""
