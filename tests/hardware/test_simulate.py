"""The simulator: by hand, against brute force, against the equations, and where FIFOs are too small."""

from __future__ import annotations

import numpy as np
import pytest
import timm

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
from hass_train.hardware.dataflow.simulator.packing import NonZeros
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
    1, A reads, computes, writes in 2, 3, 4). B's first window is complete with pixel (1, 1) of a map 5 wide, whose last
    column is its border: the 7th to be read, from cycle 5 on, one a cycle, so in cycle 11. The window takes cycles
    12 … 20, its result is written in 21. C reads it in 22, computes in 23, writes in 24: 25 cycles for the first pixel.
    The other 15 follow 9 cycles apart: 25 + 135 = 160.
    """
    layers = (conv("a", "input", 4, 1, 1), conv("b", "a", 4, 1, 1, kernel=3), conv("c", "b", 4, 1, 1))
    found = Pipeline(Workload("three", (1, 4, 4), layers), [built("a"), built("b"), built("c")]).play(5)
    assert found.latency_cycles == 160
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
    depths = rule(
        pipeline,
        {row.name: row.interval_cycles for row in estimate.layers},
        {row.name: row.urgency for row in estimate.layers},
    )
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
    assert pipeline.play(4, depths).interval_cycles == 81  # b reads 9 × 9 pixels


def test_sized_fifos_are_small_and_keep_the_rate() -> None:
    pipeline = Pipeline(*residual())
    depths = size(pipeline, generous(pipeline), images=8, settle=4)
    assert pipeline.play(8, depths, settle=4).interval_cycles <= 1.01 * 81
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


# ---- operands (`test_simulate_kinds` has the engines that skip zeros) ---------------------------------------------


def test_operands_must_be_the_layers() -> None:
    layer = conv("layer", "input", 4, 2, 2, 3)
    workload, design = Workload("one", (2, 4, 4), (layer,)), built("layer", "crossbar")
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
