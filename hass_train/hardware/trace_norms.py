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
