"""hls4ml's configuration of a run: precisions and reuse factors with which it compiles `model.qonnx.onnx`.

Layers have the names that QONNX's `cleanup_model` gives nodes: `KIND_COUNT`. hls4ml multiplies by zeros too where
multipliers are shared, so a layer with the multipliers of the design takes as long as a dense one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hass_train.export.onnx import onnx_model
from hass_train.export.onnx_graph import QonnxGraph
from hass_train.export.peer_run import PeerRun
from hass_train.precision.formats import Format
from hass_train.precision.graph import LAYERS
from hass_train.precision.operation import IntegerOperation
from hass_train.runtime.files import AnyPath, write_text

TOOL, CONFIG = "hls4ml", "hls4ml.json"
_IMAGE = "fixed<48,16>"  # images are real numbers, which the network's first node rounds
_PRODUCTS = {"Conv", "Gemm", "MatMul"}
Plain = dict[str, Any]


@dataclass(frozen=True)
class Fixed:
    """A fixed-point type of two's complement, wide enough for some numbers.

    Args:
        above: bits before the binary point, the sign included.
        below: bits behind it.
    """

    above: int
    below: int

    @classmethod
    def of(cls, bits: int, exponents: Iterable[int]) -> Fixed:
        """The type of integers of some bits (signed) times powers of two."""
        each = list(exponents)
        return cls(bits + max(each), -min(each))

    def joined(self, other: Fixed) -> Fixed:
        """The type that holds the numbers of both."""
        return Fixed(max(self.above, other.above), max(self.below, other.below))

    def __str__(self) -> str:
        return f"fixed<{self.above + self.below},{self.above}>"


def save_hls4ml(folder: AnyPath) -> list[Path]:
    """Write `hls4ml.json` into a run's directory; returns its path.

    Raises:
        UserError: the run lacks something, its design has parts or copies, or it has numbers too wide for ONNX.
    """
    path = Path(folder) / CONFIG
    write_text(path, json.dumps(hls4ml_config(PeerRun.read(folder, TOOL)), indent=1))
    return [path]


def hls4ml_config(run: PeerRun) -> Plain:
    """The `hls_config` of a run, for `convert_from_onnx_model`.

    Raises:
        UserError: the network has numbers too wide for ONNX, tables or activation thresholds.
    """
    run.check_plain(TOOL)
    graph = QonnxGraph()
    onnx_model(run.network, graph)
    named = _names(graph)
    layers: dict[str, Plain] = {"global_in": {"Precision": {"result": _IMAGE}}}
    widest = _type(run.network.input)
    for one in run.network.operations:
        widest = widest.joined(_type(one.output))
        if one.kind not in LAYERS:
            continue
        exponents = run.network.tensors_of(one)["exponents"].tolist()
        own = Fixed.of(one.accumulator_bits, [each + one.sources[0].exponent for each in exponents])
        # weights of filters that differ in scale are integers, and the scales a layer behind
        raw = own if len(set(exponents)) == 1 else Fixed.of(one.accumulator_bits, [one.sources[0].exponent])
        scales = Fixed(max(exponents) + 2, -min(exponents))
        widest = widest.joined(own).joined(raw).joined(scales)
        for kind, name in (named[id(node)] for node in graph.written[one.name]):
            if kind in _PRODUCTS:
                layers[name] = {**_folds(run, one), "Precision": {"accum": str(raw), "result": str(raw)}}
            elif kind == "Add":
                layers[name] = {"Precision": {"result": str(own)}}
    model = {"Precision": str(widest), "ReuseFactor": 1, "Strategy": "Latency"}
    return {"Model": model, "LayerName": layers}


def _type(word: Format) -> Fixed:
    return Fixed.of(word.bits + (not word.signed), [word.exponent])


def _names(graph: QonnxGraph) -> dict[int, tuple[str, str]]:
    """Kinds and names of nodes by their identity."""
    counts: dict[str, int] = {}
    found = {}
    for node in graph.nodes:
        count = counts.get(node.op_type, 0)
        found[id(node)] = node.op_type, f"{node.op_type}_{count}"
        counts[node.op_type] = count + 1
    return found


def _folds(run: PeerRun, one: IntegerOperation) -> Plain:
    """The reuse factor with which a layer has at least its design's multipliers, and the strategy that takes it."""
    weight, folds = run.network.tensors_of(one)["weight"], run.design(one.name).folds
    inputs, outputs = weight[0].numel(), len(weight)
    multipliers = folds["N"] * (folds["i"] // folds["m"]) * folds["o"] * folds["g"]  # of one column of pixels
    reuse = reuse_factor(inputs, outputs, multipliers)
    resource = reuse > 1 and one.groups == 1  # depthwise convolutions have no such strategy
    own: Plain = {"ReuseFactor": reuse, "Strategy": "Resource" if resource else "Latency"}
    return own if folds["p"] == 1 else {**own, "ParallelizationFactor": folds["p"]}


def reuse_factor(inputs: int, outputs: int, multipliers: int) -> int:
    """The most products that one of so many multipliers, or more, computes for a pixel.

    A reuse factor divides a filter's weights. Multiples of them are valid too, but with these hls4ml 1.3 computes
    something else in convolutions (strategy `Resource`, `io_parallel`).

    Args:
        inputs: weights of a filter.
        outputs: filters.
        multipliers: multipliers that there shall be at least.
    """
    return max(one for one in range(1, inputs + 1) if inputs % one == 0 and inputs * outputs // one >= multipliers)
