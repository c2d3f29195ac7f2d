"""The state of a walk over an exported graph: what made each value, how it is laid out, and the operations so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from hass_train.hardware.layout import Layout, feature_map, reordered
from hass_train.hardware.workload import COMPUTE_KINDS, FeatureMap, Operation, OperationKind


class UnsupportedOperation(ValueError):
    """The network has an operation that hardware models cannot cost; the message names the node."""


def operation_of(node: fx.Node) -> str:
    """The name of the node's operation, whether it is done in place or not (`relu` for `aten.relu_.default`)."""
    packet = getattr(node.target, "overloadpacket", None)
    if packet is None:  # Python's own, such as getitem, or a control-flow operator
        return getattr(node.target, "__name__", str(node.target))
    return str(packet).removeprefix("aten.").rstrip("_")


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of the tensor that the node makes."""
    return tuple(node.meta["val"].shape)


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """The node's arguments by name, with defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    values = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    values.update({argument.name: value for argument, value in zip(schema.arguments, node.args, strict=False)})
    return {**values, **node.kwargs}


@dataclass(frozen=True)
class Stream:
    """A value that comes with the image.

    Args:
        source: the name of the operation that makes it.
        layout: the layout of its tensor.
    """

    source: str
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its tensor."""
        return tuple(math.prod(size for size, _ in axis) for axis in self.layout)


class Tracer:
    """Collects the operations of an exported graph.

    Args:
        weights: the parameters and buffers, by the name of their placeholder.
        modules: the network's modules by path, under each of their paths.

    Attributes:
        sources: the name of the operation that made each node's value; nodes that are missing are constants.
        layouts: the layouts of the same nodes; for a list of tensors, that of the tensor before it was split.
        operations: the operations so far, in topological order.
        folded: the modules with weights that were called with constants alone, which costs nothing at run time.
    """

    def __init__(self, weights: dict[str, str], modules: Mapping[str, nn.Module]) -> None:
        self.weights, self.modules = weights, modules
        self._paths: dict[int, str] = {}  # the first path of each module, by which it goes
        for path, module in modules.items():
            self._paths.setdefault(id(module), path)
        self.folded: set[str] = set()
        self.sources: dict[fx.Node, str] = {}
        self.layouts: dict[fx.Node, Layout] = {}
        self.operations: list[Operation] = []
        self._names: set[str] = set()
        self._rearranged: dict[tuple[str, Layout, Layout], Stream] = {}

    def stream(self, node: fx.Node) -> Stream:
        """The value of a node that is no constant."""
        return Stream(self.sources[node], self.layouts[node])

    def read_as(self, node: fx.Node, value: Stream, layout: Layout) -> Stream:
        """A value as a node reads it: where its words come in another order, they are rearranged first.

        Args:
            node: the node that reads it.
            value: the value.
            layout: the layout in which it is read.
        """
        block = reordered(value.layout, layout)
        if not block:
            return Stream(value.source, layout)
        key = (value.source, value.layout, layout)
        if key not in self._rearranged:
            self._rearranged[key] = self.rearrange(node, value, layout, block)
        return self._rearranged[key]

    def rearrange(self, node: fx.Node, value: Stream, layout: Layout, block: int) -> Stream:
        """Append a rearrangement, for which `block` words of the value must be there, and return what it makes."""
        source, result = feature_map(value.layout), feature_map(layout)
        name = self.append(
            self.path(node, "rearrange"), OperationKind.REARRANGE, (value.source,), source, result, block=block
        )
        return Stream(name, layout)

    def put(self, node: fx.Node, value: Stream) -> None:
        """Note that the node makes a value."""
        self.sources[node], self.layouts[node] = value.source, value.layout

    def rename(self, node: fx.Node, of: fx.Node, layout: Layout | None = None) -> None:
        """Note that the node is another name for the value of `of`, in the same layout unless one is given."""
        self.sources[node] = self.sources[of]
        self.layouts[node] = self.layouts[of] if layout is None else layout

    def append(
        self,
        name: str,
        kind: OperationKind,
        inputs: tuple[str, ...],
        source: FeatureMap,
        result: FeatureMap,
        **details: Any,
    ) -> str:
        """Append an operation and return its name, which is numbered if the module was called before."""
        unique, copies = name, 1
        while unique in self._names:
            copies += 1
            unique = f"{name}#{copies}"
        self._names.add(unique)
        if copies > 1 and kind in COMPUTE_KINDS:
            details["layer"] = name
        self.operations.append(Operation(unique, kind, inputs, source, result, **details))
        return unique

    def add(
        self,
        node: fx.Node,
        data: list[fx.Node],
        kind: OperationKind,
        layout: Layout,
        name: str = "",
        reads: Layout | None = None,
        **details: Any,
    ) -> None:
        """Append an operation that reads `data` and makes `node`, laid out as `layout`.

        Args:
            node: the node that the operation stands for.
            data: the nodes that it reads.
            kind: what it does.
            layout: the layout of its result.
            name: its name; by default that of the torch operation, within the module that calls it.
            reads: the layout in which it reads a single operand, if that is not the operand's own.
            details: further fields of `Operation`.
        """
        values = [self.stream(argument) for argument in data]
        if reads is not None:
            values = [self.read_as(node, values[0], reads)]
        source = max((feature_map(one.layout) for one in values), key=lambda feature: feature.words)
        inputs = tuple(dict.fromkeys(one.source for one in values))
        self.sources[node] = self.append(
            name or self.path(node, operation_of(node)), kind, inputs, source, feature_map(layout), **details
        )
        self.layouts[node] = layout

    def append_one(
        self, node: fx.Node, value: Stream, kind: OperationKind, layout: Layout, name: str, **details: Any
    ) -> None:
        """Append an operation that reads one value and makes a node's, laid out as `layout`."""
        source, result = feature_map(value.layout), feature_map(layout)
        self.put(node, Stream(self.append(name, kind, (value.source,), source, result, **details), layout))

    def module_of(self, node: fx.Node) -> str:
        """The path of the innermost module that calls the node; empty for the network itself."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        return self._paths[id(self.modules[stack[-1][0]])] if stack else ""

    def path(self, node: fx.Node, name: str) -> str:
        """A name within the path of the module that calls the node."""
        return f"{module}.{name}" if (module := self.module_of(node)) else name

    def layer_of(self, node: fx.Node, weight: Any) -> dict[str, Any]:
        """The fields `name` and `fixed` of a convolution or linear layer.

        It is named after the module that is called, if the weight is that module's, and after the weight otherwise.

        A weight that is computed from parameters alone, as by weight standardisation, is stored as it comes out.

        Raises:
            UnsupportedOperation: the weight is computed from the image, so that there is nothing to store.
        """
        called = self.module_of(node)
        if not isinstance(weight, fx.Node) or weight in self.sources:
            raise self.refusal(node, "has weights that are computed from the image, which no memory of weights holds")
        if weight.name not in self.weights:
            own = isinstance(getattr(self.modules[called], "weight", None), torch.Tensor)
            return {"name": called if own and called else self.path(node, operation_of(node)), "fixed": True}
        path, _, attribute = self.weights[weight.name].rpartition(".")
        owner = self.modules[path]
        if isinstance(owner, (nn.Conv2d, nn.Linear)) and getattr(self.modules[called], "weight", None) is owner.weight:
            return {"name": called}
        own_path = self._paths[id(owner)]
        name = own_path if own_path and attribute == "weight" else f"{own_path}.{attribute}".lstrip(".")
        return {"name": name, "fixed": True}

    def refusal(self, node: fx.Node, why: str) -> UnsupportedOperation:
        """The error to raise for a node that cannot be costed, with the reason."""
        where = self.module_of(node) or "the network"
        return UnsupportedOperation(f"{operation_of(node)!r} {why} (node {node.name!r} in {where})")


Handler = Callable[[Tracer, fx.Node, list[fx.Node]], None]
"""A function that traces one node, called with those of its inputs that are not constants."""
