"""The costs of our own modules, from their synthesis (hardware-model, section 5; docs/rtl.md).

A layer is what docs/rtl.md draws: padding, sliding window, compute engines, adder tree, accumulator, requantiser. Each
is priced by its formula (`formulas`), exactly as its RTL would be instantiated. Three things are stated here and not
synthesised:

- a layer's folds need not match those of the layer before, which the tables of single layers do not know: each is
  charged for a converter from words twice as wide as those it reads;
- a convolution with strides or dilations beyond 2, which the modules do not support, is priced as if they were 2;
- layer norm, softmax and, beyond 8 bits, smooth activation functions have no modules yet; they cost what the peer's
  regressions say (`stream_logic`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import memory
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine, EngineKind
from hass_train.hardware.dataflow.costs.cost_model import CostModel, Schedule, WeightBanks
from hass_train.hardware.dataflow.costs.engine_kinds import by_kind
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.formulas import module_costs
from hass_train.hardware.dataflow.costs.logic import Folds, Widths
from hass_train.hardware.dataflow.costs.modules import activation, dense, pairs, plumbing, pointwise, pools, sparse
from hass_train.hardware.dataflow.costs.modules import sums as adders
from hass_train.hardware.dataflow.costs.modules import windows as maps
from hass_train.hardware.dataflow.costs.modules.memories import SMALL_PRODUCT, address_bits, state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.costs.stream_logic import WHOLE_PIXELS, stream_dsp, stream_logic
from hass_train.hardware.workload import Operation, OperationKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_BITS, MOST_BITS = 4, 16
"""Word widths that all engines support."""
_CHOICES = 64  # positions among which a multiplier chooses at most
_LUT, _FF, _DSP, _BRAM = range(4)
_PLAIN = ("relu", "relu6", "identity")  # what requantising to unsigned values does at no cost


class SynthesisedCosts(CostModel):
    """What synthesis says of our modules.

    Args:
        bits: word widths, `LEAST_BITS` to `MOST_BITS`.
        family: what they are synthesised for.
    """

    engines = tuple(ComputeEngine)
    lists = (ComputeEngine.WEIGHT,)
    most_choices = _CHOICES

    def __init__(self, bits: Widths, family: Family) -> None:
        self.bits, self.family = bits, family
        self.small_products = family == "xc7" and bits.data + bits.weight <= SMALL_PRODUCT

    # ---- operations with multipliers -------------------------------------------------------------------------

    def compute(self, layer: Operation, folds: Folds) -> Floats:
        total = np.zeros((len(folds), 4), np.int64)
        for kind, rows in by_kind(folds.engine):
            total[rows] += _Engines(self, layer, folds[rows], kind).costs()
        total += self._beside(layer, folds)
        return total[:, [_DSP, _LUT, _FF]].astype(float)

    def weights(self, layer: Operation, folds: Folds, schedule: Schedule) -> WeightBanks:
        count, words, bits, depth = (np.empty(len(folds), np.int64) for _ in range(4))
        stored = np.empty(len(folds))
        for kind, rows in by_kind(folds.engine):
            banks = _Engines(self, layer, folds[rows], kind).weights(schedule[rows])
            count[rows], words[rows], bits[rows] = banks.count, banks.words, banks.word_bits
            depth[rows], stored[rows] = banks.depth, banks.stored
        return WeightBanks(count, words, bits, depth, stored)

    def window(self, layer: Operation, folds: Folds) -> memory.Buffer:
        read = folds.i * folds.g
        held = memory.window_buffers(layer, read, self.bits.data, folds.q)
        if layer.window == 1:
            return held
        return memory.Buffer(self._sliding_window(layer, read, folds.q)[:, _BRAM], held.uram, np.zeros(len(folds)))

    def weight_bits(self, layer: Operation) -> int:
        """Bits of a layer's second operands: those of a matrix product are activations."""
        return self.bits.data if layer.kind is OperationKind.MATMUL else self.bits.weight

    def sum_bits(self, layer: Operation, positions: Ints) -> Ints:
        """Bits of the sum of so many products, which cannot overflow."""
        return np.asarray(self.bits.data + self.weight_bits(layer) + state_bits(positions), np.int64)

    def _sliding_window(self, operation: Operation, streams: Ints, pixels: Ints) -> Ints:
        """(n, 4) costs of the windows of padded maps."""
        (rows, columns), (height, width) = operation.kernel, operation.rows_read
        stride, dilation = (np.minimum(size, 2) for size in (operation.stride, operation.dilation))
        return module_costs(
            maps.SlidingWindow, self.family, streams=streams, pixels=pixels, bits=self.bits.data,
            depth=ceil_div(operation.source.channels, streams), height=height, width=width, kernel_height=rows,
            kernel_width=columns, stride_height=stride[0], stride_width=stride[1], dilation_height=dilation[0],
            dilation_width=dilation[1],
        )  # fmt: skip

    def _padding(self, operation: Operation, streams: Ints, pixels: Ints) -> Ints:
        """(n, 4) costs of padding maps."""
        (rows, columns), source = operation.padding, operation.source
        return module_costs(
            maps.Padding, self.family, streams=streams, pixels=pixels, bits=self.bits.data,
            depth=ceil_div(source.channels, streams), height=source.height, width=source.width, top=rows, bottom=rows,
            left=columns, right=columns, value=0,
        )  # fmt: skip

    def _converter(self, operation: Operation, words: Ints, total: int) -> Ints:
        """(n, 4) costs of getting words of so many values from words twice as wide, or half where there are no such."""
        wide = np.where(2 * words <= total, 2 * words, ceil_div(words, 2))
        return module_costs(
            plumbing.WidthConverter, self.family, bits=self.bits.data, in_values=wide, out_values=words, total=total
        )

    def _beside(self, layer: Operation, folds: Folds) -> Ints:
        """(n, 4) costs of all modules but the compute engines; block RAMs of windows are not among them."""
        family, data = self.family, self.bits.data
        read, written, bundles = folds.i * folds.g, folds.o * folds.g * folds.p, folds.bundles
        total = self._converter(layer, read * folds.q, layer.source.channels * int(folds.q.max()))
        if any(layer.padding) and layer.kind is OperationKind.CONV:
            total = total + self._padding(layer, read, folds.q)
        if layer.window > 1:
            total = total + self._sliding_window(layer, read, folds.q)
        each = self.sum_bits(layer, layer.window * folds.m)
        tree = module_costs(adders.AdderTree, family, addends=np.maximum(bundles, 2), streams=written, in_bits=each)
        total = total + tree * (bundles > 1)[:, None]
        passes, rounds = ceil_div(layer.channels_per_group, folds.i), ceil_div(layer.filters_per_group, folds.o)
        inside, whole = each + state_bits(bundles), each + state_bits(bundles) + state_bits(passes)
        sums = module_costs(
            adders.Accumulator, family, streams=written, passes=passes, rounds=rounds,
            groups=ceil_div(layer.groups, folds.g), in_bits=inside, bias_bits=inside, out_bits=whole,
        )  # fmt: skip
        summed = (passes > 1) | bool(layer.bias)
        total = total + sums * summed[:, None]
        if layer.bias:
            total[:, _LUT] += written * inside * ceil_div(rounds * ceil_div(layer.groups, folds.g), 64)  # their memory
        values = module_costs(
            pointwise.Requantise, family, streams=written, in_bits=whole, out_bits=data, shift=whole - data - 2,
            signed_out=1,
        )  # fmt: skip
        return np.asarray(total + values)

    # ---- operations without weights --------------------------------------------------------------------------

    def stream(self, operation: Operation, streams: Ints) -> Floats:
        kind, data = operation.kind, self.bits.data
        table = kind is OperationKind.ACTIVATION and data <= 8 and operation.function not in _PLAIN
        if kind in WHOLE_PIXELS or (kind is OperationKind.ACTIVATION and data > 8):
            used = stream_logic(operation, streams, self.bits)
            return np.stack([stream_dsp(operation) * streams, used.lut, used.ff], 1)
        total = self._converter(operation, streams, max(operation.source.channels, operation.result.channels))
        if operation.window > 1:
            ones = np.ones_like(streams)
            total = total + self._padding(operation, streams, ones) + self._sliding_window(operation, streams, ones)
        total = total + self._pointwise(operation, streams)
        if table:
            total[:, _LUT] += streams * data * ceil_div(2**data, 64)  # the memory of the function
        return np.asarray(total[:, [_DSP, _LUT, _FF]], float)

    def _pointwise(self, operation: Operation, streams: Ints) -> Ints:
        """(n, 4) costs of what is done to the values of an operation without weights."""
        family, data, none = self.family, self.bits.data, np.zeros((len(streams), 4), np.int64)
        depth = ceil_div(operation.source.channels, streams)
        average = {"signed": 0, "multiplier": 0xAAAB, "shift": 20}
        more = max(len(operation.inputs) - 1, 1)
        match operation.kind:
            case OperationKind.MAX_POOL:
                return module_costs(
                    pools.MaxPool, family, streams=streams, columns=1, positions=operation.window, bits=data, signed=0
                )
            case OperationKind.AVERAGE_POOL:
                return module_costs(
                    pools.AveragePool, family, streams=streams, bits=data, columns=1, positions=operation.window,
                    **average,
                )  # fmt: skip
            case OperationKind.GLOBAL_POOL:
                return module_costs(
                    pools.GlobalPool, family, streams=streams, bits=data, depth=depth,
                    pixels_of_map=operation.source.pixels, operation=0, **average,
                )  # fmt: skip
            case OperationKind.ADD:
                return more * module_costs(
                    pointwise.StreamAdd, family, streams=streams, a_bits=data, b_bits=data, signed_a=1, signed_b=1,
                    shift_a=1, shift_b=0, shift=1, out_bits=data, signed_out=1,
                )  # fmt: skip
            case OperationKind.MULTIPLY:
                return more * module_costs(
                    pointwise.StreamMultiply, family, streams=streams, a_bits=data, b_bits=data, signed_a=1, signed_b=1,
                    depth=ceil_div(operation.result.channels, streams), pixels=operation.result.pixels,
                    shift=data - 1, out_bits=data, signed_out=1, block=0,
                )  # fmt: skip
            case OperationKind.CONCAT:
                half = np.maximum(ceil_div(operation.result.channels, 2 * streams), 1)
                return more * module_costs(
                    plumbing.Concatenate, family, width=data * streams, depth_a=half, depth_b=half
                )
            case OperationKind.ACTIVATION if operation.function not in _PLAIN:
                return module_costs(pointwise.LookupTable, family, streams=streams, in_bits=data, out_bits=data)
            case _:
                return none


