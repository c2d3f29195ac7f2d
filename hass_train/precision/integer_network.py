"""The integer network: what runs on the accelerator, as integers and a list of operations."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.calibration import Stage
from hass_train.precision.floating import clip_limits
from hass_train.precision.formats import Format, reciprocal
from hass_train.precision.graph import LAYERS, Kind, Node, Step
from hass_train.precision.operation import IntegerOperation
from hass_train.precision.quantisers import Quantisers, quantisers_of
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath
from hass_train.runtime.plain import from_plain, to_plain
from hass_train.sparsity.layers import SparseLayer

INTEGERS, INTEGERS_JSON = "integers.safetensors", "integers.json"
SCHEMA = 1
_ABOUT = (
    "a value is q * 2^exponent of its format; results are divided by powers of two, half to even, and saturate; inputs "
    "of a layer with |q| <= threshold count as 0; tensors are NAME.weight, NAME.bias, NAME.exponents (of the filters' "
    "weights), NAME.table (from the smallest q upwards)"
)
_SAME = tuple(one.name for one in fields(Step))


@dataclass(frozen=True)
class IntegerNetwork:
    """A network that computes with integers alone, on the CPU.

    Args:
        name: name of the network.
        input_shape: (channels, height, width) of an image.
        input: format of the images.
        operations: the operations in topological order, named as in the `Workload`; the last value is the answer.
        output: name of the operation whose result is the answer.
        tensors: the integers of layers and tables, by `NAME.weight` and so on.
    """

    name: str
    input_shape: tuple[int, int, int]
    input: Format
    operations: tuple[IntegerOperation, ...]
    output: str
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> IntegerNetwork:
        """Make the integers of a network with calibrated fake quantisers.

        Args:
            model: the network, which is not changed.

        Raises:
            UserError: it has no fake quantisers, or a layer's accumulator could overflow.
        """
        quantisers = quantisers_of(model)
        if quantisers is None or quantisers.stage_now is not Stage.QUANTISED:
            raise UserError(
                "the network computes with floating-point numbers (precision=float) and has no integers; train it with "
                "precision=int8, or begin such a run with init_from=RUN_DIR"
            )
        graph, same = quantisers.graph, dict[str, str]()
        operations, tensors = list[IntegerOperation](), dict[str, Tensor]()
        for node in graph.nodes:
            inputs = tuple(same.get(name, name) for name in node.inputs)
            if node.kind is Kind.DROP:
                same[node.name] = inputs[0]
                continue
            made, own = _operation(quantisers, node, inputs)
            operations.append(made)
            tensors.update({f"{node.name}.{key}": value for key, value in own.items()})
        workload = graph.workload
        return cls(
            workload.name, workload.input_shape, quantisers.formats[NETWORK_INPUT], tuple(operations),
            same.get(graph.output, graph.output), tensors,
        )  # fmt: skip

    @property
    def output_format(self) -> Format:
        """The format of the answers."""
        return next(one.output for one in self.operations if one.name == self.output)

    def tensors_of(self, operation: IntegerOperation) -> dict[str, Tensor]:
        """The integers of an operation by what they are."""
        kinds = ("weight", "bias", "exponents") if operation.kind in LAYERS else ("table",)
        return {kind: self.tensors[f"{operation.name}.{kind}"] for kind in kinds if operation.kind in _WITH_TENSORS}

    def quantise(self, images: Tensor) -> Tensor:
        """Return the integers (int64) of images (n, channels, height, width)."""
        return self.input.quantise(images.cpu())

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (n, channels, height, width), real numbers.

        Returns:
            (n, classes) int64; times `output_format.scale` they are the logits.
        """
        return self.values(images)[self.output]

    __call__ = forward

    def values(self, images: Tensor) -> dict[str, Tensor]:
        """Return all values that images (n, channels, height, width) make, int64, by the operations' names."""
        found = {NETWORK_INPUT: self.quantise(images)}
        for operation in self.operations:
            operands = [found[name] for name in operation.inputs]
            found[operation.name] = operation.compute(operands, self.tensors_of(operation))
        return found

    # ---- files -----------------------------------------------------------------------------------------------------

    def save(self, folder: AnyPath) -> None:
        """Write `integers.safetensors` and `integers.json` into a directory."""
        save_file({name: value.contiguous() for name, value in self.tensors.items()}, Path(folder) / INTEGERS)
        plain = {
            "schema": SCHEMA, "about": _ABOUT, "name": self.name, "input_shape": self.input_shape,
            "input": to_plain(self.input), "output": self.output,
            "operations": [_plain(one) for one in self.operations],
        }  # fmt: skip
        (Path(folder) / INTEGERS_JSON).write_text(json.dumps(plain, indent=1))

    @classmethod
    def load(cls, folder: AnyPath) -> IntegerNetwork:
        """Read what `save` wrote.

        Raises:
            UserError: the directory holds no integer network.
        """
        folder = Path(folder)
        try:
            plain = json.loads((folder / INTEGERS_JSON).read_text())
            described = from_plain(plain, _Described)
            network = cls(**vars(described), tensors=load_file(folder / INTEGERS))
            for operation in network.operations:
                network.tensors_of(operation)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"{folder} holds no integer network ({first}); runs of search.py or train.py write one, unless they "
                "have precision=float"
            ) from error
        return network


