"""The input side of a compute layer's designs: channels, bundles and multipliers, and how long their rounds take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div, spaced
from hass_train.hardware.dataflow.costs.balance import over_channels, over_groups
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices, nonzero_pairs
from hass_train.hardware.dataflow.costs.rounds import LockstepCycles, LockstepRounds, round_cycles
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BUNDLE_STEP = 1.25  # ratio between bundle sizes explored
ROUGH_STEP = 1.25
"""Ratio between the folds of the input side that are explored where a rough answer will do; filters keep all folds."""


@dataclass(frozen=True, slots=True)
class InputFolds:
    """Folds of the input side of many designs, as equally long arrays.

    Args:
        i: parallel input channels.
        m: channels bundled in one compute engine.
        n: multipliers N of a compute engine.
        choice: index of N in `multiplier_choices`.
        sparse: whether the compute engines skip zeros.
        uneven: load imbalance between parallel channels, ≥ 1.
        alone: mean cycles of a round of one compute engine by itself.
    """

    i: Ints
    m: Ints
    n: Ints
    choice: Ints
    sparse: NDArray[np.bool_]
    uneven: Floats
    alone: Floats


class InputSide:
    """What the input side of a layer can look like at its sparsity, and how long rounds take there.

    Args:
        layer: convolution, linear layer or matrix product.
        sparsity: its sparsity.
        options: design rules.
    """

    def __init__(self, layer: Operation, sparsity: LayerSparsity, options: DataflowOptions) -> None:
        self.layer, self.sparsity, self.options = layer, sparsity, options
        self._rounds: dict[int, LockstepRounds] = {}  # by bundle size

    def folds(self, channels: list[int]) -> InputFolds:
        """All folds of the input side with one of these numbers of parallel channels.

        Rows of equal i, m and kind of engine follow each other in ascending order of N.
        """
        layer, t_min = self.layer, self.options.t_min
        rows = []
        for i in channels:
            for m in self._bundles(i, channels):
                pairs = layer.window * m
                choices = multiplier_choices(pairs)
                few = self._few(choices)
                passes = dense_rounds(pairs, choices)
                dense = np.flatnonzero(np.r_[True, passes[1:] < passes[:-1]])
                rows.append((i, m, choices[dense], dense, False, np.ones(len(dense)), passes[dense].astype(float)))
                # where a window takes a cycle in any case, a multiplier for every pair leaves nothing to gain
                skips = np.flatnonzero(few & (choices < pairs)) if t_min else np.flatnonzero(few)
                if not len(skips) or not self._has_zeros:
                    continue
                if m not in self._rounds:
                    histogram = nonzero_pairs(self.sparsity, layer.window, m, layer.channels_per_group)
                    self._rounds[m] = LockstepRounds(self._lanes, m, histogram, t_min)
                uneven = over_channels(layer, self.sparsity, i, m, t_min)
                rows.append((i, m, choices[skips], skips, True, uneven[skips], self._rounds[m].alone[skips]))
        sizes = [len(row[2]) for row in rows]
        same = [np.repeat([row[k] for row in rows], sizes) for k in (0, 1, 4)]
        n, choice, uneven, alone = (np.concatenate([np.asarray(row[k]) for row in rows]) for k in (2, 3, 5, 6))
        return InputFolds(same[0], same[1], n, choice, same[2], uneven, alone)

    def group_imbalance(self, folds: InputFolds, groups: Ints) -> Floats:
        """(rows, groups) load imbalance between parallel groups; 1 for dense engines, which wait for none."""
        result = np.ones((len(folds.n), len(groups)))
        if self.layer.groups == 1 or not self.sparsity.channel_densities:
            return result
        for m in np.unique(folds.m):
            rows = np.flatnonzero((folds.m == m) & folds.sparse)
            for k, g in enumerate(groups):
                uneven = over_groups(self.layer, self.sparsity, int(g), int(m), self.options.t_min)
                result[rows, k] = uneven[folds.choice[rows]]
        return result

    def lockstep_cycles(self, folds: InputFolds, filters: Ints, g: int, columns: int) -> LockstepCycles | None:
        """Cycles of the rounds of sparse engines in lock-step.

        Args:
            folds: the input side; only the rows of sparse engines count.
            filters: (filters,) numbers of parallel filters.
            g, columns: parallel groups and output columns.

        Returns:
            None where no row has sparse engines, or engines do not wait for each other.
        """
        if not folds.sparse.any() or self.options.engines == "averaged":
            return None
        alone = np.repeat(folds.alone[folds.sparse, None], len(filters), axis=1)
        over, deviation = [np.empty_like(alone) for _ in range(3)], np.empty((len(alone), 1))
        m, choice = folds.m[folds.sparse], folds.choice[folds.sparse]
        channels = g * (folds.i[folds.sparse] // m)
        for bundle in np.unique(m):
            rows, one = m == bundle, np.ones((m == bundle).sum(), np.int64)
            rounds = self._rounds[int(bundle)]
            deviation[rows, 0] = rounds.deviation[choice[rows]]
            for values, across, beside in zip(
                over, (1, 1, columns), (one, channels[rows], channels[rows]), strict=True
            ):
                values[rows] = rounds.slowest(across, beside, choice[rows], filters)
        engines = (channels[:, None] * filters).astype(float)
        return LockstepCycles(alone, deviation, engines, *over)

    def round_cycles(
        self, folds: InputFolds, lockstep: LockstepCycles | None, uneven: Floats, filters: Ints, g: int, fifo: int
    ) -> Floats:
        """The mean cycles of a round, waiting for slower engines included.

        Args:
            folds: the input side.
            lockstep: cycles of its sparse engines in lock-step; None if they do not wait for each other.
            uneven: (rows,) load imbalance of channels and groups.
            filters: (filters,) numbers of parallel filters.
            g: parallel groups.
            fifo: rounds that a sparse engine may be ahead of the slowest; 0 = lock-step.

        Returns:
            (rows, filters) cycles.
        """
        t = np.repeat((folds.alone * uneven)[:, None], len(filters), axis=1)
        if lockstep is not None:
            layer, some = self.layer, folds.sparse
            blocks = ceil_div(layer.channels_per_group, folds.i[some]) * ceil_div(layer.groups, g)
            of_channels = blocks[:, None].astype(float)
            rounds = of_channels * ceil_div(layer.filters_per_group, filters).astype(float)
            t[some] = round_cycles(lockstep, uneven[some, None], of_channels, rounds, fifo)
        return t

    def _few(self, choices: Ints) -> NDArray[np.bool_]:
        """Which numbers of multipliers to look at: all, or steps of a quarter where a rough answer will do."""
        if not self.options.rough:
            return np.ones(len(choices), bool)
        return np.isin(choices, spaced(choices.tolist(), ROUGH_STEP))

    @cached_property
    def _lanes(self) -> Lanes:
        layer = self.layer
        return self.sparsity.lanes or Lanes.unknown(
            self.options.max_pixels, layer.source.channels, layer.filters_per_group
        )

    @property
    def _has_zeros(self) -> bool:
        """Whether there is anything to skip; if not, no layer is built with crossbars."""
        return self.sparsity.pair_density < 1 or bool(self.sparsity.histograms)

    def _bundles(self, i: int, channels: list[int]) -> list[int]:
        """The bundle sizes m worth exploring for i parallel channels."""
        if self.options.bundle == "auto":
            return [m for m in range(1, i + 1) if i % m == 0]
        whole = self.layer.window == 1 and i in spaced(channels, _BUNDLE_STEP)
        found = {1, i} if whole else {1}
        structure = self.sparsity.structure
        if structure is not None and structure.bounded and i % structure.bounded == 0:
            found.add(structure.bounded)  # N:M and banks bound whole groups of channels, not single ones
        return sorted(found)
