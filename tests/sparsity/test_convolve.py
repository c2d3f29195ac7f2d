"""Convolutions of single pixels are what torch's are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hass_train.sparsity import LayerRule, sparsify
from hass_train.sparsity.convolve import convolve


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
