"""How operations on each word become operations of a workload: functions, and sums and products of streams."""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from hass_train.hardware.layout import Layout, broadcast, feature_map, resized
from hass_train.hardware.tracer import Handler, Stream, Tracer, arguments_of, operation_of, shape_of
from hass_train.hardware.workload import OperationKind

FUNCTIONS = (
    "relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh", "leaky_relu", "elu",
    "mish", "selu", "celu", "softplus", "softsign", "hardshrink", "softshrink", "threshold", "log_sigmoid", "logit",
    "exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal", "abs", "sign", "sin",
    "cos", "atan", "erf", "floor", "ceil", "round", "trunc", "square", "clamp", "clamp_min", "clamp_max", "nan_to_num",
    "isinf", "logical_not", "eq", "ne", "lt", "le", "gt", "ge",
)  # fmt: skip
"""Functions of one word, with whatever constants: a table, a comparison or a clip."""


def _is_scalar(value: Any) -> bool:
    """Whether a constant is one number."""
    return not isinstance(value, fx.Node) or math.prod(shape_of(value)) == 1


def function(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a function of each word, named after its module if it has one."""
    name = operation_of(node)
    if node.args[0] not in data or len(data) > 1:
        raise tracer.refusal(node, "of two streams cannot be costed; take one of them constant")
    _apply(tracer, node, tracer.stream(data[0]), name, tracer.module_of(node) or name)


def _apply(tracer: Tracer, node: fx.Node, value: Stream, function: str, name: str) -> None:
    """Append a function of each word of a value."""
    whole = feature_map(value.layout)
    name = tracer.append(name, OperationKind.ACTIVATION, (value.source,), whole, whole, function=function)
    tracer.put(node, Stream(name, value.layout))


def power(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a power with a constant exponent: a square, or a table."""
    base, exponent = node.args[:2]
    if base not in data or isinstance(exponent, fx.Node):
        raise tracer.refusal(node, "has an exponent that is no constant number")
    if exponent == 1:
        tracer.rename(node, data[0])
        return
    names: dict[Any, str] = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
    _apply(tracer, node, tracer.stream(data[0]), names.get(exponent, "pow"), tracer.path(node, "pow"))


def parametric_relu(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a PReLU: with one slope a function; with a slope for each channel a product beside it."""
    value, name = tracer.stream(data[0]), tracer.module_of(node) or operation_of(node)
    if not _is_scalar(node.args[1]):
        whole = feature_map(value.layout)
        scaled = tracer.append(
            tracer.path(node, "mul"), OperationKind.MULTIPLY, (value.source,), whole, whole, function="constant"
        )
        value = Stream(scaled, value.layout)
    _apply(tracer, node, value, "prelu", name)


def joined(
    tracer: Tracer, node: fx.Node, values: list[Stream], kind: OperationKind, name: str, function: str = ""
) -> Stream:
    """Append an operation on the words of several values at a time and return what it makes.

    It is laid out as the largest of them, and those that come in another order are rearranged.
    """
    shape = tuple(max(sizes) for sizes in zip(*(_full(one.shape, values) for one in values), strict=True))
    layout = broadcast([one.layout for one in sorted(values, key=lambda one: -math.prod(one.shape))], shape)
    same = [tracer.read_as(node, one, _part(layout, one)) for one in values]
    source = max((feature_map(one.layout) for one in values), key=lambda feature: feature.words)
    inputs = tuple(dict.fromkeys(one.source for one in same))
    return Stream(tracer.append(name, kind, inputs, source, feature_map(layout), function=function), layout)


def _full(shape: tuple[int, ...], values: list[Stream]) -> tuple[int, ...]:
    """A shape with as many axes as the largest of some values has."""
    rank = max(len(one.layout) for one in values)
    return (1,) * (rank - len(shape)) + shape


def _part(layout: Layout, value: Stream) -> Layout:
    """How a value is laid out that is repeated along some axes to a layout."""
    axes = zip(layout[len(layout) - len(value.layout) :], value.layout, value.shape, strict=True)
    return tuple(whole if math.prod(n for n, _ in whole) == size else own for whole, own, size in axes)


def elementwise(kind: OperationKind) -> Handler:
    """The handler of sums, differences and products of two streams, or of a stream and a constant."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        given, path = arguments_of(node), tracer.path(node, operation_of(node))
        constants = [value for value in (given["self"], given["other"]) if value not in data]
        if not constants:
            tracer.put(node, joined(tracer, node, [tracer.stream(one) for one in data], kind, path))
        else:
            with_constant(tracer, node, tracer.stream(data[0]), constants[0], kind, path)

    return handler


def with_constant(tracer: Tracer, node: fx.Node, value: Stream, constant: Any, kind: OperationKind, name: str) -> None:
    """Append a sum with a constant or a product with one; a scalar folds into a layer next to it."""
    layout = broadcast([value.layout], shape_of(node))
    if _is_scalar(constant):
        tracer.put(node, Stream(value.source, layout))
        return
    function, read, made = (
        "constant" if kind is OperationKind.MULTIPLY else "",
        *map(feature_map, (value.layout, layout)),
    )
    tracer.put(node, Stream(tracer.append(name, kind, (value.source,), read, made, function=function), layout))


def division(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the product with the inverse of a constant, a quotient of two streams, or the reciprocal of one."""
    given, path = arguments_of(node), tracer.path(node, operation_of(node))
    if given["other"] not in data:
        elementwise(OperationKind.MULTIPLY)(tracer, node, data)
        return
    divisor = tracer.stream(given["other"])
    if given["self"] in data:
        dividend = tracer.stream(given["self"])
        tracer.put(node, joined(tracer, node, [dividend, divisor], OperationKind.DIVIDE, path))
        return
    _apply(tracer, node, divisor, "reciprocal", path)
    if not _is_scalar(given["self"]):
        value, name = tracer.stream(node), tracer.path(node, "mul")
        with_constant(tracer, node, value, given["self"], OperationKind.MULTIPLY, name)


def product_and_sum(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a + value·b·c (addcmul) or a + value·b/c (addcdiv)."""
    given = arguments_of(node)
    left, right, sums = given["tensor1"], given["tensor2"], given["self"]
    path = tracer.path(node, "mul")
    kind = OperationKind.DIVIDE if operation_of(node) == "addcdiv" else OperationKind.MULTIPLY
    streams = [tracer.stream(one) for one in (left, right) if one in data]
    if kind is OperationKind.DIVIDE and (left not in data or right not in data):
        raise tracer.refusal(node, "of a constant and a stream cannot be costed; write it as a division and a sum")
    made = None
    if len(streams) == 2:
        made = joined(tracer, node, streams, kind, path)
    elif streams:
        constant = right if left in data else left
        with_constant(tracer, node, streams[0], constant, kind, path)
        made = tracer.stream(node)
    if made is None:
        with_constant(tracer, node, tracer.stream(sums), left, OperationKind.ADD, tracer.path(node, "add"))
    elif sums in data:
        both = [tracer.stream(sums), made]
        tracer.put(node, joined(tracer, node, both, OperationKind.ADD, tracer.path(node, "add")))
    else:
        with_constant(tracer, node, made, sums, OperationKind.ADD, tracer.path(node, "add"))


def interpolation(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a + w·(b − a) with a constant or streamed weight w (lerp)."""
    given = arguments_of(node)
    if given["self"] not in data or given["end"] not in data:
        raise tracer.refusal(node, "with a constant end cannot be costed; write it as a product and a sum")
    start, end = tracer.stream(given["self"]), tracer.stream(given["end"])
    between = joined(tracer, node, [end, start], OperationKind.ADD, tracer.path(node, "sub"))
    weight = given["weight"]
    if weight in data:
        both = [between, tracer.stream(weight)]
        tracer.put(node, joined(tracer, node, both, OperationKind.MULTIPLY, tracer.path(node, "mul")))
    else:
        with_constant(tracer, node, between, weight, OperationKind.MULTIPLY, tracer.path(node, "mul"))
    both = [start, tracer.stream(node)]
    tracer.put(node, joined(tracer, node, both, OperationKind.ADD, tracer.path(node, "add")))


def choice(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a choice between values (where, masked_fill): a join if several are streams, else a function."""
    values = [tracer.stream(one) for one in data]
    path = tracer.path(node, operation_of(node))
    if len(values) > 1:
        tracer.put(node, joined(tracer, node, values, OperationKind.ADD, path, "choice"))
        return
    layout = broadcast([values[0].layout], shape_of(node))
    _apply(tracer, node, Stream(values[0].source, layout), "choice", path)


def larger(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the larger or smaller of two streams, or of a stream and a constant."""
    choice(tracer, node, data)


def overwritten(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """A value that is written over another: whoever reads that later reads what was written."""
    target, value = node.args[:2]
    if value not in data:
        raise tracer.refusal(node, "writes a constant over a stream, which cannot be followed; use torch.where")
    tracer.put(node, tracer.stream(value))  # type: ignore[arg-type]
    while isinstance(target, fx.Node):
        if math.prod(shape_of(target)) > math.prod(shape_of(node)):
            raise tracer.refusal(node, "writes over a part of a tensor, which cannot be followed; use torch.cat")
        if target in tracer.sources:
            layout = tracer.layouts[target]
            tracer.put(target, Stream(tracer.sources[node], resized(layout, shape_of(target))))
        views = operation_of(target) in ("slice", "select", "narrow", "view", "transpose", "permute", "alias")
        target = target.args[0] if views else None


POINTWISE_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(FUNCTIONS, function),
    **dict.fromkeys(["add", "sub", "rsub"], elementwise(OperationKind.ADD)),
    **dict.fromkeys(["maximum", "minimum"], larger),
    "mul": elementwise(OperationKind.MULTIPLY),
    "div": division,
    "pow": power,
    "prelu": parametric_relu,
    "addcmul": product_and_sum,
    "addcdiv": product_and_sum,
    "lerp": interpolation,
    "where": choice,
    "masked_fill": choice,
    "copy": overwritten,
}
"""The handlers of operations on each word."""
