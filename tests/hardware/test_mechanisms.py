"""What networks have beyond convolutions: what is counted, what is kept, and what the simulator makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hass_train.hardware import (
    AieAccelerator,
    AieArray,
    DataflowAccelerator,
    DataflowOptions,
    Operation,
    OperationKind,
    SparsityProfile,
    UnsupportedOperation,
    load_device,
    trace,
)
from hass_train.hardware.dataflow.costs import branches
from hass_train.hardware.layout import CHANNEL, PIXEL, Layout, reordered
from hass_train.hardware.spans import spans
from hass_train.hardware.workload import FeatureMap
from tests.hardware.mechanisms import MECHANISMS, Between
from tests.hardware.test_windows import simulated

SHAPE = (3, 8, 8)


@pytest.mark.parametrize("name", MECHANISMS)
def test_multiplications_are_those_that_torch_counts(name: str) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        MECHANISMS[name].eval()(torch.ones(1, *SHAPE))
    assert 2 * trace(MECHANISMS[name], SHAPE).macs == counter.get_total_flops()


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "skresnet18", "edgenext_xx_small", "efficientvit_m0"])
def test_networks_have_the_multiplications_that_torch_counts(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name).eval()
        size = model.default_cfg["input_size"]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, *size))
    assert trace(model, size, name).macs == pytest.approx(counter.get_total_flops() / 2, rel=0.02)


MACS = {  # beside 64·(4·3 + 2·4) = 1280 of the convolutions around it
    "shared keys": 2 * (2 * 64) * 64 * 2,  # two heads of 64 rows, 64 keys of two words; and as much for the values
    "grouped keys": 2 * (4 * 64) * 64 * 2,
    "attention of channels": 2 * 4 * 64 * 4,
    "windows of a batch": 64 * 4 * 4 * 9,
    "transposed": 64 * 4 * 4 * 4 + 192 * 4 * 2,  # 192 more pixels go through the last convolution
    "transposed, overlapping": 64 * 4 * 4 * 16 + 192 * 4 * 2,
    "standardised weights": 64 * 4 * 4,
    "one dimension": 64 * 4 * 4 * 3,
    "unfold": 64 * 2 * 32,  # the last convolution has 36 channels, not four
}


@pytest.mark.parametrize("name", MACS)
def test_multiplications_by_hand(name: str) -> None:
    assert trace(MECHANISMS[name], SHAPE).macs == 1280 + MACS[name]


KEPT = {  # words of buffers of their own, twice
    "group norm": {"moments": 2 * 2 * 2},  # mean and square of two groups
    "instance norm": {"moments": 2 * 2 * 4},
    "response norm": {"linalg_vector_norm": 2 * 4, "mean": 2},
    "mean of channels": {"mean": 2},
    "mean of rows": {"mean": 2 * 8 * 4},  # a sum for each column and channel
    "mean of columns": {"mean": 2 * 4},
    "fold": {"fold": (3 + 2) * 8 * 4},  # three rows that windows add to, two that leave
    "pixel shuffle": {"pixel_shuffle": 2 * 8 * 4},  # a row
    "pixel unshuffle": {"pixel_unshuffle": 2 * 2 * 8 * 4},
    "transposed": {"layer.rearrange": 2 * 8 * 16},  # a row of four phases of four channels
    "attention of channels": {  # a whole map, to stream channel by channel, and back
        "linalg_vector_norm": 2 * 4, "rearrange": 2 * 256, "last.rearrange": 2 * 256,
    },
    "product with a constant": {},
    "repeated": {"amax": 2 * 8 * 4, "repeat": 2 * 8 * 4},  # the maxima of the columns, which come again
    "tiled": {"tile": 2 * 64 * 4},  # the whole map
    "rotary": {},
    "shared keys": {},
    "split attention": {"sum": 2 * 4, "sum#2": 2 * 4, "rearrange": 2 * 8},
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_by_hand(name: str) -> None:
    assert {one.name: one.kept for one in trace(MECHANISMS[name], SHAPE) if one.kept} == KEPT[name]


@pytest.mark.parametrize("name", ["group norm", "softmax of pixels", "bilinear", "bicubic", "adaptive average",
                                  "fold", "windows of rows", "windows of rows and columns", "pixel unshuffle",
                                  "grouped keys", "split attention",
                                  "attention of channels", "windows of a batch", "transposed, overlapping",
                                  "quotient", "mean of rows"])  # fmt: skip
def test_the_simulator_takes_what_the_equations_say(name: str) -> None:
    workload = trace(MECHANISMS[name], SHAPE)
    unlimited, limited, expected = simulated(workload, load_device("zcu104"))
    assert unlimited == pytest.approx(expected, rel=0.01)
    assert limited <= unlimited / 0.98
    array = AieAccelerator(AieArray("x", 2, 2))
    assert array.estimate(workload, SparsityProfile.dense(workload)).throughput_ips > 0


def test_a_group_norm_holds_the_map_until_its_moments_are_known() -> None:
    workload = trace(MECHANISMS["group norm"], SHAPE)
    fifos = branches.operand_fifos(workload)["mul"].words
    assert fifos[0] >= workload["mul"].source.words
    assert fifos[1] < 64
    assert branches.fill(workload["moments"]) == 1


def test_buffers_take_memory() -> None:
    """A larger map is a longer row of a shuffle, and a whole map of an attention among channels."""
    for name, grows in (("pixel shuffle", 4), ("attention of channels", 16)):
        kept = []
        for size in (64, 256):
            workload = trace(MECHANISMS[name], (3, size, size))
            largest = max(workload, key=lambda one: one.kept)
            kept.append(largest.kept)
            options = DataflowOptions(partitions="never", tolerance=0.05, max_replicas=1)
            estimate = DataflowAccelerator(load_device("u250"), options).estimate(
                workload, SparsityProfile.dense(workload)
            )
            row = next(one for one in estimate.layers if one.name == largest.name)
            bits = row.resources.bram18 * 18432 + row.resources.uram * 288 * 1024
            assert bits >= largest.kept * 16
        assert kept[1] == grows * kept[0]


def test_transposed_convolutions_are_convolutions_of_phases() -> None:
    layer, order = list(trace(MECHANISMS["transposed"], SHAPE))[1:3]
    assert (layer.kernel, layer.source, layer.result) == ((1, 1), FeatureMap(8, 8, 4), FeatureMap(8, 8, 16))
    assert (order.kind, order.result) == (OperationKind.REARRANGE, FeatureMap(16, 16, 4))
    assert layer.fixed


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 4), st.integers(0, 3), st.integers(0, 2), st.integers(1, 2))
def test_phases_make_the_size_that_torch_makes(
    size: int, kernel: int, stride: int, padding: int, more: int, groups: int
) -> None:
    more = min(more, stride - 1)
    made = (size - 1) * stride - 2 * padding + kernel + more
    if made < 1:
        return
    layer = nn.ConvTranspose2d(4, 4, kernel, stride, padding, more, groups)
    workload = trace(layer, (4, size, size))
    assert workload.operations[-1].result == FeatureMap(made, made, 4)
    conv = next(one for one in workload if one.kind is OperationKind.CONV)
    for result, source in ((conv.result.height, conv.source.height), (conv.result.width, conv.source.width)):
        assert result <= source - conv.kernel[0] + 1
    # phases whose kernels are a weight shorter than the longest hold zeros there
    assert conv.weights == 4 * (4 // groups) * (stride * math.ceil(kernel / stride)) ** 2


# ---- spans -------------------------------------------------------------------------------------------------------

RESIZED: dict[str, Callable[[Tensor, int], Tensor]] = {
    "nearest": lambda x, n: F.interpolate(x, size=(n, 1), mode="nearest"),
    "bilinear": lambda x, n: F.interpolate(x, size=(n, 1), mode="bilinear"),
    "bicubic": lambda x, n: F.interpolate(x, size=(n, 1), mode="bicubic"),
    "adaptive": lambda x, n: F.adaptive_avg_pool2d(x, (n, 1)),
}


@given(st.sampled_from([*RESIZED]), st.integers(1, 12), st.integers(1, 24))
def test_spans_hold_all_that_a_row_of_the_result_depends_on(function: str, size: int, result: int) -> None:
    kind = OperationKind.AVERAGE_POOL if function == "adaptive" else OperationKind.RESIZE
    operation = Operation(
        "x", kind, ("input",), FeatureMap(size, 1, 1), FeatureMap(result, 1, 1), function=function
    )  # fmt: skip
    first, last = spans(operation, 0)
    x = torch.rand(1, 1, size, 1, dtype=torch.float64, requires_grad=True)
    for row, made in enumerate(RESIZED[function](x, result).flatten()):
        (slope,) = torch.autograd.grad(made, x, retain_graph=True)
        needed = slope.flatten().nonzero().flatten().tolist()
        assert first[row] <= min(needed)
        assert max(needed) <= last[row]
        if function in ("nearest", "adaptive"):
            assert (first[row], last[row]) == (min(needed), max(needed))
    assert (np.diff(first) >= 0).all()
    assert (np.diff(last) >= 0).all()


# ---- the order of words ------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), min_size=1, max_size=4))
def test_words_that_are_kept_hold_every_pixel_that_is_read(axes: list[tuple[int, bool, bool]]) -> None:
    """Cut into blocks, a tensor's words contain whole pixels of the layout that it is read in, whatever those are."""

    def layout(which: int) -> Layout:
        return tuple(((size, CHANNEL if roles[which] else PIXEL),) for size, *roles in axes)

    def ranks(which: int, role: bool) -> np.ndarray:
        """For each word, its number among the channels, or among the pixels, of one of the two layouts."""
        number, places = np.zeros([size for size, *_ in axes], np.int64), np.indices([size for size, *_ in axes])
        for place, (size, *roles) in enumerate(axes):
            if roles[which] is role:
                number = number * size + places[place]
        return number.ravel()

    channels = math.prod(size for size, own, _ in axes if own)
    stream = ranks(0, False) * channels + ranks(0, True)  # pixel by pixel
    read, within = ranks(1, False), ranks(1, True)
    kept = reordered(layout(0), layout(1))
    for pixel in np.unique(read):
        words = np.sort(stream[read == pixel])
        if kept:
            assert words[0] // kept == words[-1] // kept
        elif len(np.unique(read)) > 1:
            assert words[-1] - words[0] + 1 == len(words)
            assert (np.diff(stream[read == pixel][np.argsort(within[read == pixel])]) == 1).all()
    assert kept <= math.prod(size for size, *_ in axes)


