"""FINN's folding configuration of a run (`ApplyConfig`; FINN and finn-plus).

Nodes have the names that FINN gives them when layers are specialised (`KIND_STYLE_COUNT`), counted in the order of the
network, with standalone thresholds. FINN multiplies by zeros too, so a layer with the multipliers of the design takes
as long as a dense one; all other nodes are as wide as the slowest layer then needs.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hass_train.export.peer_run import PeerRun
from hass_train.hardware.arithmetic import ceil_div
from hass_train.precision.graph import LAYERS, Kind
from hass_train.precision.operation import IntegerOperation
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath, write_text

TOOL, CONFIG = "FINN", "finn.json"
_MEMORIES = {"lutram": "distributed", "bram": "block"}  # UltraRAM takes weights that are written at run time
_THRESHOLDED = 8  # bits of values that FINN makes by thresholds
_RTL_BITS = 4  # fewest bits of both operands for which FINN takes its multipliers in RTL
Plain = dict[str, Any]


@dataclass
class _Nodes:
    """Nodes under construction, each a name and its attributes."""

    made: dict[str, Plain] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, **attributes: Any) -> None:
        """Append a node of a kind, `KIND_STYLE`."""
        count = self.counts.get(kind, 0)
        self.made[f"{kind}_{count}"] = attributes
        self.counts[kind] = count + 1


@dataclass(frozen=True)
class _Layer:
    """How FINN folds a layer: `parallel` of `filters` (PE), `inputs` of `window` (SIMD).

    Args:
        parallel, inputs: the folds.
        cycles: for an image.
    """

    parallel: int
    inputs: int
    cycles: int


def save_finn(folder: AnyPath) -> list[Path]:
    """Write `finn.json` into a run's directory; returns its path.

    Raises:
        UserError: the run lacks something, or its design has parts or copies.
    """
    path = Path(folder) / CONFIG
    write_text(path, json.dumps(finn_config(PeerRun.read(folder, TOOL)), indent=1))
    return [path]


def finn_config(run: PeerRun) -> Plain:
    """The folding configuration of a run: `Defaults`, then attributes by the names of nodes.

    Raises:
        UserError: the network has words that FINN does not make by thresholds, tables or activation thresholds.
    """
    run.check_plain(TOOL)
    for one in run.network.operations:
        if one.kind in LAYERS and (bits := max(_operand_bits(run, one))) > _THRESHOLDED:
            raise UserError(f"{one.name} has words of {bits} bits, and {TOOL} takes {_THRESHOLDED}; use precision=int8")
    network, nodes = run.network, _Nodes()
    layers = {one.name: _layer(run, one) for one in network.operations if one.kind in LAYERS}
    slowest = max(one.cycles for one in layers.values())
    maps = {"input": network.input_shape} | {one.name: one.shape[1:] for one in network.operations}
    if network.input.bits <= _THRESHOLDED:
        nodes.add("Thresholding_rtl", PE=_fold(network.input_shape[0], math.prod(network.input_shape), slowest))
    for one in network.operations:
        if one.kind in LAYERS:
            _write_layer(nodes, run, one, layers[one.name], maps[one.inputs[0]], slowest)
        elif one.kind is Kind.MAX_POOL:
            _write_pool(nodes, one, maps[one.inputs[0]], slowest)
        if one.kind in _ROUNDED and one.output.bits <= _THRESHOLDED:
            nodes.add("Thresholding_rtl", PE=_fold(one.shape[1], math.prod(one.shape), slowest))
    return {"Defaults": {}, **nodes.made}


_ROUNDED = LAYERS | {Kind.ADD}
"""Operations behind which FINN has thresholds."""


def _operand_bits(run: PeerRun, one: IntegerOperation) -> tuple[int, int]:
    """Bits of a layer's weights, as wide as the largest needs, and of the values that it reads."""
    return int(run.network.tensors_of(one)["weight"].abs().max()).bit_length() + 1, one.sources[0].bits


