"""Fixed-point formats: integers of a few bits times a power of two.

Rounding is half to even and what is out of range saturates, as in `requantise.sv` and ONNX's QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_BITS = 16
"""Widest format of weights and activations."""
_MOST = 65535  # multiplier of `average_pool.sv`
_FARTHEST = 62  # a shift by more leaves nothing of any accumulator


@dataclass(frozen=True, slots=True)
class Format:
    """The format of a tensor: each value is q · 2^exponent, with q an integer of some bits.

    Args:
        bits: width of q, the sign included.
        exponent: power of two that a step of q is worth.
        signed: whether q may be negative (two's complement).
    """

    bits: int
    exponent: int
    signed: bool = True

    @property
    def low(self) -> int:
        """The smallest q."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest q."""
        return (1 << self.bits - self.signed) - 1

    @property
    def largest(self) -> int:
        """The largest magnitude of q."""
        return max(self.high, -self.low)

    @property
    def scale(self) -> float:
        """What a step of q is worth, 2^exponent."""
        return 2.0**self.exponent

    def quantise(self, values: Tensor) -> Tensor:
        """Return the integers (int64) nearest to real values of any shape, saturated."""
        return (values.double() / self.scale).round().clamp(self.low, self.high).long()


def largest_weight(bits: int) -> int:
    """The largest magnitude of a weight of some bits: weights are symmetric, so that products can share a DSP."""
    return (1 << bits - 1) - 1


def rounded(values: Tensor, shift: int | Tensor) -> Tensor:
    """Divide integers by 2^shift, half to even; a negative shift multiplies.

    Args:
        values: int64 of any shape, of magnitudes below 2^61.
        shift: one shift, or int64 shifts that broadcast against the values.
    """
    amount = torch.as_tensor(shift, device=values.device)
    right, left = amount.clamp(0, _FARTHEST), (-amount).clamp_min(0)
    half = torch.ones_like(right) << right >> 1
    result = values + half >> right
    ties = (values - (result << right) == -half) & (result % 2 == 1) & (right > 0)
    return result - ties.long() << left


def requantised(values: Tensor, shift: int | Tensor, to: Format) -> Tensor:
    """Divide integers by 2^shift, half to even, and saturate them to a format; see `rounded`."""
    return rounded(values, shift).clamp(to.low, to.high)


def to_grid(x: Tensor, scale: float) -> Tensor:
    """Round real values to multiples of a power of two, half to even, in place.

    The numbers near 1.5·2^23 · scale are such multiples, in single precision: adding that much rounds, in one pass.
    Values must be below 2^22 · scale, or 2^51 · scale in double precision.
    """
    large = 1.5 * 2.0 ** (52 if x.dtype is torch.float64 else 23) * scale
    return x.add_(large).sub_(large)


_LARGE = 2**15  # values below which torch's own functions, which copy, take less time than one in Python


class _FakeQuantised(torch.autograd.Function):
    """Saturates, rounds and gates in place; what it needs for the gradient is its result, which its reader keeps."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, limits: tuple[float, float] | None, scale: float, level: float) -> Tensor:
        ctx.mark_dirty(x)
        result = to_grid(x if limits is None else x.clamp_(*limits), scale)
        if level > 0:
            torch.ops.aten.hardshrink.out(result, level, out=result)
        ctx.save_for_backward(result)
        ctx.limits, ctx.level = limits, level
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (result,), (gradient,) = ctx.saved_tensors, gradients
        out = torch.empty_like(gradient)
        if ctx.limits is not None:
            gradient = torch.ops.aten.hardtanh_backward.grad_input(gradient, result, *ctx.limits, grad_input=out)
        if ctx.level > 0 and (ctx.limits is None or ctx.limits[0] < 0):  # else zeros are at the lower limit
            torch.ops.aten.hardshrink_backward.grad_input(gradient, result, ctx.level, grad_input=out)
        return out, None, None, None


def fake_quantised(x: Tensor, to: Format, fresh: bool = False, fits: bool = False, level: float = 0.0) -> Tensor:
    """Round and saturate real values (any shape) to a format, and perhaps gate them.

    The gradient passes straight through, except where values saturate or are gated.

    Args:
        x: the values.
        to: the format.
        fresh: whether x may be overwritten: nobody else reads it, what made it included.
        fits: whether no value saturates, whatever it is.
        level: magnitudes up to this become 0, of the rounded values.
    """
    limits = None if fits else (to.low * to.scale, to.high * to.scale)
    if fresh and fits and level == 0 and x.dtype.itemsize >= 4:
        return to_grid(x, to.scale)
    if fresh and x.dtype.itemsize >= 4 and x.numel() >= _LARGE and not torch.compiler.is_compiling():
        rounded: Tensor = _FakeQuantised.apply(x, limits, to.scale, level)
        return rounded
    wide = x if x.dtype.itemsize >= 4 else x.float()
    result = to_grid(wide.clone() if limits is None else F.hardtanh(wide, *limits), to.scale).to(x.dtype)
    return F.hardshrink(result, level) if level > 0 else result


def reciprocal(count: int, exponent: int, to: Format) -> tuple[int, int]:
    """The multiplier of at most 16 bits and the shift that make an average of a sum.

    Args:
        count: number of values in a sum.
        exponent: exponent of the values.
        to: format of the average.

    Returns:
        (multiplier, shift): sum · multiplier / 2^shift is the average at the exponent of `to`.
    """
    wanted = 2.0 ** (exponent - to.exponent) / count
    shift = 0
    while shift < 31 and round(wanted * 2 ** (shift + 1)) <= _MOST:
        shift += 1
    return min(max(round(wanted * 2**shift), 1), _MOST), shift


# ---- choosing exponents ----------------------------------------------------------------------------------------------

SAMPLE = 4096
"""Number of values, about, on which the errors of rounding are measured in a calibration."""
RANGES = torch.arange(-16, 16)
"""Candidates of a tensor's range: 2^r, so that the exponent is r − bits (+ 1 if it is signed)."""
_FINER = 4  # candidates of a filter's exponent, from that which saturates nothing downwards
FEW_BITS = 4
"""Widest weights of which the largest may saturate for the sake of the others. Of wider ones none does: rounding costs
little there, and gradients pass straight through what saturates, so that such weights drift away in training."""


def exponents_of(bits: int, signed: bool) -> Tensor:
    """The exponents that give a tensor the `RANGES`."""
    return RANGES - bits + int(signed)


def squared_errors(
    values: Tensor,
    bits: int,
    signed: bool,
    sample: int = SAMPLE,
    function: Callable[[Tensor], Tensor] = lambda values: values,
) -> Tensor:
    """The squared errors of values, or of a function of them, in each of the `RANGES`, (ranges,) float64.

    Each image's are counted in units of its own sum of squares, and added up: a network can answer a few images with
    numbers a hundred times as large as all others, which would alone decide, though their classes bear any rounding.

    Rounding is measured on a sample, evenly spaced. Saturation, which few large values decide, is measured on all of
    them, in ranges that end below the largest value by a factor of up to 16, and beyond on the sample and the extremes.

    Args:
        values: (images, …) real values; negative ones count as 0 if the format is unsigned.
        bits, signed: the format, without its exponent.
        sample: about how many values rounding is measured on.
        function: of each value; what alone reads them, whose result matters.
    """
    given, unit = values.detach().flatten().float(), Format(bits, 0, signed)
    given = given if signed else given.clamp_min(0)
    own = function(given)
    squares = own.reshape(len(values), -1).square().sum(1, dtype=torch.float64)
    of_image = torch.where(squares > 0, squares.reciprocal(), 0.0)
    each = len(given) // len(values)
    scales = torch.exp2(exponents_of(bits, signed).to(given))
    every = max(1, len(given) // sample)
    some = given[::every]
    weight = of_image[torch.arange(0, len(given), every, device=given.device) // each] * (len(given) / len(some))
    steps = some / scales.unsqueeze(1)
    inside = steps.clamp(unit.low, unit.high)
    near = inside * scales.unsqueeze(1)
    exact, coarse = function(near), function(inside.round() * scales.unsqueeze(1))
    saturated = (own[::every] - exact).square_().double() @ weight
    rounding = (exact - coarse).square_().double() @ weight
    at = torch.stack((given.argmin(), given.argmax()))
    extremes, largest = given[at], given[at].abs().max()
    clipped = extremes.clamp((scales * unit.low).unsqueeze(1), (scales * unit.high).unsqueeze(1))
    beyond = (own[at] - function(clipped)).double().square()
    saturated = torch.maximum(saturated, (beyond * of_image[at // each]).amax(1))
    for place in ((scales * unit.high < largest) & (scales * unit.high * 16 >= largest)).nonzero().flatten().tolist():
        scale = float(scales[place])
        lost = own - function(given.clamp(unit.low * scale, unit.high * scale))
        saturated[place] = lost.square_().reshape(len(values), -1).sum(1, dtype=torch.float64) @ of_image
    return rounding + saturated


def best_range(errors: Tensor) -> Tensor:
    """The index of the smallest error (…, ranges) along the last axis; where none differ, all values were zero, and the
    range 1 is as good as any."""
    same = (errors == errors[..., :1]).all(-1)
    return torch.where(same, int((RANGES == 0).nonzero()), errors.argmin(-1))


def weight_exponents(weight: Tensor, bits: int) -> Tensor:
    """The exponent of each filter, int64 (filters,): by least squared error, or, beyond `FEW_BITS`, the least at which
    no weight saturates.

    Args:
        weight: (filters, …) real weights.
        bits: width of the integers.
    """
    filters, most = weight.double().flatten(1), largest_weight(bits)
    mantissa, power = torch.frexp(filters.abs().amax(1) / most)
    top = torch.where(mantissa == 0, 1 - bits, power.long() - (mantissa == 0.5).long())
    if bits > FEW_BITS:
        return top
    candidates = top - torch.arange(_FINER, device=weight.device).unsqueeze(1)
    scales = torch.exp2(candidates.double()).unsqueeze(2)
    steps = (filters / scales).round_().clamp_(-most, most)
    errors = steps.mul_(scales).sub_(filters).square_().sum(2)
    return candidates.gather(0, errors.argmin(0, keepdim=True)).squeeze(0)
