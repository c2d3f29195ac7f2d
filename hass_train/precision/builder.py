"""The state of a walk that makes integer operations of a traced network's nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from hass_train.hardware.trace import Walk
from hass_train.hardware.tracer import shape_of
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.graph import Kind, Node
from hass_train.runtime.errors import UserError


class Builder:
    """Collects integer operations.

    Args:
        walked: the traced network.

    Attributes:
        values: the integer operation that makes the value of each node; nodes that are missing are constants.
        parts: for a node that splits a tensor, where each part starts and stops, and the axis.
        nodes: the operations so far.
    """

    def __init__(self, walked: Walk) -> None:
        self.tracer, self.made = walked.tracer, walked.made
        self.operations = {one.name: one for one in self.tracer.operations}
        self.values: dict[fx.Node, str] = {}
        self.parts: dict[fx.Node, tuple[int, list[tuple[int, int]]]] = {}
        self.nodes: list[Node] = []
        self._names = {NETWORK_INPUT, *self.operations}

    def refusal(self, node: fx.Node, why: str = "has no integer meaning") -> UserError:
        """The error to raise for a node that cannot be computed with integers."""
        return UserError(f"{self.tracer.refusal(node, why)}; use precision=float")

    def add(self, node: fx.Node, kind: Kind, inputs: Sequence[fx.Node], name: str = "", **details: Any) -> None:
        """Append the operation of a node.

        Args:
            node: the node.
            kind: what it does.
            inputs: its operands.
            name: its name; by default that in the workload, or for what is none there a new one.
            details: further fields of `Node`.
        """
        name = name or (self.made[node][-1] if node in self.made else self.unique(self.tracer.path(node, str(kind))))
        operands = tuple(self.value(node, one) for one in inputs)
        self.nodes.append(Node(name, kind, operands, shape=shape_of(node), **details))
        self.values[node] = name

    def value(self, node: fx.Node, operand: Any) -> str:
        """The value that a node reads; constants are refused."""
        if operand not in self.values:
            raise self.refusal(node, "with a constant has no integer meaning")
        return self.values[operand]

    def unique(self, name: str) -> str:
        """A name that no other operation has."""
        number, result = 1, name
        while result in self._names:
            number += 1
            result = f"{name}#{number}"
        self._names.add(result)
        return result

    def path_of(self, parameter: fx.Node | None) -> str:
        """The path of a parameter or buffer; empty if there is none."""
        return "" if parameter is None else self.tracer.weights[parameter.name]
