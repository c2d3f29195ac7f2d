"""All designs of a convolution, linear layer or matrix product: how fast they are and what they cost, as arrays."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import cycles, memory
from hass_train.hardware.dataflow.costs.branches import MARGIN, OperandFifos
from hass_train.hardware.dataflow.costs.compute_engine import Bools, ComputeEngine, EngineKind, LayerWork
from hass_train.hardware.dataflow.costs.cost_model import Schedule, WeightBanks
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS, by_kind, by_rounds
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.fifos import input_depth, rows_depth
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.costs.logic import Folds
from hass_train.hardware.dataflow.costs.weight_rounds import filter_order
from hass_train.hardware.dataflow.designs import table_kernel
from hass_train.hardware.dataflow.designs.candidates import worth_near
from hass_train.hardware.dataflow.designs.input_side import InputFolds, InputSide, work_of
from hass_train.hardware.dataflow.designs.known_costs import known_costs
from hass_train.hardware.dataflow.designs.nearby import NearbyRounds
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, FORBIDDEN, DesignSpace, Table, WeightsIn
from hass_train.hardware.dataflow.designs.zero_tiles import ZeroTiles
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.estimate import LayerEstimate, Resources
from hass_train.hardware.profile import DENSITIES, LayerSparsity
from hass_train.hardware.workload import Operation, OperationKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


HALF = 0.5
"""Fraction of a density to which what a layer needs is followed for its price."""
_USUAL = np.array([1.0 if one.engine is ComputeEngine.DENSE else 0.6 for one in VARIANTS])
"""Cycles of each variant over those of dense engines, at a sparsity that is taken to be usual."""
_TINY = 1e-12  # cycles of a round that computes nothing
_NEVER = 1e9
"""Cycles of rounds of designs that may not be built: others are faster, and no dearer."""


class ComputeDesigns(Table):
    """The designs of an operation with multipliers, at one sparsity.

    A fold (N, or the filters o) is widened only as long as that makes the layer faster, or makes N easier to squeeze
    to, and no further than the floor of the design space.

    Args:
        layer: convolution, linear layer or matrix product.
        sparsity: its sparsity.
        fifos: the FIFOs of its operands.
        options: design rules.
        space: the bounds of the design space.

    Attributes:
        folds: the folds of every design in the table.
        t: mean cycles of a round.
        uneven: load imbalance between parallel streams, which t contains.
        alone: mean cycles of a round of one compute engine by itself.
        in_luts: whether weights that are on the chip are in LUTs.
    """

    def __init__(
        self,
        layer: Operation,
        sparsity: LayerSparsity,
        fifos: OperandFifos,
        options: DataflowOptions,
        space: DesignSpace,
    ) -> None:
        self.layer, self.sparsity, self.fifos, self.options = layer, sparsity, fifos, options
        self._halved: dict[
            str, Floats
        ] = {}  # `_growth_at_half` of all designs, where these are kept for profiles nearby
        self.urgency = fifos.urgency
        self.costs = options.cost_model(space.family, fifos.unsigned)
        self._zero_tiles = ZeroTiles(layer, sparsity)
        input_side = InputSide(layer, sparsity, options, self.costs)
        side = input_side.folds()
        depths = self._fifo_choices(side)
        found = input_side.cycles(side, depths)
        self._leave_out_tiles(side, found.t)
        if options.buildable:
            found.t[:, ~self._buildable(side)] = _NEVER
        depth, row, place, interval = self._worth_building(side, found.t, depths, max(space.floor // self.urgency, 1))
        t = found.t[depth, row, place]
        folds = Folds(
            side.i[row], side.filters[place], side.g[row], side.m[row], side.n[row], side.q[row], side.p[row],
            side.engine[row], np.where(side.waiting[row], np.array(depths)[depth], 0),
        )  # fmt: skip
        cells = (depth * len(side.n) + row) * len(side.filters) + place
        logic, memories, in_luts = self._costs(side, folds, cells, interval, t, space)
        self.space = space
        super().__init__(interval * self.urgency, logic, memories, space)
        row = row[self.kept]
        self.folds, self.t, self.in_luts = folds[self.kept], t[self.kept], in_luts[self.kept]
        self.uneven, self.alone = found.uneven[row], found.alone[row]

    def moved(self, sparsity: LayerSparsity) -> ComputeDesigns:
        """The same designs at a sparsity nearby; their memories are those at the sparsity they were found at."""
        ratio = self._nearby.growth(self._work(self.sparsity), self._work(sparsity))[self._nearby.alike]
        t = self.t * ratio
        interval = self._nearby.intervals(t) * self.urgency
        order = np.argsort(interval, kind="stable")
        found = self._some(order, interval)
        found.sparsity, found.t, found.alone = sparsity, t[order], (self.alone * ratio)[order]
        return found

    def at_half(self, rows: Ints, density: str, exactly: bool = False) -> Ints:
        """(rows,) the intervals of some designs if a density, a field of `LayerSparsity`, were half of what it is.

        Args:
            rows: the designs.
            density: what is halved. Zeros are taken to be independent, as where the sparsity has `moved`; dense engines
                leave out tiles of them.
            exactly: whether engines with lists wait for a block's slowest filter as filters then differ, not as now.
        """
        nearby = self._nearby_of(rows)
        ratio = self._halved[density][rows] if self._halved else self._growth_at_half(nearby, rows, density, exactly)
        return nearby.intervals(self.t[rows] * ratio) * self.urgency

    def _nearby_of(self, rows: Ints) -> NearbyRounds:
        if "_nearby" in vars(self):
            return self._nearby.some(rows)
        return NearbyRounds.of(self._work(self.sparsity), self.folds[rows])

    def _growth_at_half(self, nearby: NearbyRounds, rows: Ints, density: str, exactly: bool) -> Floats:
        """(rows,) the cycles of a round of some designs at half of a density over those now; see `at_half`."""
        sparsity = replace(self.sparsity, **{density: getattr(self.sparsity, density) * HALF})
        if density == "weight_density":
            counts = tuple(round(count * HALF) for count in sparsity.filter_nonzeros)
            sparsity = replace(sparsity, filter_nonzeros=counts)
        before, after = self._work(self.sparsity), self._work(sparsity)
        ratio = nearby.growth(before, after, HALF)[nearby.alike]
        for kind, some in by_rounds(self.folds.engine[rows]) if exactly else ():
            if kind.density == density and not kind.waits:
                ratio[some] = self._scheduled(kind, after, self.folds[rows[some]]) / np.maximum(
                    self.t[rows[some]], _TINY
                )
        return ratio

    def _scheduled(self, kind: EngineKind, work: LayerWork, folds: Folds) -> Floats:
        """(designs,) the mean cycles of a round of a kind whose schedule is known beforehand."""
        t = np.empty(len(folds))
        for m, g in {*zip(folds.m.tolist(), folds.g.tolist(), strict=True)}:
            alike = np.flatnonzero((folds.m == m) & (folds.g == g))
            choice = np.searchsorted(multiplier_choices(self.layer.window * m), folds.n[alike])
            filters, place = np.unique(folds.o[alike], return_inverse=True)
            found = kind.scheduled(work, m, choice, folds.bundles[alike], filters, g)
            t[alike] = found[np.arange(len(alike)), place]
        return t

    def _work(self, sparsity: LayerSparsity) -> LayerWork:
        return work_of(self.layer, sparsity, self.options, self.costs)

    @cached_property
    def _nearby(self) -> NearbyRounds:
        return NearbyRounds.of(self._work(self.sparsity), self.folds)

    def candidates(self, interval: int) -> ComputeDesigns:
        """The designs that a search nearby will choose among; see `worth_near`."""
        structure, folds = self.sparsity.structure, self.folds
        # of a bounded number of weights a round takes whole cycles, so that which N pays changes with the number
        apart = folds.n * (structure is not None and structure.bounded is not None)
        groups = folds.engine * (int(apart.max(initial=0)) + 1) + apart
        found = self._some(worth_near(self, groups, interval, self.space.budget), self.interval)
        every = np.arange(len(found.t))
        found._halved = {
            density: found._growth_at_half(found._nearby, every, density, exactly=True) for density in DENSITIES
        }
        return found

    def _some(self, rows: Ints, interval: Ints) -> ComputeDesigns:
        """A table of some rows, whose intervals then ascend."""
        found = copy(self)
        found.keep(rows, interval)
        found.folds = self.folds[rows]
        for name in ("t", "uneven", "alone", "in_luts"):
            setattr(found, name, getattr(self, name)[rows])
        if "_nearby" in vars(self):
            found._nearby = self._nearby.some(rows)
        found._halved = {density: ratio[rows] for density, ratio in self._halved.items()}
        return found

    # ---- designs ---------------------------------------------------------------------------------------------

    def _fifo_choices(self, side: InputFolds) -> list[int]:
        """The depths of compute engines' FIFOs that are worth exploring; 0 = lock-step."""
        if not side.waiting.any() or self.options.engines in ("lockstep", "averaged"):
            return [0]
        return [self.options.engine_fifo] if self.options.engines == "decoupled" else [0, self.options.engine_fifo]

    def _leave_out_tiles(self, side: InputFolds, t: Floats) -> None:
        """Shorten the mean cycles (…, rows, filters) of engines that leave out tiles of zero weights."""
        for kind, rows in by_kind(side.engine) if self._zero_tiles.any else ():
            if kind.skips_tiles:
                t[:, rows] *= self._zero_tiles.kept_fraction(side.i[rows, None], side.filters)

    def _buildable(self, side: InputFolds) -> Bools:
        """(rows, filters) which combinations of folds `hass_train.build` makes RTL of."""
        layer, o = self.layer, side.filters
        i, g, p = side.i[:, None], side.g[:, None], side.p[:, None]
        every = (o == layer.filters_per_group) & (g == layer.groups)
        fits = (p == 1) | every
        if layer.groups == 1:
            return np.asarray(fits)
        alone = (g == 1) & (layer.channels_per_group % i == 0) & (layer.filters_per_group % o == 0)
        beside = (i == layer.channels_per_group) & (o == layer.filters_per_group)
        return np.asarray(fits & (alone | beside))

    def _worth_building(self, side: InputFolds, t: Floats, fifos: list[int], floor: int) -> tuple[Ints, ...]:
        """The designs worth building among all input folds with all numbers of filters.

        Args:
            side: (rows,) the input folds.
            t: (FIFOs, rows, filters) mean cycles of a round.
            fifos: depths of the compute engines' FIFOs.
            floor: cycles below which no design has to go.

        Returns:
            (designs,) the index of the depth, the row, the index of the filters and the interval of each.
        """
        layer, first, filters, waits = self.layer, side.blocks[:-1], side.filters, side.waiting
        rounds = cycles.rounds(layer, side.i, layer.filters_per_group, side.g, side.p)
        written = cycles.output_cycles(layer, filters, side.g[first, None], side.p[first, None])
        decoupled = self.options.engines == "decoupled"
        # FIFOs are only for engines that would otherwise wait for others
        fewest = np.where(waits, 0 if decoupled else 1 // (side.g * side.p * side.bundles), -1 if decoupled else 2**62)
        found: tuple[Ints, ...] = table_kernel.worth_building(
            t, rounds, ceil_div(layer.filters_per_group, filters),
            cycles.input_cycles(layer, side.i, side.g, side.q), written, side.blocks, side.wider, filters, fewest,
            np.array(fifos), floor,
        )  # fmt: skip
        return found

    # ---- costs -----------------------------------------------------------------------------------------------

    def _costs(
        self, side: InputFolds, folds: Folds, cells: Ints, interval: Ints, t: Floats, space: DesignSpace
    ) -> tuple[Floats, Floats, Bools]:
        """(n, 3) DSPs, LUTs and flip-flops of all designs, (places, n, 3) their memories at each place, and (n,)
        whether weights on the chip are in LUTs.

        Args:
            side: the input folds that they are made of.
            folds, interval, t: of the designs.
            cells: (n,) their numbers among all combinations of FIFOs, input folds and filters.
            space: the bounds of the design space.
        """
        layer, options = self.layer, self.options
        streamed = layer.kind is OperationKind.MATMUL
        fetched = not streamed and space.budget[BANDWIDTH] > 0 and not options.buildable
        bands = self._band_choices() if fetched else []
        size, key = (
            2 * len(side.n) * len(side.filters),
            (side, space.family, self.fifos.bypass, self.fifos.unsigned, *bands),
        )
        fixed = known_costs(key, size, 6 + 2 * len(bands), cells, lambda some: self._fixed_costs(folds[some], bands))
        banks, streams = self._weight_banks(folds, t), folds.i * folds.g
        if self.fifos.words:
            before = ceil_div(sum(self.fifos.words), streams * folds.q)
        else:
            load = np.minimum(cycles.input_cycles(layer, folds.i, folds.g, folds.q) / interval, 1.0)
            before = input_depth(layer, streams, folds.q, load)
        held = self.costs.fifo(streams * folds.q, before)
        logic, window, (rows_bram18, rows_uram) = fixed[:3], fixed[3] + held.bram18, fixed[4:6]
        logic[1] += held.lut + banks.luts
        logic[2] += held.ff + banks.ffs
        self.places = [(WeightsIn.BRAM, 1)]
        columns: list[tuple[Floats | Ints | int, ...]] = [(window + banks.bram18, 0, 0)]
        if space.budget[2] > 0:
            self.places.append((WeightsIn.URAM, 1))
            columns.append((window, banks.uram, 0))
            if streamed:  # operands that wait a whole image take as much memory as those that are held
                self.places.append((WeightsIn.URAM, 1))
                columns.append((fixed[3], banks.uram + held.uram, 0))
            if self._reads_far_ahead and not options.buildable:
                self.places.append((WeightsIn.URAM, 1))
                columns.append((window - rows_bram18, banks.uram + rows_uram, 0))
        blocked = window + np.where(banks.in_luts, FORBIDDEN, 0.0)  # weights that fit LUTs are not fetched from outside
        for band, bram18, uram in zip(bands, fixed[6::2], fixed[7::2], strict=True):
            read = layer.weights * options.weight_bits * banks.stored * band
            self.places.append((WeightsIn.OFF_CHIP, band))
            columns.append((blocked + bram18, 0, read))
            if space.budget[2] > 0:
                self.places.append((WeightsIn.OFF_CHIP, band))
                columns.append((blocked, uram, read))
        memories = np.empty((len(columns), 3, len(folds)))
        for place, resources in enumerate(columns):
            for column, values in enumerate(resources):
                memories[place, column] = values
        return logic.T, memories.transpose(0, 2, 1), banks.in_luts

    def _fixed_costs(self, folds: Folds, bands: list[int]) -> Floats:
        """(6 + 2·bands, n) what no sparsity changes: DSPs, LUTs and flip-flops; block RAMs of windows and of what is
        read ahead of them; block RAMs, and UltraRAMs instead, of the latter, and of the maps beside off-chip weights
        for each number of bands."""
        layer, streams = self.layer, folds.i * folds.g
        logic = self.costs.compute(layer, folds, max(self.options.pixel_choices))
        rows = self.costs.rows(layer, streams * folds.q, rows_depth(layer, streams, folds.q))
        window = self.costs.window(layer, streams, folds.q) + rows
        ahead = self.costs.windows_ahead(layer, folds, self._usual_interval(folds))
        window = window if ahead is None else window + ahead
        logic[:, 1] += window.lut
        logic[:, 2] += window.ff
        banks = self._weight_banks(folds, np.ones(len(folds)))
        maps = [self._map_buffers(folds, banks.count * banks.words, band) for band in bands]
        held = (window.bram18, rows.bram18, rows.uram)
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
        compressed = 1.0 if streamed else options.stored_fraction(self.sparsity.weight_density)
        kept = self._zero_tiles.kept_fraction(folds.i, folds.o)
        schedule = Schedule(cycles.passes(layer, folds.i, folds.o, folds.g), kept, t, compressed)
        banks = self.costs.weights(layer, folds, schedule)
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
        tile = 2 * ceil_div(layer.channels_per_group, folds.i)
        tiles = memory.buffer(self.options.weight_bits, words, tile)
        beside = memory.buffer(bits, np.ones_like(read), math.ceil(2 * MARGIN * self.fifos.bypass / bands))
        return source + result + tiles + beside

    def _describe(self, design: int, place: int) -> LayerEstimate:
        """See `Table.describe`."""
        layer, folds, t = self.layer, self.folds[np.array([design])], float(self.t[design])
        bounds = {
            "compute": float(cycles.compute_cycles(layer, folds.i, folds.o, folds.g, t, folds.p)[0]),
            "input": float(cycles.input_cycles(layer, folds.i, folds.g, folds.q)[0]),
            "output": float(cycles.output_cycles(layer, folds.o, folds.g, folds.p)[0]),
        }
        kind = VARIANTS[int(folds.engine[0])]
        where, bands = self.places[place]
        if where is not WeightsIn.OFF_CHIP:
            where = WeightsIn.LUTRAM if self.in_luts[design] else where
        pairs = layer.window * int(folds.m[0])
        mean_pairs = pairs * kind.computed_fraction(self.sparsity)
        return LayerEstimate(
            name=layer.name,
            kind=layer.kind.value,
            interval_cycles=int(self.interval[design]) // self.urgency,
            urgency=self.urgency,
            bound=max(bounds, key=bounds.__getitem__),
            engine=kind.engine.value,
            folds={name: int(getattr(folds, key)[0]) for name, key in _FOLDS.items()},
            resources=Resources.of(self.resources(design, place)),
            weights_in=str(where),
            bands=bands,
            initiation_interval=t,
            initiation_interval_of_mean=float(max(self.options.t_min, ceil_div(mean_pairs, int(folds.n[0])))),
            imbalance=float(self.uneven[design]),
            engine_fifo=int(folds.fifo[0]),
            waiting=float(t / max(self.alone[design], _TINY)) if t else 1.0,
            macs=layer.macs,
            pair_density=self.sparsity.pair_density,
            lanes=kind.lanes,
            multiplier=kind.multiplier,
            filter_order=self._filter_order(kind),
            weight_bits=self.options.weight_bits if layer.has_weights else 0,
            activation_bits=self.options.activation_bits,
        )

    def _filter_order(self, kind: EngineKind) -> tuple[int, ...]:
        """The order in which engines with lists compute filters; empty where it is the network's."""
        counts = self.sparsity.filter_nonzeros
        if not kind.orders_filters or not counts or min(counts) == max(counts):
            return ()
        return tuple(filter_order(np.asarray(counts), self.layer.groups).tolist())


# names of the folds in results, and the fields of `Folds` that hold them
_FOLDS = {"i": "i", "o": "o", "g": "g", "m": "m", "N": "n", "q": "q", "p": "p"}
