"""How wide hardware's words are for the numbers of a network: one width for all, and others where rules say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hass_train.hardware import WIDTHS, Workload
from hass_train.hardware.workload import NETWORK_INPUT, Operation, OperationKind
from hass_train.precision.rules import LayerBits, Numbers, Precision

_KEEPS = frozenset({OperationKind.MAX_POOL, OperationKind.PAD})
_CLIPS = frozenset({"relu", "relu6", "hardtanh"})


def resolved(hw: Mapping[str, Any], numbers: Numbers) -> dict[str, Any]:
    """The section `hw` of a configuration, in which widths that are null are those of the network's numbers.

    With floating-point numbers they stay null, for which accelerators have defaults.
    """
    if not isinstance(numbers, Precision):
        return dict(hw)
    own = {name: getattr(numbers, name) for name in WIDTHS if name in hw and hw[name] is None}
    return {**hw, **own}


def with_widths(workload: Workload, model: nn.Module, numbers: Numbers, hw: Mapping[str, Any]) -> Workload:
    """The network with the widths that rules give its operations, as far as `hw` leaves them to the network's numbers.

    Args:
        workload: the network.
        model: the same as a module, which rules need.
        numbers: what it computes with.
        hw: the section of the configuration.

    Raises:
        UserError: a rule matches no layer.
    """
    if not isinstance(numbers, Precision):
        return workload
    layers = numbers.of_layers(model, workload)
    read = _read(workload, numbers, layers) if hw.get("activation_bits") is None else {}
    weights = weight_widths(workload, numbers, {name: bits.weight for name, bits in layers.items()}, hw)
    return workload.with_bits(weights, {name: bits for name, bits in read.items() if bits != numbers.activation_bits})


def weight_widths(
    workload: Workload, numbers: Precision, layers: Mapping[str, int], hw: Mapping[str, Any]
) -> dict[str, int]:
    """The widths of the weights of operations that differ from the accelerator's; none where `hw` states one for all.

    Args:
        workload: the network.
        numbers: what it computes with.
        layers: bits of each layer's weights, by the path of its module.
        hw: the section of the configuration.
    """
    if hw.get("weight_bits") is not None:
        return {}
    each = {one.name: layers[one.owner] for one in workload.compute_layers}
    return {name: bits for name, bits in each.items() if bits != numbers.weight_bits}


def _read(workload: Workload, numbers: Precision, layers: Mapping[str, LayerBits]) -> dict[str, int]:
    """Bits of what each operation reads: the most of its operands, each of which has the most that layers ask for."""
    origin, asked = {NETWORK_INPUT: NETWORK_INPUT}, dict[str, int]()
    for one in workload:
        origin[one.name] = origin[one.inputs[0]] if _keeps(one) else one.name
        if one.has_weights and one.inputs:
            bits = layers[one.owner].activation if one.is_compute else numbers.activation_bits
            source = origin[one.inputs[0]]
            asked[source] = max(asked.get(source, 0), bits)
    width = {name: asked.get(source, numbers.activation_bits) for name, source in origin.items()}
    return {one.name: max(width[name] for name in one.inputs) for one in workload if one.inputs}


def _keeps(operation: Operation) -> bool:
    """Whether a result has the format of what is read (`KEEPS` of the integer graph)."""
    clips = operation.kind is OperationKind.ACTIVATION and operation.function in _CLIPS
    return operation.kind in _KEEPS or clips
