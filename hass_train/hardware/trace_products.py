"""How products of matrices become operations of a workload: of two streams, of a stream and a constant, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import fx

from hass_train.hardware.layout import CHANNEL, PIXEL, Axis, Layout, is_all, reshaped
from hass_train.hardware.tracer import Handler, Stream, Tracer, arguments_of, operation_of, shape_of
from hass_train.hardware.workload import FeatureMap, OperationKind

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _sizes(letters: str, shape: Sequence[int]) -> dict[str, int]:
    """The sizes of an operand's axes by letter, without those of one element, which are repeated."""
    return {letter: size for letter, size in zip(letters, shape, strict=True) if size > 1}


class _Product:
    """A product as einsum writes it: over each letter that both operands have and the result has not, sums are formed.

    The words of its left operand stream by, and meet the right one, which is held. Letters of both operands and the
    result are heads, if they are channels of the left one (each head has sums and a right operand of its own), or
    windows, if they are pixels. Letters of the left operand alone are rows, those of the right one alone columns.

    Args:
        left, right: the operands' letters and shapes.
        result: the letters of the result.
    """

    def __init__(self, left: tuple[str, Sequence[int]], right: tuple[str, Sequence[int]], result: str) -> None:
        self.letters, self.result = left[0], result
        self.shape = left[1]
        own, other = _sizes(*left), _sizes(*right)
        self.size = {**dict.fromkeys({*left[0], *right[0], *result}, 1), **other, **own}
        self.shared = [one for one in own if one in other and one in result]
        self.rows = [one for one in own if one not in other and one in result]
        self.columns = [one for one in other if one not in own and one in result]
        self.summed = [one for one in own if one in other and one not in result]
        self.alone = [one for one in {**own, **other} if one not in result and one not in self.summed]

    def count(self, letters: Sequence[str]) -> int:
        """The product of the sizes of some letters."""
        return math.prod(self.size[one] for one in letters)

    def heads(self, layout: Layout) -> list[str]:
        """The shared letters that are channels of the left operand's layout."""
        axes = dict(zip(self.letters, layout, strict=True))
        return [one for one in self.shared if is_all(axes[one], CHANNEL)]

    def reads(self, heads: Sequence[str]) -> Layout:
        """The layout in which the left operand is read."""
        channels = {*heads, *self.summed}
        return tuple(self._axis(one, one in channels) for one in self.letters)

    def makes(self, heads: Sequence[str], inner: Sequence[str] = ()) -> Layout:
        """The layout of the result, in which rows that were channels (`inner`) are channels still."""
        channels = {*heads, *self.columns, *inner}
        return tuple(self._axis(one, one in channels) for one in self.result)

    def inner(self, layout: Layout) -> list[str]:
        """The rows that are channels of the left operand's layout: the result's words of a pixel are theirs, too."""
        axes = dict(zip(self.letters, layout, strict=True))
        return [one for one in self.rows if is_all(axes[one], CHANNEL)]

    def _axis(self, letter: str, channel: bool) -> Axis:
        size = self.size[letter]
        return ((size, CHANNEL if channel else PIXEL),) if size > 1 or channel else ()

    def maps(self, heads: Sequence[str]) -> tuple[FeatureMap, FeatureMap]:
        """The maps of the left operand and of the result."""
        pixels, groups = self.count([*self.rows, *self.shared]) // self.count(heads), self.count(heads)
        depth, width = self.count(self.summed), self.count(self.columns)
        return FeatureMap(1, pixels, groups * depth), FeatureMap(1, pixels, groups * width)


def _of_streams(tracer: Tracer, node: fx.Node, product: _Product, left: Stream, right: Stream, name: str) -> Stream:
    """Append a product of two streams and return what it makes."""
    heads = product.heads(left.layout)
    read = tracer.read_as(node, left, product.reads(heads))
    inner = product.inner(left.layout) if read.source == left.source else []
    source, result = product.maps(heads)
    groups = product.count(heads)
    made = tracer.append(name, OperationKind.MATMUL, (read.source, right.source), source, result, groups=groups)
    return Stream(made, product.makes(heads, inner))


def _of_constant(tracer: Tracer, node: fx.Node, product: _Product, value: Stream, constant: fx.Node) -> Stream:
    """Append a product of a stream with a constant: a layer whose weights are no layer's own, and return its result.

    Where the constant differs from pixel to pixel, these pixels are read as channels, a group of the layer each.
    """
    heads = product.shared
    read = tracer.read_as(node, value, product.reads(heads))
    inner = product.inner(value.layout) if read.source == value.source else []
    source, result = product.maps(heads)
    groups = product.count(heads)
    kind = OperationKind.CONV if groups > 1 else OperationKind.LINEAR
    layer = {**tracer.layer_of(node, constant), "fixed": True}
    if constant.name not in tracer.weights:
        layer["name"] = tracer.path(node, operation_of(node))
    made = tracer.append(kind=kind, inputs=(read.source,), source=source, result=result, groups=groups, **layer)
    return Stream(made, product.makes(heads, inner))


