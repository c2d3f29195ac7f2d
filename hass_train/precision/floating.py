"""What integer operations compute, in floating point on values that are integers times powers of two.

All of it is exact while results have at most `EXACT_BITS` bits; wider ones are computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.precision.folding import width_of
from hass_train.precision.formats import FEW_BITS, Format, largest_weight, reciprocal
from hass_train.precision.graph import Kind, Node, Step
from hass_train.sparsity.convolve import convolve

EXACT_BITS = 25
"""Bits of a signed integer that single precision holds exactly, whatever its value: magnitudes below 2^24."""


def layer_output(node: Step, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution or linear layer, of floats or integers.

    Args:
        node: the layer.
        x: (n, channels, height, width), or (n, …, channels) for a linear layer.
        weight: its weight.
        bias: (filters,); None = none.
    """
    if node.kind is Kind.LINEAR:
        return F.linear(x, weight, bias)
    left, right, top, bottom = node.padding
    sides = (top, left)
    if (left, top) != (right, bottom):
        x, sides = F.pad(x, node.padding), (0, 0)
    return convolve(x, weight, bias, node.stride, sides, node.dilation, node.groups)


def window_sums(node: Step, x: Tensor) -> Tensor:
    """The sums of the windows of an average pool."""
    left, _, top, _ = node.padding
    return F.avg_pool2d(x, node.kernel, node.stride, (top, left), divisor_override=1)


def max_pool(node: Step, x: Tensor) -> Tensor:
    """A max pool, of floats or integers."""
    left, _, top, _ = node.padding
    return F.max_pool2d(x, node.kernel, node.stride, (top, left), node.dilation)


def moved(node: Step, operands: Sequence[Tensor]) -> Tensor:
    """A reshape, permutation, slice or concatenation, of floats or integers."""
    x = operands[0]
    if node.kind is Kind.RESHAPE:
        return x.reshape(len(x), *node.shape[1:])
    if node.kind is Kind.PERMUTE:
        return x.permute(node.arguments)
    if node.kind is Kind.CONCAT:
        return torch.cat(list(operands), node.arguments[0])
    axis, *ends = node.arguments
    return x[(slice(None),) * axis + (slice(*ends),)]


def clip_limits(node: Node, source: Format) -> tuple[int, int]:
    """The smallest and the largest integer that a clip leaves."""
    low, high = node.options.get("low", -math.inf), node.options.get("high", math.inf)
    limits = (max(float(low) / source.scale, source.low), min(float(high) / source.scale, source.high))
    return round(limits[0]), round(limits[1])


def table_integers(node: Node, source: Format, to: Format) -> Tensor:
    """The table of a pointwise function: the result (int64) of every integer of the source, the smallest first."""
    values = torch.arange(source.low, source.high + 1, dtype=torch.float64) * source.scale
    return to.quantise(pointwise(node, values))


def table_fits(node: Node, source: Format, to: Format) -> bool:
    """Whether no result of a pointwise function saturates."""
    ends = torch.arange(source.low, source.high + 1, dtype=torch.float64) * source.scale
    steps = (pointwise(node, ends) / to.scale).round()
    return bool(to.low <= steps.min()) and bool(steps.max() <= to.high)


def pointwise(node: Node, x: Tensor) -> Tensor:
    """The pointwise function of a table, of real values."""
    function: Any = getattr(torch.ops.aten, node.function)
    result: Tensor = function(x, **node.options)
    return result


def real(node: Node, operands: Sequence[Tensor], sources: Sequence[Format] | None) -> Tensor:
    """The real result of an operation without weights, differentiable and not yet rounded.

    Args:
        node: the operation.
        operands: what it reads.
        sources: the formats of the operands; None = they are not quantised.
    """
    x = operands[0]
    if node.kind is Kind.TABLE:
        return pointwise(node, x)
    if node.kind is Kind.MEAN:
        return x.mean(node.arguments).reshape(len(x), *node.shape[1:])
    if node.kind is Kind.AVERAGE_POOL:
        return window_sums(node, x) / node.count
    if node.kind is Kind.MAX_POOL:
        return max_pool(node, x)
    if node.kind is Kind.ADD:
        return x + operands[1] if node.arguments[1] > 0 else x - operands[1]
    if node.kind is Kind.MULTIPLY:
        return x * operands[1]
    if node.kind is Kind.PAD:
        lowest = -math.inf if sources is None else sources[0].low * sources[0].scale
        return F.pad(x, node.padding, value=lowest if node.function else 0.0)
    if node.kind is Kind.CLIP:
        if sources is None:
            return x.clamp(float(node.options.get("low", -math.inf)), float(node.options.get("high", math.inf)))
        low, high = clip_limits(node, sources[0])
        if (low, high) == (sources[0].low, sources[0].high):
            return x
        return x.clamp(low * sources[0].scale, high * sources[0].scale)
    return moved(node, operands)


def exact(
    node: Node, operands: Sequence[Tensor], sources: Sequence[Format], to: Format, table: Tensor | None
) -> Tensor:
    """The result of an operation without weights as hardware computes it; only sums, products and concatenations are
    not yet rounded.

    Args:
        node: the operation.
        operands: what it reads.
        sources: the formats of the operands.
        to: the format of the result.
        table: the integers of a table.
    """
    x, source = operands[0], sources[0]
    if table is not None:
        return table[(x / source.scale).long() - source.low].to(x.dtype) * to.scale
    if node.kind in (Kind.MEAN, Kind.AVERAGE_POOL):
        steps = x.double() / source.scale
        sums = window_sums(node, steps) if node.kind is Kind.AVERAGE_POOL else steps.sum(node.arguments)
        multiplier, shift = reciprocal(node.count, source.exponent, to)
        values = (sums * multiplier / 2.0**shift).round().clamp(to.low, to.high) * to.scale
        return values.to(x.dtype).reshape(len(x), *node.shape[1:])
    if node.kind in (Kind.ADD, Kind.MULTIPLY) and width_of(node, sources) > EXACT_BITS:
        operands = [one.double() for one in operands]
    return real(node, operands, sources)


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """A batch norm alone, without the activation function that timm's classes may have with it."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    plain: Any = nn.SyncBatchNorm if isinstance(norm, nn.SyncBatchNorm) else nn.modules.batchnorm._BatchNorm
    result: Tensor = plain.forward(norm, x)
    return result


class _FakeWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, up: Tensor, down: Tensor, most: int) -> Tensor:
        if most <= largest_weight(FEW_BITS):  # of more bits none saturates
            ctx.save_for_backward(weight, up)
        ctx.most = most
        steps = torch.empty_like(weight, dtype=up.dtype)  # which keeps the strides, and products alone would not
        return torch.mul(weight, up, out=steps).round_().clamp_(-most, most).mul_(down).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        if ctx.saved_tensors:
            weight, up = ctx.saved_tensors
            outward = ((weight * up).abs() > ctx.most) & (gradient * weight < 0)
            gradient = gradient.masked_fill(outward, 0)
        return gradient, None, None, None


def fake_weight(weight: Tensor, up: Tensor, down: Tensor, bits: int) -> Tensor:
    """Round a layer's weight; the gradient passes straight through. Where a weight saturates, only a gradient that
    pulls it back does: by any other it would drift away, and change nothing by that.

    Args:
        weight: (filters, …).
        up: (filters,) what makes integers of the weights.
        down: (filters,) 1 / up.
        bits: width of the integers.
    """
    shape = (-1, *[1] * (weight.dim() - 1))
    rounded: Tensor = _FakeWeight.apply(weight, up.reshape(shape), down.reshape(shape), largest_weight(bits))
    return rounded
