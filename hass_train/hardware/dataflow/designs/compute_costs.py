"""What the designs of a convolution, linear layer or matrix product cost: logic, and memories wherever they may be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import cycles, memory
from hass_train.hardware.dataflow.costs.alike import alike
from hass_train.hardware.dataflow.costs.branches import MARGIN, OperandFifos
from hass_train.hardware.dataflow.costs.compute_engine import Bools, ComputeEngine
from hass_train.hardware.dataflow.costs.cost_model import CostModel, Schedule, WeightBanks
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.fifos import input_depth, rows_depth
from hass_train.hardware.dataflow.costs.logic import Folds
from hass_train.hardware.dataflow.designs.input_side import InputFolds
from hass_train.hardware.dataflow.designs.known_costs import known_costs
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, FORBIDDEN, DesignSpace, WeightsIn
from hass_train.hardware.dataflow.designs.zero_tiles import ZeroTiles
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.workload import Operation, OperationKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_USUAL = np.array([1.0 if one.engine is ComputeEngine.DENSE else 0.6 for one in VARIANTS])
"""Cycles of each variant over those of dense engines, at a sparsity that is taken to be usual."""


class DesignCosts(NamedTuple):
    """What n designs cost.

    Args:
        logic: (n, 3) DSPs, LUTs and flip-flops.
        memories: (places, n, 3) memories, with the weights at each place.
        in_luts: (n,) whether weights that are on the chip are in LUTs.
        places: where the weights are, and the bands of rows that an image is cut into.
    """

    logic: Floats
    memories: Floats
    in_luts: Bools
    places: list[tuple[WeightsIn, int]]


@dataclass(frozen=True)
class ComputeCosts:
    """What designs of a layer cost.

    Args:
        layer: convolution, linear layer or matrix product.
        weight_density: the fraction of its weights that are not zero.
        zero_tiles: tiles of zero weights that engines leave out.
        fifos: the FIFOs of its operands.
        options: design rules.
        model: what modules cost.
        space: the bounds of the design space.
    """

    layer: Operation
    weight_density: float
    zero_tiles: ZeroTiles
    fifos: OperandFifos
    options: DataflowOptions
    model: CostModel
    space: DesignSpace

    def of(self, side: InputFolds, folds: Folds, cells: Ints, interval: Ints, t: Floats) -> DesignCosts:
        """The costs of all designs.

        Args:
            side: the input folds that they are made of.
            folds, interval, t: of the designs.
            cells: (n,) their numbers among all combinations of FIFOs, input folds and filters.
        """
        layer, options, space = self.layer, self.options, self.space
        streamed = layer.kind is OperationKind.MATMUL
        fetched = not streamed and space.budget[BANDWIDTH] > 0 and not options.buildable
        bands = self._band_choices() if fetched else []
        size, key = (
            2 * len(side.n) * len(side.filters),
            (side, space.family, self.fifos.bypass, self.fifos.unsigned, *bands),
        )
        fixed = known_costs(key, size, 6 + 2 * len(bands), cells, lambda some: self._fixed(folds[some], bands))
        banks, streams = self._weight_banks(folds, t), folds.i * folds.g
        if self.fifos.words:
            before = ceil_div(sum(self.fifos.words), streams * folds.q)
        else:
            load = np.minimum(cycles.input_cycles(layer, folds.i, folds.g, folds.q) / interval, 1.0)
            before = input_depth(layer, streams, folds.q, load)
        held = self.model.fifo(streams * folds.q, before)
        logic, window, (rows_bram18, rows_uram) = fixed[:3], fixed[3] + held.bram18, fixed[4:6]
        logic[1] += held.lut + banks.luts
        logic[2] += held.ff + banks.ffs
        places = [(WeightsIn.BRAM, 1)]
        columns: list[tuple[Floats | Ints | int, ...]] = [(window + banks.bram18, 0, 0)]
        if space.budget[2] > 0:
            places.append((WeightsIn.URAM, 1))
            columns.append((window, banks.uram, 0))
            if streamed:  # operands that wait a whole image take as much memory as those that are held
                places.append((WeightsIn.URAM, 1))
                columns.append((fixed[3], banks.uram + held.uram, 0))
            if self._reads_far_ahead and not options.buildable:
                places.append((WeightsIn.URAM, 1))
                columns.append((window - rows_bram18, banks.uram + rows_uram, 0))
        blocked = window + np.where(banks.in_luts, FORBIDDEN, 0.0)  # weights that fit LUTs are not fetched from outside
        for band, bram18, uram in zip(bands, fixed[6::2], fixed[7::2], strict=True):
            read = layer.weights * options.weight_bits * banks.stored * band
            places.append((WeightsIn.OFF_CHIP, band))
            columns.append((blocked + bram18, 0, read))
            if space.budget[2] > 0:
                places.append((WeightsIn.OFF_CHIP, band))
                columns.append((blocked, uram, read))
        memories = np.empty((len(columns), 3, len(folds)))
        for place, resources in enumerate(columns):
            for column, values in enumerate(resources):
                memories[place, column] = values
        return DesignCosts(logic.T, memories.transpose(0, 2, 1), banks.in_luts, places)

    def _fixed(self, folds: Folds, bands: list[int]) -> Floats:
        """(6 + 2·bands, n) what no sparsity changes: DSPs, LUTs and flip-flops; block RAMs of windows and of what is
        read ahead of them; block RAMs, and UltraRAMs instead, of the latter, and of the maps beside off-chip weights
        for each number of bands."""
        layer, streams = self.layer, folds.i * folds.g
        logic = self.model.compute(layer, folds, max(self.options.pixel_choices))
        first, which = alike(streams, folds.q)
        words, pixels = streams[first], folds.q[first]
        rows = self.model.rows(layer, words * pixels, rows_depth(layer, words, pixels))
        window = (self.model.window(layer, words, pixels) + rows).at(which)
        ahead = self.model.windows_ahead(layer, folds, self._usual_interval(folds))
        window = window if ahead is None else window + ahead
        logic[:, 1] += window.lut
        logic[:, 2] += window.ff
        banks = self._weight_banks(folds, np.ones(len(folds)))
        maps = [self._map_buffers(folds, banks.count * banks.words, band) for band in bands]
        held = (window.bram18, rows.bram18[which], rows.uram[which])
        return np.stack([*logic.T, *held, *(side for one in maps for side in (one.bram18, one.uram))])

    def _usual_interval(self, folds: Folds) -> Ints:
        """(n,) cycles of an image at a usual sparsity, for which queues of windows are priced.

        At the layer's own, faster engines would take dearer queues, and prices tell of queues rather than of zeros.
        """
        layer = self.layer
        steps = dense_rounds(layer.window * folds.m, folds.n) * _USUAL[folds.engine]
        busy = cycles.rounds(layer, folds.i, folds.o, folds.g, folds.p) * np.maximum(steps, 1)
        return np.ceil(np.maximum(busy, cycles.input_cycles(layer, folds.i, folds.g, folds.q))).astype(np.int64)

    def _weight_banks(self, folds: Folds, t: Floats) -> WeightBanks:
        """The memories of weights of designs whose rounds take t cycles.

        The second operand of a matrix product is double-buffered: one image is written while another is read.
        """
        layer, options = self.layer, self.options
        streamed = layer.kind is OperationKind.MATMUL
        compressed = 1.0 if streamed else options.stored_fraction(self.weight_density)
        kept = self.zero_tiles.kept_fraction(folds.i, folds.o)
        schedule = Schedule(cycles.passes(layer, folds.i, folds.o, folds.g), kept, t, compressed)
        banks = self.model.weights(layer, folds, schedule)
        if not streamed:
            return banks
        return replace(banks, depth=2 * banks.depth, word_bits=np.full(len(folds), options.activation_bits))

    @property
    def _reads_far_ahead(self) -> bool:
        """Whether the rows that are read ahead of a window would fill an UltraRAM, so that one may hold them."""
        return int(rows_depth(self.layer, 1, 1)) * self.options.activation_bits > memory.URAM_BITS

    @property
    def _lines(self) -> int:
        """How many rows the result has; its pixels, if it is a single row."""
        result = self.layer.result
        return result.height if result.height > 1 else result.width

    def _band_choices(self) -> list[int]:
        """The numbers of bands of rows that an image may be cut into: powers of eight, and one for each row.

        There are none where a band of a single row takes as many bits as the weights, which then stay on chip.
        """
        layer, lines = self.layer, self._lines
        row = layer.source.words * (layer.reach[0] + layer.stride[0]) / layer.source.height + layer.result.words / lines
        if row * self.options.activation_bits >= layer.weights * self.options.weight_bits:
            return []
        return sorted({min(8**k, lines) for k in range(5)})

    def _map_buffers(self, folds: Folds, words: Ints, bands: int) -> memory.Buffer:
        """The buffers that off-chip weights need instead of memories of their own.

        Weights are read once for each band of rows and must meet all its pixels while they are there. So the band's
        input is held while that of the next one arrives, and its results, which come filter by filter, are collected
        while those of the band before are written. Two tiles of weights take turns. What runs past this layer to a
        later join is held back by two bands more. A single band is the whole image.
        """
        layer, bits = self.layer, self.options.activation_bits
        first, which = alike(folds.i, folds.o, folds.g, folds.q, folds.p)
        tiles = memory.buffer(self.options.weight_bits, words, 2 * ceil_div(layer.channels_per_group, folds.i))
        folds = folds[first]
        lines = ceil_div(self._lines, bands)
        tall = layer.result.height > 1
        step, reach = (layer.stride[0], layer.reach[0]) if tall else (1, 1)
        length, width = (layer.source.height, layer.source.width) if tall else (layer.source.pixels, 1)
        held = min((lines - 1) * step + reach + lines * step, 2 * length) * width
        read, write = folds.i * folds.g, folds.o * folds.g
        source = memory.buffer(bits, read * folds.q, ceil_div(held * ceil_div(layer.source.channels, read), folds.q))
        done = lines * (layer.result.width if tall else 1)
        result = memory.buffer(
            bits, write * folds.p, ceil_div(2 * done * ceil_div(layer.result.channels, write), folds.p)
        )
        beside = memory.buffer(bits, np.ones_like(read), math.ceil(2 * MARGIN * self.fifos.bypass / bands))
        return (source + result + beside).at(which) + tiles
