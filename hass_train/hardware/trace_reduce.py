"""How reductions become operations of a workload: sums, means, maxima and norms over any axes."""

from __future__ import annotations

import math

from torch import fx

from hass_train.hardware.layout import CHANNEL, PIXEL, Layout, is_all, size_of
from hass_train.hardware.trace_pointwise import larger
from hass_train.hardware.tracer import Handler, Tracer, arguments_of
from hass_train.hardware.workload import OperationKind


def _axes_of(node: fx.Node, rank: int) -> frozenset[int]:
    """The axes that a node reduces; without an argument all."""
    given = arguments_of(node)
    dim = given.get("dim", given.get("dims"))
    axes = range(rank) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return frozenset(axis % rank for axis in axes)


def _block(layout: Layout, axes: frozenset[int]) -> int:
    """Words of the block behind each of a reduction's results: all from the outermost of its axes of pixels on."""
    words, whole = math.prod(size_of(axis, CHANNEL) for axis in layout), False
    for place, axis in enumerate(layout):
        whole = whole or (place in axes and size_of(axis, PIXEL) > 1)
        words *= size_of(axis, PIXEL) if whole else 1
    return words


def _without(layout: Layout, axes: frozenset[int], keep: bool) -> Layout:
    """A layout without the axes that were reduced, or with one element of each."""
    if keep:
        return tuple(((1, PIXEL),) if place in axes else axis for place, axis in enumerate(layout))
    return tuple(axis for place, axis in enumerate(layout) if place not in axes)


def reduction(function: str) -> Handler:
    """The handler of a sum, mean, maximum or norm over some axes. A mean of all pixels is a global pool."""

    def handler(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        layout, given = tracer.layouts[data[0]], arguments_of(node)
        if "other" in given:  # the larger of two tensors
            larger(tracer, node, data)
            return
        axes = _axes_of(node, len(layout))
        result = _without(layout, axes, bool(given.get("keepdim")))
        pixels = all(
            is_all(axis, PIXEL) if place in axes else size_of(axis, PIXEL) == 1 for place, axis in enumerate(layout)
        )
        if pixels and function == "mean":  # of a single one too, since integers are rounded there
            tracer.add(node, data, OperationKind.GLOBAL_POOL, result)
            return
        if all(math.prod(size for size, _ in layout[axis]) == 1 for axis in axes) and function != "norm":
            tracer.rename(node, data[0], result)
            return
        tracer.add(node, data, OperationKind.REDUCE, result, function=function, block=_block(layout, axes))

    return handler


REDUCE_HANDLERS: dict[str, Handler] = {
    "mean": reduction("mean"),
    "sum": reduction("sum"),
    **dict.fromkeys(["amax", "max", "amin", "min"], reduction("max")),
    **dict.fromkeys(["linalg_vector_norm", "norm", "linalg_norm"], reduction("norm")),
    **dict.fromkeys(["var", "std", "var_mean"], reduction("moments")),
}
"""The handlers of reductions."""
