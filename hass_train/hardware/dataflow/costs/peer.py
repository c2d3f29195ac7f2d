"""The costs of fpgaConvNet's modules, for comparison with its figures and with HASS (hardware-model, section 5).

The regressions are in `logic`. They know two kinds of compute engine, `dense` and `crossbar`, and take two products of
8 bits, or four of 4, to share a DSP in both.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import cycles, logic, memory
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.cost_model import CostModel, Schedule, WeightBanks
from hass_train.hardware.dataflow.costs.engine_kinds import by_kind
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.logic import Folds, Logic, Widths
from hass_train.hardware.dataflow.costs.stream_logic import stream_dsp, stream_logic
from hass_train.hardware.workload import Operation, OperationKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class PeerCosts(CostModel):
    """What fpgaConvNet's synthesis runs say.

    Args:
        bits: word widths.
    """

    engines = (ComputeEngine.DENSE, ComputeEngine.CROSSBAR)
    lists = (ComputeEngine.CROSSBAR,)

    def __init__(self, bits: Widths) -> None:
        self.bits = bits

    def compute(self, layer: Operation, folds: Folds, pixels: int = 1) -> Floats:
        bits, total = self.bits, np.zeros((len(folds), 3))
        wide = max(bits.data, bits.weight)
        products = 4 if wide <= 4 else 2 if wide <= 8 else 1
        total[:, 0] = cycles.dsp_of_multipliers(folds.n * folds.compute_engines, bits.data, bits.weight, products)
        for kind, rows in by_kind(folds.engine):
            modules = _dense if kind.engine is ComputeEngine.DENSE else _crossbar
            for module in _layer(layer, folds[rows], bits, modules(layer, folds[rows], bits)):
                total[rows, 1] += module.lut
                total[rows, 2] += module.ff
        return total

    def weights(self, layer: Operation, folds: Folds, schedule: Schedule) -> WeightBanks:
        pairs, n = layer.window * folds.m, folds.n
        words, depth, stored = (np.empty(len(folds)) for _ in range(3))
        for kind, rows in by_kind(folds.engine):
            one = schedule[rows]
            if kind.engine is ComputeEngine.DENSE:
                words[rows], stored[rows] = n[rows], one.kept
                depth[rows] = np.ceil(one.passes * one.kept) * dense_rounds(pairs[rows], n[rows])
            else:
                words[rows], stored[rows] = pairs[rows], one.compressed
                depth[rows] = np.ceil(one.passes * one.compressed)
        side = folds.g * folds.o * folds.bundles  # the engines of all columns share their weights
        bits = np.full(len(folds), self.bits.weight)
        return WeightBanks(np.ones_like(n), words.astype(np.int64) * side, bits, depth.astype(np.int64), stored)

    def window(self, operation: Operation, streams: Ints, pixels: Ints) -> memory.Buffer:
        return memory.window_buffers(operation, streams, self.bits.data, pixels)

    def fifo(self, words: ArrayLike, depth: ArrayLike) -> memory.Buffer:
        return memory.buffer(self.bits.data, words, depth)

    def stream(self, operation: Operation, streams: Ints) -> Floats:
        used = stream_logic(operation, streams, self.bits)
        return np.stack([stream_dsp(operation) * streams, used.lut, used.ff], 1)


def _layer(layer: Operation, folds: Folds, bits: Widths, engines: Iterator[Logic]) -> Iterator[Logic]:
    """All modules of the designs of a layer, those of their engines among them, all copies of each."""
    read, written = folds.i * folds.g, folds.o * folds.g * folds.p
    yield logic.PAD.times(np.full(len(folds), float(layer.kind is OperationKind.CONV)))
    if layer.window > 1:
        yield logic.sliding_window(read * folds.q, layer.kernel, layer.source.channels / read, bits)
    yield from engines
    yield logic.glue(written, folds.bundles, bits).times(folds.bundles > 1)
    yield logic.bias(written, bits).times(np.full(len(folds), float(layer.bias)))


def _dense(layer: Operation, folds: Folds, bits: Widths) -> Iterator[Logic]:
    """The modules from the sliding window to the accumulators of engines that multiply all pairs."""
    n, engines, pairs = folds.n, folds.compute_engines, layer.window * folds.m
    columns, narrow = folds.i * folds.g * folds.p, folds.n < layer.window
    picked, none = logic.crossbar(n, pairs, folds.m, bits), np.zeros(len(folds))
    if layer.window > logic.FITTED_WINDOW:
        yield Logic(picked * columns * narrow, none)
    elif layer.window > 1:
        yield logic.squeeze(columns, np.full_like(n, layer.window), n, bits).times(narrow)
    yield logic.fork(folds.bundles * folds.g * folds.p, n, bits).times(folds.o > 1)
    yield logic.vector_dot(n, engines, bits)
    yield Logic(picked * (engines * ((folds.m > 1) & (n < pairs))), none)
    passes = ceil_div(layer.source.channels * layer.window, n * folds.bundles * folds.g)
    filters, several = ceil_div(layer.filters_per_group, folds.o), folds.rounds_summed(layer) > 1
    yield logic.accumulate(engines, passes, filters, bits).times(several)


def _crossbar(layer: Operation, folds: Folds, bits: Widths) -> Iterator[Logic]:
    """The same of engines whose multipliers take any non-zero pair."""
    n, engines, pairs = folds.n, folds.compute_engines, layer.window * folds.m
    if 1 < layer.window <= logic.FITTED_WINDOW:
        squeezes = folds.i * folds.g * folds.p * (n < layer.window)
        yield logic.squeeze(1, np.full_like(n, layer.window), n, bits).times(squeezes)
    yield logic.fork(folds.bundles * folds.g * folds.p, pairs, bits).times(folds.o > 1)
    filters, summed = ceil_div(layer.filters_per_group, folds.o), folds.rounds_summed(layer)
    yield logic.sparse_vector_dot(n, pairs, folds.m, filters, bits).times(engines)
    yield logic.decoupling(folds.fifo, pairs, bits).times(engines)
    yield logic.accumulate(1, summed, filters, bits).times(engines * (summed > 1))
