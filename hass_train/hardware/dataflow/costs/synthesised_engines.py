"""Our compute engines as they are instantiated: what they cost, and the memories that they read (docs/rtl.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine, EngineKind
from hass_train.hardware.dataflow.costs.cost_model import Schedule, WeightBanks
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.formulas import module_costs
from hass_train.hardware.dataflow.costs.logic import Folds, Widths
from hass_train.hardware.dataflow.costs.modules import activation, dense, pairs, plumbing, pointwise, sparse
from hass_train.hardware.dataflow.costs.modules.memories import address_bits, state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.workload import Operation, OperationKind

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_LUT = 0  # column of `module_costs`


LEAST_BITS, MOST_BITS = 4, 16
"""Word widths that all engines support."""


def stored_bits(bits: Widths, layer: Operation) -> int:
    """Bits of a layer's second operands in memory: those of a matrix product are activations."""
    return bits.data if layer.kind is OperationKind.MATMUL else bits.weight


def weight_bits(bits: Widths, layer: Operation) -> int:
    """Bits of a layer's second operands in engines, which take no fewer than `LEAST_BITS`."""
    return max(stored_bits(bits, layer), LEAST_BITS)


def sum_bits(bits: Widths, layer: Operation, positions: Ints) -> Ints:
    """Bits of the sum of so many products, which cannot overflow."""
    return np.asarray(bits.data + weight_bits(bits, layer) + state_bits(positions), np.int64)


def shared_products(
    engine: ComputeEngine,
    multiplier: str,
    filters: ArrayLike,
    columns: ArrayLike,
    bits: tuple[int, int],
    family: Family,
) -> Ints:
    """Products that share a DSP: of filters with one activation, of columns with one weight, at 4 bits of both.

    Multipliers of an ECP5 have 18 bits on either side, so that two products of 8 bits would take two of them, and an
    adder behind: they only share one where `data` + 2·`weight` bits fit, and only filters do.

    Args:
        engine, multiplier: the kind of engine, and whether its multipliers are DSPs or of LUTs.
        filters, columns: side by side.
        bits: of activations and weights.
        family: what is synthesised for.
    """
    two, beside = np.asarray(filters) > 1, np.asarray(columns) > 1
    one = np.ones(np.broadcast_shapes(two.shape, beside.shape), np.int64)
    (data, weight), shares = bits, engine in (ComputeEngine.DENSE, ComputeEngine.ACTIVATION)
    if max(bits) > 8 or multiplier == "lut":
        return one
    if family == "ecp5":
        return one + (two & (shares and data + 2 * weight <= 18))
    if engine is ComputeEngine.WEIGHT:
        return one + beside
    four = two & beside & (engine is ComputeEngine.DENSE and max(bits) <= 4)
    return np.where(four, 4, one + (two & shares))


@dataclass(frozen=True, slots=True)
class Engines:
    """The compute engines of designs with one kind of them.

    Args:
        bits, family: word widths, and what is synthesised for.
        layer: convolution, linear layer or matrix product.
        folds: the designs.
        kind: of their engines.
    """

    bits: Widths
    family: Family
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
        folds, kind = self.folds, self.kind
        bits = self.bits.data, weight_bits(self.bits, self.layer)
        return shared_products(kind.engine, kind.multiplier, folds.o, folds.p, bits, self.family)

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
        data = self.bits.data
        thresholds = module_costs(
            pointwise.Threshold,
            self.family,
            streams=folds.i * folds.g * folds.q,
            bits=data,
            threshold=3,
            signed=1,
        )
        return np.asarray(total + thresholds)

    def _module(self, filters: Ints, bundles: Ints) -> Ints:
        """(n, 4) costs of one instance of the module."""
        folds, (rounds, passes) = self.folds, self._rounds
        family, data, weight = self.family, self.bits.data, weight_bits(self.bits, self.layer)
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
        bits = {"data_bits": self.bits.data, "weight_bits": weight_bits(self.bits, self.layer)}
        capacity = {one: dense.DenseEngine.unchecked({**bits, "products": one, "in_dsp": 1}).capacity for one in (2, 4)}
        most = np.select([given["products"] == one for one in capacity], list(capacity.values()), 2**62)
        may = np.flatnonzero((self._positions <= most) & (self._steps > 1) & (given["filters"] >= 4))
        if not len(may):
            return in_luts
        some = {name: values[may] if np.ndim(values) else values for name, values in given.items()}
        in_dsps = module_costs(dense.DenseEngine, self.family, **some, in_dsp=1)
        better = in_dsps[:, _LUT] < in_luts[may, _LUT]
        in_luts[may[better]] = in_dsps[better]
        return in_luts

    def _fifos(self, filters: Ints) -> Ints:
        """(n, 4) costs of the FIFO of windows before an engine and that of its sums behind it."""
        sums = filters * sum_bits(self.bits, self.layer, self._positions)
        return np.asarray(
            sum(
                module_costs(
                    plumbing.LutramFifo, self.family, width=width, depth=np.maximum(self.folds.fifo, 2),
                    shift_registers=0,
                )
                for width in (self._positions * self.bits.data, sums)
            )
        )  # fmt: skip

    def weights(self, schedule: Schedule) -> WeightBanks:
        """Their memories: rows that all engines read together, or banks that each multiplier addresses by itself."""
        folds = self.folds
        bits, one = stored_bits(self.bits, self.layer), np.ones(len(folds), np.int64)
        lanes, windows = folds.n * folds.bundles * folds.g, folds.p * folds.bundles * folds.g
        plain, masked = np.full(len(folds), bits), np.full(len(folds), 1 + 1 / bits)
        match self.kind.engine:
            case ComputeEngine.DENSE:
                depth = np.ceil(schedule.passes * schedule.kept).astype(np.int64) * self._steps
                return self._banks(one, lanes * folds.o, plain, depth, schedule.kept)
            case ComputeEngine.ACTIVATION:
                return self._banks(lanes * folds.p, folds.o, plain, schedule.passes * self._steps, one.astype(float))
            case ComputeEngine.WEIGHT:
                among = self._steps if self.kind.lanes else self._positions
                entry = bits + address_bits(among)
                rows = np.ceil(schedule.passes * schedule.cycles - 1e-9).astype(np.int64)
                listed = schedule.cycles * folds.n * entry / (self._positions * bits)
                return self._banks(one, lanes * folds.o, entry, rows, np.minimum(listed, schedule.compressed))
            case ComputeEngine.PAIR:
                depth = schedule.passes * self._steps
                return self._banks(lanes * folds.p * folds.o, one, plain, depth, masked, schedule.passes)
            case ComputeEngine.CROSSBAR:
                count = folds.n * windows * folds.o  # each multiplier may want any weight of the window
                return self._banks(count, one, plain, schedule.passes * self._positions, masked, schedule.passes)

    def _banks(
        self, count: Ints, words: Ints, word_bits: Ints, depth: Ints, stored: Floats, passes: Ints | None = None
    ) -> WeightBanks:
        """Some memories; with `passes`, the rounds of an output pixel, also those that tell zeros from other weights.

        A bit for each weight is read once a round, by all engines that run in lock-step together.
        """
        if passes is None:
            none = np.zeros_like(depth)
            return WeightBanks(count, words, word_bits, depth, stored, none, none + 1, none + 1, self.family)
        folds = self.folds
        engines = folds.bundles * folds.g * folds.p * folds.o
        alone = folds.fifo > 0
        bits = self._positions * np.where(alone, 1, engines)
        return WeightBanks(
            count, words, word_bits, depth, stored, np.where(alone, engines, 1), bits, passes, self.family
        )
