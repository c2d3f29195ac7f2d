"""How each torch operation becomes operations of a workload, by its name."""

from __future__ import annotations

from torch import fx

from hass_train.hardware.layout import channels_last
from hass_train.hardware.trace_convs import CONV_HANDLERS
from hass_train.hardware.trace_maps import MAP_HANDLERS
from hass_train.hardware.trace_norms import NORM_HANDLERS
from hass_train.hardware.trace_pointwise import POINTWISE_HANDLERS
from hass_train.hardware.trace_products import PRODUCT_HANDLERS
from hass_train.hardware.trace_reduce import REDUCE_HANDLERS
from hass_train.hardware.trace_views import VIEW_HANDLERS
from hass_train.hardware.tracer import Handler, Tracer, arguments_of, shape_of
from hass_train.hardware.workload import OperationKind


def _linear(tracer: Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    """Append a linear layer, whose last axis is the channels and whose other axes are pixels."""
    given = arguments_of(node)
    layer = tracer.layer_of(node, given["weight"])
    result, reads = channels_last(shape_of(node)), channels_last(shape_of(data[0]))
    tracer.add(node, data[:1], OperationKind.LINEAR, result, reads=reads, bias=given["bias"] is not None, **layer)


HANDLERS: dict[str, Handler] = {
    "linear": _linear,
    **CONV_HANDLERS,
    **MAP_HANDLERS,
    **NORM_HANDLERS,
    **POINTWISE_HANDLERS,
    **PRODUCT_HANDLERS,
    **REDUCE_HANDLERS,
    **VIEW_HANDLERS,
}
"""The handler of each operation by name; no other operation can be costed."""

CONSTANTS = frozenset(
    {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty",
     "rand_like", "randn_like", "scalar_tensor"}
)  # fmt: skip
"""Operations that take no more than the shape of a tensor: what they make is constant."""
SHAPED_AFTER = frozenset({"to", "type_as", "expand_as", "view_as", "reshape_as"})
"""Operations that take no more than the type or shape of their second tensor."""
