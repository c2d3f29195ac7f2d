"""How long the designs of a layer take at a sparsity near the one at which they were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs import cycles
from hass_train.hardware.dataflow.costs.compute_engine import EngineKind, LayerWork
from hass_train.hardware.dataflow.costs.density_scale import rounds_by_density, rounds_ratio
from hass_train.hardware.dataflow.costs.engine_kinds import by_rounds
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.costs.logic import Folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NearbyRounds:
    """The rounds of some designs, and how they grow with the densities that their kinds of engine follow.

    Args:
        rounds: (designs,) of an image.
        streamed: (designs,) cycles of reading or of writing, whichever are more.
        alike: (designs,) the place of each design's kind, m and N among all different ones; 0 where a kind follows no
            density.
        places: the number of places.
        followed: kinds whose rounds follow a density, their places, and their (levels, places) `rounds_by_density`.
        bounded: kind, m, choices of N, and places, of rounds that a pattern bounds.
    """

    rounds: Ints
    streamed: Ints
    alike: Ints
    places: int
    followed: Sequence[tuple[EngineKind, Ints, Floats]]
    bounded: Sequence[tuple[EngineKind, int, Ints, Ints]]

    @classmethod
    def of(cls, work: LayerWork, folds: Folds) -> NearbyRounds:
        """Those of some designs of a layer."""
        layer, alike, places = work.layer, np.zeros(len(folds.n), np.int64), 1
        followed, bounded = [], []
        for kind, of_kind in by_rounds(folds.engine):
            bundles, which = np.unique(folds.m[of_kind], return_inverse=True)
            own, by_density = [], []
            for one, m in enumerate(bundles.tolist() if kind.density else ()):
                rows, pairs = of_kind[which == one], layer.window * m
                different, place = np.unique(folds.n[rows], return_inverse=True)
                choices = np.searchsorted(multiplier_choices(pairs), different)
                at = places + np.arange(len(different))
                alike[rows], places = at[place], places + len(different)
                if kind.bounded(work, m):
                    bounded.append((kind, m, choices, at))
                else:
                    own.append(at)
                    by_density.append(rounds_by_density(pairs, work.t_min, kind.lanes)[:, choices])
            if own:
                followed.append((kind, np.concatenate(own), np.concatenate(by_density, axis=1)))
        read = cycles.input_cycles(layer, folds.i, folds.g, folds.q)
        written = cycles.output_cycles(layer, folds.o, folds.g, folds.p)
        rounds = cycles.rounds(layer, folds.i, folds.o, folds.g, folds.p)
        return cls(rounds, np.maximum(read, written), alike, places, followed, bounded)

    def some(self, rows: Ints) -> NearbyRounds:
        """Those of some of the designs."""
        return replace(self, rounds=self.rounds[rows], streamed=self.streamed[rows], alike=self.alike[rows])

    def growth(self, before: LayerWork, after: LayerWork, others: float = 1.0) -> Floats:
        """(places,) the cycles of a round at one sparsity of the layer over those at another, zeros being independent.

        Args:
            before, after: the layer at both.
            others: what becomes of kinds that follow no density.
        """
        result = np.full(self.places, others)
        for kind, places, by_density in self.followed:
            old, new = (kind.computed_fraction(one.sparsity) for one in (before, after))
            result[places] = rounds_ratio(by_density, old, new) if old != new else 1.0
        for kind, m, choices, places in self.bounded:
            result[places] = kind.growth(before, after, m)[choices]
        return result

    def intervals(self, t: Floats) -> Ints:
        """(designs,) cycles per image if rounds take t cycles."""
        return cycles.interval(self.rounds * t, self.streamed, self.streamed)
