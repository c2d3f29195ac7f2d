"""Designs that others built and measured, against our equations and our simulator.

    python benchmarks/boards.py            # prints the tables of results/boards.md; half a minute

Six accelerators of MLPerf Tiny v1.1 (github.com/mlcommons/tiny_results_v1.1, closed/fpgaconvnet) are loaded with the
folds that their makers published (boards.json). They answer one image at a time, so what was measured is the latency of
an image in an empty pipeline, and what the host does for it: cache flushes, the DMA and its polling. The host's time is
taken to be A + B·(words of the image), fitted on the two designs of `FITTED` and checked on the others.

Clocks are what the boards were set to, which is in the hand-off files of the submission (`hw/design_1_wrapper.hdf`, the
frequency of FCLK_CLK0; for the ZyBo in its boot image too). The README says other frequencies for three of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import cycles, memory
from hass_train.hardware.dataflow.costs.branches import operand_fifos
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.cost_model import Schedule
from hass_train.hardware.dataflow.costs.engine_kinds import variants
from hass_train.hardware.dataflow.costs.logic import Folds, Widths
from hass_train.hardware.dataflow.costs.models import cost_model
from hass_train.hardware.dataflow.exploration.latency import latency_cycles
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.estimate import LayerEstimate, Resources
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, OperationKind, Workload

DATA = Path(__file__).resolve().parent / "boards.json"
FITTED = ("zc706 ic", "zc706 vww")
_STREAMS = {
    "BATCH_NORM": (OperationKind.MULTIPLY, "constant"),
    "ACTIVATION": (OperationKind.ACTIVATION, "relu"),
    "ELTWISE": (OperationKind.ADD, ""),
    "AVERAGE_POOLING": (OperationKind.GLOBAL_POOL, ""),
}
_WIRES = {"SQUEEZE", "SPLIT"}  # change the width of streams, or copy them
WIDTHS = Widths(data=9, weight=8, accumulator=24)


@dataclass(frozen=True)
class Board:
    """A design that was built and measured.

    Args:
        data: its entry of boards.json.
    """

    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The board and the task."""
        return f"{self.data['board']} {self.data['task']}"

    @property
    def clock_mhz(self) -> float:
        """What the board was set to; what the README says where the hand-off file is not at hand."""
        return float(self.data["fclk_mhz"] or self.data["clock_mhz"])

    @property
    def measured_us(self) -> float:
        """The measured time of an image."""
        return 1e6 / float(self.data["measured_ips"])

    @property
    def words(self) -> int:
        """The words of an image."""
        channels, height, width = self.workload.input_shape
        return channels * height * width

    @cached_property
    def workload(self) -> Workload:
        """The network; padding that differs between sides counts as the larger of both on either."""
        passed: dict[str, str] = {}
        operations = []
        for layer in self.data["layers"]:
            inputs = tuple(
                NETWORK_INPUT if name == layer["name"] else passed.get(name, name) for name in layer["inputs"]
            )
            if layer["type"] in _WIRES:
                passed[layer["name"]] = inputs[0]
            else:
                operations.append(_operation(layer, inputs))
        first = self.data["layers"][0]
        return Workload(self.name, (first["channels_in"], first["rows_in"], first["cols_in"]), tuple(operations))

    @cached_property
    def designs(self) -> tuple[StageDesign, ...]:
        """How its operations are built."""
        return tuple(_design(layer) for layer in self.data["layers"] if layer["type"] not in _WIRES)

    @cached_property
    def rows(self) -> tuple[LayerEstimate, ...]:
        """Its operations as an estimate has them, weights on the chip."""
        in_luts = {layer["name"] for layer in self.data["layers"] if not layer.get("use_dsp", True)}
        given = zip(self.workload, self.designs, strict=True)
        return tuple(_row(one, design, one.name not in in_luts) for one, design in given)

    @property
    def slowest(self) -> LayerEstimate:
        """The operation that takes longest."""
        return max(self.rows, key=lambda row: row.interval_cycles)

    @cached_property
    def latency_us(self) -> float:
        """The latency by the equation, without the host."""
        return latency_cycles(self.workload, self.rows) / self.clock_mhz

    @cached_property
    def simulated_us(self) -> float:
        """The latency by the simulator, without the host."""
        return Pipeline(self.workload, self.designs).play(3).latency_cycles / self.clock_mhz


def _operation(layer: Mapping[str, Any], inputs: tuple[str, ...]) -> Operation:
    """An operation of the network."""
    source, result = (
        FeatureMap(*(layer[f"{size}_{side}"] for size in ("rows", "cols", "channels"))) for side in ("in", "out")
    )
    if layer["type"] == "CONVOLUTION":
        padding = [
            ceil_div(layer[f"pad_{a}"] + layer[f"pad_{b}"], 2) for a, b in (("top", "bottom"), ("left", "right"))
        ]
        return Operation(
            layer["name"], OperationKind.CONV, inputs, source, result, (layer["kernel_rows"], layer["kernel_cols"]),
            (layer["stride_rows"], layer["stride_cols"]), (padding[0], padding[1]), groups=layer["groups"],
            bias=True,
        )  # fmt: skip
    if layer["type"] == "INNER_PRODUCT":
        return Operation(layer["name"], OperationKind.LINEAR, inputs, _row_of(source), result, bias=True)
    kind, function = _STREAMS[layer["type"]]
    if 1 in (source.channels, result.height) and kind is OperationKind.MULTIPLY:  # written as a column of pixels
        source = result = _row_of(source)
    return Operation(layer["name"], kind, inputs, source, result, function=function)


def _row_of(source: FeatureMap) -> FeatureMap:
    """The words of a map as channels of one pixel."""
    return FeatureMap(1, 1, source.words)


