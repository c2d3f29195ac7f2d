"""Pair densities of single input channels, against every pair formed one by one."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware import LayerSparsity, Workload
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind
from hass_train.sparsity import LayerRule, calibrate, running_profile, sparsify
from hass_train.sparsity.nonzeros import observe_nonzeros

ALL = {"all": LayerRule("*")}


def with_zeros(*shape: int, density: float) -> Tensor:
    """Normal numbers, a fraction of them zero; how large a fraction differs along the second axis."""
    own = density * torch.rand(shape[1:2]).reshape(-1, *[1] * (len(shape) - 2))
    return torch.randn(shape) * (torch.rand(shape) < own)


def every_pair(x: Tensor, layer: nn.Conv2d, pads: tuple[int, int, int, int]) -> Tensor:
    """(channels,) densities; `pads` as `F.pad` takes them."""
    kernel, groups = layer.kernel_size, layer.groups
    patches = F.unfold(F.pad(x, pads), kernel, layer.dilation, 0, layer.stride)
    window, own = kernel[0] * kernel[1], x.shape[1] // groups
    patches = patches.reshape(len(x), groups, 1, own, window, -1)
    weights = layer.weight.detach().reshape(groups, -1, own, window, 1)
    return ((patches * weights) != 0).double().mean(dim=(0, 2, 4, 5)).flatten()


def every_read(x: Tensor, layer: nn.Conv2d, pads: tuple[int, int, int, int]) -> Tensor:
    """(channels,) densities of what each channel is read of, likewise."""
    patches = F.unfold(F.pad(x, pads), layer.kernel_size, layer.dilation, 0, layer.stride)
    return (patches.reshape(len(x), x.shape[1], -1) != 0).double().mean(dim=(0, 2))


def check(measured: LayerSparsity, expected: Tensor, reads: Tensor) -> None:
    assert measured.channel_densities == pytest.approx(expected.tolist(), abs=1e-12)
    assert measured.channel_activations == pytest.approx(reads.tolist(), abs=1e-9)
    assert sum(measured.channel_densities) / len(expected) == pytest.approx(measured.pair_density, abs=1e-9)


small = st.integers(1, 3)


@given(
    kernel=st.tuples(small, small), stride=st.tuples(small, small), padding=st.tuples(*[st.integers(0, 2)] * 2),
    dilation=st.tuples(*[st.integers(1, 2)] * 2), groups=small, own=small, filters=small, depthwise=st.booleans(),
    size=st.tuples(*[st.integers(5, 8)] * 2), same=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_convolutions(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
    groups: int, own: int, filters: int, depthwise: bool, size: tuple[int, int], same: bool, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    channels = groups * (1 if depthwise else own)
    kind = Conv2dSame if same else nn.Conv2d
    layer = kind(
        channels, groups * filters, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups
    )  # fmt: skip
    layer.weight.data = with_zeros(*layer.weight.shape, density=1.0)
    x = with_zeros(5, channels, *size, density=0.9)
    pads = (padding[1], padding[1], padding[0], padding[0])
    if same:
        whole = [
            max((-(-s // step) - 1) * step + (k - 1) * d + 1 - s, 0)
            for s, step, k, d in zip(size, stride, kernel, dilation, strict=True)
        ]
        pads = (whole[1] // 2, whole[1] - whole[1] // 2, whole[0] // 2, whole[0] - whole[0] // 2)
    expected = every_pair(x, layer, pads)
    check(
        calibrate(sparsify(nn.Sequential(layer), ALL), [x[:3], x[3:]]).layers["0"], expected, every_read(x, layer, pads)
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding(padding: str) -> None:
    layer = nn.Conv2d(4, 6, (3, 2), padding=padding, groups=2)
    x = with_zeros(3, 4, 6, 5, density=0.9)
    pads = (0, 1, 1, 1) if padding == "same" else (0, 0, 0, 0)
    measured = calibrate(sparsify(nn.Sequential(layer), ALL), [x]).layers["0"]
    check(measured, every_pair(x, layer, pads), every_read(x, layer, pads))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes(mode: str) -> None:
    """What is padded with is what meets the weights, in the calibration and in the simulator's operands."""
    layer = nn.Conv2d(4, 6, 3, padding=2, padding_mode=mode, stride=2)
    x = with_zeros(3, 4, 6, 5, density=0.9)
    padded = F.pad(x, (2, 2, 2, 2), mode="constant" if mode == "zeros" else mode)
    sparse = sparsify(nn.Sequential(layer), ALL)
    conv = Operation(
        "0", OperationKind.CONV, ("input",), FeatureMap(6, 5, 4), FeatureMap(4, 4, 6), (3, 3), (2, 2), (2, 2)
    )
    workload = Workload("one", (4, 6, 5), (conv,))
    none = (0, 0, 0, 0)
    check(calibrate(sparse, [x]).layers["0"], every_pair(padded, layer, none), every_read(padded, layer, none))
    present = observe_nonzeros(sparse, workload, ["0"], x)["0"].activations
    assert present.tolist() == (padded != 0).movedim(1, -1).tolist()


@pytest.mark.parametrize("tokens", [(), (3,), (2, 3)])
def test_linear(tokens: tuple[int, ...]) -> None:
    layer = nn.Linear(7, 5)
    layer.weight.data = with_zeros(5, 7, density=1.0)
    x = with_zeros(60, 7, density=0.9).reshape(-1, *tokens, 7)
    expected = ((x.reshape(-1, 1, 7) * layer.weight.detach()) != 0).double().mean(dim=(0, 1))
    check(
        calibrate(sparsify(nn.Sequential(layer), ALL), [x[:4], x[4:]]).layers["0"],
        expected,
        (x.reshape(-1, 7) != 0).double().mean(0),
    )


def test_a_network_and_what_training_knows_of_it() -> None:
    model = sparsify(timm.create_model("mobilenetv3_small_100", num_classes=5), ALL)
    exact = calibrate(model, [torch.randn(2, 3, 32, 32)])
    for name, layer in exact.layers.items():
        weight = dict(model.named_modules())[name].weight
        groups = getattr(dict(model.named_modules())[name], "groups", 1)
        assert len(layer.channel_densities) == weight.shape[1] * groups
        assert sum(layer.channel_densities) / len(layer.channel_densities) == pytest.approx(
            layer.pair_density, abs=1e-6
        )
    assert all(layer.channel_densities == () for layer in running_profile(model).layers.values())


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_densities_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=rf"channel_densities\[1\] is {value}; it must lie in \[0, 1\]"):
        LayerSparsity(channel_densities=(0.5, value))
