"""The latency of an image in an empty pipeline, against the simulator and by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import timm

from benchmarks import boards as published
from hass_train.hardware import (
    DataflowAccelerator,
    DataflowOptions,
    Estimate,
    LayerEstimate,
    SparsityProfile,
    Workload,
    load_device,
    trace,
)
from hass_train.hardware.dataflow.exploration.latency import latency_cycles
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.estimate import Resources
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind
from tests.hardware.mechanisms import MECHANISMS


def conv(name: str, read: str, size: int, kernel: int = 3, channels: int = 1) -> Operation:
    """A convolution that keeps the size of the map."""
    shape = FeatureMap(size, size, channels)
    sides = (kernel, kernel), (1, 1), (kernel // 2, kernel // 2)
    return Operation(name, OperationKind.CONV, (read,), shape, shape, *sides)


def row(name: str, t: int) -> LayerEstimate:
    """The row of a layer of 10×10 pixels, whose rounds take t cycles, and reading the padded map 144."""
    folds = {"i": 1, "o": 1, "g": 1, "m": 1, "N": 1, "q": 1, "p": 1}
    interval = max(100 * t, 144)
    return LayerEstimate(name, "conv", interval, "", "dense", folds, Resources(), initiation_interval=t)


def estimated(name: str, size: int, device: str) -> tuple[Workload, Estimate]:
    """A dense network on a device."""
    workload = trace(timm.create_model(name, num_classes=10), (3, size, size))
    options = DataflowOptions(weight_bits=8, activation_bits=8, tolerance=0.05, max_replicas=1, partitions="never")
    return workload, DataflowAccelerator(load_device(device), options).estimate(
        workload, SparsityProfile.dense(workload)
    )


def test_a_layer_ends_its_interval_after_it_began() -> None:
    """10×10 pixels arrive in 100 cycles; a slow layer computes from the twelfth on, a fast one reads padding too."""
    network = Workload("one", (1, 10, 10), (conv("a", "input", 10),))
    assert latency_cycles(network, [row("a", 1)]) == 144
    assert latency_cycles(network, [row("a", 10)]) == pytest.approx(12 + 1000)


def test_a_second_layer_adds_what_its_last_pixels_take() -> None:
    """The interval of the slowest layer counts once, not once for each image that a window waits for."""
    network = Workload("two", (1, 10, 10), (conv("a", "input", 10), conv("b", "a", 10)))
    assert 1012 < latency_cycles(network, [row("a", 10), row("b", 1)]) < 1012 + 20
    assert 1012 + 100 < latency_cycles(network, [row("a", 10), row("b", 10)]) < 1012 + 250


def test_a_global_pool_waits_for_the_whole_map() -> None:
    shape = FeatureMap(10, 10, 4)
    pool = Operation("p", OperationKind.GLOBAL_POOL, ("input",), shape, FeatureMap(1, 1, 4))
    stream = LayerEstimate("p", "global_pool", 400, "", "stream", {"s": 1}, Resources())
    assert latency_cycles(Workload("pool", (4, 10, 10), (pool,)), [stream]) == 400 + 4


@pytest.mark.parametrize(
    ("name", "size", "device", "within"),
    [
        ("test_resnet", 32, "zcu104", 0.15),
        ("mobilenetv3_small_050", 64, "zcu104", 0.20),  # squeeze and excitation, whose gates wait for whole maps
        ("resnet18", 64, "zcu104", 0.10),  # weights from outside, band by band
    ],
)
def test_the_equation_is_near_the_simulator(name: str, size: int, device: str, within: float) -> None:
    workload, estimate = estimated(name, size, device)
    designs = [StageDesign.of(one) for one in estimate.layers]
    simulated = Pipeline(workload, designs).play(3).latency_cycles
    assert latency_cycles(workload, estimate.layers) == pytest.approx(simulated, rel=within)
    assert estimate.latency_ms * 1e3 * estimate.clock_mhz == pytest.approx(latency_cycles(workload, estimate.layers))


@pytest.mark.parametrize("name", ["group norm", "mean of rows", "mean of columns", "softmax of pixels",
                                  "attention of channels", "bilinear", "adaptive average", "fold", "pixel unshuffle",
                                  "windows of rows", "windows of a batch"])  # fmt: skip
def test_operations_that_wait_for_blocks_are_near_the_simulator_too(name: str) -> None:
    workload = trace(MECHANISMS[name], (3, 32, 32))
    options = DataflowOptions(weight_bits=8, activation_bits=8, tolerance=0.05, max_replicas=1, partitions="never")
    rows = (
        DataflowAccelerator(load_device("zcu104"), options).estimate(workload, SparsityProfile.dense(workload)).layers
    )
    simulated = Pipeline(workload, [StageDesign.of(one) for one in rows]).play(3).latency_cycles
    assert latency_cycles(workload, rows) == pytest.approx(simulated, rel=0.08)


def test_boards_that_others_measured() -> None:
    """Six accelerators of MLPerf Tiny: within 10 % of what was measured, the host's time fitted on two of them."""
    boards = {one.name: one for one in map(published.Board, json.loads(published.DATA.read_text())["designs"])}
    start, slope = published.host(boards)
    assert start > 0 < slope
    assert len(boards) == 6
    for board in boards.values():
        found = board.latency_us + start + slope * board.words
        assert found == pytest.approx(board.measured_us, rel=0.10), board.name
        assert board.latency_us == pytest.approx(board.simulated_us, rel=0.10), board.name
        assert board.slowest.interval_cycles / board.clock_mhz < board.measured_us
        dsp = sum(row.resources.dsp for row in board.rows)
        assert dsp == pytest.approx(board.data["vivado"]["dsp"], rel=0.10)


def test_slower_layers_are_later_done() -> None:
    workload, estimate = estimated("test_resnet", 32, "zcu104")
    before = latency_cycles(workload, estimate.layers)
    afters = []
    for place, one in enumerate(estimate.layers):
        slower = [*estimate.layers]
        twice = {"interval_cycles": 2 * one.interval_cycles, "initiation_interval": 2 * one.initiation_interval}
        slower[place] = replace(one, **twice)  # type: ignore[arg-type]
        afters.append(latency_cycles(workload, slower))
    assert min(afters) >= before
    assert max(afters) > before + max(one.interval_cycles for one in estimate.layers) / 4
