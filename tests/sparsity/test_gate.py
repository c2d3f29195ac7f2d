"""The gate: values, gradients, density, strides."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hass_train.sparsity.gate import WINDOW, gate, keep_strides, traceable_gate


def tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(0, 99), st.floats(0, 2))
def test_values_and_density(seed: int, level: float) -> None:
    x = tensor(4, 3, 5, 5, seed=seed)
    y, density = gate(x, torch.tensor(level, dtype=torch.float64), scale=1.0)
    assert torch.equal(y, torch.where(x.abs() > level, x, 0.0))
    assert float(density) == pytest.approx(float((x.abs() > level).double().mean()))


@pytest.mark.parametrize("straight_through", [False, True])
def test_gradients_are_the_window_surrogate(straight_through: bool) -> None:
    x = tensor(6, 2, 4, 4).requires_grad_()
    threshold = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    scale, price = 0.8, 0.9
    upstream = tensor(6, 2, 4, 4, seed=1)
    y, density = gate(x, threshold, scale, straight_through=straight_through)
    ((y * upstream).sum() + price * density).backward()
    half = WINDOW * scale
    window = ((x.abs() - 0.7).abs() < half).double() / (2 * half)
    by_value = -(upstream * x * window).sum()
    by_density = -price * window.mean()
    assert float(threshold.grad) == pytest.approx(float((by_value + by_density).detach()), rel=1e-9)
    open_gate = torch.ones_like(x) if straight_through else (x.abs() > 0.7).double()
    expected = upstream * open_gate + price * x.sign() * window / x.numel()
    assert torch.allclose(x.grad, expected)


@given(st.integers(0, 99), st.floats(0.05, 2), st.booleans())
def test_the_traceable_gate_is_the_same(seed: int, level: float, straight_through: bool) -> None:
    found = []
    for number in range(2):
        x = tensor(4, 3, 5, 5, seed=seed).requires_grad_()
        threshold = torch.tensor(level, dtype=torch.float64, requires_grad=True)
        if number:
            half_width = torch.tensor(WINDOW, dtype=torch.float64)
            y, density = traceable_gate(x, threshold, half_width, straight_through)
        else:
            y, density = gate(x, threshold, 1.0, straight_through=straight_through)
        ((y * tensor(4, 3, 5, 5, seed=1)).sum() + 0.7 * density).backward()
        found.append((y, density, x.grad, threshold.grad))
    for mine, other in zip(*found, strict=True):
        assert torch.allclose(mine, other)


def test_a_sample_estimates_threshold_gradient_and_density() -> None:
    x = tensor(512, 3, 4, 4).requires_grad_()
    upstream = tensor(512, 3, 4, 4, seed=1)
    grads, densities = [], []
    for sample in (64, 512):
        threshold = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        y, density = gate(x, threshold, 1.0, sample=sample)
        (y * x.detach() * upstream.abs()).sum().backward()
        grads.append(float(threshold.grad))
        densities.append(float(density.detach()))
    assert grads[0] == pytest.approx(grads[1], rel=0.2)
    assert densities[0] == pytest.approx(densities[1], abs=0.05)


def test_density_falls_along_its_gradient() -> None:
    x = tensor(64, 8, 8, 8)
    raw = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    before = gate(x, raw, 1.0)[1]
    before.backward()
    after = gate(x, raw.detach() - 0.05 * raw.grad.sign(), 1.0)[1]
    assert after < before


@pytest.mark.parametrize(("channels", "kernel", "groups"), [(8, 1, 1), (8, 3, 8), (8, 3, 1), (1, 3, 1)])
def test_gated_weights_keep_channels_last_strides(channels: int, kernel: int, groups: int) -> None:
    """1×1 and depthwise weights count as contiguous in both layouts; an element-wise operation drops theirs."""
    conv = nn.Conv2d(channels, 8, kernel, groups=groups).to(memory_format=torch.channels_last)
    gated, _ = gate(conv.weight, torch.tensor(0.01), 0.1)
    assert gated.stride() == conv.weight.stride()
    assert torch.equal(gated, torch.where(conv.weight.abs() > 0.01, conv.weight, 0.0))


def test_the_strides_trap_is_real() -> None:
    """What the gate guards against; should torch ever mend it, `keep_strides` can go."""
    weight = nn.Conv2d(8, 8, 1).to(memory_format=torch.channels_last).weight.detach()
    dropped = torch.nn.functional.hardshrink(weight, 0.01)
    assert dropped.stride() != weight.stride()
    kept = keep_strides(dropped, weight)
    assert kept.stride() == weight.stride()
    assert torch.equal(kept, dropped)
    assert kept.data_ptr() == dropped.data_ptr()  # relabelled, not copied


def test_keep_strides_copies_where_memory_order_differs() -> None:
    like = torch.empty(4, 3, 5, 5).to(memory_format=torch.channels_last)
    value = torch.randn(4, 3, 5, 5)
    kept = keep_strides(value, like)
    assert kept.stride() == like.stride()
    assert torch.equal(kept, value)