def test_inner_pixels_and_inner_channels_are_read_as_each_other() -> None:
    rows, heads, depth = ((6, PIXEL),), ((2, CHANNEL),), ((4, CHANNEL),)
    assert reordered((heads, rows, depth), (((2, PIXEL),), rows, depth)) == 0  # a head is a smaller pixel
    assert reordered((rows, depth), (((6, CHANNEL),), ((4, PIXEL),))) == 24  # tokens and channels are exchanged
    assert reordered((((5, PIXEL),), rows, depth), (((5, PIXEL),), ((6, CHANNEL),), ((4, PIXEL),))) == 24
    assert reordered((rows, heads, depth), (rows, heads, ((4, PIXEL),))) == 8  # within a pixel
    assert reordered((rows, heads, ((4, PIXEL),)), (rows, heads, depth)) == 8  # channels come in another order


def _written_over_a_part(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :2] = x[:, 2:] * x[:, :2]
    return y


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Between(lambda own, x: own.layer(x.flatten(2).transpose(1, 2))[0][:, None], 1, nn.LSTM(4, 4)), "recurrence"),
        (Between(lambda own, x: own.layer(x.flatten(2).transpose(1, 2))[0][:, None], 1, nn.GRU(4, 4)), "recurrence"),
        (
            Between(lambda own, x: F.conv2d(x, x[:, :, :2, :2].transpose(0, 1)[:, :1], groups=4)),
            "computed from the image",
        ),
        (Between(lambda own, x: x[:, x[0, 0, 0, :2].long()], 2), "addresses by values of the image"),
        (Between(lambda own, x: x.max(1).indices[:, None].float(), 1), "places of maxima"),
        (Between(lambda own, x: torch.einsum("bchw,bchw,bchw->bchw", x, x, x)), "write it as several"),
        (Between(lambda own, x: x.cumsum(1)), "cannot cost"),
        (Between(lambda own, x: _written_over_a_part(x)), "use torch.cat"),
        (Between(lambda own, x: torch.addcdiv(x, own.constant, x)), "write it as a division and a sum"),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), "nothing to accelerate"),
        (nn.Identity(), "nothing to accelerate"),
    ],
)
def test_what_cannot_stream_is_refused_in_a_line(module: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedOperation, match=message) as found:
        trace(module, SHAPE, "odd")
    assert "\n" not in str(found.value)


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_network_is_refused_in_a_line() -> None:
    with pytest.raises(UnsupportedOperation, match=r"scripted.*give the module that was scripted"):
        trace(torch.jit.script(nn.Conv2d(3, 4, 1)), SHAPE)


def test_a_network_without_layers_of_its_own_is_estimated() -> None:
    workload = trace(nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 3), nn.ReLU()), SHAPE)
    profile = SparsityProfile.dense(workload)
    assert not workload.compute_layers
    assert profile.pair_sparsity(workload) == profile.weight_sparsity(workload) == 0
    assert DataflowAccelerator(load_device("zcu104")).estimate(workload, profile).throughput_ips > 0
