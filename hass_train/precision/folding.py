"""A layer's weights and bias as integers: batch norms folded in, one exponent for each filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hass_train.precision.formats import Format, largest_weight, weight_exponents
from hass_train.precision.graph import Kind, Node, Step
from hass_train.runtime.errors import UserError
from hass_train.sparsity.layers import SparseLayer

_BESIDE_BIAS = 10
"""Bits of the widest accumulator that a bias leaves free: where it is larger, the filter's weights are tiny beside it,
and may be coarser."""
_LEAST = -48  # products of still smaller weights would be subnormal in single precision


@dataclass(frozen=True, slots=True)
class LayerIntegers:
    """The integers of a layer.

    Args:
        weight: int64, of the weight's shape.
        bias: int64 (filters,), at the exponent of the accumulator.
        exponents: int64 (filters,), of the weights; the accumulator's are those plus the input's.
        accumulator_bits: bits of an accumulator that no input can overflow.
    """

    weight: Tensor
    bias: Tensor
    exponents: Tensor
    accumulator_bits: int


def tensor_at(model: nn.Module, path: str) -> Tensor:
    """The parameter or buffer of a path."""
    owner, _, name = path.rpartition(".")
    value: Tensor = getattr(model.get_submodule(owner), name)
    return value


def norm_scales(norms: Sequence[nn.Module], kind: torch.dtype = torch.float64) -> list[Tensor]:
    """γ/√(σ² + ε) of batch norms by their running statistics, (channels,) each, computed in a type of numbers.

    All norms are computed in one call for each operation: a network has dozens, and training asks in every step.
    """
    if not norms:
        return []
    variances, scales, added = [], [], []
    for norm in norms:
        assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
        assert norm.running_var is not None
        variances.append(norm.running_var.detach().to(kind))
        scales.append(torch.ones_like(variances[-1]) if norm.weight is None else norm.weight.detach().to(kind))
        added.append(norm.eps)
    result = torch._foreach_add(variances, added)
    torch._foreach_sqrt_(result)
    torch._foreach_reciprocal_(result)
    torch._foreach_mul_(result, scales)
    return list(result)


def gated_weight(model: nn.Module, node: Node) -> Tensor:
    """The real weight of a layer as its present mode uses it; ones for a batch norm that is a layer of its own."""
    module = model.get_submodule(node.layer) if node.layer else None
    if isinstance(module, SparseLayer):
        return module.gated_weight().detach()
    if node.weight:
        return tensor_at(model, node.weight).detach()
    (norm,) = norm_scales([model.get_submodule(node.norms[0])])
    return torch.ones_like(norm, dtype=torch.float32).reshape(-1, 1, 1, 1)


def folded(model: nn.Module, node: Node, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Fold the batch norms behind a layer into its weight and bias.

    Args:
        model: the network.
        node: the layer.
        weight: its real weight, (filters, …).

    Returns:
        The weight and the bias (filters,), both float64.
    """
    weight = weight.double()
    bias = tensor_at(model, node.bias).detach().double() if node.bias else weight.new_zeros(len(weight))
    norms = [model.get_submodule(path) for path in node.norms]
    for norm, scale in zip(norms, norm_scales(norms), strict=True):
        assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
        assert norm.running_mean is not None
        weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
        bias = (bias - norm.running_mean.double()) * scale
        bias = bias if norm.bias is None else bias + norm.bias.detach().double()
    return weight, bias


def filter_exponents(weight: Tensor, bias: Tensor, bits: int, source: Format, limit: int) -> Tensor:
    """Choose the exponent of each filter, int64 (filters,): see `weight_exponents`, and as far as the bias allows.

    Args:
        weight: (filters, …) folded weights; the largest of each are enough beyond `FEW_BITS`.
        bias: (filters,) folded biases.
        bits: width of a weight.
        source: format of the layer's input.
        limit: bits that an accumulator may have.
    """
    _, power = torch.frexp(bias.abs())
    least = torch.where(bias == 0, _LEAST, power.long() + _BESIDE_BIAS - limit - source.exponent)
    return torch.maximum(weight_exponents(weight, bits), least.clamp_min(_LEAST))


def layer_integers(
    node: Node, folded: tuple[Tensor, Tensor], exponents: Tensor, bits: int, source: Format, limit: int
) -> LayerIntegers:
    """Round a layer's folded weight and bias to integers.

    Args:
        node: the layer.
        folded: its weight and bias.
        exponents: int64 (filters,), of the weights.
        bits: width of a weight.
        source: format of the layer's input.
        limit: bits that an accumulator may have.

    Raises:
        UserError: an accumulator could exceed the limit.
    """
    weight, bias = folded
    most, steps = largest_weight(bits), torch.exp2(-exponents.double())
    integers = (weight * steps.reshape(-1, *[1] * (weight.dim() - 1))).round().clamp(-most, most).long()
    biases = (bias * steps / source.scale).round().clamp(-(2.0**61), 2.0**61).long()
    width = accumulator_bits(integers.flatten(1).abs().sum(1) * source.largest + biases.abs())
    if width > limit:
        raise UserError(
            f"layer {node.name} needs accumulators of {width} bits, and precision.accumulator_bits is {limit}; take "
            "fewer weight_bits or activation_bits there (precision.rules)"
        )
    return LayerIntegers(integers, biases, exponents, width)


def accumulator_bits(bounds: Tensor | Sequence[int]) -> int:
    """The bits of a signed integer that holds magnitudes up to all of the bounds."""
    return int(torch.as_tensor(bounds).max()).bit_length() + 1


def width_of(node: Step, sources: Sequence[Format]) -> int:
    """The bits of what an operation without weights computes before it is requantised."""
    if node.kind is Kind.MULTIPLY:
        return accumulator_bits([sources[0].largest * sources[1].largest])
    finest = min(one.exponent for one in sources)
    return accumulator_bits([sum(one.largest << one.exponent - finest for one in sources)])