def _layer(run: PeerRun, one: IntegerOperation) -> _Layer:
    """The folds with which a layer has at least the multipliers of its design, filters as in the design first."""
    weight, folds = run.network.tensors_of(one)["weight"], run.design(one.name).folds
    filters, window = len(weight), weight[0].numel()
    multipliers = folds["N"] * (folds["i"] // folds["m"]) * folds["o"] * folds["g"] * folds["p"]
    if _depthwise(one, weight.shape):  # pixels of a window at once only with all channels
        parallel = _at_least(filters, multipliers)
        inputs = _at_least(window, ceil_div(multipliers, parallel)) if parallel == filters else 1
    else:
        window *= one.groups  # FINN fills the gaps between groups with zeros
        inputs = _at_least(window, ceil_div(multipliers, _at_least(filters, folds["o"] * folds["g"])))
        parallel = _at_least(filters, ceil_div(multipliers, inputs))
    pixels = math.prod(one.shape[2:])
    return _Layer(parallel, inputs, pixels * filters * window // (parallel * inputs))


def _write_layer(
    nodes: _Nodes, run: PeerRun, one: IntegerOperation, layer: _Layer, source: tuple[int, ...], slowest: int
) -> None:
    """Append the padding, the window and the multipliers of a layer."""
    weight, design = run.network.tensors_of(one)["weight"], run.design(one.name)
    depthwise = _depthwise(one, weight.shape)
    if depthwise:
        _write_window(nodes, one, tuple(weight.shape[2:]), source, slowest, (layer.parallel, layer.inputs > 1))
    elif one.kind is Kind.CONV:
        _write_window(nodes, one, tuple(weight.shape[2:]), source, slowest)
    memory = _MEMORIES.get(run.memories.get(one.name, ""), "auto")
    style = "rtl" if min(_operand_bits(run, one)) >= _RTL_BITS and not depthwise else "hls"
    nodes.add(
        f"{'VVAU' if depthwise else 'MVAU'}_{style}", PE=layer.parallel, SIMD=layer.inputs, ram_style=memory,
        resType=design.multiplier, mem_mode="internal_decoupled",
    )  # fmt: skip


def _write_window(
    nodes: _Nodes, one: IntegerOperation, kernel: tuple[int, ...], source: tuple[int, ...], slowest: int,
    given: tuple[int, bool] | None = None,
) -> None:  # fmt: skip
    """Append the padding and the windows of a convolution or pool; a 1×1 one without stride has none.

    Args:
        nodes: to append to.
        one: the operation.
        kernel: its rows and columns.
        source: the map that it reads.
        slowest: cycles that an image may take.
        given: channels at once, and whether all pixels of a window come together, where the reader says so.
    """
    channels, rows, columns = source
    left, right, top, bottom = one.padding
    padded = (rows + top + bottom) * (columns + left + right) * channels
    if any(one.padding):
        nodes.add("FMPadding_rtl", SIMD=_fold(channels, padded, slowest))
    if math.prod(kernel) == 1 and one.stride == (1, 1):
        return
    windows = math.prod(one.shape[2:]) * math.prod(kernel) * channels
    whole = windows // channels > slowest  # even with all channels at once
    simd, whole = given or (_fold(channels, padded if whole else windows, slowest), whole)
    nodes.add("ConvolutionInputGenerator_rtl", SIMD=simd, parallel_window=int(whole), ram_style="auto")


def _write_pool(nodes: _Nodes, one: IntegerOperation, source: tuple[int, ...], slowest: int) -> None:
    """Append the padding, the windows and the maxima of a pool."""
    parallel = _fold(source[0], math.prod(one.shape) * math.prod(one.kernel), slowest)
    _write_window(nodes, one, one.kernel, source, slowest, (parallel, False))
    nodes.add("Pool_hls", PE=parallel)


def _depthwise(one: IntegerOperation, shape: tuple[int, ...]) -> bool:
    """Whether each channel has a filter of its own."""
    return one.kind is Kind.CONV and one.groups == shape[0] > 1 and shape[1] == 1


def _fold(whole: int, words: int, cycles: int) -> int:
    """The smallest divisor of `whole` with which so many words take no more than so many cycles; else all."""
    return _at_least(whole, ceil_div(words, cycles))


def _at_least(whole: int, wanted: int) -> int:
    """The smallest divisor that is at least `wanted`; else all."""
    return next(one for one in range(min(wanted, whole), whole + 1) if whole % one == 0)
