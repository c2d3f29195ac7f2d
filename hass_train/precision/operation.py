"""One operation of an integer network, with its numbers, and what it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from hass_train.precision.floating import layer_output, max_pool, moved, window_sums
from hass_train.precision.formats import Format, requantised
from hass_train.precision.graph import LAYERS, Kind, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerOperation(Step):
    """An operation on integers, with its numbers.

    Args:
        sources: formats of the operands.
        output: format of the result.
        threshold: operands of a layer of at most this magnitude count as 0.
        accumulator_bits: bits that a layer's sums, its bias included, cannot overflow; 0 for other operations.
        multiplier, shift: a sum times multiplier / 2^shift is the average of a pool.
        low, high: the limits of a clip; low is also what a padding pads with.
    """

    sources: tuple[Format, ...]
    output: Format
    threshold: int = 0
    accumulator_bits: int = 0
    multiplier: int = 1
    shift: int = 0
    low: int = 0
    high: int = 0

    def gated(self, x: Tensor) -> Tensor:
        """A layer's input after its threshold."""
        return torch.where(x.abs() <= self.threshold, 0, x) if self.threshold else x

    def compute(self, operands: Sequence[Tensor], tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the result, int64.

        Args:
            operands: int64 (n, …) each.
            tensors: `weight`, `bias` and `exponents` of a layer, or the `table` of a function; all integers.
        """
        x, to = operands[0], self.output
        if self.kind in LAYERS:
            return self._layer(self.gated(x), tensors)
        if self.kind is Kind.TABLE:
            return tensors["table"].long()[x - self.sources[0].low]
        if self.kind in (Kind.MEAN, Kind.AVERAGE_POOL):
            sums = x.sum(self.arguments) if self.kind is Kind.MEAN else window_sums(self, x)
            return requantised(sums * self.multiplier, self.shift, to).reshape(len(x), *self.shape[1:])
        if self.kind is Kind.ADD:
            exponent = min(one.exponent for one in self.sources)
            parts = zip(operands, self.sources, self.arguments, strict=True)
            first, second = (sign * one << source.exponent - exponent for one, source, sign in parts)
            return requantised(first + second, to.exponent - exponent, to)
        if self.kind is Kind.MULTIPLY:
            return requantised(x * operands[1], to.exponent - sum(one.exponent for one in self.sources), to)
        if self.kind is Kind.CONCAT:
            pairs = zip(operands, self.sources, strict=True)
            return moved(self, [requantised(one, to.exponent - source.exponent, to) for one, source in pairs])
        if self.kind is Kind.MAX_POOL:
            return max_pool(self, x)
        if self.kind is Kind.CLIP:
            return x.clamp(self.low, self.high)
        return F.pad(x, self.padding, value=self.low) if self.kind is Kind.PAD else moved(self, operands)

    def _layer(self, x: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """A layer: products and sums in accumulators of 32 bits, or 64 where these are too narrow."""
        kind = torch.int32 if self.accumulator_bits <= 32 else torch.int64
        weight, step = tensors["weight"].to(kind), self
        if self.dilation != (1, 1):  # torch dilates no integers: the kernel with its gaps does the same
            weight, step = _with_gaps(weight, self.dilation), replace(self, dilation=(1, 1))
        sums = layer_output(step, x.to(kind), weight, tensors["bias"].to(kind)).long()
        shift = self.output.exponent - self.sources[0].exponent - tensors["exponents"].long()
        rank = 1 if self.kind is Kind.LINEAR else 3
        return requantised(sums, shift.reshape(-1, *[1] * (rank - 1)), self.output)


def _with_gaps(weight: Tensor, dilation: tuple[int, int]) -> Tensor:
    """A kernel with zeros between its rows and columns, (filters, channels, *reach)."""
    reach = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilation, strict=True)]
    whole = weight.new_zeros(*weight.shape[:2], *reach)
    whole[:, :, :: dilation[0], :: dilation[1]] = weight
    return whole
