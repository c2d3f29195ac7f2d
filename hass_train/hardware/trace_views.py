"""Torch operations that only address a tensor: the node is another name for its input, perhaps in another layout."""

from __future__ import annotations

from torch import fx

from hass_train.hardware.layout import reshaped, resized
from hass_train.hardware.tracer import Tracer, arguments_of, shape_of


def same(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Keep the input's layout: dropout does nothing, a roll addresses.

    A split keeps the whole tensor's layout, which the getitem behind it cuts.
    """
    tracer.rename(node, data[0])


def reshape(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Follow the layout through a reshape."""
    tracer.rename(node, data[0], reshaped(tracer.layouts[data[0]], shape_of(node)))


def permute(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Reorder the axes of the layout."""
    layout = tracer.layouts[data[0]]
    tracer.rename(node, data[0], tuple(layout[axis] for axis in arguments_of(node)["dims"]))


def transpose(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Swap two axes of the layout."""
    given, axes = arguments_of(node), list(tracer.layouts[data[0]])
    first, second = given["dim0"], given["dim1"]
    axes[first], axes[second] = axes[second], axes[first]
    tracer.rename(node, data[0], tuple(axes))


def cut(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Resize the axes of the layout, for a part of a tensor or repeats of it."""
    layout, shape = tracer.layouts[data[0]], shape_of(node)
    layout = ((),) * (len(shape) - len(layout)) + layout
    tracer.rename(node, data[0], resized(layout, shape))


def without_axis(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Drop an axis of the layout, of which the node takes one element."""
    axes = list(tracer.layouts[data[0]])
    del axes[arguments_of(node)["dim"]]
    tracer.rename(node, data[0], tuple(axes))
