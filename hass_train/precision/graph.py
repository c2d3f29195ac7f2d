"""The graph of integer operations: what hardware computes from one tensor to the next, without numbers yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hass_train.hardware.workload import Workload


class Kind(StrEnum):
    """What an integer operation does."""

    CONV = "conv"
    LINEAR = "linear"
    MAX_POOL = "max_pool"
    AVERAGE_POOL = "average_pool"
    MEAN = "mean"
    ADD = "add"
    MULTIPLY = "multiply"
    CONCAT = "concat"
    TABLE = "table"
    CLIP = "clip"
    PAD = "pad"
    RESHAPE = "reshape"
    PERMUTE = "permute"
    SLICE = "slice"
    DROP = "drop"


LAYERS = frozenset({Kind.CONV, Kind.LINEAR})
KEEPS = frozenset({Kind.MAX_POOL, Kind.CLIP, Kind.PAD, Kind.RESHAPE, Kind.PERMUTE, Kind.SLICE, Kind.DROP})
"""Operations that select or move integers, whose result therefore has the exponent of what they read."""
_NEVER_NEGATIVE = frozenset({"sigmoid", "hardsigmoid"})
_IF_OPERANDS_ARE_NOT = frozenset({Kind.MULTIPLY, Kind.CONCAT, Kind.AVERAGE_POOL, Kind.MEAN})


@dataclass(frozen=True, slots=True)
class Step:
    """What an integer operation does to the shape of its operands, whatever its numbers.

    Args:
        name: as in the `Workload`, where that has the operation; unique.
        kind: what it does.
        inputs: names of the operands, in order; one may occur twice.
        kernel: (rows, columns) of a pool.
        stride, dilation: (rows, columns) of a convolution or pool.
        padding: pixels of padding (left, right, above, below) of a convolution, pool or padding.
        groups: groups of channels of a convolution.
        shape: shape of the result, the images (one) first.
        arguments: axes of a mean; the axis of a concatenation; (axis, start, stop, step) of a slice; the order of axes
            of a permutation; the sign of each operand of a sum.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    shape: tuple[int, ...] = ()
    arguments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Node(Step):
    """One integer operation of a network's graph, with the places of its parameters in the network.

    Args:
        function: name of the torch operation that makes a table; `lowest` for a padding that no maximum selects.
        options: further arguments of that operation; `low` and `high` of a clip, where it has them.
        layer: path of the module of a convolution or linear layer, or of what drops values in training.
        weight: path of the parameter or buffer that holds the weights; empty = ones.
        bias: likewise; empty = none.
        norms: paths of the batch norms that fold into the layer, in order.
        count: number of values in each average of a mean or average pool.
    """

    function: str = ""
    options: Mapping[str, float | str] = field(default_factory=dict)
    layer: str = ""
    weight: str = ""
    bias: str = ""
    norms: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class IntegerGraph:
    """The integer operations of a network in topological order.

    Args:
        workload: the network as hardware models see it.
        nodes: the operations.
        output: the name of the operation whose result is the network's answer.
    """

    workload: Workload
    nodes: tuple[Node, ...]
    output: str

    def readers(self) -> dict[str, list[Node]]:
        """The operations that read each value."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    def origin(self) -> dict[str, str]:
        """For each value, the one whose exponent it has: itself, unless its operation `KEEPS` exponents."""
        found: dict[str, str] = {}
        for node in self.nodes:
            found[node.name] = found.get(node.inputs[0], node.inputs[0]) if node.kind in KEEPS else node.name
        return found

    def rectified(self) -> frozenset[str]:
        """The values that only clips at zero read, which requantising to unsigned integers clips already."""
        readers = self.readers()
        return frozenset(
            node.name for node in self.nodes
            if node.kind not in KEEPS and node.name != self.output
            and all(_clips_at_zero(one) for one in readers.get(node.name, ()))
        )  # fmt: skip

    def signs(self, input_signed: bool) -> dict[str, bool]:
        """Whether each operation's result is signed; pools that divide keep their operand's (`average_pool.sv`)."""
        signed, rectified = {}, self.rectified()
        signed["input"] = input_signed
        for node in self.nodes:
            operands = [signed[name] for name in node.inputs]
            if node.kind is Kind.CLIP:
                own = operands[0] and not _clips_at_zero(node)
            elif node.kind is Kind.TABLE:
                own = node.function not in _NEVER_NEGATIVE
            elif node.kind is Kind.ADD:
                own = any(operands) or min(node.arguments) < 0
            else:
                own = any(operands) if node.kind in _IF_OPERANDS_ARE_NOT or node.kind in KEEPS else True
            signed[node.name] = own and node.name not in rectified
        return signed


def _clips_at_zero(node: Node) -> bool:
    return node.kind is Kind.CLIP and node.options.get("low") == 0
