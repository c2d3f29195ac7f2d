"""How each torch operation becomes operations of a workload."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import fx

from hass_train.hardware.layout import (
    CHANNEL,
    PIXEL,
    Layout,
    broadcast,
    channels_last,
    feature_map,
    image_layout,
    is_all,
    resized,
    size_of,
)
from hass_train.hardware.trace_norms import batch_norm, layer_norm, softmax
from hass_train.hardware.trace_views import cut, permute, reshape, same, transpose, without_axis
from hass_train.hardware.tracer import Tracer, arguments_of, operation_of, shape_of
from hass_train.hardware.workload import FeatureMap, OperationKind

Handler = Callable[[Tracer, fx.Node, list[fx.Node]], None]
"""A function that traces one node, called with those of its inputs that are not constants."""


def _pair(value: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) from one number or two."""
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _image_layout(tracer: Tracer, node: fx.Node, of: fx.Node) -> Layout:
    """The layout of a tensor that the node reads or makes as an image."""
    shape = shape_of(of)
    if len(shape) != 4 or shape[0] != 1:
        raise tracer.refusal(node, f"works on a tensor of shape {'×'.join(map(str, shape))}, which is not one image")
    return image_layout(shape)


def _conv(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a convolution."""
    given = arguments_of(node)
    layer, layout = tracer.layer_of(node, given["weight"]), _image_layout(tracer, node, node)
    kernel, dilation = shape_of(given["weight"])[2:], _pair(given["dilation"])
    source, read = feature_map(_image_layout(tracer, node, data[0])), tracer.sources[data[0]]
    padding = given.get("padding", 0)
    if isinstance(padding, str):  # torch spells 'same' and 'valid' as words
        rows, columns = ((size - 1) * step * (padding == "same") for size, step in zip(kernel, dilation, strict=True))
        padding = [rows // 2, columns // 2]
        if rows % 2 or columns % 2:  # more on one side than on the other: an operation of its own, as timm's layer has
            padded = FeatureMap(source.height + rows, source.width + columns, source.channels)
            read = tracer.append(tracer.path(node, "pad"), OperationKind.PAD, (read,), source, padded)
            source, padding = padded, 0
    tracer.sources[node] = tracer.append(
        kind=OperationKind.CONV, inputs=(read,), source=source, result=feature_map(layout), kernel=kernel,
        stride=_pair(given["stride"]),
        padding=_pair(padding), dilation=dilation, groups=given["groups"], bias=given["bias"] is not None, **layer,
    )  # fmt: skip
    tracer.layouts[node] = layout


def _linear(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a linear layer, whose last axis is the channels and whose other axes are pixels."""
    given = arguments_of(node)
    layer = tracer.layer_of(node, given["weight"])
    result, reads = channels_last(shape_of(node)), channels_last(shape_of(data[0]))
    tracer.add(node, data[:1], OperationKind.LINEAR, result, reads=reads, bias=given["bias"] is not None, **layer)


def _pool(kind: OperationKind) -> Handler:
    """The handler of pools over windows."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        given = arguments_of(node)
        kernel = _pair(given["kernel_size"])
        tracer.add(
            node, data[:1], kind, _image_layout(tracer, node, node), reads=_image_layout(tracer, node, data[0]),
            kernel=kernel, stride=_pair(given["stride"]) if given["stride"] else kernel,
            padding=_pair(given["padding"]), dilation=_pair(given.get("dilation", 1)),
        )  # fmt: skip

    return handler


def _adaptive_pool(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a global pool, or a pool over windows where these are all of one size."""
    reads, layout = _image_layout(tracer, node, data[0]), _image_layout(tracer, node, node)
    source, result = feature_map(reads), feature_map(layout)
    if result.pixels == 1:
        tracer.add(node, data, OperationKind.GLOBAL_POOL, layout, reads=reads)
        return
    if source.height % result.height or source.width % result.width:
        raise tracer.refusal(
            node,
            f"from {source.height}×{source.width} to {result.height}×{result.width} has windows of unequal size",
        )
    if source.pixels == result.pixels:
        tracer.rename(node, data[0])
        return
    kernel = (source.height // result.height, source.width // result.width)
    tracer.add(node, data, OperationKind.AVERAGE_POOL, layout, reads=reads, kernel=kernel, stride=kernel)


def _mean(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a global pool for a mean over all pixels."""
    layout, given = tracer.layouts[data[0]], arguments_of(node)
    axes = {axis % len(layout) for axis in given.get("dim") or range(len(layout))}
    whole = all(
        is_all(axis, PIXEL) if place in axes else size_of(axis, PIXEL) == 1 for place, axis in enumerate(layout)
    )
    if not whole:
        raise tracer.refusal(node, f"over axes {sorted(axes)} is no pooling of all pixels")
    if given.get("keepdim"):
        result: Layout = tuple(((1, PIXEL),) if place in axes else axis for place, axis in enumerate(layout))
    else:
        result = tuple(axis for place, axis in enumerate(layout) if place not in axes)
    tracer.add(node, data, OperationKind.GLOBAL_POOL, result)


def _elementwise(kind: OperationKind) -> Handler:
    """The handler of sums, differences and products of two streams, or of a stream and a constant."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        given = arguments_of(node)
        layout = broadcast([tracer.layouts[argument] for argument in data], shape_of(node))
        constants = [value for value in (given["self"], given["other"]) if value not in data]
        if not constants:
            tracer.add(node, data, kind, layout)
        elif not isinstance(constants[0], fx.Node) or math.prod(shape_of(constants[0])) == 1:
            tracer.rename(node, data[0], layout)  # a scalar folds into a layer next to it
        else:
            function = "constant" if kind is OperationKind.MULTIPLY else ""
            tracer.add(node, data, kind, layout, function=function)

    return handler


def _divide(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the product with the inverse of a constant."""
    if arguments_of(node)["other"] in data:
        raise tracer.refusal(node, "divides by a stream, which the hardware model cannot cost")
    _elementwise(OperationKind.MULTIPLY)(tracer, node, data)


def _concat(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a concatenation."""
    tracer.add(node, data, OperationKind.CONCAT, resized(tracer.layouts[data[0]], shape_of(node)))


def _pad(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a padding, unless it pads nothing.

    Where it repeats the map, its window is what must be kept: the row and the column that are repeated, and those that
    lie between them and their mirror image.
    """
    given, layout = arguments_of(node), resized(tracer.layouts[data[0]], shape_of(node))
    if not any(given["pad"]):
        tracer.rename(node, data[0])
        return
    mode, value = given.get("mode", "constant"), given.get("value") or 0
    if mode == "constant":  # −∞, for a max pool behind it, is as good as a zero
        tracer.add(node, data, OperationKind.PAD, layout, function="" if value in (0, -math.inf) else mode)
        return
    if mode == "circular":
        raise tracer.refusal(
            node, "pads circularly, for which a whole map would wait; take zeros, reflect or replicate"
        )
    _image_layout(tracer, node, data[0])
    left, right, top, bottom = given["pad"]
    most = (max(top, bottom), max(left, right))
    kernel = tuple(1 + min(size, 1) + size * (mode == "reflect") for size in most)
    tracer.add(node, data, OperationKind.PAD, layout, kernel=kernel, function=mode)


def _activation(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append an activation function, named after its module if it has one."""
    function = operation_of(node)
    layout = tracer.layouts[data[0]]
    tracer.add(node, data, OperationKind.ACTIVATION, layout, tracer.module_of(node) or function, function=function)


def _product(tracer: Tracer, name: str, inputs: tuple[str, str], left: fx.Node, depth: int, columns: int) -> str:
    """Append a matmul and return its name; its left operand has the heads and rows of `left`, of `depth` words each."""
    layout, shape = tracer.layouts[left], shape_of(left)
    heads = math.prod(size_of(axis, CHANNEL) for axis in layout[:-2])
    rows = math.prod(shape[:-1]) // heads
    return tracer.append(
        name, OperationKind.MATMUL, inputs, FeatureMap(1, rows, heads * depth), FeatureMap(1, rows, heads * columns),
        groups=heads,
    )  # fmt: skip


def _product_layout(tracer: Tracer, left: fx.Node, columns: int) -> Layout:
    """The layout of a product: the heads and rows of its left operand, with `columns` channels."""
    rows = shape_of(left)[-2]
    return (*tracer.layouts[left][:-2], ((rows, PIXEL),), ((columns, CHANNEL),))


def _matmul(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the product of two streams, one for each head."""
    left, right = node.args[:2]
    if not (isinstance(left, fx.Node) and isinstance(right, fx.Node)) or not {left, right} <= tracer.sources.keys():
        raise tracer.refusal(node, "with a constant is no layer whose weights a module owns")
    if min(len(shape_of(left)), len(shape_of(right))) < 2 or shape_of(left)[:-2] != shape_of(right)[:-2]:
        raise tracer.refusal(node, f"of {shape_of(left)} and {shape_of(right)} is not one product per head")
    columns = shape_of(right)[-1]
    inputs = (tracer.sources[left], tracer.sources[right])
    name = tracer.path(node, operation_of(node))
    tracer.sources[node] = _product(tracer, name, inputs, left, shape_of(left)[-1], columns)
    tracer.layouts[node] = _product_layout(tracer, left, columns)


def _attention(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the operations of fused attention: Q·Kᵀ, the mask if there is one, softmax, and the product with V.

    The scale folds into a layer beside it.
    """
    given = arguments_of(node)
    query, key, value, mask = given["query"], given["key"], given["value"], given["attn_mask"]
    if not {query, key, value} <= tracer.sources.keys():
        raise tracer.refusal(node, "with a constant operand cannot be costed")
    if not shape_of(query)[:-2] == shape_of(key)[:-2] == shape_of(value)[:-2]:
        raise tracer.refusal(node, "has queries, keys and values of unequal heads")
    depth, columns = shape_of(key)[-1], shape_of(key)[-2]
    path = tracer.module_of(node) or operation_of(node)
    scores = _product(tracer, f"{path}.qk", (tracer.sources[query], tracer.sources[key]), query, depth, columns)
    product = tracer.operations[-1]
    if mask is not None:
        inputs = (scores, tracer.sources[mask]) if mask in tracer.sources else (scores,)
        scores = tracer.append(f"{path}.add", OperationKind.ADD, inputs, product.result, product.result)
    weights = tracer.append(
        f"{path}.softmax", OperationKind.SOFTMAX, (scores,), product.result, product.result, groups=product.groups
    )
    tracer.sources[node] = _product(
        tracer, f"{path}.av", (weights, tracer.sources[value]), query, columns, shape_of(value)[-1]
    )
    tracer.layouts[node] = _product_layout(tracer, query, shape_of(value)[-1])


_SAME = ["contiguous", "clone", "alias", "detach", "dropout", "feature_dropout", "identity", "to",
         "_to_copy", "roll", "split", "split_with_sizes", "chunk"]  # fmt: skip
_RESHAPES = ["view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"]
_ACTIVATIONS = ["relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh",
                "leaky_relu", "elu", "mish"]  # fmt: skip
HANDLERS: dict[str, Handler] = {
    "conv2d": _conv,
    "linear": _linear,
    "max_pool2d": _pool(OperationKind.MAX_POOL),
    "avg_pool2d": _pool(OperationKind.AVERAGE_POOL),
    "adaptive_avg_pool2d": _adaptive_pool,
    "mean": _mean,
    "add": _elementwise(OperationKind.ADD),
    "sub": _elementwise(OperationKind.ADD),
    "rsub": _elementwise(OperationKind.ADD),
    "mul": _elementwise(OperationKind.MULTIPLY),
    "div": _divide,
    "cat": _concat,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "layer_norm": layer_norm,
    "batch_norm": batch_norm,
    "softmax": softmax,
    "matmul": _matmul,
    "bmm": _matmul,
    "scaled_dot_product_attention": _attention,
    "permute": permute,
    "transpose": transpose,
    "expand": cut,
    "slice": cut,
    "narrow": cut,
    "getitem": cut,
    "select": without_axis,
    "unbind": without_axis,
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_RESHAPES, reshape),
    **dict.fromkeys(_ACTIVATIONS, _activation),
}
"""The handler of each operation by name; no other operation can be costed."""