@dataclass(frozen=True)
class _Described:
    """What `integers.json` holds of an `IntegerNetwork`."""

    name: str
    input_shape: tuple[int, int, int]
    input: Format
    operations: tuple[IntegerOperation, ...]
    output: str


_WITH_TENSORS = LAYERS | {Kind.TABLE}


def _plain(operation: IntegerOperation) -> dict[str, Any]:
    """An operation as plain data, without what it has by default."""
    whole: dict[str, Any] = to_plain(operation)
    return {one.name: whole[one.name] for one in fields(operation) if getattr(operation, one.name) != one.default}


def _operation(
    quantisers: Quantisers, node: Node, inputs: tuple[str, ...]
) -> tuple[IntegerOperation, dict[str, Tensor]]:
    """An operation with its numbers, and its tensors by what they are."""
    sources, to = tuple(quantisers.formats[name] for name in node.inputs), quantisers.formats[node.name]
    numbers: dict[str, Any] = {name: getattr(node, name) for name in _SAME} | {"inputs": inputs}
    tensors: dict[str, Tensor] = {}
    if node.kind in LAYERS:
        own = quantisers.integers(node)
        bits = quantisers.values.weight_bits[node.name]
        numbers |= {"accumulator_bits": own.accumulator_bits, "threshold": _threshold(quantisers, node, sources[0])}
        tensors = {
            "weight": own.weight.to(torch.int8 if bits <= 8 else torch.int16),
            "bias": own.bias.to(torch.int32 if own.accumulator_bits <= 32 else torch.int64),
            "exponents": own.exponents.to(torch.int32),
        }
    elif node.kind is Kind.TABLE:
        tensors = {"table": quantisers.table(node, torch.device("cpu")).to(torch.int32)}
    elif node.kind in (Kind.MEAN, Kind.AVERAGE_POOL):
        numbers["multiplier"], numbers["shift"] = reciprocal(node.count, sources[0].exponent, to)
    elif node.kind is Kind.CLIP:
        numbers["low"], numbers["high"] = clip_limits(node, sources[0])
    elif node.kind is Kind.PAD:
        numbers["low"] = sources[0].low if node.function else 0
    return IntegerOperation(**numbers, sources=sources, output=to), {key: one.cpu() for key, one in tensors.items()}


def _threshold(quantisers: Quantisers, node: Node, source: Format) -> int:
    """The largest integer magnitude that a layer's activation threshold makes zero."""
    layer = quantisers.model.get_submodule(node.layer) if node.layer else None
    if not isinstance(layer, SparseLayer):
        return 0
    level = float(torch.tensor(layer.activation_level(), dtype=torch.float32))  # as it is compared
    return min(int(level / source.scale), source.largest)
