"""Torch operations that only address a tensor, perhaps in another layout, and those that reorder its words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import fx

from hass_train.hardware.layout import (
    CHANNEL,
    PIXEL,
    Layout,
    MixedAxis,
    feature_map,
    natural,
    reordered_reshape,
    reshaped,
    resized,
    size_of,
)
from hass_train.hardware.tracer import Handler, Stream, Tracer, arguments_of, operation_of, shape_of
from hass_train.hardware.workload import OperationKind


def same(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Keep the input's layout: dropout does nothing, a roll addresses.

    A split keeps the whole tensor's layout, which the getitem behind it cuts.
    """
    tracer.rename(node, data[0])


def reshape(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Follow the layout through a reshape, or rearrange the words where pixels and channels would share an axis."""
    layout, shape = tracer.layouts[data[0]], shape_of(node)
    try:
        tracer.rename(node, data[0], reshaped(layout, shape))
    except MixedAxis:
        new = natural(shape)
        tracer.put(node, tracer.rearrange(node, tracer.stream(data[0]), new, reordered_reshape(layout, new)))


def permute(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Reorder the axes of the layout."""
    layout = tracer.layouts[data[0]]
    tracer.rename(node, data[0], tuple(layout[axis] for axis in arguments_of(node)["dims"]))


def transpose(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Swap two axes of the layout; of a matrix, its only two."""
    axes, given = list(tracer.layouts[data[0]]), arguments_of(node)
    first, second = [given[name] for name in given if name[:-1] in ("dim", "axis")] or (0, 1)
    axes[first], axes[second] = axes[second], axes[first]
    tracer.rename(node, data[0], tuple(axes))


def move_axes(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Move some axes of the layout to other places; the others keep their order."""
    given, layout = arguments_of(node), tracer.layouts[data[0]]
    source, target = (
        [axis % len(layout) for axis in ([given[name]] if isinstance(given[name], int) else given[name])]
        for name in ("source", "destination")
    )
    left = iter(axis for axis in range(len(layout)) if axis not in source)
    places = dict(zip(target, source, strict=True))
    tracer.rename(node, data[0], tuple(layout[places[k] if k in places else next(left)] for k in range(len(layout))))


def cut(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Resize the axes of the layout, for a part of a tensor or repeats of it."""
    if operation_of(node) == "getitem" and node.args[1] and node.users and operation_of(data[0]) in ("max", "min"):
        raise tracer.refusal(node, "takes the places of maxima, which the hardware model does not follow")
    value, layout = _fitted(tracer, node, data[0])
    tracer.put(node, Stream(value.source, layout))


def _fitted(tracer: Tracer, node: fx.Node, of: fx.Node) -> tuple[Stream, Layout]:
    """A value of which the node is a part or repeats, and the layout of the node.

    Where pixels and channels share an axis that is cut, words are rearranged first.
    """
    value, shape = tracer.stream(of), shape_of(node)
    new = ((),) * (len(shape) - len(value.layout))
    try:
        return value, resized(new + value.layout, shape)
    except MixedAxis:
        value = tracer.read_as(node, value, natural(value.shape))
        return value, resized(new + value.layout, shape)


def without_axis(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Drop an axis of the layout, of which the node takes one element."""
    axes = list(tracer.layouts[data[0]])
    del axes[arguments_of(node)["dim"]]
    tracer.rename(node, data[0], tuple(axes))


def concatenation(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a concatenation; operands in another order than the first are rearranged."""
    first = tracer.layouts[data[0]]
    values = [tracer.stream(data[0])]
    for one in data[1:]:
        wanted = resized(first, shape_of(one)) if len(first) == len(tracer.layouts[one]) else tracer.layouts[one]
        values.append(tracer.read_as(node, tracer.stream(one), wanted))
    _concatenate(tracer, node, values, resized(first, shape_of(node)))


def stack(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a concatenation along a new axis, of channels."""
    count = len(node.args[0])  # type: ignore[arg-type]
    axis = arguments_of(node)["dim"] % len(shape_of(node))
    first = tracer.layouts[data[0]]
    values = [tracer.read_as(node, tracer.stream(one), first) for one in data]
    _concatenate(tracer, node, values, (*first[:axis], ((count, CHANNEL),), *first[axis:]))


def _concatenate(tracer: Tracer, node: fx.Node, values: Sequence[Stream], layout: Layout) -> None:
    """Append a concatenation of some values."""
    source = max((feature_map(one.layout) for one in values), key=lambda feature: feature.words)
    inputs = tuple(dict.fromkeys(one.source for one in values))
    name = tracer.append(
        tracer.path(node, operation_of(node)), OperationKind.CONCAT, inputs, source, feature_map(layout)
    )
    tracer.put(node, Stream(name, layout))


def padding(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a padding, unless it pads nothing.

    Where it repeats the map, its window is what must be kept: the row and the column that are repeated, and those that
    lie between them and their mirror image.
    """
    given = arguments_of(node)
    if not any(given["pad"]):
        tracer.rename(node, data[0])
        return
    value, layout = _fitted(tracer, node, data[0])
    mode, number = given.get("mode", "constant"), given.get("value") or 0
    path, kind = tracer.path(node, operation_of(node)), OperationKind.PAD
    if mode == "constant":  # −∞, for a max pool behind it, is as good as a zero
        function = "" if number in (0, -math.inf) else mode
        tracer.append_one(node, value, kind, layout, path, function=function)
        return
    if mode == "circular":
        raise tracer.refusal(
            node, "pads circularly, for which a whole map would wait; take zeros, reflect or replicate"
        )
    if len(value.shape) != 4 or value.shape[0] != 1:
        raise tracer.refusal(node, f"pads a tensor of shape {value.shape} by {mode}, which is not one image")
    left, right, top, bottom = given["pad"]
    most = (max(top, bottom), max(left, right))
    kernel = tuple(1 + min(size, 1) + size * (mode == "reflect") for size in most)
    tracer.append_one(node, value, kind, layout, path, kernel=kernel, function=mode)


def taken(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append what takes a tensor's words in an order of its own, or several times: by constant indices, or flipped.

    Words are kept from the outermost axis of pixels on that is not taken in order; a pixel if only its channels move.
    """
    if node.args[0] not in data or len(data) > 1:
        raise tracer.refusal(node, "addresses by values of the image, which no stream can follow")
    if isinstance(arguments_of(node).get("repeats"), fx.Node):
        raise tracer.refusal(node, "repeats by a tensor of counts; say one number")
    axes, shape, rank = _axes_taken(node), shape_of(node), len(tracer.layouts[data[0]])
    value, layout = tracer.stream(data[0]), natural(shape)
    if len(shape) == rank:
        value, layout = _fitted(tracer, node, data[0])
    repeats, words = operation_of(node) in ("repeat", "tile"), math.prod(value.shape)
    for place, axis in enumerate(value.layout if -1 not in axes else ()):
        if place in axes and (repeats or size_of(axis, PIXEL) > 1):
            break
        words //= size_of(axis, PIXEL)
    path = tracer.path(node, operation_of(node))
    tracer.append_one(node, value, OperationKind.REARRANGE, layout, path, block=max(words, 1))


def _axes_taken(node: fx.Node) -> frozenset[int]:
    """The axes along which a node takes words in another order; −1 where it takes the whole tensor again."""
    given, rank = arguments_of(node), len(shape_of(node.all_input_nodes[0]))
    if "indices" in given:
        return frozenset(place for place, one in enumerate(given["indices"]) if one is not None)
    if operation_of(node) in ("repeat", "tile"):
        counts = given["repeats" if operation_of(node) == "repeat" else "dims"]
        places = (place - len(counts) + rank for place, count in enumerate(counts) if count > 1)
        return frozenset(max(place, -1) for place in places)
    dims = given.get("dims", given.get("dim"))
    every = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    return frozenset(one % rank for one in every)


_SAME = ["contiguous", "clone", "alias", "detach", "dropout", "feature_dropout", "feature_alpha_dropout", "identity",
         "to", "_to_copy", "type_as", "roll", "split", "split_with_sizes", "chunk", "tensor_split", "neg", "positive",
         "channel_shuffle", "real", "lift_fresh_copy", "resolve_conj", "resolve_neg"]  # fmt: skip
_RESHAPES = ["view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "reshape_as", "view_as"]
VIEW_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_RESHAPES, reshape),
    **dict.fromkeys(["pad", "constant_pad_nd"], padding),
    **dict.fromkeys(["index", "_unsafe_index", "index_select", "gather", "take_along_dim", "flip", "rot90"], taken),
    **dict.fromkeys(["repeat", "repeat_interleave", "tile"], taken),
    **dict.fromkeys(["expand", "expand_as", "broadcast_to", "slice", "narrow", "getitem"], cut),
    **dict.fromkeys(["select", "unbind"], without_axis),
    **dict.fromkeys(["transpose", "swapaxes", "swapdims", "t"], transpose),
    "permute": permute,
    "movedim": move_axes,
    "cat": concatenation,
    "stack": stack,
}
"""The handlers of operations that address, join or reorder tensors."""
