"""Tracing timm models into workloads."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hass_train.hardware import OperationKind, UnsupportedOperation, trace


@pytest.mark.parametrize(
    ("name", "size", "gmacs", "layers"),
    [  # multiply-accumulates as published for these networks
        ("mobilenetv3_small_100", 224, 0.0565, 54),
        ("mobilenetv2_100", 224, 0.301, 53),
        ("resnet18", 224, 1.814, 21),
        ("resnet50", 224, 4.089, 54),
        ("efficientnet_b0", 224, 0.386, 82),
    ],
)
def test_known_networks(name: str, size: int, gmacs: float, layers: int) -> None:
    model = timm.create_model(name)
    workload = trace(model, (3, size, size), name)
    assert workload.macs / 1e9 == pytest.approx(gmacs, rel=2e-3)
    assert len(workload.compute_layers) == layers
    modules = dict(model.named_modules())
    for layer in workload.compute_layers:
        assert modules[layer.name].weight.numel() == layer.weights


def test_squeeze_excite_multiplies_the_large_map() -> None:
    workload = trace(timm.create_model("mobilenetv3_small_100"), (3, 224, 224))
    multiply = workload["blocks.0.0.se.mul"]
    assert multiply.kind is OperationKind.MULTIPLY
    assert (multiply.source.height, multiply.source.width, multiply.source.channels) == (56, 56, 16)
    assert len(multiply.inputs) == 2


def test_non_square_inputs() -> None:
    workload = trace(timm.create_model("resnet18"), (3, 64, 96))
    assert (workload["conv1"].result.height, workload["conv1"].result.width) == (32, 48)


def test_the_model_is_left_alone() -> None:
    model = timm.create_model("resnet18", num_classes=3).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trace(model, (3, 32, 32))
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_module_called_twice_becomes_two_operations() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(x))

    assert [o.name for o in trace(Twice(), (4, 5, 5))] == ["conv", "conv#2"]


def test_an_operation_that_cannot_be_costed_is_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft2(self.conv(x)).real

    with pytest.raises(UnsupportedOperation, match="fft"):
        trace(Odd(), (3, 8, 8))
