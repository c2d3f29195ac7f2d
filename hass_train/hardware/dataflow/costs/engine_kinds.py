"""The kinds of compute engine: whatever depends on what an engine does with zeros is asked of its kind, here.

A further kind is a name in `ComputeEngine` and a class in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import logic
from hass_train.hardware.dataflow.costs.balance import over_channels, over_groups
from hass_train.hardware.dataflow.costs.compute_engine import (
    Bools,
    ComputeEngine,
    EngineKind,
    Floats,
    Ints,
    LayerWork,
)
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.workload import Operation


class Dense(EngineKind):
    """All M pairs through N multipliers, zeros or not: ⌈M/N⌉ cycles."""

    static, skips_tiles = True, True

    def multipliers(self, work: LayerWork, bundle: int) -> Ints:
        pairs = work.layer.window * bundle
        rounds = dense_rounds(pairs, multiplier_choices(pairs))
        return np.flatnonzero(np.r_[True, rounds[1:] < rounds[:-1]])

    def unsuited(self, work: LayerWork) -> str:
        return ""  # any layer can be built so

    def alone(self, work: LayerWork, bundle: int) -> Floats:
        pairs = work.layer.window * bundle
        return np.asarray(dense_rounds(pairs, multiplier_choices(pairs)), float)

    def computed_fraction(self, pair_density: float) -> float:
        return 1.0

    def weight_words(self, pairs: Ints, n: Ints) -> Ints:
        return n

    def weight_depth(self, pairs: Ints, n: Ints, passes: Ints, kept: Floats, compressed: float) -> Ints:
        return np.asarray(np.ceil(passes * kept) * dense_rounds(pairs, n), np.int64)

    def stored_fraction(self, kept: ArrayLike, compressed: float) -> Floats:
        return np.asarray(kept, float)

    def modules(self, layer: Operation, folds: logic.Folds, bits: logic.Widths) -> Iterator[logic.Logic]:
        n, engines, pairs = folds.n, folds.compute_engines, layer.window * folds.m
        columns, narrow = folds.i * folds.g * folds.p, folds.n < layer.window
        picked, none = logic.crossbar(n, pairs, folds.m, bits), np.zeros(len(folds))
        if layer.window > logic.FITTED_WINDOW:
            yield logic.Logic(picked * columns * narrow, none)
        elif layer.window > 1:
            yield logic.squeeze(columns, np.full_like(n, layer.window), n, bits).times(narrow)
        yield logic.fork(folds.bundles * folds.g * folds.p, n, bits).times(folds.o > 1)
        yield logic.vector_dot(n, engines, bits)
        yield logic.Logic(picked * (engines * ((folds.m > 1) & (n < pairs))), none)
        passes = ceil_div(layer.source.channels * layer.window, n * folds.bundles * folds.g)
        filters, several = ceil_div(layer.filters_per_group, folds.o), folds.rounds_summed(layer) > 1
        yield logic.accumulate(engines, passes, filters, bits).times(several)


class Crossbar(EngineKind):
    """Any of N multipliers takes any of the non-zero pairs, as in HASS: max(t_min, ⌈nnz/N⌉) cycles.

    It pays for nothing in a layer without zeros, nor with a multiplier for every pair where a round takes a cycle
    anyway.
    """

    static, skips_tiles = False, False

    def multipliers(self, work: LayerWork, bundle: int) -> Ints:
        if not work.has_zeros:
            return np.zeros(0, np.int64)
        pairs = work.layer.window * bundle
        choices = multiplier_choices(pairs)
        return np.flatnonzero(work.few(choices) & ((choices < pairs) | (work.t_min == 0)))

    def unsuited(self, work: LayerWork) -> str:
        return "has windows of a single pair" if work.has_zeros else "has no zeros that a crossbar could skip"

    def alone(self, work: LayerWork, bundle: int) -> Floats:
        return work.pairs(bundle).alone

    def channel_imbalance(self, work: LayerWork, i: int, bundle: int) -> Floats:
        return over_channels(work.layer, work.sparsity, i, bundle, work.t_min)

    def group_imbalance(self, work: LayerWork, g: int, bundle: int) -> Floats:
        return over_groups(work.layer, work.sparsity, g, bundle, work.t_min)

    def lockstep(
        self, work: LayerWork, bundle: int, choice: Ints, channels: Ints, filters: Ints, columns: int
    ) -> tuple[Floats, Floats, Floats, Floats]:
        rounds, one = work.pairs(bundle), np.ones(len(choice), np.int64)
        over_filters, over_bundles, over_columns = (
            rounds.slowest(across, beside, choice, filters)
            for across, beside in ((1, one), (1, channels), (columns, channels))
        )
        return rounds.deviation[choice], over_filters, over_bundles, over_columns

    def computed_fraction(self, pair_density: float) -> float:
        return pair_density

    def weight_words(self, pairs: Ints, n: Ints) -> Ints:
        return pairs

    def weight_depth(self, pairs: Ints, n: Ints, passes: Ints, kept: Floats, compressed: float) -> Ints:
        return np.asarray(np.ceil(passes * compressed), np.int64)

    def stored_fraction(self, kept: ArrayLike, compressed: float) -> Floats:
        return np.full(np.shape(kept), compressed)

    def modules(self, layer: Operation, folds: logic.Folds, bits: logic.Widths) -> Iterator[logic.Logic]:
        n, engines, pairs = folds.n, folds.compute_engines, layer.window * folds.m
        if 1 < layer.window <= logic.FITTED_WINDOW:
            squeezes = folds.i * folds.g * folds.p * (n < layer.window)
            yield logic.squeeze(1, np.full_like(n, layer.window), n, bits).times(squeezes)
        yield logic.fork(folds.bundles * folds.g * folds.p, pairs, bits).times(folds.o > 1)
        filters, summed = ceil_div(layer.filters_per_group, folds.o), folds.rounds_summed(layer)
        yield logic.sparse_vector_dot(n, pairs, folds.m, filters, bits).times(engines)
        yield logic.decoupling(folds.fifo, pairs, bits).times(engines)
        yield logic.accumulate(1, summed, filters, bits).times(engines * (summed > 1))


KINDS: Mapping[str, EngineKind] = MappingProxyType({ComputeEngine.DENSE: Dense(), ComputeEngine.CROSSBAR: Crossbar()})
"""The kinds by name, in the order of their codes."""
_STATIC = np.array([engine in KINDS and KINDS[engine].static for engine in ComputeEngine])


def waiting(codes: Ints) -> Bools:
    """Which designs have engines that wait for each other, by the codes of their engines."""
    return np.asarray(~_STATIC[codes])


def by_kind(codes: Ints) -> Iterator[tuple[EngineKind, Ints]]:
    """The kinds among some designs, by the codes of their engines, each with the indices of its designs."""
    for engine in ComputeEngine:
        rows = np.flatnonzero(codes == engine.code)
        if len(rows):
            yield KINDS[engine], rows
