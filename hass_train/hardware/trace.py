"""Tracing a torch module into a `Workload`, by torch.export on the meta device (architecture, decision 6)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import fx, nn
from torch.utils._pytree import tree_map_only

from hass_train.hardware.layout import MixedAxis, image_layout
from hass_train.hardware.trace_ops import CONSTANTS, HANDLERS, SHAPED_AFTER
from hass_train.hardware.tracer import Tracer, UnsupportedOperation, operation_of, shape_of
from hass_train.hardware.workload import NETWORK_INPUT, Workload

__all__ = ["UnsupportedOperation", "Walk", "trace", "walk"]


@dataclass(frozen=True)
class Walk:
    """An exported network, and which operations of a workload its nodes became.

    Args:
        graph: the exported graph.
        tracer: the operations, and what is known of each value.
        made: the names of the operations that a node became, in their order; nodes that became none are missing.
    """

    graph: fx.Graph
    tracer: Tracer
    made: dict[fx.Node, tuple[str, ...]] = field(default_factory=dict)


def trace(model: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> Workload:
    """Trace a network into a workload. The model itself is not changed.

    Args:
        model, input_shape, name: see `walk`; the name is that of the workload.

    Raises:
        UnsupportedOperation: see `walk`; or nothing in the network multiplies.
    """
    operations = walk(model, input_shape, name).tracer.operations
    name = name or type(model).__name__
    if not any(one.multiplies for one in operations):
        raise UnsupportedOperation(
            f"{name} has no convolution, linear layer or matrix product, so there is nothing to accelerate; is it the "
            "whole network?"
        )
    return Workload(name, input_shape, tuple(operations))


def walk(model: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> Walk:
    """Export a network and trace each of its nodes. The model itself is not changed.

    Args:
        model: any torch module whose forward takes one batch of images.
        input_shape: (channels, height, width) of an image.
        name: name of the workload; by default that of the module's class.

    Raises:
        UnsupportedOperation: the network has an operation that hardware models cannot cost, it is scripted, or torch
            cannot export it at this input shape.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedOperation(
            f"{name or type(model).__name__} is a scripted module, which torch.export cannot trace; give the module "
            "that was scripted"
        )
    shadow = _on_meta(model)
    images = torch.empty(1, *input_shape, device="meta")
    try:
        with torch.no_grad(), torch.device("meta"):  # constants that a forward makes belong there, too
            program = torch.export.export(shadow, (images,), strict=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedOperation(
            f"{name or type(model).__name__} cannot be traced at input {'×'.join(map(str, input_shape))}: {reason}"
        ) from error
    signature = program.graph_signature
    users = set(signature.user_inputs)
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    tracer = Tracer(weights, dict(shadow.named_modules(remove_duplicate=False)))
    done = Walk(program.graph, tracer)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in users:
            tracer.sources[node] = NETWORK_INPUT
            tracer.layouts[node] = image_layout((1, *input_shape))
        elif node.op == "call_function":
            before = len(tracer.operations)
            _visit(tracer, node)
            if added := tracer.operations[before:]:
                done.made[node] = tuple(one.name for one in added)
    if both := sorted(tracer.folded & {one.owner for one in tracer.operations if one.is_compute}):
        raise UnsupportedOperation(f"layer {both[0]} is called with images and with constants, and cannot be followed")
    return done


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy of a module in evaluation whose tensors have no memory, attributes that are no buffers among them."""
    shadow = copy.deepcopy(model).to("meta").eval()
    for module in shadow.modules():
        for name, value in vars(module).items():
            if not name.startswith("_"):
                vars(module)[name] = tree_map_only(torch.Tensor, lambda one: one.to("meta"), value)
    return shadow


def _visit(tracer: Tracer, node: fx.Node) -> None:
    """Add the node's operation, or note that it only renames a value."""
    data = [argument for argument in node.all_input_nodes if argument in tracer.sources]
    shaped = operation_of(node) in SHAPED_AFTER and node.args[0] not in tracer.sources
    if not data or shaped or operation_of(node) in CONSTANTS:  # computed from parameters alone: constant at run time
        if operation_of(node) in ("conv2d", "linear"):
            tracer.folded.add(tracer.module_of(node))
        return
    if node.meta.get("val") is None:  # an assertion, which says nothing that is not known here
        return
    handler = HANDLERS.get(operation_of(node))
    if handler is None:
        raise tracer.refusal(node, "is an operation that the hardware model cannot cost")
    try:
        handler(tracer, node, data)
    except MixedAxis as error:
        raise tracer.refusal(node, f"cannot be costed: {error}") from error
    if isinstance(node.meta["val"], torch.Tensor) and (made := tracer.stream(node).shape) != shape_of(node):
        raise tracer.refusal(node, f"of shape {shape_of(node)} was followed as {made}, a fault of ours; report it")
