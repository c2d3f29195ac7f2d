"""Windows of every form (dilated, rectangular, strided, padded in any way), against brute force and the simulator."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hass_train.hardware import (
    AieAccelerator,
    AieArray,
    DataflowAccelerator,
    DataflowOptions,
    Device,
    LayerSparsity,
    Operation,
    OperationKind,
    SparsityProfile,
    UnsupportedOperation,
    Workload,
    load_device,
    trace,
)
from hass_train.hardware.aie.array import AieArray as Array
from hass_train.hardware.aie.layers import layer_cost
from hass_train.hardware.dataflow.costs.branches import fill, operand_fifos
from hass_train.hardware.dataflow.costs.memory import window_buffers
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace, WeightsIn
from hass_train.hardware.dataflow.simulator.depths import rule
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.dataflow.simulator.windows import Windows
from hass_train.hardware.lanes import Lanes, nested
from hass_train.hardware.structure import Structure
from hass_train.hardware.workload import FeatureMap

Pair = tuple[int, int]
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def conv(
    size: Pair, kernel: Pair = (3, 3), dilation: Pair = (1, 1), padding: Pair | None = None, stride: Pair = (1, 1),
    channels: int = 4, name: str = "conv", before: str = "input", groups: int = 1,
) -> Operation:  # fmt: skip
    """A convolution, by default with as many results as it has pixels."""
    spans = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    pads = padding if padding is not None else (spans[0] // 2, spans[1] // 2)
    rows, columns = (
        (n + 2 * pad - span - 1) // step + 1 for n, pad, span, step in zip(size, pads, spans, stride, strict=True)
    )
    return Operation(
        name, OperationKind.CONV, (before,), FeatureMap(*size, channels), FeatureMap(rows, columns, channels), kernel,
        stride, pads, dilation, groups,
    )  # fmt: skip


# ---- brute force -------------------------------------------------------------------------------------------------


@given(st.tuples(st.integers(3, 9), st.integers(3, 9)), pairs, pairs, st.tuples(*[st.integers(0, 6)] * 2), pairs)
def test_the_first_window_and_what_every_window_holds(
    size: Pair, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair
) -> None:
    """Read the map and its border pixel by pixel, and look which pixels every window takes.

    What is read begins with the map, or with what the first window ends with if that comes before, and ends likewise.
    """
    if any(n + 2 * p < (k - 1) * d + 1 for n, k, d, p in zip(size, kernel, dilation, padding, strict=True)):
        return
    layer = conv(size, kernel, dilation, padding, stride)
    begins, ends = [], []  # of windows in each direction, in rows and columns of the map
    for n, k, d, p, s, count in zip(
        size, kernel, dilation, padding, stride, (layer.result.height, layer.result.width), strict=True
    ):
        begins.append([at * s - p for at in range(count)])
        ends.append([at * s - p + (k - 1) * d for at in range(count)])
        assert ends[-1][-1] < n + p
    read = [range(min(0, *end), max(n - 1, *end) + 1) for n, end in zip(size, ends, strict=True)]
    assert layer.rows_read == (len(read[0]), len(read[1]))
    assert layer.pixels_read == len(read[0]) * len(read[1])
    places = [(row, column) for row in read[0] for column in read[1]]
    windows = Windows.of(layer, 1, 1)
    assert windows.base.tolist() == [places.index((row, column)) for row in ends[0] for column in ends[1]]
    assert windows.oldest.tolist() == [
        places.index((max(row, read[0][0]), max(column, read[1][0]))) for row in begins[0] for column in begins[1]
    ]
    assert windows.reach == (layer.reach[0] - 1) * len(read[1]) + layer.reach[1] - 1
    last = [max((k for k, old in enumerate(windows.oldest) if old <= step), default=-1) for step in range(len(places))]
    assert windows.release(np.zeros(1, np.int64), 1, len(places)).tolist() == last
    inside = [0 <= row < size[0] and 0 <= column < size[1] for row, column in places]
    arrived = sum(inside[: windows.base[0] + 1])
    assert fill(layer) == max(arrived - 1, 0) / layer.source.pixels
    # one word a cycle, 1,024 bits each, so that nothing is put in LUTs
    held = (windows.reach - (layer.reach[1] - 1)) * layer.source.channels
    assert window_buffers(layer, np.array([1]), 1024, 1).bram18[0] * 18 * 1024 >= held * 1024


def test_block_rams_of_a_far_reaching_window() -> None:
    """48 rows of 512 pixels × 8 channels × 8 bits are 1.57 Mbit: 85.3 block RAMs of 18 kbit."""
    layer = conv((512, 512), dilation=(24, 24), padding=(0, 0), channels=8)
    assert window_buffers(layer, np.array([8]), 8, 1).bram18[0] >= 86
    wide = conv((512, 512), dilation=(24, 24), channels=8)  # 560 pixels with the padding
    assert window_buffers(wide, np.array([8]), 8, 1).bram18[0] >= 94
    near = conv((512, 512), dilation=(1, 24), channels=8)  # two rows of 560 words of 64 bits
    assert window_buffers(near, np.array([8]), 8, 1).bram18[0] == 2 * 4


@pytest.mark.parametrize("channels", [64, 864])
def test_rows_read_ahead_that_fill_an_ultraram_may_be_in_it(channels: int) -> None:
    """Of 17 padded pixels a row 6 rows and a window are read ahead: 92 to 109 kbit of 8 bits × 64 channels, and 13.5
    times as many of 864, which a device without UltraRAM holds in block RAM."""
    layer = conv((11, 11), (7, 7), channels=channels, groups=channels)
    fifos = operand_fifos(Workload("one", (channels, 11, 11), (layer,)))["conv"]
    options = DataflowOptions(weight_bits=8, activation_bits=8)
    tables = [
        ComputeDesigns(layer, LayerSparsity(), fifos, options, DesignSpace(np.array([1e6, 1e6, uram, 1e9, 1e9, 0.0])))
        for uram in (0, 1e6)
    ]
    assert [len(one.places) for one in tables] == [1, 3 if channels == 864 else 2]
    narrow = tables[1].folds.g == 1
    weights_apart, rows_apart = tables[1].memory[1, narrow], tables[1].memory[-1, narrow]
    if channels == 864:
        assert (weights_apart[:, 0] - rows_apart[:, 0] >= 6 * 17 * 864 * 8 // (18 * 1024)).all()
        assert (rows_apart[:, 1] - weights_apart[:, 1] >= 3).all()


@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_bands_of_rows_hold_what_a_window_reaches(dilation: int) -> None:
    layer = conv((28, 28), dilation=(dilation, dilation), channels=64)
    space = DesignSpace(np.array([1e6, 1e6, 0, 1e9, 1e9, 1e12]))
    fifos = operand_fifos(Workload("one", (64, 28, 28), (layer,)))["conv"]
    table = ComputeDesigns(layer, LayerSparsity(), fifos, DataflowOptions(), space)
    (place,) = [k for k, where in enumerate(table.places) if where == (WeightsIn.OFF_CHIP, 28)]
    rows = 2 * dilation * 3 + 2  # of the window, of what is read ahead, and of the band with the one that comes next
    held = rows * layer.source.width * layer.source.channels * 16
    narrow = table.folds.i == 1  # wide ones put shallow buffers in LUTs
    assert narrow.any()
    assert (table.memory[place, narrow, 0] * 18 * 1024 >= held).all()


@pytest.mark.parametrize("square", [False, True])
def test_array_tiles_hold_what_a_window_reaches(square: bool) -> None:
    """More is moved for a dilated window, as much as for a dense one of its reach; its products are those of nine."""
    array = Array("x", 2, 2, core_kb=64, square_kernels=square)
    near, far, dense = (conv((24, 24), kernel, dilation, channels=64) for kernel, dilation in (
        ((3, 3), (1, 1)), ((3, 3), (4, 4)), ((9, 9), (1, 1)),
    ))  # fmt: skip
    costs = [layer_cost(layer, LayerSparsity(), array) for layer in (near, far, dense)]
    assert costs[0].multiplied == costs[1].multiplied < costs[2].multiplied
    tile = costs[1].tiling
    assert tile is not None
    words = (tile.rows + 8) * (tile.columns + 8) * tile.channels
    times = tile.load * array.stream_bytes / words
    assert times == pytest.approx(max(round(times), 1))
    assert costs[1].ddr > costs[0].ddr
    assert costs[1].cycles >= costs[0].cycles


# ---- the simulator -----------------------------------------------------------------------------------------------


def simulated(workload: Workload, device: Device) -> tuple[float, float, int]:
    """Cycles of an image with unlimited FIFOs, with those of the design, and by the equations."""
    options = DataflowOptions(partitions="never", tolerance=0.01, max_replicas=1)
    estimate = DataflowAccelerator(device, options).estimate(workload, SparsityProfile.dense(workload))
    pipeline = Pipeline(workload, [StageDesign.of(row) for row in estimate.layers])
    depths = rule(
        pipeline,
        {row.name: row.interval_cycles for row in estimate.layers},
        {row.name: row.urgency for row in estimate.layers},
    )
    unlimited, limited = pipeline.play(16, settle=8), pipeline.play(16, depths, settle=8)
    return unlimited.interval_cycles, limited.interval_cycles, max(row.interval_cycles for row in estimate.layers)


def residual(size: Pair, kernel: Pair, dilation: Pair, channels: int, groups: int = 1) -> Workload:
    """A block of two such windows, whose shortcut waits."""
    whole = FeatureMap(*size, channels)
    layers = (
        conv(size, (1, 1), channels=channels, name="a"),
        Operation("relu", OperationKind.ACTIVATION, ("a",), whole, whole, function="relu"),
        conv(size, kernel, dilation, channels=channels, name="b", before="relu", groups=groups),
        conv(size, kernel, dilation, channels=channels, name="c", before="b", groups=groups),
        Operation("add", OperationKind.ADD, ("c", "relu"), whole, whole),
        conv(size, (1, 1), channels=channels, name="d", before="add"),
    )
    return Workload("residual", (channels, *size), layers)


@pytest.mark.parametrize(
    ("size", "kernel", "dilation", "channels", "groups", "limits"),
    [
        ((14, 14), (3, 3), (2, 2), 4, 1, {}),
        ((28, 28), (3, 3), (4, 4), 4, 1, {}),
        ((8, 8), (3, 3), (8, 8), 4, 1, {"dsp": 40}),  # the padding is larger than the map
        ((9, 28), (3, 3), (1, 6), 8, 8, {"dsp": 60}),
        ((28, 9), (5, 1), (3, 1), 4, 1, {"dsp": 60}),
        ((28, 14), (5, 5), (2, 2), 16, 1, {"dsp": 100, "bram18": 20, "uram": 0}),  # weights off-chip, in bands
    ],
)
def test_the_design_of_a_dilated_block_keeps_its_rate(
    size: Pair, kernel: Pair, dilation: Pair, channels: int, groups: int, limits: dict[str, int]
) -> None:
    device = replace(load_device("zcu104"), **{"lut": 10**7, "ff": 10**7} | limits)  # type: ignore[arg-type]
    unlimited, limited, expected = simulated(residual(size, kernel, dilation, channels, groups), device)
    assert unlimited == pytest.approx(expected, rel=0.01)
    assert limited <= unlimited / 0.98


FORMS: dict[str, nn.Module] = {
    "dilated": nn.Conv2d(4, 4, 3, padding=3, dilation=3),
    "valid": nn.Conv2d(4, 4, 3, padding="valid", dilation=2),
    "same": nn.Conv2d(4, 4, (4, 2), padding="same"),
    "rectangular": nn.Conv2d(4, 4, (1, 7), padding=(0, 3), stride=(2, 1)),
    "strided": nn.Conv2d(4, 4, (5, 3), padding=(2, 1), stride=(1, 3)),
    "depthwise": nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=4),
    "reflect": nn.Conv2d(4, 4, 5, padding=2, padding_mode="reflect"),
    "replicate": nn.Conv2d(4, 4, 3, padding=1, padding_mode="replicate"),
    "asymmetric": nn.Sequential(nn.ZeroPad2d((0, 2, 0, 1)), nn.Conv2d(4, 4, 3, stride=2)),
    "max, dilated": nn.MaxPool2d(3, 1, 1, dilation=2),
    "max, ceiling": nn.MaxPool2d(3, 2, ceil_mode=True),
    "average, ceiling": nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
    "average, rectangular": nn.AvgPool2d((1, 3), (2, 1)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("form", FORMS)
def test_windows_of_every_form_take_what_the_equations_say(form: str) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 1), FORMS[form], nn.Conv2d(FORMS[form](torch.ones(1, 4, 8, 8)).shape[1], 3, 1)
    )
    for size in ((12, 12), (9, 14)):
        workload = trace(module, (3, *size))
        made = module(torch.ones(1, 3, *size)).shape
        assert (workload.operations[-1].result.height, workload.operations[-1].result.width) == made[2:]
        unlimited, limited, expected = simulated(workload, load_device("zcu104"))
        assert unlimited == pytest.approx(expected, rel=0.01)
        assert limited <= unlimited / 0.98
        assert (
            AieAccelerator(AieArray("x", 2, 2)).estimate(workload, SparsityProfile.dense(workload)).throughput_ips > 0
        )


@pytest.mark.parametrize(("mode", "rows"), [("reflect", 3), ("replicate", 1)])
def test_paddings_that_repeat_the_map_wait_and_remember(mode: str, rows: int) -> None:
    """A reflection by two begins with the third row and turns behind the last one, two before which are still needed; a
    repeated row must be kept."""
    workload = trace(nn.Conv2d(4, 4, 5, padding=2, padding_mode=mode), (4, 16, 16))
    pad = workload["pad"]
    assert (pad.kernel[0] - 1, pad.function) == (rows, mode)
    pipeline = Pipeline(workload, [_built(o) for o in workload])
    stage = pipeline.stages[0]
    mirrored = F.pad(torch.arange(256.0).reshape(1, 1, 16, 16), (2, 2, 2, 2), mode=mode).long().flatten().numpy()
    assert stage.base.tolist() == np.maximum.accumulate(mirrored).tolist()
    for read in range(256):
        assert stage.release[read] == np.flatnonzero(mirrored == read)[-1]
    assert stage.base[0] <= fill(pad) * 256
    assert (rows - 1) * 16 < stage.window <= rows * 16 + pad.kernel[1] - 1


def _built(operation: Operation) -> StageDesign:
    if operation.multiplies:
        return StageDesign(operation.name, "dense", dict.fromkeys("iogmNqp", 1))
    return StageDesign(operation.name, "stream", {"s": 4})


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "pads circularly.*reflect or replicate"),
        (nn.ConvTranspose2d(4, 4, 3, 2, dilation=2), "'conv_transpose2d' with stride .* has no phases"),
    ],
)
def test_what_is_not_costed_is_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedOperation, match=message):
        trace(module, (4, 8, 8))


# ---- keys of design tables ---------------------------------------------------------------------------------------


def other(value: object) -> object:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case OperationKind():
            return OperationKind.LINEAR
        case str():
            return value + "x"
        case int() | float():
            return value / 2 if isinstance(value, float) else value + 1
        case FeatureMap():
            return replace(value, width=value.width + 1)
        case Lanes():
            return replace(value, lasting=(0.5,))
        case Structure():
            return Structure((1, 4))
        case dict():
            return {1: (0.25, 0.75)}
        case tuple():
            return (*value[:-1], value[-1] / 2 if isinstance(value[-1], float) else value[-1] + 1)
    raise TypeError(f"no other value than {value!r}")


def test_every_property_of_an_operation_is_in_its_key() -> None:
    operation = conv((8, 8))
    for item in fields(Operation):
        if item.name in ("name", "inputs", "layer"):  # what things are called
            continue
        changed = replace(operation, **{item.name: other(getattr(operation, item.name))})
        assert changed.geometry != operation.geometry, item.name
    assert replace(operation, inputs=("a", "b")).geometry != operation.geometry
    assert replace(operation, name="b", inputs=("a",)).geometry == operation.geometry


SPARSE = LayerSparsity(
    0.5, 0.5, 0.25, {1: (0.5, 0.5)}, (0.25,) * 16, Lanes.unknown(4, 16, 16), Structure((2, 4)),
    filter_nonzeros=(8,) * 16, channel_activations=(0.5,) * 16, activation_lanes=Lanes.unknown(4, 16, 16),
)  # fmt: skip


def estimate_of(accelerator: DataflowAccelerator, layer: Operation, sparsity: LayerSparsity) -> object:
    workload = Workload("one", (16, 8, 8), (layer,))
    return accelerator.estimate(workload, SparsityProfile({layer.name: sparsity}))


LAYER = conv((8, 8), (1, 1), channels=16)


def small() -> DataflowAccelerator:
    """An accelerator whose multipliers are scarce."""
    options = DataflowOptions(max_replicas=1, engines="lockstep", bundle="auto", max_pixels=1)
    return DataflowAccelerator(replace(load_device("zcu104"), dsp=20), options)


@pytest.mark.parametrize("name", [item.name for item in fields(LayerSparsity)])
def test_an_answer_never_depends_on_what_was_asked_before(name: str) -> None:
    """The same question to an accelerator that has been asked about another sparsity, and to a fresh one."""
    changed = replace(SPARSE, **{name: other(getattr(SPARSE, name))})
    asked, fresh = small(), small()
    estimate_of(asked, LAYER, SPARSE)
    assert estimate_of(asked, LAYER, changed) == estimate_of(fresh, LAYER, changed)


def test_a_layer_without_bias_does_not_pay_for_one() -> None:
    """Filters take turns here; biases of filters that are all computed at once are constants."""
    device, layer = load_device("zcu104", dsp=16), conv((8, 8), channels=16)
    asked = DataflowAccelerator(device)
    with_bias = estimate_of(asked, replace(layer, bias=True), LayerSparsity())
    assert estimate_of(asked, layer, LayerSparsity()) == estimate_of(
        DataflowAccelerator(device), layer, LayerSparsity()
    )
    assert estimate_of(asked, layer, LayerSparsity()) != with_bias


def test_lanes_change_the_answer() -> None:
    assert SPARSE.lanes is not None
    alike = nested(np.ones(np.shape(SPARSE.lanes.independent)))
    asked, changed = small(), replace(SPARSE, lanes=replace(SPARSE.lanes, independent=alike))
    assert estimate_of(asked, LAYER, SPARSE) != estimate_of(asked, LAYER, changed)
