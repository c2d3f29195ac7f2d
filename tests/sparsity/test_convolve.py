"""Convolutions, and those of small maps and single channels above all, are what torch's are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from hass_train.sparsity import LayerRule, SparseLayer, sparsify
from hass_train.sparsity.convolve import convolve, quicken


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"padding": "same"}, {"padding": "valid"}, {"stride": 2}, {"padding": 1}, {"groups": 2},
        {"padding": 1, "padding_mode": "circular"}, {"kernel_size": 3, "padding": 1},
    ],
)  # fmt: skip
def test_sparse_convolutions_are_torchs(options: dict[str, object], size: int, bias: bool) -> None:
    torch.manual_seed(0)
    dense = nn.Conv2d(4, 6, **{"kernel_size": 1, "bias": bias, **options})  # type: ignore[arg-type]
    x = torch.randn(5, 4, size, size, requires_grad=True)
    expected = dense(x)
    slopes = torch.autograd.grad(expected.square().sum(), [x, *dense.parameters()])
    parameters = list(dense.parameters())
    found = sparsify(nn.Sequential(dense), {"all": LayerRule("*")})(x)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected)
    for one, other in zip(torch.autograd.grad(found.square().sum(), [x, *parameters]), slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_a_pixel_is_a_product_of_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda *_: pytest.fail("a convolution"))
    x = torch.randn(3, 4, 1, 1).contiguous(memory_format=torch.channels_last)
    found = convolve(x, torch.randn(2, 4, 1, 1), None, (1, 1), (0, 0), (1, 1), 1)
    assert found.shape == (3, 2, 1, 1)


@given(
    size=st.tuples(*[st.integers(1, 6)] * 2), kernel=st.tuples(*[st.integers(1, 5)] * 2),
    stride=st.tuples(*[st.integers(1, 3)] * 2), padding=st.tuples(*[st.integers(0, 4)] * 2),
    dilation=st.tuples(*[st.integers(1, 2)] * 2), groups=st.sampled_from([1, 2, 4]), last=st.booleans(),
)  # fmt: skip
def test_any_convolution_is_torchs(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int],
    dilation: tuple[int, int], groups: int, last: bool,
) -> None:  # fmt: skip
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(n + 2 * p >= span for n, p, span in zip(size, padding, spans, strict=True)))
    random = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, *size, dtype=torch.float64, generator=random)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 4 // groups, *kernel, dtype=torch.float64, generator=random)
    operands = [x, weight, torch.randn(4, dtype=torch.float64, generator=random)]
    for one in operands:
        one.requires_grad_()
    expected = F.conv2d(*operands, stride, padding, dilation, groups)  # type: ignore[call-overload]
    found = convolve(*operands, stride, padding, dilation, groups)
    torch.testing.assert_close(found, expected)
    slope = torch.randn(expected.shape, dtype=torch.float64, generator=random)
    slopes = [torch.autograd.grad(one, operands, slope) for one in (found, expected)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize(("kernel", "size"), [(3, 2), (5, 4), (5, 9)])
def test_depthwise_weights_learn_by_the_compiled_gradient(
    kernel: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = torch.randn(2, 4, size, size), torch.randn(4, 1, kernel, kernel, requires_grad=True)
    side = kernel // 2
    found = convolve(x, weight, None, (1, 1), (side, side), (1, 1), 4)
    monkeypatch.setattr("hass_train.sparsity.convolve.weight_gradient", lambda *_: torch.full_like(weight, 7.0))
    found.sum().backward()
    assert weight.grad is not None
    assert torch.all(weight.grad == 7)


def test_bfloat16_depthwise_weights_learn_too() -> None:
    x, weight = torch.randn(2, 4, 2, 2), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        convolve(x, weight, None, (1, 1), (1, 1), (1, 1), 4).sum().backward()
    found, weight.grad = weight.grad, None
    F.conv2d(x, weight, None, 1, 1, 1, 4).sum().backward()
    torch.testing.assert_close(found, weight.grad, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("options", [{}, {"padding_mode": "circular"}, {"groups": 4}])
def test_dense_networks_are_quickened_and_stay_the_same(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, **options), nn.ReLU())  # type: ignore[arg-type]
    x, keys = torch.randn(2, 4, 2, 2), list(model.state_dict())
    expected = model(x)
    called: list[int] = []
    monkeypatch.setattr("hass_train.sparsity.convolve.convolve", lambda *given: called.append(1) or convolve(*given))
    quicken(model)
    torch.testing.assert_close(model(x), expected)
    assert list(model.state_dict()) == keys
    assert bool(called) == (options.get("padding_mode") is None)
    sparsify(model, {"all": LayerRule("*")})
    assert isinstance(model[0], SparseLayer)
