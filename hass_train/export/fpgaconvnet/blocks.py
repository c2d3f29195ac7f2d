"""The layers that fpgaConvNet builds for a design, under construction, each with its ONNX node.

Its reader (fpgaconvnet-model, `parser/`) renames nodes to `KIND_INDEX` by their places in the graph; here they have
these names from the start. Words are signed there, so values without a sign have a bit more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hass_train.export.onnx_graph import Array, OnnxGraph
from hass_train.export.peer_run import PeerRun
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.formats import Format
from hass_train.precision.operation import IntegerOperation
from hass_train.runtime.errors import UserError

TOOL = "fpgaConvNet"
EXPRESSIBLE = (
    "hw.costs=peer 'hw.compute_engines=[dense,crossbar]' hw.folding=divisors hw.bundle=none hw.max_pixels=1 "
    "hw.max_replicas=1 hw.partitions=never"
)
"""Options with which designs are such as fpgaConvNet builds."""
Plain = dict[str, Any]
Map = tuple[int, int, int]
"""(channels, rows, columns)."""


@dataclass(frozen=True)
class Block:
    """A layer of fpgaConvNet's.

    Args:
        name: its name, that of its ONNX node too.
        kind: the layer type of `fpgaconvnet.proto`.
        inputs: names of the blocks that it reads, or `NETWORK_INPUT`.
        source, result: the map that it reads, and the one that it makes.
        streams_in, streams_out: words that it reads and writes a cycle.
        word: format of its results.
        variant: the `op_type` of the layer; empty = none.
        parameters: what the layer has beside shapes and streams.
        weights, bias: names of its constants; empty = none.
        node: name of the ONNX node that it belongs to, if that is not its own.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    source: Map
    result: Map
    streams_in: int
    streams_out: int
    word: Format
    variant: str = ""
    parameters: Plain = field(default_factory=dict)
    weights: str = ""
    bias: str = ""
    node: str = ""


class FloatGraph(OnnxGraph):
    """Writes values as they are, without rounding: fpgaConvNet's `auto` mode takes widths from attributes."""

    opset, ir_version = 14, 8

    def rounded(self, x: str, to: Format, output: str) -> str:
        return x

    def weight(self, name: str, integers: Array, scales: Array, bits: int) -> str:
        return self.constant(integers * scales.reshape(-1, *[1] * (integers.ndim - 1)), name=name)

    def bias(self, name: str, integers: Array, scales: Array) -> str:
        return self.constant(integers * scales, name=name)


class Blocks:
    """Blocks in topological order, and the values that they make.

    Args:
        run: what is exported.
    """

    def __init__(self, run: PeerRun) -> None:
        self.run, self.graph = run, FloatGraph()
        self.made: dict[str, Block] = {}
        self.values = {NETWORK_INPUT: "input"}
        """The ONNX value of each operation."""
        self.makers = {NETWORK_INPUT: NETWORK_INPUT}
        """The block that makes it."""
        self.maps: dict[str, Map] = {NETWORK_INPUT: run.network.input_shape}

    def model(self) -> Any:
        """The `onnx.ModelProto` of all nodes, which maps images `input` to `logits`."""
        network, graph, helper = self.run.network, self.graph, self.graph.onnx.helper
        graph.rename(self.values[network.output], "logits")
        for place, node in enumerate(graph.nodes):
            node.name = f"{node.op_type}_{place}"
        kind, shape = graph.onnx.TensorProto.FLOAT, network.operations[-1].shape
        inputs = [helper.make_tensor_value_info("input", kind, ["n", *network.input_shape])]
        outputs = [helper.make_tensor_value_info("logits", kind, ["n", *shape[1:]])]
        made = helper.make_graph(graph.nodes, network.name, inputs, outputs, graph.constants)
        opsets = [helper.make_opsetid("", graph.opset)]
        return helper.make_model(made, opset_imports=opsets, ir_version=graph.ir_version, producer_name="hass-train")

    def next_name(self, kind: str) -> str:
        """The name of the next ONNX node."""
        return f"{kind}_{len(self.graph.nodes)}"

    def add(
        self, one: IntegerOperation, operator: str, inputs: Sequence[str], makers: Sequence[str], result: Map,
        attributes: Plain, **block: Any,
    ) -> None:  # fmt: skip
        """Append the ONNX node of an operation, and the block that computes it.

        Args:
            one: the operation.
            operator: the ONNX operator.
            inputs: the ONNX values that it reads.
            makers: the blocks that make its operands.
            result: the map that it makes.
            attributes: of the ONNX node.
            block: the fields of the block that do not follow from these.
        """
        name = self.next_name(operator)
        self.values[one.name] = self.graph.node(operator, *inputs, output=one.name, **attributes)
        source = max((self.maps[each] for each in one.inputs), key=math.prod)
        self.made[name] = Block(name, inputs=tuple(makers), source=source, result=result, word=one.output, **block)
        self.makers[one.name], self.maps[one.name] = name, result

    def alias(self, one: IntegerOperation) -> None:
        """Give an operation for which nothing is built the value of its operand."""
        for known in (self.values, self.makers):
            known[one.name] = known[one.inputs[0]]
        self.maps[one.name] = self.maps[one.inputs[0]]

    def flatten(self, name: str) -> None:
        """Make one row of a value's map, which takes an ONNX node but no hardware."""
        self.values[name] = self.graph.node("Flatten", self.values[name], axis=1)
        self.maps[name] = (math.prod(self.maps[name]), 1, 1)


def refused(name: str, what: str, instead: str = "") -> UserError:
    """An error about an operation that fpgaConvNet cannot express."""
    return UserError(f"{name} {what}, which {TOOL} cannot express; {instead or f'search with {EXPRESSIBLE}'}")


def fixed(word: Format) -> Plain:
    """A format as fpgaConvNet's `fixed_point`."""
    return {"width": word.bits + (not word.signed), "binary_point": -word.exponent}


def map_of(shape: Sequence[int]) -> Map:
    """The map that a result of some shape, the images first, is."""
    _, channels, *sides = shape
    rows, columns = sides or (1, 1)
    return channels, rows, columns
