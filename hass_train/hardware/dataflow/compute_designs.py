"""Every design of a convolution or linear layer: what it costs and how fast it is, as arrays.

Designs are the product of an input side (i, m, N and the kind of engine, which set t) and an output side (o, g).
Throughput at a given multiplier count needs only intervals and DSPs, so memory is computed on demand.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow import cycles, memory
from hass_train.hardware.dataflow.initiation import initiation_intervals, multiplier_choices, nonzero_pairs
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.dataflow.tables import (
    Choices,
    RememberingTable,
    WeightsIn,
    front,
    lower_staircase,
    undominated,
    without_choices,
)
from hass_train.hardware.estimate import LayerEstimate, Resources
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation, useful_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ComputeDesigns(RememberingTable):
    """Designs of a convolution or linear layer at one sparsity."""

    def __init__(self, layer: Operation, sparsity: LayerSparsity, options: DataflowOptions) -> None:
        super().__init__()
        self.layer, self.sparsity, self.options = layer, sparsity, options
        divisors = options.folding == "divisors"
        outputs = [
            (o, g)
            for o in useful_folds(layer.filters_per_group, divisors)
            for g in useful_folds(layer.groups, divisors)
        ]
        self.o, self.g = (np.array(side, np.int64) for side in zip(*outputs, strict=True))
        self._enumerate_inputs(useful_folds(layer.channels_per_group, divisors))
        column = (slice(None), None)
        compute = cycles.compute_cycles(layer, self.i[column], self.o, self.g, self.t[column])
        read = cycles.input_cycles(layer, self.i[column], self.g)
        self.interval = cycles.interval(compute, read, cycles.output_cycles(layer, self.o, self.g))
        multipliers = (self.n * self.i // self.m)[column] * (self.o * self.g)
        self.dsp = cycles.dsp_of_multipliers(multipliers, options.activation_bits, options.weight_bits)

    def _enumerate_inputs(self, folds: list[int]) -> None:
        """The input side: i, bundle m, multipliers N, engine, t; runs of equal (i, m, engine) have ascending N."""
        window, rows = self.layer.window, []
        histograms: dict[int, Floats] = {}
        for i in folds:
            for m in self._bundles(i):
                if m not in histograms:
                    histograms[m] = nonzero_pairs(self.sparsity, window, m)
                pairs = window * m
                choices = multiplier_choices(pairs)
                sparse = initiation_intervals(histograms[m], self.options.t_min)
                dense = -(-pairs // choices)
                worth = np.r_[True, dense[1:] < dense[:-1]]
                for engine, n, t in ((0, choices[worth], dense[worth]), (1, choices, sparse)):
                    rows.append(np.stack([np.full(len(n), i), np.full(len(n), m), n, np.full(len(n), engine), t]))
        self.runs = np.repeat(np.arange(len(rows)), [row.shape[1] for row in rows])
        table = np.concatenate(rows, axis=1)
        self.i, self.m, self.n, engine = (column.astype(np.int64) for column in table[:4])
        self.sparse = engine.astype(bool)
        self.t = table[4]

    def _bundles(self, i: int) -> list[int]:
        """Bundle sizes m worth exploring for i parallel channels."""
        if self.options.bundle == "auto":
            return [m for m in range(1, i + 1) if i % m == 0]
        return sorted({1, i}) if self.layer.window == 1 else [1]

    @cached_property
    def staircase(self) -> tuple[Ints, Ints]:
        return lower_staircase(self.interval.ravel(), self.dsp.ravel())

    def _compute_choices(self, interval: int, spare_dsp: int) -> Choices:
        steps, dsp = self.staircase
        if interval < steps[0]:
            return without_choices()
        most = int(dsp[np.searchsorted(steps, interval, side="right") - 1]) + spare_dsp
        fast = (self.interval <= interval) & (self.dsp <= most)
        # A sparse engine's memory does not depend on N: of each run only the smallest N that is fast enough matters.
        repeated = np.zeros_like(fast)
        repeated[1:] = fast[:-1] & ((self.runs[1:] == self.runs[:-1]) & self.sparse[1:])[:, None]
        design = np.flatnonzero(fast & ~repeated)
        found, places, fronts = [], [], []
        for place in WeightsIn:
            resources = self._resources(design, place)
            # with weights at one place, one of the memories takes few values: a front of two costs for each of them
            few = resources[:, 3] if place is WeightsIn.OFF_CHIP else resources[:, 1] * (place is WeightsIn.URAM)
            best = front(resources[:, 0], resources[:, 2 if place is WeightsIn.URAM else 1], few)
            found.append(resources[best])
            fronts.append(design[best])
            places.append(np.full(len(best), int(place)))
        together = np.concatenate(found)
        best = undominated(together)
        return Choices(together[best], np.concatenate(fronts)[best], np.concatenate(places)[best])

    def _resources(self, design: Ints, place: WeightsIn) -> Ints:
        """(designs, 4) of flat design indices, weights kept at `place`."""
        words, depth = self._weight_banks(design)
        bits, none = self.options.weight_bits, np.zeros(len(design), np.int64)
        buffers = self._buffers(design)
        dsp = self.dsp.ravel()[design]
        if place is WeightsIn.BRAM:
            return np.stack([dsp, buffers + memory.banked_bram18(bits, words, depth), none, none], 1)
        if place is WeightsIn.URAM:
            return np.stack([dsp, buffers, memory.banked_uram(bits, words, depth), none], 1)
        buffers = buffers + self._map_buffers(design, words)
        side, _ = self._sides(design)
        stored = np.where(self.sparse[side], self.options.stored_fraction(self.sparsity.weight_density), 1.0)
        return np.stack([dsp, buffers, none, np.ceil(self.layer.weights * bits * stored).astype(np.int64)], 1)

    def _sides(self, design: Ints) -> tuple[Ints, Ints]:
        """Input-side and output-side index of flat design indices."""
        return np.unravel_index(design, self.interval.shape)  # type: ignore[return-value]

    def _weight_banks(self, design: Ints) -> tuple[Ints, Ints]:
        """Words read together and the depth of their banks, compressed if the options say so.

        Dense engines read N of an initiation's M weights a cycle, sparse ones all M at once to pick from.
        """
        side, out = self._sides(design)
        sparse = self.sparse[side]
        engines = self.g[out] * self.o[out] * self.i[side] // self.m[side]
        pairs = self.layer.window * self.m[side]
        words = engines * np.where(sparse, pairs, self.n[side])
        passes = cycles.rounds(self.layer, self.i[side], self.o[out], self.g[out]) // self.layer.result.pixels
        stored = self.options.stored_fraction(self.sparsity.weight_density)
        depth = np.where(sparse, np.ceil(passes * stored), passes * -(-pairs // self.n[side]))
        return words, depth.astype(np.int64)

    def _buffers(self, design: Ints) -> Ints:
        """Block RAMs of the sliding window."""
        side, out = self._sides(design)
        return memory.window_buffers(self.layer, self.i[side] * self.g[out], self.options.activation_bits)

    def _map_buffers(self, design: Ints, words: Ints) -> Ints:
        """Block RAMs that off-chip weights need instead of their own.

        Weights read once per image must meet all pixels while they are there: the input map is kept twice (one fills
        while one is read) and the results, which come filter by filter, wait for each other. Two tiles of weights
        take turns. (Our design; the contract leaves it open.)
        """
        layer, bits = self.layer, self.options.activation_bits
        side, out = self._sides(design)
        read, write = self.i[side] * self.g[out], self.o[out] * self.g[out]
        source = memory.banked_bram18(bits, read, 2 * layer.source.pixels * -(-layer.source.channels // read))
        result = memory.banked_bram18(bits, write, layer.result.pixels * -(-layer.result.channels // write))
        tiles = memory.banked_bram18(self.options.weight_bits, words, 2 * -(-layer.channels_per_group // self.i[side]))
        return np.asarray(source + result + tiles)

    def _row(self, design: int, weights_in: int) -> LayerEstimate:
        layer, single = self.layer, np.array([design])
        (side,), (out,) = self._sides(single)
        i, m, n, t = int(self.i[side]), int(self.m[side]), int(self.n[side]), float(self.t[side])
        o, g = int(self.o[out]), int(self.g[out])
        bounds = {
            "compute": float(cycles.compute_cycles(layer, i, o, g, t)),
            "input": float(cycles.input_cycles(layer, i, g)),
            "output": float(cycles.output_cycles(layer, o, g)),
        }
        resources = Resources(*(int(count) for count in self._resources(single, WeightsIn(weights_in))[0]))
        in_lutram = bool(memory.in_lutram(self.options.weight_bits, self._weight_banks(single)[1])[0])
        on_chip = weights_in != WeightsIn.OFF_CHIP
        mean_pairs = layer.window * m * (self.sparsity.pair_density if self.sparse[side] else 1.0)
        return LayerEstimate(
            name=layer.name,
            kind=layer.kind.value,
            interval_cycles=int(self.interval[side, out]),
            bound=max(bounds, key=bounds.__getitem__),
            engine="sparse" if self.sparse[side] else "dense",
            folds={"i": i, "o": o, "g": g, "m": m, "N": n},
            resources=resources,
            weights_in="lutram" if in_lutram and on_chip else WeightsIn(weights_in).name.lower(),
            initiation_interval=t,
            initiation_interval_of_mean=float(max(self.options.t_min, -(-mean_pairs // n))),
            macs=layer.macs,
            pair_density=self.sparsity.pair_density,
        )
