"""Makes the graph of integer operations from a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from hass_train.hardware.trace import UnsupportedOperation, walk
from hass_train.hardware.tracer import operation_of
from hass_train.hardware.workload import NETWORK_INPUT, OperationKind, Workload
from hass_train.precision.builder import Builder
from hass_train.precision.graph import IntegerGraph
from hass_train.precision.handlers import HANDLERS, drops
from hass_train.runtime.errors import UserError

_NO_INTEGERS = frozenset(
    {OperationKind.REDUCE, OperationKind.RESIZE, OperationKind.UNFOLD, OperationKind.FOLD, OperationKind.REARRANGE}
    | {OperationKind.DIVIDE}
)
"""Operations that hardware models cost, but that are not defined on integers."""


def integer_graph(model: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> IntegerGraph:
    """Trace a network into integer operations.

    Args:
        model: a dense network, which is not changed.
        input_shape: (channels, height, width) of an image.
        name: name of the network.

    Raises:
        UserError: an operation has no integer meaning; the message names it.
    """
    # what drops values does nothing in evaluation, in which networks are traced: a mark tells where it stands
    droppers = [one for one in model.modules() if drops(one)]
    marks = [one.register_forward_hook(lambda _, __, out: torch.ops.aten.alias(out)) for one in droppers]
    try:
        walked = walk(model, input_shape, name)
    except UnsupportedOperation as error:
        raise UserError(str(error)) from error
    finally:
        for mark in marks:
            mark.remove()
    workload = Workload(name or type(model).__name__, input_shape, tuple(walked.tracer.operations))
    builder = Builder(walked)
    for node in walked.graph.nodes:
        _visit(builder, node)
    results: Any = walked.graph.output_node().args[0]
    if len(results) != 1:
        raise UserError(
            f"{workload.name} has {len(results)} answers, and an integer network has one; use precision=float"
        )
    return IntegerGraph(workload, tuple(builder.nodes), builder.values[results[0]])


def _visit(build: Builder, node: fx.Node) -> None:
    """Add the operation that a node is."""
    if node.op == "placeholder" and build.tracer.sources.get(node) == NETWORK_INPUT:
        build.values[node] = NETWORK_INPUT
    if node.op != "call_function" or not any(one in build.tracer.sources for one in node.all_input_nodes):
        return
    handler = HANDLERS.get(operation_of(node))
    made = [build.operations[name] for name in build.made.get(node, ())]
    if handler is None or any(
        one.kind in _NO_INTEGERS or one.windows > 1 or one.function == "adaptive" for one in made
    ):
        raise build.refusal(node)
    handler(build, node)
    schema = getattr(node.target, "_schema", None)
    if schema is not None and schema.is_mutable:  # whoever reads the operand afterwards reads the result
        build.values[node.all_input_nodes[0]] = build.values[node]
