"""The simulator: by hand, against brute force, against the equations, and where FIFOs are too small."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware import (
    DataflowAccelerator,
    DataflowOptions,
    Operation,
    OperationKind,
    SparsityProfile,
    Workload,
    load_device,
    trace,
)
from hass_train.hardware.dataflow.simulator.depths import generous, rule, size
from hass_train.hardware.dataflow.simulator.packing import NonZeros, bundled, dealt
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline, steady
from hass_train.hardware.dataflow.simulator.results import Deadlock
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.workload import FeatureMap


def conv(name: str, before: str, size: int, channels: int, filters: int, kernel: int = 1, stride: int = 1) -> Operation:
    out = (size - 1) // stride + 1
    return Operation(
        name, OperationKind.CONV, (before,), FeatureMap(size, size, channels), FeatureMap(out, out, filters),
        (kernel, kernel), (stride, stride), (kernel // 2, kernel // 2),
    )  # fmt: skip


def built(name: str, engine: str = "dense", fifo: int = 0, **folds: int) -> StageDesign:
    return StageDesign(name, engine, {"i": 1, "o": 1, "g": 1, "m": 1, "N": 1, "q": 1, "p": 1} | folds, 0, fifo)


# ---- by hand -----------------------------------------------------------------------------------------------------


def test_two_layers_by_hand() -> None:
    """1 → 2 → 1 channels over 4×4 pixels, one multiplier each.

    The source starts with cycle 0 and writes the first pixel in cycle 1. A reads it in 2, computes its two filters in 3
    and 4 and writes them in 4 and 5. B reads them in 5 and 6, computes its two channels in 6 and 7 and writes their sum
    in 8: 9 cycles for the first pixel. A needs 2 cycles a pixel and so does B: the 15 others follow 2 cycles apart,
    9 + 30 = 39. An image takes A 2·16 = 32 cycles, and so they follow each other.
    """
    workload = Workload("two", (1, 4, 4), (conv("a", "input", 4, 1, 2), conv("b", "a", 4, 2, 1)))
    found = Pipeline(workload, [built("a"), built("b")]).play(5)
    assert found.latency_cycles == 39
    assert found.interval_cycles == 32
    assert [stage.interval_cycles for stage in found.stages] == [32, 32]
    assert found.stages[0].busy == 1


def test_three_layers_by_hand() -> None:
    """A 3×3 layer of one multiplier in the middle: 9 cycles for each of 16 pixels, 144 an image.

    A passes a pixel in every cycle; its first one is written by the end of cycle 4 (source computes and writes in 0 and
    1, A reads, computes, writes in 2, 3, 4). B's first window is complete with pixel (2, 2) of a padded map 6 wide, the
    15th to be read. The first seven are padding, read in cycles 0 … 6; the others are there in time, a cycle each: the
    15th is read in cycle 14. The window takes cycles 15 … 23, its result is written in 24. C reads it in 25, computes
    in 26, writes in 27: 28 cycles for the first pixel. The other 15 follow 9 cycles apart: 28 + 135 = 163.
    """
    layers = (conv("a", "input", 4, 1, 1), conv("b", "a", 4, 1, 1, kernel=3), conv("c", "b", 4, 1, 1))
    found = Pipeline(Workload("three", (1, 4, 4), layers), [built("a"), built("b"), built("c")]).play(5)
    assert found.latency_cycles == 163
    assert found.interval_cycles == 144
    assert found.stages[0].starved == 0  # nothing holds the first layer back where FIFOs are infinite


# ---- against the equations ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["u250", "zcu104", "zcu102"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_dense_designs_take_what_the_equations_say(name: str, device: str) -> None:
    workload = trace(timm.create_model(name), (3, 160, 160), name)
    accelerator = DataflowAccelerator(load_device(device), DataflowOptions(tolerance=0.01, partitions="never"))
    estimate = accelerator.estimate(workload, SparsityProfile.dense(workload))
    pipeline = Pipeline(workload, [StageDesign.of(row) for row in estimate.layers])
    found = pipeline.play(24, settle=16)
    assert found.interval_cycles == pytest.approx(max(row.interval_cycles for row in estimate.layers), rel=5e-3)


@pytest.mark.parametrize(
    ("name", "pixels", "device"),
    [("test_efficientnet", 160, "zcu104"), ("mobilenetv2_100", 64, "zcu102"), ("mobilenetv3_large_100", 64, "u250")],
)
def test_the_rule_for_fifos_keeps_the_rate(name: str, pixels: int, device: str) -> None:
    """Networks that it was not fitted on: at least 99 % of the rate with infinite FIFOs."""
    workload = trace(timm.create_model(name), (3, pixels, pixels), name)
    options = DataflowOptions(tolerance=0.01, partitions="never")
    estimate = DataflowAccelerator(load_device(device), options).estimate(workload, SparsityProfile.dense(workload))
    pipeline = Pipeline(workload, [StageDesign.of(row) for row in estimate.layers])
    depths = rule(pipeline, {row.name: row.interval_cycles for row in estimate.layers})
    unlimited, limited = pipeline.play(24, settle=16), pipeline.play(24, depths, settle=16)
    assert limited.interval_cycles <= unlimited.interval_cycles / 0.99
    assert all(limited.peaks[fifo.name] <= depths[fifo.name] for fifo in pipeline.fifos)


# ---- FIFOs -------------------------------------------------------------------------------------------------------


def residual() -> tuple[Workload, list[StageDesign]]:
    add = Operation("add", OperationKind.ADD, ("b", "a"), FeatureMap(8, 8, 2), FeatureMap(8, 8, 2))
    layers = (conv("a", "input", 8, 2, 2), conv("b", "a", 8, 2, 2, kernel=3), add)
    designs = [built("a", i=2, o=2), built("b", i=2, o=2, N=9), StageDesign("add", "stream", {"s": 2})]
    return Workload("residual", (2, 8, 8), layers), designs


def test_a_residual_fifo_that_is_too_small_deadlocks_and_is_named() -> None:
    pipeline = Pipeline(*residual())
    depths = generous(pipeline)
    with pytest.raises(Deadlock, match="FIFO 'add <- a' is full with 4 entries while add waits for b") as caught:
        pipeline.play(4, depths | {"add <- a": 4})
    assert caught.value.fifo == "add <- a"
    assert pipeline.play(4, depths).interval_cycles == 100  # b reads 10 × 10 padded pixels


def test_sized_fifos_are_small_and_keep_the_rate() -> None:
    pipeline = Pipeline(*residual())
    depths = size(pipeline, generous(pipeline), images=8, settle=4)
    assert pipeline.play(8, depths, settle=4).interval_cycles <= 1.01 * 100
    # the first result of b needs two rows of its window, and no FIFO more than twice what is needed
    assert 8 <= depths["add <- a"] <= 40
    with pytest.raises(Deadlock):
        pipeline.play(8, depths | {"add <- a": 4}, settle=4)


def test_back_pressure_never_changes_what_passes() -> None:
    """Deeper FIFOs are never slower."""
    pipeline = Pipeline(*residual())
    depths = generous(pipeline)
    intervals = [
        pipeline.play(6, depths | {"add <- a": depth}, settle=3).interval_cycles for depth in (14, 16, 20, 24, 32, 64)
    ]
    assert intervals == sorted(intervals, reverse=True)


def test_squeeze_excite_waits_for_the_whole_map() -> None:
    """A gate out of a global pool: its map's FIFO must hold an image, or nothing ever moves."""
    pool = Operation("pool", OperationKind.GLOBAL_POOL, ("a",), FeatureMap(4, 4, 2), FeatureMap(1, 1, 2))
    multiply = Operation("mul", OperationKind.MULTIPLY, ("a", "pool"), FeatureMap(4, 4, 2), FeatureMap(4, 4, 2))
    workload = Workload("gate", (2, 4, 4), (conv("a", "input", 4, 2, 2), pool, multiply))
    designs = [built("a", i=2, o=2), StageDesign("pool", "stream", {"s": 2}), StageDesign("mul", "stream", {"s": 2})]
    pipeline = Pipeline(workload, designs)
    with pytest.raises(Deadlock, match="'mul <- a'"):
        pipeline.play(4, generous(pipeline) | {"mul <- a": 12})
    found = pipeline.play(8, generous(pipeline), settle=4)
    assert found.interval_cycles == 16
    assert found.peaks["mul <- a"] >= 16


