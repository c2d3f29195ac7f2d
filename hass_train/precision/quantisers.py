"""The fake quantisers of a network in training: its forward pass, operation by operation, on rounded values.

Who calls whom. `quantise` gives a network an instance of `Quantisers` as a child, and replaces its `forward` by
`Quantisers.forward`, so that everything that calls the network (training, validation, measurements, engines) computes
with rounded numbers. That walks the integer operations in topological order. Layers are the network's own modules, with
their hooks: a sparse layer gates its input and its weight as its mode says, and hands both to `_layer` here, which
rounds the weight, convolves, and calls the batch norms behind it. All other operations, sums and products of a timm
block among them, are computed here. Then the result is rounded, once, where it is made: whoever reads it reads the same
integers. A gate therefore compares integers, as hardware does.

Thresholds come after rounding, masks before it. In training, batch norms use the batch; in evaluation they are folded
into integer weights and biases, and every value equals that of `IntegerNetwork`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.calibration import Calibration, Stage
from hass_train.precision.floating import (
    EXACT_BITS,
    exact,
    fake_weight,
    layer_output,
    normalised,
    real,
    table_fits,
    table_integers,
)
from hass_train.precision.folding import LayerIntegers, folded, gated_weight, layer_integers, norm_scales, tensor_at
from hass_train.precision.formats import Format, fake_quantised
from hass_train.precision.graph import LAYERS, IntegerGraph, Kind, Node
from hass_train.precision.rules import Precision
from hass_train.sparsity.layers import SparseLayer

_KEEP_INPUT = {"hardswish", "hardsigmoid", "silu", "gelu", "mish"}
"""Functions of torch that keep their operand for the gradient, not their result."""
NAME = "quantisers"
"""Name of the child that a quantised network has."""


class Quantisers(Calibration):
    """The fake quantisers of a network: its forward pass on values and weights that are rounded to their formats.

    Args:
        graph: the network's operations.
        precision: how many bits its numbers have.
        model: the network.
    """

    def __init__(self, graph: IntegerGraph, precision: Precision, model: nn.Module) -> None:
        super().__init__(graph, precision, model)
        self._last_reads = _last_reads(graph)
        self._only_readers = {name: one for name, one in _only_readers(graph).items() if name in self._places}
        self._found: dict[str, nn.Module] = {}
        self._nodes = {node.name: node for node in graph.nodes}
        self._factors: dict[str, tuple[Tensor, Tensor]] = {}

    def synchronize(self) -> None:
        super().synchronize()
        self._tables: dict[str, Tensor] = {}
        self._all_steps: Tensor | None = None
        tables, formats = [one for one in self.graph.nodes if one.kind is Kind.TABLE], self.formats
        self._fits = {one.name for one in tables if table_fits(one, formats[one.inputs[0]], formats[one.name])}

    def follow_weights(self) -> None:
        super().follow_weights()
        self._all_steps = None

    def _module(self, path: str) -> nn.Module:
        """The network's module of a path, which is searched once."""
        if path not in self._found:
            self._found[path] = self.model.get_submodule(path)
        return self._found[path]

    def forward(self, images: Tensor) -> Tensor:
        """Classify images as the stage says.

        Args:
            images: (n, channels, height, width).

        Returns:
            (n, classes) logits, which are integers times a power of two if they are rounded.
        """
        if self._stage is Stage.FLOAT:
            result: Tensor = type(self.model).forward(self.model, images)
            return result
        if self.model.training:
            return self._walk(images)
        with torch.autocast(images.device.type, enabled=False):  # evaluation is exact
            return self._walk(images.float())

    def _walk(self, images: Tensor) -> Tensor:
        if self.model.training and self._stage is Stage.QUANTISED:
            self._factors = self._weight_factors()
        values = {NETWORK_INPUT: self._rounded(NETWORK_INPUT, images)}
        for node in self.graph.nodes:
            operands = [values[name] for name in node.inputs]
            # some functions keep their result for the gradient; what else has one of its own makes a new tensor
            fresh = node.kind is not Kind.TABLE or node.function in _KEEP_INPUT
            values[node.name] = self._rounded(node.name, self._result(node, operands), fresh)
            for name in self._last_reads.get(node.name, ()):
                del values[name]
        return values[self.graph.output]

    def _rounded(self, name: str, x: Tensor, fresh: bool = False) -> Tensor:
        """A value on the grid of its format, if it has one of its own; a fresh one may be overwritten."""
        if name not in self._places:
            return x
        if self._seen is not None:
            self._observe(self._seen, name, x)
        if self._stage is Stage.CALIBRATE:
            return x
        if not self.model.training:
            return fake_quantised(x, self.formats[name], fresh).to(torch.float32)
        return fake_quantised(x, self.formats[name], fresh, name in self._fits, self._fixed_level(name))

    def _fixed_level(self, name: str) -> float:
        """The threshold by which a value's only reader would gate it, if that does not learn it; else 0."""
        reader = self._only_readers.get(name)
        module = None if reader is None else self._module(reader.layer)
        return module.fixed_level() if isinstance(module, SparseLayer) else 0.0

    def _result(self, node: Node, operands: Sequence[Tensor]) -> Tensor:
        """The result of an operation, not yet rounded."""
        if node.kind in LAYERS:
            return self._called(node, operands[0])
        if node.kind is Kind.DROP:
            dropped: Tensor = self._module(node.layer)(operands[0])
            return dropped
        sources = [self.formats[name] for name in node.inputs] if self._stage is Stage.QUANTISED else None
        if sources is None or self.model.training:
            return real(node, operands, sources)
        table = self.table(node, operands[0].device) if node.kind is Kind.TABLE else None
        return exact(node, operands, sources, self.formats[node.name], table)

    def _called(self, node: Node, x: Tensor) -> Tensor:
        """A layer's output: a sparse layer's module is called, which gates input and weight."""
        module = self._module(node.layer) if node.layer else None
        if isinstance(module, SparseLayer):
            gated = self.model.training and self._stage is Stage.QUANTISED and self._fixed_level(node.inputs[0]) > 0
            output: Tensor = module(x, lambda operand, weight: self._layer(node, operand, weight), gated)
            return output
        if module is not None:
            weight: Any = module.weight
        else:
            weight = tensor_at(self.model, node.weight) if node.weight else gated_weight(self.model, node)
        return self._layer(node, x, weight)

    def _layer(self, node: Node, x: Tensor, weight: Tensor) -> Tensor:
        """A layer and the batch norms behind it, from its gated input and weight."""
        if self._stage is Stage.QUANTISED and not self.model.training:
            return self._exact_layer(node, x, weight)
        if self._stage is Stage.QUANTISED:
            weight = fake_weight(weight, *self._factors[node.name], self.values.weight_bits[node.name])
        output = layer_output(node, x, weight, tensor_at(self.model, node.bias) if node.bias else None)
        for path in node.norms:
            output = normalised(self._module(path), output)
        return output

    def _weight_factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What makes integers of each layer's weights, and weights of these; float32 (filters,) both.

        As Jacob et al. (2018, section 3.2) do: weights are scaled by the running statistics of the batch norms that
        will be folded into them, rounded, and scaled back for the batch norm, which normalises by the batch.
        """
        device = self.weight_exponents.device
        if self._all_steps is None or self._all_steps.device != device:
            self._all_steps = torch.exp2(-self.weight_exponents.double()).float()
        layers = [node for node in self.graph.nodes if node.kind in LAYERS]
        scales = iter(norm_scales([self._module(path) for node in layers for path in node.norms], torch.float32))
        factors = []
        for node in layers:
            filters = self._filters[node.name]
            own = [next(scales) for _ in node.norms] or [torch.ones(filters.stop - filters.start, device=device)]
            factors.append(reduce(torch.mul, own))
        scale = torch.cat(factors)
        up = torch.where(scale == 0, self._all_steps, scale * self._all_steps)
        sizes = [len(one) for one in factors]
        both = zip(up.split(sizes), up.reciprocal().split(sizes), strict=True)
        return dict(zip((node.name for node in layers), both, strict=True))

    def _exact_layer(self, node: Node, x: Tensor, weight: Tensor) -> Tensor:
        """A layer as hardware computes it: folded, with integer weights and biases, in sums that are exact."""
        numbers = self.integers(node, weight.detach())
        # GPUs' libraries compute single precision in transformed or shortened numbers (Winograd, TF32)
        single = numbers.accumulator_bits <= EXACT_BITS and not x.is_cuda
        kind = torch.float32 if single else torch.float64
        scale = torch.exp2(numbers.exponents.double())
        own = numbers.weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
        bias = numbers.bias * scale * self.formats[node.inputs[0]].scale
        return layer_output(node, x.to(kind), own.to(kind), bias.to(kind))

    def integers(self, node: Node, weight: Tensor | None = None) -> LayerIntegers:
        """The integers of a layer.

        Args:
            node: the layer.
            weight: its gated weight, if that is at hand.

        Raises:
            UserError: an accumulator could overflow.
        """
        whole = folded(self.model, node, gated_weight(self.model, node) if weight is None else weight)
        return layer_integers(
            node, whole, self.weight_exponents[self._filters[node.name]], self.values.weight_bits[node.name],
            self.formats[node.inputs[0]], self.precision.accumulator_bits,
        )  # fmt: skip

    def rounding(self, operation: str, weight: Tensor) -> Tensor:
        """The integers of a layer's gated weight in one of its operations; the weight itself before calibration.

        Raises:
            UserError: an accumulator could overflow.
        """
        if self._stage is not Stage.QUANTISED:
            return weight
        return self.integers(self._nodes[operation], weight).weight

    def table(self, node: Node, device: torch.device) -> Tensor:
        """The integers of a pointwise function's table, int64."""
        if node.name not in self._tables or self._tables[node.name].device != device:
            formats: tuple[Format, Format] = self.formats[node.inputs[0]], self.formats[node.name]
            self._tables[node.name] = table_integers(node, *formats).to(device)
        return self._tables[node.name]


