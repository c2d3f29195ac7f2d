"""How a network's numbers get their exponents: by the squared errors of what passes through it (calibration), each
image's in units of its own values (`squared_errors`).

A value that only the table of a function reads counts by the results of that function. MobileNetV3's last convolution,
for instance, gives values of −60 to 8, and hard-swish makes 0 of all those below −3: a range up to 64 would be wasted.
A value that only a gated layer reads counts by what the gate leaves of it: steps as coarse as the threshold would move
the threshold itself, and many zeros with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from enum import IntEnum
from functools import partial

import torch
from torch import Tensor, nn

from hass_train.precision.floating import pointwise
from hass_train.precision.folding import filter_exponents, folded, gated_weight
from hass_train.precision.formats import FEW_BITS, RANGES, SAMPLE, best_range, exponents_of, squared_errors
from hass_train.precision.graph import LAYERS, IntegerGraph, Kind, Node
from hass_train.precision.rules import Mixed, Precision
from hass_train.precision.values import Values
from hass_train.runtime import ranks
from hass_train.sparsity.layers import SparseLayer

IMAGES = 8
"""Number of images of a batch on which a step of training observes values."""


class Stage(IntEnum):
    """What a network's forward pass does: FLOAT is its own, CALIBRATE measures values, QUANTISED rounds them."""

    FLOAT = 0
    CALIBRATE = 1
    QUANTISED = 2


def _itself(x: Tensor) -> Tensor:
    return x