def test_wrong_depths_are_refused() -> None:
    pipeline = Pipeline(*residual())
    with pytest.raises(ValueError, match="FIFO 'b' has a depth of 0; it must be ≥ 1"):
        pipeline.play(4, {"b": 0})
    with pytest.raises(ValueError, match="there is no FIFO 'nowhere'"):
        pipeline.play(4, {"nowhere": 3})
    with pytest.raises(ValueError, match="2 images are too few"):
        pipeline.play(2)


def test_a_design_of_another_network_is_refused() -> None:
    workload, designs = residual()
    with pytest.raises(ValueError, match="does not belong to residual: it has 'c'"):
        Pipeline(workload, [*designs, built("c")])
    with pytest.raises(ValueError, match="does not belong to residual: it lacks 'add'"):
        Pipeline(workload, designs[:-1])
    with pytest.raises(ValueError, match="add is a add and needs the folds s"):
        Pipeline(workload, [*designs[:-1], built("add")])


# ---- engines that skip zeros, against brute force --------------------------------------------------------------


@st.composite
def sparse_layer(draw: st.DrawFn) -> tuple[Operation, StageDesign, NonZeros]:
    kernel, groups = draw(st.sampled_from([1, 1, 3])), draw(st.sampled_from([1, 1, 2]))
    stride, width = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    channels, filters = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    layer = conv("layer", "input", width, channels, filters, kernel, stride)
    dilation = draw(st.sampled_from([1, 1, 2]))
    pad = kernel // 2 * dilation
    layer = replace(layer, padding=(pad, pad), dilation=(dilation, dilation), groups=groups)
    i, o = draw(st.integers(1, channels // groups)), draw(st.integers(1, filters // groups))
    m = i if kernel == 1 and draw(st.booleans()) else 1
    folds = {"i": i, "o": o, "g": draw(st.integers(1, groups)), "m": m, "N": draw(st.integers(1, kernel * kernel * m))}
    folds["p"] = folds["q"] = draw(st.integers(1, 2)) if i * folds["g"] == channels and stride == 1 else 1
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    activations = np.zeros((2, width + 2 * pad, width + 2 * pad, channels), bool)
    inside = slice(pad, pad + width)
    activations[:, inside, inside] = random.random((2, width, width, channels)) < draw(st.floats(0, 1))
    weights = random.random((filters, channels // groups, kernel, kernel)) < draw(st.floats(0, 1))
    return layer, built("layer", "crossbar", draw(st.sampled_from([0, 1, 3])), **folds), NonZeros(activations, weights)


def durations(layer: Operation, design: StageDesign, nonzeros: NonZeros) -> list[list[list[int]]]:
    """Cycles of every engine in every round of every image, counted pair by pair."""
    folds, kernels = design.folds, nonzeros.weights
    per_group, filters_per_group = layer.channels_per_group, layer.filters_per_group
    shaped = kernels.reshape(layer.groups, filters_per_group, per_group, -1)
    filters = dealt(shaped.mean(axis=(0, 2, 3)), folds["o"])
    channels = bundled(np.zeros(per_group), folds["i"] // folds["m"], folds["m"])
    groups = dealt(np.zeros(layer.groups), folds["g"])
    across = math.ceil(layer.result.width / folds["p"])
    images = []
    for image in nonzeros.activations:
        rounds = []
        for y, column, gs, cs, fs in itertools.product(
            range(layer.result.height), range(across), groups, channels, filters
        ):
            engines = []
            for p, g, bundle, f in itertools.product(range(folds["p"]), gs, cs, fs):
                x, pairs = column * folds["p"] + p, 0
                if x < layer.result.width and g >= 0 and f >= 0:
                    for c, dy, dx in itertools.product(bundle, range(layer.kernel[0]), range(layer.kernel[1])):
                        if c >= 0 and kernels[g * filters_per_group + f, c, dy, dx]:
                            row = y * layer.stride[0] + dy * layer.dilation[0]
                            pairs += image[row, x * layer.stride[1] + dx * layer.dilation[1], g * per_group + c]
                engines.append(max(math.ceil(pairs / folds["N"]), 1))
            rounds.append(engines)
        images.append(rounds)
    return images


@given(sparse_layer())
def test_sparse_engines_take_the_cycles_of_their_pairs(case: tuple[Operation, StageDesign, NonZeros]) -> None:
    """One layer that always has its input: in lock-step the sum of the slowest engines' cycles; decoupled, D rounds
    ahead of the slowest at most."""
    layer, design, nonzeros = case
    workload = Workload("one", (layer.source.channels, layer.source.height, layer.source.width), (layer,))
    pipeline = Pipeline(workload, [design], {"layer": nonzeros})
    images = durations(layer, design, nonzeros)
    found = pipeline.play(12, settle=4)
    stage = found.stages[0]
    played = [rounds for number in range(1, 12) for rounds in images[number % 2]]  # the first image is not counted
    busy = sum(float(np.mean(engines)) for engines in played) / 11
    assert stage.interval_cycles * stage.busy / (stage.busy + stage.uneven) == pytest.approx(busy, rel=1e-6)
    if design.engine_fifo == 0:
        assert stage.interval_cycles == pytest.approx(sum(max(engines) for engines in played) / 11, rel=1e-6)
    finished: list[float] = []
    engines_free = np.zeros(len(images[0][0]))
    for number in range(12):
        for round_cycles in images[number % 2]:
            held = finished[-1 - design.engine_fifo] if len(finished) > design.engine_fifo else 0.0
            engines_free = np.maximum(engines_free, held) + np.array(round_cycles)
            finished.append(max(engines_free.max(), finished[-1] if finished else 0.0))
    alone = (finished[-1] - finished[5 * len(images[0]) - 1]) / 7
    reads = -(-layer.padded_pixels // design.folds["q"]) * -(
        -layer.source.channels // (design.folds["i"] * design.folds["g"])
    )
    if alone > 1.2 * max(reads, layer.result.words) + 2:  # neither its input nor its output holds it up
        assert found.interval_cycles == pytest.approx(alone, rel=0.02)


def test_sparse_layers_need_their_operands() -> None:
    layer = conv("layer", "input", 4, 2, 2, 3)
    workload, design = Workload("one", (2, 4, 4), (layer,)), built("layer", "crossbar")
    with pytest.raises(ValueError, match="layer has engines that skip zeros, but no activations"):
        Pipeline(workload, [design]).play(3)
    wrong = NonZeros(np.ones((1, 6, 6, 2), bool), np.ones((3, 2, 3, 3), bool))
    with pytest.raises(ValueError, match=r"weights of layer are \(3, 2, 3, 3\), not \(2, 2, 3, 3\)"):
        Pipeline(workload, [design], {"layer": wrong}).play(3)
    small = NonZeros(np.ones((1, 4, 4, 2), bool), np.ones((2, 2, 3, 3), bool))
    with pytest.raises(ValueError, match="too few for its windows"):
        Pipeline(workload, [design], {"layer": small}).play(3)


def test_dense_operands_are_like_dense_engines() -> None:
    """Without a zero, lock-step engines take ⌈M/N⌉ in every round, inside and at the padding less."""
    layer = conv("layer", "input", 6, 4, 4, 1)
    workload = Workload("one", (4, 6, 6), (layer,))
    full = NonZeros(np.ones((1, 6, 6, 4), bool), np.ones((4, 4, 1, 1), bool))
    found = steady(Pipeline(workload, [built("layer", "crossbar", i=4, m=4, N=3)], {"layer": full}))
    assert found.interval_cycles == 36 * 4 * 2