def _last_reads(graph: IntegerGraph) -> dict[str, list[str]]:
    """The values that nobody reads after each operation."""
    last: dict[str, str] = {}
    for node in graph.nodes:
        last.update(dict.fromkeys(node.inputs, node.name))
    found: dict[str, list[str]] = {}
    for name, reader in last.items():
        found.setdefault(reader, []).append(name)
    return found


def _only_readers(graph: IntegerGraph) -> dict[str, Node]:
    """The layer of each value that has no other reader."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    only = {name: found[0] for name, found in readers.items() if len(found) == 1 and name != graph.output}
    return {name: node for name, node in only.items() if node.kind in LAYERS and node.layer}


def quantise(model: nn.Module, graph: IntegerGraph, precision: Precision) -> Quantisers:
    """Give a network fake quantisers in place, which change nothing before they are calibrated.

    Args:
        model: the network, dense or with sparse layers.
        graph: its operations, made while it was dense.
        precision: how many bits its numbers have.

    Raises:
        UserError: a rule matches no layer.
    """
    quantisers = Quantisers(graph, precision, model)
    for module in model.modules():
        if isinstance(module, SparseLayer):
            module.rounding = quantisers.rounding
    model.add_module(NAME, quantisers)
    model.__dict__["forward"] = quantisers.forward
    return quantisers


def state_keys(model: nn.Module) -> set[str]:
    """The keys of the network's state dict that its fake quantisers have added."""
    found = quantisers_of(model)
    return set() if found is None else {f"{NAME}.{key}" for key in found.state_dict()}


def quantisers_of(model: nn.Module) -> Quantisers | None:
    """The fake quantisers of a network; None if it has none."""
    found = getattr(model, NAME, None)
    return found if isinstance(found, Quantisers) else None
