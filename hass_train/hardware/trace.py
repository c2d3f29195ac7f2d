"""From a torch module to a `Workload`, by torch.export on the meta device (architecture, decision 6)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, OperationKind, Workload


class UnsupportedOperation(ValueError):
    """The network has an operation that no hardware model can cost; the message names the node."""


def trace(model: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> Workload:
    """Trace a network into a workload. The model itself is not changed.

    Args:
        model: any torch module whose forward takes one batch of images.
        input_shape: (channels, height, width).
        name: of the workload; the class's name by default.

    Raises:
        UnsupportedOperation: an operation that the hardware model cannot cost, or a network that torch cannot export
            at this input shape.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    images = torch.empty(1, *input_shape, device="meta")
    try:
        with torch.no_grad():
            program = torch.export.export(shadow, (images,), strict=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedOperation(
            f"{name or type(model).__name__} cannot be traced at input {'×'.join(map(str, input_shape))}: {reason}"
        ) from error
    signature = program.graph_signature
    users = set(signature.user_inputs)
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    tracer = _Tracer(weights)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in users:
                tracer.sources[node] = NETWORK_INPUT
        elif node.op == "call_function":
            tracer.visit(node)
    return Workload(name or type(model).__name__, input_shape, tuple(tracer.operations))


def _map_of(node: fx.Node) -> FeatureMap:
    """The node's result as a feature map; tensors without two spatial axes are taken as tokens × features."""
    shape = tuple(node.meta["val"].shape)
    if len(shape) == 4:
        return FeatureMap(shape[2], shape[3], shape[1])
    return FeatureMap(1, math.prod(shape[1:-1]), shape[-1])


def _pair(value: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


class _Tracer:
    """Walks an exported graph and collects operations; `sources` says which operation made each node's value."""

    def __init__(self, weights: dict[str, str]) -> None:
        self.weights = weights
        self.sources: dict[fx.Node, str] = {}
        self.operations: list[Operation] = []
        self.names: set[str] = set()

    def visit(self, node: fx.Node) -> None:
        """Add the node's operation, or note that it only renames a value."""
        data = [argument for argument in node.all_input_nodes if argument in self.sources]
        if not data:  # computed from parameters alone: constant at run time, costs nothing
            return
        packet = getattr(node.target, "overloadpacket", node.target)
        operation = str(packet).removeprefix("aten.").rstrip("_")
        if operation in _RENAMING:
            self.sources[node] = self.sources[data[0]]
            return
        handler = _HANDLERS.get(operation)
        if handler is None:
            where = self.module_of(node) or "the network"
            raise UnsupportedOperation(f"the hardware model cannot cost {operation!r} (node {node.name!r} in {where})")
        handler(self, node, data)

    def module_of(self, node: fx.Node) -> str:
        """Path of the innermost module that calls the node."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return stack[-1][0] if stack else ""

    def add(self, node: fx.Node, data: list[fx.Node], kind: OperationKind, name: str, **details: Any) -> None:
        """Append an operation that reads `data` and makes `node`."""
        unique, copies = name, 1
        while unique in self.names:  # a module that is called twice
            copies += 1
            unique = f"{name}#{copies}"
        self.names.add(unique)
        source = max((_map_of(argument) for argument in data), key=lambda feature_map: feature_map.words)
        inputs = tuple(dict.fromkeys(self.sources[argument] for argument in data))
        self.operations.append(Operation(unique, kind, inputs, source, _map_of(node), **details))
        self.sources[node] = unique

    def functional(self, node: fx.Node, data: list[fx.Node], kind: OperationKind, **details: Any) -> None:
        """Append an operation named after the module that calls it, or the operation within a container module."""
        operation = str(getattr(node.target, "overloadpacket", node.target)).removeprefix("aten.").rstrip("_")
        path = self.module_of(node)
        self.add(node, data, kind, f"{path}.{operation}" if path else operation, **details)


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The node's arguments by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    values = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    values.update({argument.name: value for argument, value in zip(schema.arguments, node.args, strict=False)})
    return {**values, **node.kwargs}


def _conv(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    given = _arguments(node)
    kernel = tuple(given["weight"].meta["val"].shape[2:])
    padding, dilation = given.get("padding", 0), _pair(given["dilation"])
    if isinstance(padding, str):  # torch spells 'same' and 'valid' as words
        reach = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
        padding = [(value + 1) // 2 for value in reach] if padding == "same" else [0, 0]
    tracer.add(
        node, data[:1], OperationKind.CONV, tracer.weights[given["weight"].name].removesuffix(".weight"),
        kernel=kernel, stride=_pair(given["stride"]), padding=_pair(padding), dilation=dilation,
        groups=given["groups"], bias=given["bias"] is not None,
    )  # fmt: skip


def _linear(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    given = _arguments(node)
    name = tracer.weights[given["weight"].name].removesuffix(".weight")
    tracer.add(node, data[:1], OperationKind.LINEAR, name, bias=given["bias"] is not None)


def _batch_norm(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    tracer.sources[node] = tracer.sources[data[0]]  # folds into the convolution before it


def _pool(kind: OperationKind) -> Callable[[_Tracer, fx.Node, list[fx.Node]], None]:
    def handler(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        given = _arguments(node)
        kernel = _pair(given["kernel_size"])
        stride = _pair(given["stride"]) if given["stride"] else kernel
        tracer.functional(node, data[:1], kind, kernel=kernel, stride=stride, padding=_pair(given["padding"]))

    return handler


def _adaptive_pool(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    source, result = _map_of(data[0]), _map_of(node)
    if result.pixels == 1:
        tracer.functional(node, data, OperationKind.GLOBAL_POOL)
        return
    if source.height % result.height or source.width % result.width:
        raise UnsupportedOperation(
            f"adaptive pooling from {source.height}×{source.width} to {result.height}×{result.width} has windows of "
            f"unequal size (node {node.name!r} in {tracer.module_of(node)})"
        )
    if source.pixels == result.pixels:
        tracer.sources[node] = tracer.sources[data[0]]
        return
    kernel = (source.height // result.height, source.width // result.width)
    tracer.functional(node, data, OperationKind.AVERAGE_POOL, kernel=kernel, stride=kernel)


def _mean(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
    axes = {axis % len(data[0].meta["val"].shape) for axis in _arguments(node)["dim"]}
    if axes not in ({2, 3}, {1}):
        raise UnsupportedOperation(f"a mean over axes {sorted(axes)} is no pooling (node {node.name!r})")
    tracer.functional(node, data, OperationKind.GLOBAL_POOL)


def _streaming(kind: OperationKind) -> Callable[[_Tracer, fx.Node, list[fx.Node]], None]:
    def handler(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        tracer.functional(node, data, kind)

    return handler


def _activation(function: str) -> Callable[[_Tracer, fx.Node, list[fx.Node]], None]:
    def handler(tracer: _Tracer, node: fx.Node, data: list[fx.Node]) -> None:
        path = tracer.module_of(node)
        tracer.add(node, data, OperationKind.ACTIVATION, path or function, function=function)

    return handler


# Reshaping moves no words and batch-norm folds away; dropout does nothing at inference.
_RENAMING = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "flatten",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "clone",
        "alias",
        "detach",
        "dropout",
        "feature_dropout",
        "identity",
        "to",
        "_to_copy",
    ]
)
_ACTIVATIONS = [
    "relu",
    "relu6",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "silu",
    "gelu",
    "tanh",
    "leaky_relu",
    "elu",
    "mish",
]
_HANDLERS: dict[str, Callable[[_Tracer, fx.Node, list[fx.Node]], None]] = {
    "conv2d": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "max_pool2d": _pool(OperationKind.MAX_POOL),
    "avg_pool2d": _pool(OperationKind.AVERAGE_POOL),
    "adaptive_avg_pool2d": _adaptive_pool,
    "mean": _mean,
    "add": _streaming(OperationKind.ADD),
    "mul": _streaming(OperationKind.MULTIPLY),
    "cat": _streaming(OperationKind.CONCAT),
    "pad": _streaming(OperationKind.PAD),
    "constant_pad_nd": _streaming(OperationKind.PAD),
    **{function: _activation(function) for function in _ACTIVATIONS},
}
