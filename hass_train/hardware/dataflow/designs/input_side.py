"""The input side of a compute layer's designs: channels, bundles and multipliers, and how long their rounds take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div, spaced, useful_folds
from hass_train.hardware.dataflow.costs.compute_engine import Bools, ComputeEngine, EngineKind, LayerWork
from hass_train.hardware.dataflow.costs.cost_model import CostModel
from hass_train.hardware.dataflow.costs.engine_kinds import KINDS, VARIANTS, by_rounds, variants, waiting
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.costs.rounds import LockstepCycles, round_cycles
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.estimate import CannotFit
from hass_train.hardware.lanes import interpolation
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BUNDLE_STEP = 1.25  # ratio between bundle sizes explored
_GRIDS: LRUCache[tuple[object, ...], InputFolds] = LRUCache(512)  # by what folds depend on, for all accelerators


@dataclass(frozen=True, slots=True, eq=False)
class InputFolds:
    """Folds of the input side of many designs, as equally long arrays; equal only if they are the same object.

    Rows of equal q and g, and within these of equal i, m and kind of engine, follow each other, in ascending order of
    N.

    Args:
        i: parallel input channels.
        m: channels bundled in one compute engine.
        n: multipliers N of a compute engine.
        choice: index of N in `multiplier_choices`.
        engine: codes of the kind of compute engine (its place in `VARIANTS`).
        g, q, p: parallel groups, pixels read, and output columns computed, at once.
        filters: (filters,) numbers of parallel filters that every row is combined with.
        blocks: (blocks + 1,) the first rows of each q and g, and the number of rows.
        wider: whether a row has more multipliers than the row before and is otherwise equal, and not harder to squeeze
            to.
        kinds: kind of engine, m, g and rows, of all that are equal in these; multipliers may be made of anything.
    """

    i: Ints
    m: Ints
    n: Ints
    choice: Ints
    engine: Ints
    g: Ints
    q: Ints
    p: Ints
    filters: Ints
    blocks: Ints
    wider: Bools
    kinds: Sequence[tuple[EngineKind, int, int, Ints]]

    @property
    def waiting(self) -> Bools:
        """Which designs have compute engines that wait for each other."""
        return waiting(self.engine)

    @property
    def bundles(self) -> Ints:
        """The compute engines side by side whose results are summed up for a filter."""
        return self.i // self.m


@dataclass(frozen=True, slots=True)
class RoundCycles:
    """The mean cycles of the rounds of `InputFolds`.

    Args:
        alone: (rows,) of one compute engine by itself.
        uneven: (rows,) load imbalance between parallel channels and groups, ≥ 1.
        t: (FIFOs, rows, filters) of all engines, waiting for slower ones included, for each depth of FIFOs.
    """

    alone: Floats
    uneven: Floats
    t: Floats


def work_of(layer: Operation, sparsity: LayerSparsity, options: DataflowOptions, costs: CostModel) -> LayerWork:
    """What the compute engines of a layer have to do; the arguments are those of `InputSide`."""
    return LayerWork(layer, sparsity, options.t_min, options.max_pixels, options.step, costs.most_choices)


class InputSide:
    """What the input side of a layer can look like at its sparsity, and how long rounds take there.

    Args:
        layer: convolution, linear layer or matrix product.
        sparsity: its sparsity.
        options: design rules.
        costs: what designs cost, and what can be built at all.
    """

    def __init__(self, layer: Operation, sparsity: LayerSparsity, options: DataflowOptions, costs: CostModel) -> None:
        self.layer, self.sparsity, self.options = layer, sparsity, options
        self._work = work_of(layer, sparsity, options, costs)
        self._kinds = variants(options.compute_engines, costs.small_products)

    def folds(self) -> InputFolds:
        """All folds of the input side, as they were found for any layer of this shape.

        Raises:
            CannotFit: no kind of compute engine that the options allow is worth building for the layer.
        """
        structure = self.sparsity.structure
        kinds = tuple(code for code in self._kinds if VARIANTS[code].finds_zeros(self.sparsity))
        bounded = structure.bounded if structure is not None else None
        key = (self.layer.geometry, self.options, self._work.most_choices, kinds, bounded)
        if key not in _GRIDS:
            _GRIDS[key] = self._found(kinds)
        return _GRIDS[key]

    def _found(self, kinds: Sequence[int]) -> InputFolds:
        """See `folds`."""
        layer, divisors = self.layer, self.options.folding == "divisors"
        channels = spaced(useful_folds(layer.channels_per_group, divisors), self.options.step)
        groups = useful_folds(layer.groups, divisors)
        rows = {one: self._rows(channels[-1:] if one else channels, channels, kinds) for one in (False, True)}
        parts, sides = [], []
        for q in self.options.pixel_choices:
            p = min(ceil_div(q, layer.stride[1]), layer.result.width)
            whole = q > 1  # only with all channels in parallel
            for g in groups[-1:] if whole else groups:
                parts.append(rows[whole])
                sides.append((g, q, p))
        sizes = [part.shape[1] for part in parts]
        i, m, n, choice, engine = np.concatenate(parts, axis=1)
        g_, q_, p_ = np.repeat(np.array(sides, np.int64).T, sizes, axis=1)
        same = [one[1:] == one[:-1] for one in (i, m, engine, g_, q_)]
        wider = (n[1:] > n[:-1]) & np.logical_and.reduce(same)
        if layer.window > 1:  # squeezing to more words can take less logic: from 9 to 6 less than to 5
            common = np.lcm(layer.window, n)
            wider &= common[1:] >= common[:-1]
        alike = [
            (kind, int(bundle), int(beside), of_bundle[g_[of_bundle] == beside])
            for kind, of_kind in by_rounds(engine)
            for bundle in np.unique(m[of_kind])
            for of_bundle in (of_kind[m[of_kind] == bundle],)
            for beside in np.unique(g_[of_bundle])
        ]
        filters = np.array(useful_folds(layer.filters_per_group, divisors), np.int64)
        blocks = np.cumsum([0, *sizes])
        return InputFolds(i, m, n, choice, engine, g_, q_, p_, filters, blocks, np.r_[False, wider], alike)

    def _rows(self, channels: Sequence[int], every: list[int], kinds: Sequence[int]) -> Ints:
        """(5, rows) i, m, N, its index, and the kind, of all rows with one of these numbers of parallel channels.

        Raises:
            CannotFit: there are none.
        """
        rows = []
        for i in channels:
            for m in self._bundles(i, every):
                choices = multiplier_choices(self.layer.window * m)
                for code in kinds:
                    some = VARIANTS[code].multipliers(self._work, m)
                    if self.options.folding == "divisors" and VARIANTS[code].engine is ComputeEngine.DENSE:
                        some = some[self.layer.window * m % choices[some] == 0]
                    rows.append(np.stack(np.broadcast_arrays(i, m, choices[some], some, code)))
        found = np.concatenate(rows, axis=1) if rows else np.zeros((5, 0), np.int64)
        if not found.shape[1]:
            raise CannotFit(self._no_engine())
        return found

    def cycles(self, folds: InputFolds, fifos: Sequence[int]) -> RoundCycles:
        """The mean cycles of rounds with FIFOs of some depths around compute engines; 0 = lock-step."""
        work, rows = self._work, len(folds.n)
        alone, uneven, channels = np.empty(rows), np.ones(rows), folds.g * folds.bundles
        scheduled = np.empty((rows, len(folds.filters)))
        for kind, m, some in _bundled(folds.kinds):
            alone[some] = kind.alone(work, m)[folds.choice[some]]
        for kind, m, g, some in folds.kinds:
            choice = folds.choice[some]
            if kind.waits:
                uneven[some] = self._imbalance(kind, m, g, folds.i[some], choice)
                scheduled[some] = alone[some, None]
            else:
                scheduled[some] = kind.scheduled(work, m, choice, folds.bundles[some], folds.filters, g)
        t = np.repeat((scheduled * uneven[:, None])[None], len(fifos), axis=0)
        waits = np.flatnonzero(folds.waiting)
        if self.options.engines == "averaged" or not len(waits):
            return RoundCycles(alone, uneven, t)
        layer, points = self.layer, len(work.lanes.filters)
        over, deviation = np.empty((3, rows, points)), np.zeros(rows)
        for kind, m, some in _bundled(folds.kinds):
            if kind.waits:
                found = kind.lockstep(work, m, folds.choice[some], channels[some], folds.p[some])
                deviation[some], over[0, some], over[1, some], over[2, some] = found
        between = interpolation(work.lanes.filters, folds.filters).T
        lockstep = LockstepCycles(
            alone[waits, None], deviation[waits, None], (channels[waits, None] * folds.filters).astype(float),
            *(one[waits] @ between for one in over),
        )  # fmt: skip
        blocks = ceil_div(layer.channels_per_group, folds.i[waits]) * ceil_div(layer.groups, folds.g[waits])
        of_channels = blocks[:, None].astype(float)
        rounds = of_channels * ceil_div(layer.filters_per_group, folds.filters).astype(float)
        for own, fifo in zip(t, fifos, strict=True):
            own[waits] = round_cycles(lockstep, uneven[waits, None], of_channels, rounds, fifo)
        return RoundCycles(alone, uneven, t)

    def _imbalance(self, kind: EngineKind, m: int, g: int, i: Ints, choice: Ints) -> Floats:
        """(rows,) load imbalance between parallel channels, times that between groups."""
        if not self.sparsity.channel_densities:
            return np.ones(len(i))
        result = kind.group_imbalance(self._work, g, m)[choice] if self.layer.groups > 1 else np.ones(len(i))
        for one in np.unique(i):
            rows = i == one
            result[rows] *= kind.channel_imbalance(self._work, int(one), m)[choice[rows]]
        return np.asarray(result)

    def _no_engine(self) -> str:
        """A message that says why a layer cannot be built with the kinds of compute engine that are allowed."""
        allowed = self.options.compute_engines
        why = " and ".join(dict.fromkeys(KINDS[engine].unsuited(self._work) for engine in allowed))
        return (
            f"{self.layer.name} has no design with compute_engines=[{','.join(allowed)}]: it {why}; "
            f"add {ComputeEngine.DENSE} to hw.compute_engines"
        )

    def _bundles(self, i: int, channels: list[int]) -> list[int]:
        """The bundle sizes m worth exploring for i parallel channels."""
        if self.options.bundle == "none":
            return [1]
        if self.options.bundle == "auto":
            return [m for m in range(1, i + 1) if i % m == 0]
        whole = self.layer.window == 1 and i in spaced(channels, _BUNDLE_STEP)
        found = {1, i} if whole else {1}
        if most := self._work.most_choices // self.layer.window:  # the widest that pooled multipliers can choose among
            found.add(max(m for m in range(1, most + 1) if i % m == 0))
        structure = self.sparsity.structure
        if structure is not None and structure.bounded and i % structure.bounded == 0:
            found.add(structure.bounded)  # N:M and banks bound whole groups of channels, not single ones
        return sorted(found)


def _bundled(kinds: Sequence[tuple[EngineKind, int, int, Ints]]) -> Iterator[tuple[EngineKind, int, Ints]]:
    """Rows of equal kind and m."""
    for (kind, m), alike in groupby(kinds, key=lambda one: one[:2]):
        yield kind, m, np.concatenate([rows for *_, rows in alike])
