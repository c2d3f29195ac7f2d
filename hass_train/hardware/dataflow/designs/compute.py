"""All designs of a convolution, linear layer or matrix product: how fast they are and what they cost, as arrays."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import cycles
from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.costs.compute_engine import Bools, EngineKind, LayerWork
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS, by_kind, by_rounds
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.costs.logic import Folds
from hass_train.hardware.dataflow.costs.weight_rounds import filter_order
from hass_train.hardware.dataflow.designs import table_kernel
from hass_train.hardware.dataflow.designs.candidates import worth_near
from hass_train.hardware.dataflow.designs.compute_costs import ComputeCosts
from hass_train.hardware.dataflow.designs.input_side import InputFolds, InputSide, work_of
from hass_train.hardware.dataflow.designs.nearby import NearbyRounds
from hass_train.hardware.dataflow.designs.tables import DesignSpace, Table, WeightsIn
from hass_train.hardware.dataflow.designs.zero_tiles import ZeroTiles
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.estimate import LayerEstimate, Resources
from hass_train.hardware.profile import DENSITIES, LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


HALF = 0.5
"""Fraction of a density to which what a layer needs is followed for its price."""
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
        self._pricing = ComputeCosts(
            layer, sparsity.weight_density, self._zero_tiles, fifos, options, self.costs, space
        )
        costs = self._pricing.of(side, folds, cells, interval, t)
        self.space, self.places = space, costs.places
        super().__init__(interval * self.urgency, costs.logic, costs.memories, space)
        row = row[self.kept]
        self.folds, self.t, self.in_luts = folds[self.kept], t[self.kept], costs.in_luts[self.kept]
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