@dataclass(frozen=True, slots=True)
class _Engines:
    """The compute engines of designs with one kind of them."""

    model: SynthesisedCosts
    layer: Operation
    folds: Folds
    kind: EngineKind

    @property
    def _positions(self) -> Ints:
        return self.layer.window * self.folds.m

    @property
    def _steps(self) -> Ints:
        return np.asarray(dense_rounds(self._positions, self.folds.n), np.int64)

    @property
    def _rounds(self) -> tuple[Ints, Ints]:
        """Rounds of a window, and windows of a pixel."""
        layer, folds = self.layer, self.folds
        windows = ceil_div(layer.channels_per_group, folds.i) * ceil_div(layer.groups, folds.g)
        return ceil_div(layer.filters_per_group, folds.o), windows

    @property
    def _products(self) -> Ints:
        """Products that share a DSP: of filters with one activation, of columns with one weight, at 4 bits of both."""
        folds, wide = self.folds, max(self.model.bits.data, self.model.weight_bits(self.layer))
        if wide > 8 or self.kind.multiplier == "lut":
            return np.ones(len(folds), np.int64)
        match self.kind.engine:
            case ComputeEngine.DENSE:
                four = (folds.o > 1) & (folds.p > 1) & (wide <= 4)
                return np.asarray(np.where(four, 4, 1 + (folds.o > 1)))
            case ComputeEngine.ACTIVATION:
                return np.asarray(1 + (folds.o > 1))
            case ComputeEngine.WEIGHT:
                return np.asarray(1 + (folds.p > 1))
            case _:
                return np.ones(len(folds), np.int64)

    def costs(self) -> Ints:
        """(n, 4) costs of all engines, and of the FIFOs around those that are decoupled."""
        if not self.kind.waits:
            return self._module(self.folds.o, self.folds.g * self.folds.bundles)
        folds, alone = self.folds, self.folds.fifo > 0
        shared = self.kind.engine is ComputeEngine.ACTIVATION  # filters share the picks, and so the FIFO
        windows = folds.g * folds.bundles * folds.p
        filters = np.where(alone & (not shared), 1, folds.o)
        copies = np.where(alone, windows * folds.o // filters, 1)
        total = self._module(filters, np.where(alone, 1, windows)) * copies[:, None]
        if alone.any():
            total[alone] += (self._fifos(filters) * copies[:, None])[alone]
        data = self.model.bits.data
        thresholds = module_costs(
            pointwise.Threshold,
            self.model.family,
            streams=folds.i * folds.g * folds.q,
            bits=data,
            threshold=3,
            signed=1,
        )
        return np.asarray(total + thresholds)

    def _module(self, filters: Ints, bundles: Ints) -> Ints:
        """(n, 4) costs of one instance of the module."""
        model, folds, (rounds, passes) = self.model, self.folds, self._rounds
        family, data, weight = model.family, model.bits.data, model.weight_bits(self.layer)
        same: dict[str, Any] = {
            "positions": self._positions, "multipliers": folds.n, "filters": filters, "bundles": bundles,
            "rounds": rounds, "data_bits": data, "weight_bits": weight,
        }  # fmt: skip
        match self.kind.engine:
            case ComputeEngine.DENSE:
                given = {**same, "passes": passes, "products": self._products, "columns": folds.p}
                in_luts = module_costs(dense.DenseEngine, family, **given, in_dsp=0)
                return self._accumulating(given, in_luts)
            case ComputeEngine.ACTIVATION:
                products = np.where(filters > 1, self._products, 1)
                return module_costs(activation.ActivationEngine, family, **same, passes=passes, products=products)
            case ComputeEngine.WEIGHT:
                rows = rounds * passes * self._steps
                return module_costs(
                    sparse.WeightEngine, family, **same, columns=folds.p, rows=rows, lanes=int(self.kind.lanes),
                    products=self._products,
                )  # fmt: skip
            case ComputeEngine.PAIR:
                return module_costs(pairs.PairEngine, family, **same, passes=passes)
            case ComputeEngine.CROSSBAR:
                return module_costs(pairs.CrossbarEngine, family, **same, passes=passes)

    def _accumulating(self, given: dict[str, Any], in_luts: Ints) -> Ints:
        """(n, 4) costs of dense engines, whose DSPs add up the steps of a round where that takes fewer LUTs."""
        bits = {"data_bits": self.model.bits.data, "weight_bits": self.model.weight_bits(self.layer)}
        capacity = {one: dense.DenseEngine.unchecked({**bits, "products": one, "in_dsp": 1}).capacity for one in (2, 4)}
        most = np.select([given["products"] == one for one in capacity], list(capacity.values()), 2**62)
        may = np.flatnonzero((self._positions <= most) & (self._steps > 1) & (given["filters"] >= 4))
        if not len(may):
            return in_luts
        some = {name: values[may] if np.ndim(values) else values for name, values in given.items()}
        in_dsps = module_costs(dense.DenseEngine, self.model.family, **some, in_dsp=1)
        better = in_dsps[:, _LUT] < in_luts[may, _LUT]
        in_luts[may[better]] = in_dsps[better]
        return in_luts

    def _fifos(self, filters: Ints) -> Ints:
        """(n, 4) costs of the FIFO of windows before an engine and that of its sums behind it."""
        sums = filters * self.model.sum_bits(self.layer, self._positions)
        return np.asarray(
            sum(
                module_costs(
                    plumbing.LutramFifo, self.model.family, width=width, depth=np.maximum(self.folds.fifo, 2),
                    shift_registers=1,
                )
                for width in (self._positions * self.model.bits.data, sums)
            )
        )  # fmt: skip

    def weights(self, schedule: Schedule) -> WeightBanks:
        """Their memories: rows that all engines read together, or banks that each multiplier addresses by itself."""
        folds, model = self.folds, self.model
        bits, one = model.weight_bits(self.layer), np.ones(len(folds), np.int64)
        lanes, windows = folds.n * folds.bundles * folds.g, folds.p * folds.bundles * folds.g
        plain, masked = np.full(len(folds), bits), np.full(len(folds), 1 + 1 / bits)
        match self.kind.engine:
            case ComputeEngine.DENSE:
                depth = np.ceil(schedule.passes * schedule.kept).astype(np.int64) * self._steps
                return WeightBanks(one, lanes * folds.o, plain, depth, schedule.kept)
            case ComputeEngine.ACTIVATION:
                return WeightBanks(lanes * folds.p, folds.o, plain, schedule.passes * self._steps, one.astype(float))
            case ComputeEngine.WEIGHT:
                among = self._steps if self.kind.lanes else self._positions
                entry = bits + address_bits(among)
                rows = np.ceil(schedule.passes * schedule.cycles - 1e-9).astype(np.int64)
                stored = schedule.cycles * folds.n * entry / (self._positions * bits)
                return WeightBanks(one, lanes * folds.o, entry, rows, stored)
            case ComputeEngine.PAIR:
                # a bit for each weight tells whether it is zero: read once a round for all lanes
                depth = schedule.passes * self._steps
                return WeightBanks(lanes * folds.p * folds.o, one, plain + 1, depth, masked)
            case ComputeEngine.CROSSBAR:
                count = folds.n * windows * folds.o  # each multiplier may want any weight of the window
                return WeightBanks(count, one, plain, schedule.passes * self._positions, masked)
