"""Tracing timm models into workloads."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from hass_train.hardware import OperationKind, UnsupportedOperation, trace
from hass_train.hardware.workload import FeatureMap


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


@pytest.mark.parametrize(
    ("name", "size", "gmacs", "attention"),
    [  # convolutions and linear layers as published (swin: 4.49 less attention); what attention adds
        ("vit_tiny_patch16_224", 224, 1.08, 2 * 12 * 197 * 197 * 192),
        (
            "swin_tiny_patch4_window7_224",
            224,
            4.35,
            2 * 49 * (2 * 3136 * 96 + 2 * 784 * 192 + 6 * 196 * 384 + 98 * 768),
        ),
        ("mixer_s16_224", 224, 3.79, 0),
        ("convnext_atto", 224, 0.55, 0),
        ("vgg16", 224, 15.47, 0),
        ("inception_v3", 299, 5.7, 0),
    ],
)
def test_known_counts_without_and_with_attention(name: str, size: int, gmacs: float, attention: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    workload = trace(model, (3, size, size), name)
    layers = sum(layer.macs for layer in workload.compute_layers)
    assert layers / 1e9 == pytest.approx(gmacs, rel=5e-3)
    assert workload.macs - layers == attention
    modules = dict(model.named_modules())
    assert all(modules[layer.name].weight.numel() == layer.weights for layer in workload.compute_layers)


class Attention(nn.Module):
    """Two heads over the pixels of a 4-channel image, then a token put before them."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.qkv = nn.Linear(4, 12)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.token.expand(1, -1, -1), x.flatten(2).transpose(1, 2)], 1)
        query, key, value = self.qkv(x).reshape(1, -1, 3, 2, 2).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(query, key, value)
        else:
            x = ((query * 0.5) @ key.transpose(-2, -1)).softmax(-1) @ value
        return x.transpose(1, 2).reshape(1, -1, 4)[:, 0]


@pytest.mark.parametrize("fused", [True, False])
def test_attention_is_two_products_of_streams(fused: bool) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = Attention(fused)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.attn(x)

    workload = trace(Block(), (4, 2, 3))
    names = ["qk", "softmax", "av"] if fused else ["matmul", "softmax", "matmul#2"]
    assert [o.name for o in workload] == ["attn.cat", "attn.qkv", *(f"attn.{name}" for name in names)]
    concat, qkv, first, softmax, second = workload
    assert (concat.kind, concat.inputs, concat.source) == (OperationKind.CONCAT, ("input",), FeatureMap(1, 6, 4))
    assert (qkv.source, qkv.result) == (FeatureMap(1, 7, 4), FeatureMap(1, 7, 12))
    assert first.kind is second.kind is OperationKind.MATMUL
    assert (first.source, first.result, first.groups) == (FeatureMap(1, 7, 4), FeatureMap(1, 7, 14), 2)
    assert (second.source, second.result, second.groups) == (FeatureMap(1, 7, 14), FeatureMap(1, 7, 4), 2)
    assert first.inputs == ("attn.qkv", "attn.qkv")
    assert second.inputs == (softmax.name, "attn.qkv")
    assert (first.channels_per_group, first.filters_per_group) == (2, 7)
    assert (softmax.kind, softmax.result, softmax.groups) == (OperationKind.SOFTMAX, FeatureMap(1, 7, 14), 2)
    for product in (first, second):
        assert product.operand_words == 2 * 2 * 7
        assert product.macs == 7 * 2 * 7 * 2
        assert product.weights == 0
        assert product.multiplies
        assert not product.is_compute


def test_a_mask_is_added_before_the_softmax() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1, 1, 6, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(2).transpose(1, 2).unsqueeze(1)
            return F.scaled_dot_product_attention(x, x, x, attn_mask=self.bias)

    workload = trace(Masked(), (4, 2, 3))
    kinds = [OperationKind.MATMUL, OperationKind.ADD, OperationKind.SOFTMAX, OperationKind.MATMUL]
    assert [o.kind for o in workload] == kinds
    assert workload.operations[1].inputs == (workload.operations[0].name,)


