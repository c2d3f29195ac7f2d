"""Fixed-point numbers against Python's integers and fractions, and against the hardware modules' references."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hass_train.precision.floating import table_integers
from hass_train.precision.formats import (
    FEW_BITS,
    RANGES,
    Format,
    best_range,
    exponents_of,
    fake_quantised,
    reciprocal,
    requantised,
    rounded,
    squared_errors,
    weight_exponents,
)
from hass_train.precision.graph import Kind, Node
from hass_train.rtl.reference import AveragePool, Requantise, StreamAdd

FORMATS = st.builds(Format, st.integers(2, 16), st.integers(-20, 6), st.booleans())
ACCUMULATORS = st.integers(-(2**47), 2**47)


def saturated(value: int, to: Format) -> int:
    return min(max(value, to.low), to.high)


@given(st.lists(ACCUMULATORS, min_size=1), st.integers(-6, 70))
def test_division_rounds_half_to_even(values: list[int], shift: int) -> None:
    expected = [round(Fraction(value) / Fraction(2) ** shift) for value in values]
    assert rounded(torch.tensor(values), shift).tolist() == expected
    shifts = torch.full((len(values),), shift)
    assert rounded(torch.tensor(values), shifts).tolist() == expected


@given(st.lists(ACCUMULATORS, min_size=1), st.integers(0, 40), FORMATS)
def test_what_is_out_of_range_saturates(values: list[int], shift: int, to: Format) -> None:
    expected = [saturated(round(Fraction(value, 2**shift)), to) for value in values]
    assert requantised(torch.tensor(values), shift, to).tolist() == expected


@given(st.lists(st.integers(-(2**23), 2**23), min_size=1), st.integers(-24, 4), FORMATS)
def test_fake_quantisers_do_what_hardware_does(values: list[int], exponent: int, to: Format) -> None:
    """Accumulators that single precision holds are rounded as the integers are."""
    real = torch.tensor(values, dtype=torch.float32) * 2.0**exponent
    expected = requantised(torch.tensor(values), to.exponent - exponent, to)
    assert torch.equal(fake_quantised(real, to).double(), expected.double() * to.scale)
    assert torch.equal(to.quantise(real), expected)


@pytest.mark.parametrize("large", [1, 2**30])  # in place by a function of our own, or by torch's
@given(st.lists(st.integers(-600, 600), min_size=1), st.booleans(), st.booleans(), st.integers(0, 40), st.booleans())
def test_all_ways_to_round_and_gate_agree(
    large: int, values: list[int], signed: bool, fresh: bool, threshold: int, fits: bool
) -> None:
    to = Format(8, -3, signed)
    real = torch.tensor(values, dtype=torch.float32) * 2.0**-5  # steps of a quarter
    if fits:
        real = real.clamp(to.low * to.scale, to.high * to.scale)
    real.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hass_train.precision.formats._LARGE", large)
        result = fake_quantised(real * 1.0, to, fresh, fits, threshold * to.scale)
    steps = to.quantise(real.detach())
    gated = torch.where(steps.abs() > threshold, steps, 0)
    assert torch.equal(result.detach().double(), gated * to.scale)
    result.backward(torch.ones_like(result))
    inside = (steps > to.low) & (steps < to.high) | fits
    assert real.grad is not None
    decided = steps.float() * to.scale != real.detach().clamp(to.low * to.scale, to.high * to.scale)  # no edge
    expected = (inside & ((steps.abs() > threshold) | (threshold == 0))).float()
    where = ~decided | (steps > to.low) & (steps < to.high)
    assert torch.equal(real.grad[where], expected[where])


@given(st.data(), st.integers(4, 16), st.integers(0, 1), st.integers(0, 20))
def test_requantising_agrees_with_the_module(data: st.DataObject, bits: int, signed: int, shift: int) -> None:
    sums = data.draw(st.lists(st.integers(-(2**23), 2**23 - 1), min_size=1))
    module = Requantise(streams=1, in_bits=24, out_bits=bits, shift=shift, signed_out=signed)
    expected = module.reference({"in": np.array(sums).reshape(-1, 1)}, {})["out"].flatten().tolist()
    assert requantised(torch.tensor(sums), shift, Format(bits, 0, bool(signed))).tolist() == expected


@given(st.data(), st.integers(0, 4), st.integers(0, 4), st.integers(0, 6))
def test_sums_agree_with_the_module(data: st.DataObject, first: int, second: int, shift: int) -> None:
    values = data.draw(st.lists(st.tuples(st.integers(-128, 127), st.integers(-128, 127)), min_size=1))
    a, b = np.array(values).T.reshape(2, -1, 1)
    module = StreamAdd(
        streams=1, a_bits=8, b_bits=8, signed_a=1, signed_b=1, shift_a=first, shift_b=second, shift=shift, out_bits=8,
        signed_out=1,
    )  # fmt: skip
    sums = torch.tensor(a << first) + torch.tensor(b << second)
    expected = module.reference({"a": a, "b": b}, {})["out"]
    assert requantised(sums, shift, Format(8, 0)).tolist() == expected.tolist()


@given(st.data(), st.integers(1, 100), st.integers(-12, 0), FORMATS)
def test_averages_agree_with_the_module(data: st.DataObject, count: int, exponent: int, to: Format) -> None:
    multiplier, shift = reciprocal(count, exponent, to)
    assert 1 <= multiplier <= 65535
    assert 0 <= shift <= 31
    wanted = 2.0 ** (exponent - to.exponent) / count
    if 2**-15 <= wanted <= 65535:
        assert multiplier / 2**shift == pytest.approx(wanted, rel=2**-15)
    values = data.draw(st.lists(st.integers(to.low, to.high), min_size=count, max_size=count))
    module = AveragePool(
        streams=1, columns=1, positions=count, bits=to.bits, signed=int(to.signed), multiplier=multiplier, shift=shift
    )
    (expected,) = module.reference({"in": np.array([values])}, {})["out"].flatten().tolist()
    assert requantised(torch.tensor(values).sum() * multiplier, shift, to).item() == expected


@given(st.integers(2, 9), st.booleans(), st.integers(-6, 0), st.integers(-6, 0))
def test_tables_have_an_entry_for_every_integer(bits: int, signed: bool, exponent: int, result: int) -> None:
    source, to = Format(bits, exponent, signed), Format(8, result)
    node = Node("f", Kind.TABLE, ("x",), function="hardswish")
    made = table_integers(node, source, to).tolist()
    expected = []
    for q in range(source.low, source.high + 1):
        x = Fraction(q) * Fraction(2) ** exponent
        # torch divides by 6 in double precision, which decides ties as exact arithmetic does
        expected.append(saturated(round(x * min(max(x + 3, 0), 6) / 6 / Fraction(2) ** result), to))
    assert made == expected


def test_the_range_of_a_tensor_has_the_least_error() -> None:
    values = torch.randn(1, 20000, generator=torch.Generator().manual_seed(0)) * 0.7
    for bits, signed in ((8, True), (4, True), (8, False), (16, True)):
        chosen = int(best_range(squared_errors(values, bits, signed)))
        formats = [Format(bits, int(one), signed) for one in exponents_of(bits, signed)]
        errors = [float((fake_quantised(values, one) - values).square().sum()) for one in formats]
        assert errors[chosen] <= min(errors) * 1.001


def test_a_few_large_values_count() -> None:
    values = torch.full((1, 100_001), 0.01)
    values[0, 50_001] = 100.0
    chosen = int(RANGES[best_range(squared_errors(values, 8, True))])
    assert chosen == 7  # 64 is too small: 36² is more than all the rounding
    assert int(RANGES[best_range(squared_errors(torch.zeros(3, 3), 8, True))]) == 0


def test_a_few_large_images_do_not_decide() -> None:
    """Two of a hundred with values of up to 95 beside 0.1: with a step for these, all others would be zero."""
    values = torch.randn(100, 1000, generator=torch.Generator().manual_seed(0)) * 0.1
    values[:2] *= 240
    expected = torch.tensor([
        float(((fake_quantised(values, Format(8, int(one))) - values).square().sum(1) / values.square().sum(1)).sum())
        for one in exponents_of(8, True)
    ])  # fmt: skip
    torch.testing.assert_close(squared_errors(values, 8, True, values.numel()).float(), expected, rtol=1e-3, atol=1e-6)
    chosen = best_range(squared_errors(values, 8, True, 9_000))
    assert expected[chosen] <= 1.01 * expected.min()
    assert int(RANGES[chosen]) <= 0


def test_weights_have_an_exponent_a_filter() -> None:
    weight = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [[1.0], [8.0], [0.0], [1e-3]]
    )
    exponents = weight_exponents(weight, 4)
    for filter_, exponent in zip(weight, exponents.tolist(), strict=True):

        def error(e: int, filter_: torch.Tensor = filter_) -> float:
            return float(((filter_ / 2.0**e).round().clamp(-7, 7) * 2.0**e - filter_).square().sum())

        assert error(exponent) <= min(error(e) for e in range(-25, 5)) * (1 + 1e-6)
    assert exponents[1] - exponents[0] in (2, 3, 4)


@given(st.lists(st.floats(-9, 9, width=32), min_size=1), st.integers(FEW_BITS + 1, 16))
def test_no_weight_of_many_bits_saturates(weights: list[float], bits: int) -> None:
    exponent = int(weight_exponents(torch.tensor([weights]), bits))
    largest, most = max(map(abs, weights)), 2 ** (bits - 1) - 1
    assert largest <= most * 2.0**exponent
    assert largest == 0 or largest > most * 2.0 ** (exponent - 1)


def test_values_count_by_what_a_function_makes_of_them() -> None:
    """Hard-swish makes 0 of all values below −3, so a range up to 64 is of no use."""
    values = torch.cat((torch.linspace(-60, 0, 10_000), torch.linspace(0, 5, 10_000))).unsqueeze(0)
    assert int(RANGES[best_range(squared_errors(values, 8, True))]) == 6
    assert int(RANGES[best_range(squared_errors(values, 8, True, function=F.hardswish))]) == 3


def test_largest_weights_of_a_power_of_two_fit() -> None:
    assert weight_exponents(torch.tensor([[127.0]]), 8).tolist() == [0]
    assert weight_exponents(torch.tensor([[1.0]]), 2).tolist() == [0]
