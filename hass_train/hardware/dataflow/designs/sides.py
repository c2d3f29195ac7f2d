"""Input sides of a compute layer's designs: channels, bundles and multipliers, and how long their rounds are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div, spaced
from hass_train.hardware.dataflow.costs.balance import over_channels, over_groups
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices, nonzero_pairs
from hass_train.hardware.dataflow.costs.rounds import Rounds, Slowest, round_cycles
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BUNDLE_STEP = 1.25  # ratio between bundle sizes explored
ROUGH_STEP = 1.25
"""Ratio between folds of the input side that are explored where a rough answer will do: the filters' folds stay."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Input sides of designs, as equally long arrays: parallel channels i, bundle m, multipliers N (and which of
    `multiplier_choices` that is), kind of engine, imbalance between channels, cycles of a round of one engine alone."""

    i: Ints
    m: Ints
    n: Ints
    choice: Ints
    sparse: NDArray[np.bool_]
    uneven: Floats
    alone: Floats


class InputSides:
    """What the input side of a layer can look like at its sparsity.

    Args:
        layer: convolution, linear layer or matrix product.
        sparsity: of its pairs.
        options: design rules.
    """

    def __init__(self, layer: Operation, sparsity: LayerSparsity, options: DataflowOptions) -> None:
        self.layer, self.sparsity, self.options = layer, sparsity, options
        self._rounds: dict[int, Rounds] = {}  # by bundle size

    def sides(self, channels: list[int]) -> Sides:
        """All input sides with one of these numbers of parallel channels."""
        layer, t_min = self.layer, self.options.t_min
        rows = []
        for i in channels:
            for m in self._bundles(i, channels):
                pairs = layer.window * m
                choices = multiplier_choices(pairs)
                few = self._thinned(choices)
                passes = ceil_div(pairs, choices)
                dense = np.flatnonzero(np.r_[True, passes[1:] < passes[:-1]])
                rows.append((i, m, choices[dense], dense, False, np.ones(len(dense)), passes[dense].astype(float)))
                # where a window takes a cycle in any case, a multiplier for every pair leaves nothing to gain
                skips = np.flatnonzero(few & (choices < pairs)) if t_min else np.flatnonzero(few)
                if not len(skips) or not self._has_zeros:
                    continue
                if m not in self._rounds:
                    histogram = nonzero_pairs(self.sparsity, layer.window, m)
                    self._rounds[m] = Rounds(self._lanes, m, histogram, t_min)
                uneven = over_channels(layer, self.sparsity, i, m, t_min)
                rows.append((i, m, choices[skips], skips, True, uneven[skips], self._rounds[m].alone[skips]))
        sizes = [len(row[2]) for row in rows]
        same = [np.repeat([row[k] for row in rows], sizes) for k in (0, 1, 4)]
        n, choice, uneven, alone = (np.concatenate([np.asarray(row[k]) for row in rows]) for k in (2, 3, 5, 6))
        return Sides(same[0], same[1], n, choice, same[2], uneven, alone)

    def over_groups(self, sides: Sides, groups: Ints) -> Floats:
        """(sides, groups) how much slower the slowest group's stream is than the mean; dense engines wait for none."""
        result = np.ones((len(sides.n), len(groups)))
        if self.layer.groups == 1 or not self.sparsity.channel_densities:
            return result
        for m in np.unique(sides.m):
            rows = np.flatnonzero((sides.m == m) & sides.sparse)
            for k, g in enumerate(groups):
                uneven = over_groups(self.layer, self.sparsity, int(g), int(m), self.options.t_min)
                result[rows, k] = uneven[sides.choice[rows]]
        return result

    def slowest(self, sides: Sides, filters: Ints, g: int, columns: int) -> Slowest | None:
        """Cycles of rounds of sparse sides in lock-step; None where there are none, or none wait."""
        if not sides.sparse.any() or self.options.engines == "averaged":
            return None
        alone = np.repeat(sides.alone[sides.sparse, None], len(filters), axis=1)
        over, spread = [np.empty_like(alone) for _ in range(3)], np.empty((len(alone), 1))
        m, choice = sides.m[sides.sparse], sides.choice[sides.sparse]
        channels = g * (sides.i[sides.sparse] // m)
        for bundle in np.unique(m):
            rows, one = m == bundle, np.ones((m == bundle).sum(), np.int64)
            rounds = self._rounds[int(bundle)]
            spread[rows, 0] = rounds.spread[choice[rows]]
            for values, across, beside in zip(
                over, (1, 1, columns), (one, channels[rows], channels[rows]), strict=True
            ):
                values[rows] = rounds.slowest(across, beside, choice[rows], filters)
        lanes = (channels[:, None] * filters).astype(float)
        return Slowest(alone, spread, lanes, *over)

    def round_cycles(
        self, sides: Sides, slowest: Slowest | None, uneven: Floats, filters: Ints, g: int, fifo: int
    ) -> Floats:
        """(sides, filters) cycles of a round on average, waiting for slower engines included."""
        t = np.repeat((sides.alone * uneven)[:, None], len(filters), axis=1)
        if slowest is not None:
            layer, some = self.layer, sides.sparse
            blocks = (ceil_div(layer.channels_per_group, sides.i[some]) * ceil_div(layer.groups, g))[:, None].astype(
                float
            )
            rounds = blocks * ceil_div(layer.filters_per_group, filters).astype(float)
            t[some] = round_cycles(slowest, uneven[some, None], blocks, rounds, fifo)
        return t

    def _thinned(self, choices: Ints) -> NDArray[np.bool_]:
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
        """Bundle sizes m worth exploring for i parallel channels."""
        if self.options.bundle == "auto":
            return [m for m in range(1, i + 1) if i % m == 0]
        whole = self.layer.window == 1 and i in spaced(channels, _BUNDLE_STEP)
        found = {1, i} if whole else {1}
        structure = self.sparsity.structure
        if structure is not None and structure.nm is not None and i % structure.nm[1] == 0:
            found.add(structure.nm[1])  # what is bounded in each group is not in single channels
        return sorted(found)