def _design(layer: Mapping[str, Any]) -> StageDesign:
    """The folds of a layer."""
    if layer["type"] in _STREAMS:
        return StageDesign(layer["name"], "stream", {"s": layer["coarse"]})
    folds = {"i": layer["coarse_in"], "o": layer["coarse_out"], "g": layer.get("coarse_group", 1)}
    return StageDesign(layer["name"], "dense", {**folds, "m": 1, "N": layer.get("fine", 1), "q": 1, "p": 1})


def _row(one: Operation, design: StageDesign, in_dsps: bool) -> LayerEstimate:
    """The interval and the resources of an operation, by the equations; multipliers are of DSPs, or of LUTs."""
    costs, folds = cost_model("peer", WIDTHS, "xc7"), design.folds
    if design.engine == "stream":
        streams = np.array([folds["s"]])
        dsp = int(costs.stream(one, streams)[0, 0])
        if one.kind is OperationKind.MULTIPLY:  # scales accumulators
            dsp = int(cycles.dsp_of_multipliers(folds["s"], WIDTHS.accumulator, WIDTHS.accumulator))
        interval = int(cycles.streaming_cycles(one, folds["s"]))
        return LayerEstimate(one.name, one.kind, interval, "stream", "stream", folds, Resources(dsp=dsp))
    i, o, g, n = (np.array([folds[name]]) for name in "iogN")
    ones, none = np.ones_like(i), np.zeros_like(i)
    t, each = ceil_div(one.window, folds["N"]), cycles.passes(one, i, o, g)
    given = Folds(i, o, g, ones, n, ones, ones, none + variants([ComputeEngine.DENSE], False)[0], none)
    schedule = Schedule(each, np.ones(1), np.full(1, float(t)), 1.0)
    block_rams = int(costs.weights(one, given, schedule).bram18[0] + costs.window(one, i * g, ones).bram18[0])
    interval = cycles.interval(
        cycles.compute_cycles(one, i, o, g, t), cycles.input_cycles(one, i, g), cycles.output_cycles(one, o, g)
    )
    used = Resources(dsp=int(costs.compute(one, given)[0, 0]) if in_dsps else 0, bram18=block_rams)
    own = (one.name, one.kind, int(interval[0]), "", "dense", folds, used, "bram")
    return LayerEstimate(*own, initiation_interval=float(t))


def _bank_for_each_engine(one: Operation, row: LayerEstimate) -> int:
    """The block RAMs of a layer's weights if each engine has a memory of its own, and none of them is of LUTs."""
    folds = row.folds
    engines, bits = folds["i"] * folds["o"] * folds["g"], folds["N"] * WIDTHS.weight
    depth = int(ceil_div(one.weights, engines * folds["N"]))
    return engines * max(int(memory.bram18(bits, depth)), 1)


def host(boards: Mapping[str, Board]) -> tuple[float, float]:
    """A and B of the host's time A + B·words, in µs, from the two designs of `FITTED` and the equation."""
    fitted = [boards[name] for name in FITTED]
    slope, start = np.polyfit([one.words for one in fitted], [one.measured_us - one.latency_us for one in fitted], 1)
    return float(start), float(slope)


def _resources(board: Board) -> str:
    """A row of the second table."""
    vivado, joins = board.data["vivado"], operand_fifos(board.workload)
    queues = sum(
        int(memory.bram18(WIDTHS.data * row.folds["s"], ceil_div(words, row.folds["s"])))
        for row in board.rows for words in joins[row.name].words
    )  # fmt: skip
    shared = sum(row.resources.bram18 for row in board.rows) + queues
    apart = queues
    for one, row in zip(board.workload, board.rows, strict=True):
        if one.has_weights:
            streams = np.array([row.folds["i"] * row.folds["g"]])
            windows = memory.window_buffers(one, streams, WIDTHS.data)
            apart += _bank_for_each_engine(one, row) + int(windows.bram18[0])
    dsp = sum(row.resources.dsp for row in board.rows)
    blocks = f"{shared / 2:g} | {apart / 2:g} | {vivado['bram36']}"
    return f"| {board.name} | {dsp} | {vivado['dsp']} | {dsp / vivado['dsp']:.2f} | {blocks} |"


def main() -> None:
    """Print both tables."""
    boards = {one.name: one for one in map(Board, json.loads(DATA.read_text())["designs"])}
    start, slope = host(boards)
    print(f"Host: {start:.1f} µs + {1e3 * slope:.2f} ns · words, from {' and '.join(FITTED)}.\n")
    print(
        "| design | MHz (README) | measured µs | slowest layer | equation, host | error | simulator, host | error | "
        "equation at the README's MHz |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for board in boards.values():
        own = start + slope * board.words
        cells = [f"{board.slowest.interval_cycles / board.clock_mhz:,.1f}"]
        for found in (board.latency_us + own, board.simulated_us + own):
            cells += [f"{found:,.1f}", f"{found / board.measured_us - 1:+.1%}"]
        published = board.latency_us * board.clock_mhz / board.data["clock_mhz"] + own
        cells += [f"{published / board.measured_us - 1:+.1%}"]
        name = f"{board.name}{' (fitted)' * (board.name in FITTED)}"
        clocks = f"{board.clock_mhz:g} ({board.data['clock_mhz']})"
        print(f"| {name} | {clocks} | {board.measured_us:,.1f} | {' | '.join(cells)} |")
    print("\n| design | DSP | Vivado's | ratio | BRAM36 | a memory per engine | Vivado's |")
    print("|---|---|---|---|---|---|---|")
    for board in boards.values():
        print(_resources(board))


if __name__ == "__main__":
    main()
