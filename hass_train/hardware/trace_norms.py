"""How normalisations become operations of a workload, and which batch norms fold into a layer."""

from __future__ import annotations

import math

from torch import fx

from hass_train.hardware.layout import CHANNEL, PIXEL, feature_map, is_all
from hass_train.hardware.tracer import Handler, Stream, Tracer, arguments_of, operation_of, shape_of
from hass_train.hardware.workload import FeatureMap, OperationKind


def _normalisation(tracer: Tracer, node: fx.Node, data: list[fx.Node], kind: OperationKind, axes: range) -> None:
    """Append a layer norm or softmax over some axes, which are read as channels.

    Inner channels that are not among them are read as pixels, outer ones (heads) are groups of their own.
    """
    own, shape = tracer.layouts[data[0]], shape_of(node)
    layout = tuple(
        ((shape[place], CHANNEL),) if place in axes and not is_all(axis, CHANNEL)
        else ((shape[place], PIXEL),) if place not in axes and place > axes[0] and not is_all(axis, PIXEL)
        else axis
        for place, axis in enumerate(own)
    )  # fmt: skip
    groups = max(feature_map(layout).channels // math.prod(shape[place] for place in axes), 1)
    name = tracer.module_of(node) if kind is OperationKind.LAYER_NORM else ""
    tracer.add(node, data[:1], kind, layout, name, reads=layout, groups=groups)


def layer_norm(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a layer norm, or a norm by the root mean square."""
    rank = len(shape_of(node))
    axes = range(rank - len(arguments_of(node)["normalized_shape"]), rank)
    _normalisation(tracer, node, data, OperationKind.LAYER_NORM, axes)


def softmax(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a softmax over one axis, or its logarithm."""
    axis = arguments_of(node)["dim"] % len(shape_of(node))
    _normalisation(tracer, node, data, OperationKind.SOFTMAX, range(axis, axis + 1))


def batch_norm(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Fold a batch norm into the compute layer before it, or append the product and the sum that it is.

    It never folds into a layer behind it, which skips zeros of what the batch norm makes, and pads it with zeros.
    """
    if arguments_of(node)["training"]:
        raise tracer.refusal(node, "without running statistics normalises by those of each batch")
    if is_all(tracer.layouts[data[0]][1], CHANNEL) and _folds(tracer, data[0]):
        tracer.rename(node, data[0])
        return
    _by_constants(tracer, node, tracer.stream(data[0]))


def group_norm(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a group norm or instance norm: the moments of each group, and what scales and shifts the map by them.

    Moments are known only after the last pixel, so the map waits for them beside them, as it does for the gate of a
    squeeze-and-excitation block.
    """
    given, value = arguments_of(node), tracer.stream(data[0])
    groups = given.get("num_groups") or value.shape[1]
    if not given.get("use_input_stats", True):
        _by_constants(tracer, node, value)
        return
    whole, names = feature_map(value.layout), {one: tracer.path(node, one) for one in ("moments", "mul", "add")}
    moments = tracer.append(
        names["moments"], OperationKind.REDUCE, (value.source,), whole, FeatureMap(1, 1, 2 * groups),
        function="moments", block=whole.words,
    )  # fmt: skip
    scaled = tracer.append(names["mul"], OperationKind.MULTIPLY, (value.source, moments), whole, whole)
    shifted = tracer.append(names["add"], OperationKind.ADD, (scaled, moments), whole, whole)
    tracer.put(node, Stream(shifted, value.layout))


def _by_constants(tracer: Tracer, node: fx.Node, value: Stream) -> None:
    """Append the product and the sum that a norm by running statistics is."""
    whole = feature_map(value.layout)
    scaled = tracer.append(
        tracer.path(node, "mul"), OperationKind.MULTIPLY, (value.source,), whole, whole, function="constant"
    )
    shifted = tracer.append(tracer.path(node, "add"), OperationKind.ADD, (scaled,), whole, whole)
    tracer.put(node, Stream(shifted, value.layout))


def _folds(tracer: Tracer, before: fx.Node) -> bool:
    """Whether what scales this value's channels can scale filters: those of compute layers that nothing else reads."""
    if len(before.users) != 1:
        return False
    if operation_of(before) in ("conv2d", "linear"):
        return True
    same = [one for one in before.all_input_nodes if tracer.sources.get(one) == tracer.sources[before]]
    joined = before.all_input_nodes if operation_of(before) == "cat" else same[:1]
    return bool(joined) and all(_folds(tracer, one) for one in joined)


NORM_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(["layer_norm", "rms_norm"], layer_norm),
    **dict.fromkeys(["softmax", "log_softmax"], softmax),
    "batch_norm": batch_norm,
    **dict.fromkeys(["group_norm", "instance_norm"], group_norm),
}
"""The handlers of normalisations."""