def _functions(graph: IntegerGraph, model: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """What becomes of each value that nothing but the table of one function, or the gate of one layer, reads."""
    readers = graph.readers()
    found = dict[str, Callable[[Tensor], Tensor]]()
    for name in readers:
        end, node = name, _only(readers.get(name))
        while node is not None and end != graph.output and _rectifies(node):  # which unsigned formats do
            end, node = node.name, _only(readers.get(node.name))
        if node is None or end == graph.output:
            continue
        if node.kind is Kind.TABLE and end == name:
            found[name] = partial(pointwise, node)
        elif node.kind in LAYERS and node.layer:
            layer = model.get_submodule(node.layer)
            if isinstance(layer, SparseLayer):
                found[name] = layer.gated_input
    return found


def _only(readers: list[Node] | None) -> Node | None:
    return readers[0] if readers and len(readers) == 1 else None


def _rectifies(node: Node) -> bool:
    return node.kind is Kind.CLIP and node.options == {"low": 0}


class Calibration(nn.Module):
    """The formats of a network's values and weights, and how their exponents are chosen by what passes through it.

    Args:
        graph: the network's operations.
        precision: how many bits its numbers have.
        model: the network.

    Attributes:
        stage: scalar integer, a `Stage`.
        errors: (values, ranges) float64, relative squared errors of each value in each range, over what was observed.
        exponents: (values,) int64, the exponents of the values.
        weight_exponents: (filters of all layers,) int64.
        input_signed: scalar bool, whether images have negative values.
        chosen_bits: (layers,) int64, bits of the weights of the layers that a `Mixed` precision leaves free; without
            such a precision there is none.
    """

    stage: Tensor
    errors: Tensor
    exponents: Tensor
    weight_exponents: Tensor
    input_signed: Tensor
    chosen_bits: Tensor

    def __init__(self, graph: IntegerGraph, precision: Precision, model: nn.Module) -> None:
        super().__init__()
        self.graph, self.precision, self.values = graph, precision, Values.of(graph, precision, model)
        self._model = (model,)  # a tuple, so that the network does not become a child of its child
        self._places = {name: place for place, name in enumerate(self.values.bits)}
        self._functions = _functions(graph, model)
        self._filters: dict[str, slice] = {}
        for node in graph.nodes:
            if node.kind in LAYERS:
                first = self._filters[next(reversed(self._filters))].stop if self._filters else 0
                self._filters[node.name] = slice(first, first + len(gated_weight(model, node)))
        count, filters = len(self._places), next(reversed(self._filters.values())).stop
        self.register_buffer("stage", torch.tensor(int(Stage.FLOAT)))
        self.register_buffer("errors", torch.zeros(count, len(RANGES), dtype=torch.float64))
        self.register_buffer("exponents", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("weight_exponents", torch.zeros(filters, dtype=torch.int64))
        self.register_buffer("input_signed", torch.tensor(True))
        self.free_layers = precision.free_layers(model, graph.workload) if isinstance(precision, Mixed) else []
        if isinstance(precision, Mixed):
            self.register_buffer("chosen_bits", torch.full((len(self.free_layers),), precision.weight_bits))
        self._seen: Tensor | None = None
        self.synchronize()

    def synchronize(self) -> None:
        """Update the plain copies of the buffers, after a checkpoint was loaded or exponents changed."""
        self._stage = Stage(int(self.stage))
        if self.free_layers:
            own = self.layer_bits()
            bits = {
                node.name: own[node.layer] for node in self.graph.nodes if node.kind in LAYERS and node.layer in own
            }
            self.values = replace(self.values, weight_bits={**self.values.weight_bits, **bits})
        exponents = dict(zip(self._places, self.exponents.tolist(), strict=True))
        self.formats = self.values.formats(exponents, bool(self.input_signed))

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self._model[0]

    @property
    def stage_now(self) -> Stage:
        """The present stage, known without reading a tensor."""
        return self._stage

    def layer_bits(self) -> dict[str, int]:
        """The bits of the weights of the layers that a `Mixed` precision leaves free, by the paths of their modules."""
        return dict(zip(self.free_layers, self.chosen_bits.tolist(), strict=True)) if self.free_layers else {}

    @torch.no_grad()
    def set_layer_bits(self, bits: Mapping[str, int]) -> None:
        """Change the bits of the weights of some free layers, and choose the exponents of their filters anew.

        Args:
            bits: by the path of a layer's module.
        """
        for name, own in bits.items():
            self.chosen_bits[self.free_layers.index(name)] = own
        self.synchronize()
        self._choose_weights([node for node in self.graph.nodes if node.kind in LAYERS and node.layer in bits])
        self.synchronize()

    def set_stage(self, stage: Stage) -> None:
        """Change what the network's forward pass does."""
        self.stage.fill_(int(stage))
        self.synchronize()

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Choose all exponents by least squared error on some images, and round from now on.

        Args:
            batches: (n, channels, height, width) each; the network's training mode is restored afterwards.
        """
        images, model, training = list(batches), self.model, self.model.training
        self.input_signed.fill_(min(float(one.min()) for one in images) < 0)
        self.errors.zero_()
        self.set_stage(Stage.CALIBRATE)
        model.eval()
        try:
            for batch in images:
                with self.observed():
                    model(batch)
        finally:
            model.train(training)
        self.set_stage(Stage.QUANTISED)
        self.choose()

    @torch.no_grad()
    def choose(self, keep: float = 1.0) -> None:
        """Choose exponents anew by what was observed of values, and by the present weights.

        Args:
            keep: factor of what was observed before, in the choices after this one.
        """
        best = best_range(self.errors)
        for name, place in self._places.items():
            own = exponents_of(self.formats[name].bits, self.formats[name].signed)
            self.exponents[place] = own[int(best[place])]
        self.errors.mul_(keep)
        self.synchronize()  # weights' exponents depend on the formats of what they meet
        self.choose_weights()

    @torch.no_grad()
    def choose_weights(self) -> None:
        """Choose the exponents of all filters anew, by their present weights and the formats of what they meet."""
        self._choose_weights([node for node in self.graph.nodes if node.kind in LAYERS])
        self.synchronize()

    @torch.no_grad()
    def follow_weights(self) -> None:
        """Choose the exponents of filters of more than `FEW_BITS` bits anew, by their present weights."""
        wide = self.values.weight_bits
        self._choose_weights([one for one in self.graph.nodes if one.kind in LAYERS and wide[one.name] > FEW_BITS])

    def _choose_weights(self, layers: Iterable[Node]) -> None:
        """Choose the exponents of the filters of some layers by their present weights."""
        for node in layers:
            gated = gated_weight(self.model, node)
            if self.values.weight_bits[node.name] > FEW_BITS:
                gated = gated.flatten(1).abs().amax(1, keepdim=True)
            weight, bias = folded(self.model, node, gated)
            bits, source = self.values.weight_bits[node.name], self.formats[node.inputs[0]]
            limit = self.precision.accumulator_bits
            self.weight_exponents[self._filters[node.name]] = filter_exponents(weight, bias, bits, source, limit)

    def _observe(self, seen: Tensor, name: str, x: Tensor) -> None:
        """Add the squared errors of a value in each range to those that were seen before."""
        bits, signed = self.formats[name].bits, self.formats[name].signed
        few = self._stage is Stage.QUANTISED  # steps of training, which are many and shall stay quick
        function = self._functions.get(name, _itself)
        some, sample = (x[:IMAGES], SAMPLE // 4) if few else (x, SAMPLE)
        seen[self._places[name]] += squared_errors(some, bits, signed, sample, function)

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Let forward passes in the body observe values, in all processes that train together."""
        self._seen = torch.zeros_like(self.errors)
        try:
            yield
            self.errors += ranks.summed(self._seen)
        finally:
            self._seen = None
