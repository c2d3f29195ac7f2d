"""The formats of a network's values: which have an exponent of their own, and how many bits each has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.formats import Format
from hass_train.precision.graph import KEEPS, LAYERS, IntegerGraph, Kind
from hass_train.precision.rules import LayerBits, Precision


@dataclass(frozen=True)
class Values:
    """What is known of a network's values before their exponents are.

    Args:
        graph: the network's operations.
        bits: bits of each value that has an exponent of its own, in topological order, the images first.
        weight_bits: bits of the weights of each layer's operations.
    """

    graph: IntegerGraph
    bits: Mapping[str, int]
    weight_bits: Mapping[str, int]

    @classmethod
    def of(cls, graph: IntegerGraph, precision: Precision, model: nn.Module) -> Values:
        """Apply a precision to a network.

        Args:
            graph: the network's operations.
            precision: how many bits its numbers have.
            model: the network.

        Raises:
            UserError: a rule matches no layer.
        """
        layers = precision.of_layers(model, graph.workload)
        plain, origin = LayerBits(precision.weight_bits, precision.activation_bits), graph.origin()
        asked: dict[str, int] = {}
        for node in graph.nodes:
            if node.kind in LAYERS:
                source = origin.get(node.inputs[0], node.inputs[0])
                asked[source] = max(asked.get(source, 0), layers.get(node.layer, plain).activation)
        asked[origin.get(graph.output, graph.output)] = precision.output_bits
        own = [NETWORK_INPUT, *(node.name for node in graph.nodes if node.kind not in KEEPS)]
        return cls(
            graph, {name: asked.get(name, precision.activation_bits) for name in own},
            {node.name: layers.get(node.layer, plain).weight for node in graph.nodes if node.kind in LAYERS},
        )  # fmt: skip

    def formats(self, exponents: Mapping[str, int], input_signed: bool) -> dict[str, Format]:
        """The format of every value.

        Words are signed, as compute engines multiply them; values that are never negative need one bit less.

        Args:
            exponents: the exponents of those values that have one of their own.
            input_signed: whether the images have negative values.
        """
        signed = self.graph.signs(input_signed)
        found = {
            name: Format(bits - (not signed[name]), exponents[name], signed[name]) for name, bits in self.bits.items()
        }
        for node in self.graph.nodes:
            if node.kind not in KEEPS:
                continue
            source = found[node.inputs[0]]
            halved = node.kind is Kind.CLIP and source.signed and not signed[node.name]
            found[node.name] = Format(source.bits - 1, source.exponent, signed=False) if halved else source
        return found