def _multiply(tracer: Tracer, node: fx.Node, left: tuple[str, Any], right: tuple[str, Any], result: str) -> None:
    """Append the product of two nodes, of which at least one is a stream."""
    (left_letters, one), (right_letters, other) = left, right
    if one not in tracer.sources:
        (left_letters, one), (right_letters, other) = right, left
    product = _Product((left_letters, shape_of(one)), (right_letters, shape_of(other)), result)
    if product.alone:
        raise tracer.refusal(node, f"sums {product.alone[0]!r} of one operand alone; sum it before the product")
    if other not in tracer.sources:
        tracer.put(node, _of_constant(tracer, node, product, tracer.stream(one), other))
        return
    name = tracer.path(node, operation_of(node))
    tracer.put(node, _of_streams(tracer, node, product, tracer.stream(one), tracer.stream(other), name))


def matmul(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the product of two matrices, or of as many as their outer axes say."""
    left, right = node.args[:2]
    assert isinstance(left, fx.Node)
    assert isinstance(right, fx.Node)
    ranks = len(shape_of(left)), len(shape_of(right))
    outer = _LETTERS[: max(*ranks, 2) - 2]
    letters = [outer[len(outer) - max(rank - 2, 0) :] for rank in ranks]
    first = letters[0] + ("x" if ranks[0] > 1 else "") + "y"
    second = letters[1] + "y" + ("z" if ranks[1] > 1 else "")
    result = outer + ("x" if ranks[0] > 1 else "") + ("z" if ranks[1] > 1 else "")
    _multiply(tracer, node, (first, left), (second, right), result)


def einsum(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a product as Einstein's convention writes it."""
    equation, operands = node.args[:2]
    assert isinstance(equation, str)
    assert isinstance(operands, Sequence)
    inputs, _, result = equation.replace(" ", "").partition("->")
    letters = inputs.split(",")
    if "->" not in equation:
        every = "".join(letters)
        result = "".join(sorted(one for one in set(every) if every.count(one) == 1))
    if "." in equation or any(len(set(one)) < len(one) for one in letters) or len(letters) > 2:
        raise tracer.refusal(node, f"{equation!r} is no product of two operands; write it as several")
    if len(letters) == 1:
        if sorted(letters[0]) != sorted(result):
            raise tracer.refusal(node, f"{equation!r} of one operand is no permutation; write it as a sum")
        layout = dict(zip(letters[0], tracer.layouts[data[0]], strict=True))
        tracer.rename(node, data[0], tuple(layout[one] for one in result))
        return
    _multiply(tracer, node, (letters[0], operands[0]), (letters[1], operands[1]), result)


def attention(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append the operations of fused attention: Q·Kᵀ, the mask if there is one, softmax, and the product with V.

    The scale folds into a layer beside it. Where there are fewer heads of keys and values than of queries, the queries
    of the heads that share them are rows of one product.
    """
    given = arguments_of(node)
    nodes, mask = [given[name] for name in ("query", "key", "value")], given["attn_mask"]
    if not {*nodes} <= tracer.sources.keys():
        raise tracer.refusal(node, "with a constant operand cannot be costed; multiply by the constant instead")
    query, key, value = map(tracer.stream, nodes)
    path = tracer.module_of(node) or operation_of(node)
    outer, shared = _LETTERS[: len(query.shape) - 2], query.shape[-3:-2] != key.shape[-3:-2] and key.shape[-3] > 1
    kept = outer
    if shared:  # a letter for the heads of queries that share a head of keys
        heads = key.shape[-3]
        shape = (*query.shape[:-3], heads, query.shape[-3] // heads, *query.shape[-2:])
        query, kept, outer = Stream(query.source, reshaped(query.layout, shape)), outer, outer + "g"
    scores = _of_streams(
        tracer, node, _Product((outer + "xy", query.shape), (kept + "zy", key.shape), outer + "xz"), query, key,
        f"{path}.qk",
    )  # fmt: skip
    product = tracer.operations[-1]
    if mask is not None:
        inputs = (scores.source, tracer.sources[mask]) if mask in tracer.sources else (scores.source,)
        added = tracer.append(f"{path}.add", OperationKind.ADD, inputs, product.result, product.result)
        scores = Stream(added, scores.layout)
    weights = tracer.append(
        f"{path}.softmax", OperationKind.SOFTMAX, (scores.source,), product.result, product.result,
        groups=product.groups,
    )  # fmt: skip
    scores = Stream(weights, scores.layout)
    made = _of_streams(
        tracer, node, _Product((outer + "xz", scores.shape), (kept + "zw", value.shape), outer + "xw"), scores, value,
        f"{path}.av",
    )  # fmt: skip
    tracer.put(node, Stream(made.source, reshaped(made.layout, shape_of(node))))


def _refused(why: str) -> Callable[[Tracer, fx.Node, list[fx.Node]], None]:
    """The handler of operations that are refused for a reason of their own."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        raise tracer.refusal(node, why)

    return handler


PRODUCT_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(["matmul", "bmm", "mm"], matmul),
    **dict.fromkeys(["addmm", "baddbmm"], _refused("is a product and a sum in one; write them one after the other")),
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    **dict.fromkeys(
        ["lstm", "gru", "rnn_tanh", "rnn_relu"],
        _refused(
            "is a recurrence, each of whose steps waits for the result of the one before: in a pipeline of streams it "
            "would stand idle in between; take attention or a convolution over the sequence"
        ),
    ),
}
"""The handlers of products of matrices."""