class ChannelsLast(nn.Module):
    """A ConvNeXt-like block: the layers between two permutations work on height × width × channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 8)
        self.act = nn.GELU()
        self.back = nn.Conv2d(8, 3, 1)
        self.gamma = nn.Parameter(torch.ones(3))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.fc(self.norm(self.conv(x).permute(0, 2, 3, 1))))
        y = self.back(y.permute(0, 3, 1, 2))
        return x + (self.scale * y / 2) * self.gamma.reshape(1, -1, 1, 1)


def test_channels_last_layers_and_layer_scale() -> None:
    workload = trace(ChannelsLast(), (3, 5, 6))
    assert [o.name for o in workload] == ["conv", "norm", "fc", "act", "back", "mul", "add"]
    assert (workload["norm"].kind, workload["norm"].source) == (OperationKind.LAYER_NORM, FeatureMap(5, 6, 4))
    assert (workload["fc"].source, workload["fc"].result) == (FeatureMap(5, 6, 4), FeatureMap(5, 6, 8))
    assert workload["fc"].macs == 5 * 6 * 4 * 8
    assert workload["act"].result == workload["back"].source == FeatureMap(5, 6, 8)
    scale = workload["mul"]
    assert (scale.kind, scale.function, scale.inputs) == (OperationKind.MULTIPLY, "constant", ("back",))
    assert workload["add"].function == ""
    assert set(workload["add"].inputs) == {"input", "mul"}


def test_windows_are_pixels() -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.permute(0, 2, 3, 1).reshape(1, 2, 2, 3, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(6, 4, 3)
            x = self.fc(x).reshape(1, 2, 3, 2, 2, 5).permute(0, 1, 3, 2, 4, 5).reshape(1, 4, 6, 5)
            return x.relu().mean((1, 2))

    linear, relu, pool = trace(Windows(), (3, 4, 6))
    assert (linear.source, linear.result) == (FeatureMap(1, 24, 3), FeatureMap(1, 24, 5))
    assert relu.result == pool.source == FeatureMap(4, 6, 5)
    assert (pool.kind, pool.result) == (OperationKind.GLOBAL_POOL, FeatureMap(1, 1, 5))


@pytest.mark.parametrize("cut", [lambda x: x[:, :, :6], lambda x: x.narrow(2, 3, 8), lambda x: F.pad(x, (0, 0, 1, 1))])
def test_an_axis_of_pixels_and_channels_is_rearranged_before_it_is_cut(
    cut: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """4 channels of 8×8 pixels are read as 2 of 16×8, whose rows begin in the second half of the channels."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 4, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(cut(self.stem(x).reshape(1, 2, 16, 8)))

    workload = trace(Mixed(), (3, 8, 8))
    rearranged = workload.operations[1]
    assert (rearranged.kind, rearranged.block) == (OperationKind.REARRANGE, 4 * 8 * 8)
    assert (rearranged.source.pixels, rearranged.result) == (8 * 8, FeatureMap(16, 8, 2))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: F.conv2d(x, x[:, :, :1, :1]), "computed from the image"),
        (lambda x: F.max_pool3d(x, 2), "cannot cost"),
        (lambda x: x.sort(1).values, "cannot cost"),
    ],
)
def test_what_cannot_be_followed_is_refused(function: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    with pytest.raises(UnsupportedOperation, match=message):
        trace(Odd(), (4, 2, 3))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_vit", "densenet121"])
def test_cuts_are_where_one_value_crosses(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    workload = trace(model, (3, 160, 160), name)
    expected = []
    for k in range(1, len(workload.operations)):
        before = {"input", *(o.name for o in workload.operations[:k])}
        if len({source for o in workload.operations[k:] for source in o.inputs if source in before}) == 1:
            expected.append(k)
    assert workload.cuts() == expected
    assert 0 < len(expected) < len(workload.operations) - 1


def test_parts_between_cuts_make_the_network() -> None:
    with torch.device("meta"):
        workload = trace(timm.create_model("resnet18"), (3, 64, 96), "resnet18")
    places = [0, *workload.cuts(), len(workload.operations)]
    parts = [workload.part(start, end) for start, end in itertools.pairwise(places)]
    assert [o.name for part in parts for o in part] == [o.name for o in workload]
    assert parts[0].input_shape == (3, 64, 96)
    assert all("input" in part.operations[0].inputs for part in parts)
    for before, part in itertools.pairwise(parts):
        result = before.operations[-1].result
        assert part.input_shape == (result.channels, result.height, result.width)
    assert parts[1].name == f"resnet18[{places[1]}:{places[2]}]"
    assert sum(part.macs for part in parts) == workload.macs


def test_a_part_must_have_one_input() -> None:
    workload = trace(ChannelsLast(), (3, 5, 6), "block")
    assert workload.part(1, 4).input_shape == (4, 5, 6)
    with pytest.raises(ValueError, match="2 values enter"):
        workload.part(5, 7)
    for start, end in [(3, 3), (4, 2), (-1, 2), (0, 8)]:
        with pytest.raises(ValueError, match="no part"):
            workload.part(start, end)
