"""Fixed-point formats: integers of a few bits times a power of two.

Rounding is half to even and what is out of range saturates, as in `requantise.sv` and ONNX's QuantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_BITS = 16
"""Widest format of weights and activations."""
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


def fake_quantised(x: Tensor, to: Format) -> Tensor:
    """Round and saturate real values (any shape) to a format; the gradient passes where they are in its range."""
    return torch.fake_quantize_per_tensor_affine(x, to.scale, 0, to.low, to.high)


def shift_to(source: int | Tensor, to: Format) -> int | Tensor:
    """The shift that takes integers at the exponent `source` to a format's."""
    return to.exponent - source


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
    while shift < 31 and round(wanted * 2 ** (shift + 1)) <= 65535:
        shift += 1
    return max(round(wanted * 2**shift), 1), shift


# ---- choosing exponents ----------------------------------------------------------------------------------------------

SAMPLE = 4096
"""Number of values, about, on which the errors of rounding are measured."""
RANGES = torch.arange(-16, 16)
"""Candidates of a tensor's range: 2^r, so that the exponent is r − bits (+ 1 if it is signed)."""
_FINER = 4  # candidates of a filter's exponent, from that which saturates nothing downwards


def exponents_of(bits: int, signed: bool) -> Tensor:
    """The exponents that give a tensor the `RANGES`."""
    return RANGES - bits + int(signed)


def squared_errors(values: Tensor, bits: int, signed: bool) -> Tensor:
    """The sum of the squared errors of values in each of the `RANGES`, (ranges,) float64.

    Rounding is measured on a sample, evenly spaced. Saturation, which few large values decide, is measured on all of
    them, in ranges that end below the largest value by a factor of up to 16, and beyond on the sample and that value.

    Args:
        values: real values of any shape; negative ones count as 0 if the format is unsigned.
        bits, signed: the format, without its exponent.
    """
    given, unit = values.detach().flatten().float(), Format(bits, 0, signed)
    given = given if signed else given.clamp_min(0)
    scales = torch.exp2(exponents_of(bits, signed).to(given))
    sample = given[:: max(1, len(given) // SAMPLE)]
    steps = sample / scales.unsqueeze(1)
    inside = steps.clamp(unit.low, unit.high)
    squares = scales.double().square() * (len(given) / len(sample))
    saturated = (steps - inside).square_().sum(1, dtype=torch.float64) * squares
    rounding = inside.sub_(inside.round()).square_().sum(1, dtype=torch.float64) * squares
    largest = given.abs().max()
    saturated = torch.maximum(saturated, (largest - scales * unit.high).clamp_min(0).double().square())
    for place in ((scales * unit.high < largest) & (scales * unit.high * 16 >= largest)).nonzero().flatten().tolist():
        scale = float(scales[place])
        beyond = given - given.clamp(unit.low * scale, unit.high * scale)
        saturated[place] = beyond.square_().sum(dtype=torch.float64)
    return rounding + saturated


def best_range(errors: Tensor) -> Tensor:
    """The index of the smallest error (…, ranges) along the last axis; where none differ, all values were zero, and the
    range 1 is as good as any."""
    same = (errors == errors[..., :1]).all(-1)
    return torch.where(same, int((RANGES == 0).nonzero()), errors.argmin(-1))


def weight_exponents(weight: Tensor, bits: int) -> Tensor:
    """The exponent of each filter by least squared error, int64 (filters,).

    Args:
        weight: (filters, …) real weights.
        bits: width of the integers.
    """
    filters, most = weight.double().flatten(1), largest_weight(bits)
    mantissa, power = torch.frexp(filters.abs().amax(1) / most)
    top = torch.where(mantissa == 0, 1 - bits, power.long() - (mantissa == 0.5).long())
    candidates = top - torch.arange(_FINER, device=weight.device).unsqueeze(1)
    scales = torch.exp2(candidates.double()).unsqueeze(2)
    steps = (filters / scales).round_().clamp_(-most, most)
    errors = steps.mul_(scales).sub_(filters).square_().sum(2)
    return candidates.gather(0, errors.argmin(0, keepdim=True)).squeeze(0)
