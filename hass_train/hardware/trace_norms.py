"""How normalisations become operations of a workload: layer norm, softmax, and batch norms that fold into no layer."""

from __future__ import annotations

import math

from torch import fx

from hass_train.hardware.layout import CHANNEL, channels_last, feature_map, is_all
from hass_train.hardware.tracer import Tracer, arguments_of, operation_of, shape_of
from hass_train.hardware.workload import OperationKind


def _normalisation(tracer: Tracer, node: fx.Node, data: list[fx.Node], kind: OperationKind, axes: int) -> None:
    """Append a layer norm or softmax over the last `axes` axes, which are taken for channels."""
    layout, shape = tracer.layouts[data[0]], shape_of(node)
    if not all(is_all(axis, CHANNEL) for axis in layout[-axes:]):
        layout = channels_last(shape, axes)
    groups = feature_map(layout).channels // math.prod(shape[-axes:])
    name = tracer.module_of(node) if kind is OperationKind.LAYER_NORM else ""
    tracer.add(node, data[:1], kind, layout, name, reads=layout, groups=groups)


def layer_norm(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a layer norm."""
    _normalisation(tracer, node, data, OperationKind.LAYER_NORM, len(arguments_of(node)["normalized_shape"]))


def softmax(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a softmax over the last axis."""
    dimension = arguments_of(node)["dim"]
    if dimension % len(shape_of(node)) != len(shape_of(node)) - 1:
        raise tracer.refusal(node, f"over axis {dimension} is not over the last one")
    _normalisation(tracer, node, data, OperationKind.SOFTMAX, 1)


def batch_norm(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Fold a batch norm into the compute layer before it, or append the product and the sum that it is.

    It never folds into a layer behind it, which skips zeros of what the batch norm makes, and pads it with zeros.
    """
    if arguments_of(node)["training"]:
        raise tracer.refusal(node, "without running statistics normalises by those of each batch")
    if is_all(tracer.layouts[data[0]][1], CHANNEL) and _folds(tracer, data[0]):
        tracer.rename(node, data[0])
        return
    layout = tracer.layouts[data[0]]
    whole, read = feature_map(layout), (tracer.sources[data[0]],)
    scaled = tracer.append(tracer.path(node, "mul"), OperationKind.MULTIPLY, read, whole, whole, function="constant")
    tracer.sources[node] = tracer.append(tracer.path(node, "add"), OperationKind.ADD, (scaled,), whole, whole)
    tracer.layouts[node] = layout


def _folds(tracer: Tracer, before: fx.Node) -> bool:
    """Whether what scales this value's channels can scale filters: those of compute layers that nothing else reads."""
    if len(before.users) != 1:
        return False
    if operation_of(before) in ("conv2d", "linear"):
        return True
    same = [one for one in before.all_input_nodes if tracer.sources.get(one) == tracer.sources[before]]
    joined = before.all_input_nodes if operation_of(before) == "cat" else same[:1]
    return bool(joined) and all(_folds(tracer, one) for one in joined)
