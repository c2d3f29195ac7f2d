"""The input side of a compute layer's designs: channels, bundles and multipliers, and how long their rounds take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div, spaced
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine, LayerWork
from hass_train.hardware.dataflow.costs.cost_model import CostModel
from hass_train.hardware.dataflow.costs.engine_kinds import KINDS, VARIANTS, by_kind, variants, waiting
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.costs.rounds import LockstepCycles, round_cycles
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.estimate import CannotFit
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BUNDLE_STEP = 1.25  # ratio between bundle sizes explored
LockstepRows = tuple[Ints, LockstepCycles]
"""Indices of designs whose engines are of one kind, and their cycles in lock-step."""


@dataclass(frozen=True, slots=True)
class InputFolds:
    """Folds of the input side of many designs, as equally long arrays.

    Args:
        i: parallel input channels.
        m: channels bundled in one compute engine.
        n: multipliers N of a compute engine.
        choice: index of N in `multiplier_choices`.
        engine: codes of the kind of compute engine (its place in `VARIANTS`).
        uneven: load imbalance between parallel channels, ≥ 1.
        alone: mean cycles of a round of one compute engine by itself.
    """

    i: Ints
    m: Ints
    n: Ints
    choice: Ints
    engine: Ints
    uneven: Floats
    alone: Floats

    @property
    def waiting(self) -> NDArray[np.bool_]:
        """Which designs have compute engines that wait for each other."""
        return waiting(self.engine)


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

    def folds(self, channels: list[int]) -> InputFolds:
        """All folds of the input side with one of these numbers of parallel channels.

        Rows of equal i, m and kind of engine follow each other in ascending order of N.

        Raises:
            CannotFit: no kind of compute engine that the options allow is worth building for the layer.
        """
        rows = []
        alone_of: dict[tuple[int, int], Floats] = {}
        for i in channels:
            for m in self._bundles(i, channels):
                choices = multiplier_choices(self.layer.window * m)
                for code in self._kinds:
                    kind = VARIANTS[code]
                    some = kind.multipliers(self._work, m)
                    if not len(some):
                        continue
                    if (m, code) not in alone_of:
                        alone_of[m, code] = kind.alone(self._work, m)
                    uneven = kind.channel_imbalance(self._work, i, m)
                    rows.append((i, m, choices[some], some, code, uneven[some], alone_of[m, code][some]))
        if not rows:
            raise CannotFit(self._no_engine())
        sizes = [len(row[2]) for row in rows]
        i_, m_, engines = (np.repeat([row[k] for row in rows], sizes) for k in (0, 1, 4))
        n, choice, uneven, alone = (np.concatenate([np.asarray(row[k]) for row in rows]) for k in (2, 3, 5, 6))
        return InputFolds(i_, m_, n, choice, engines, uneven, alone)

    def group_imbalance(self, folds: InputFolds, groups: Ints) -> Floats:
        """(rows, groups) load imbalance between parallel groups; 1 for engines that wait for none."""
        result = np.ones((len(folds.n), len(groups)))
        if self.layer.groups == 1 or not self.sparsity.channel_densities:
            return result
        for kind, of_kind in by_kind(folds.engine):
            for m in np.unique(folds.m[of_kind]):
                rows = of_kind[folds.m[of_kind] == m]
                for k, g in enumerate(groups):
                    uneven = kind.group_imbalance(self._work, int(g), int(m))
                    result[rows, k] = uneven[folds.choice[rows]]
        return result

    def scheduled_cycles(self, folds: InputFolds, filters: Ints, g: int) -> Floats:
        """(rows, filters) mean cycles of a round of engines that wait for none; of others, those of one by itself.

        Args:
            folds: the input side.
            filters: (filters,) numbers of parallel filters.
            g: parallel groups.
        """
        result = np.repeat(folds.alone[:, None], len(filters), axis=1)
        for kind, of_kind in by_kind(folds.engine):
            if kind.waits:
                continue
            for m in np.unique(folds.m[of_kind]):
                some = of_kind[folds.m[of_kind] == m]
                bundles = folds.i[some] // m
                result[some] = kind.scheduled(self._work, int(m), folds.choice[some], bundles, filters, g)
        return result

    def lockstep_cycles(self, folds: InputFolds, filters: Ints, g: int, columns: int) -> list[LockstepRows]:
        """Cycles of the rounds of engines in lock-step, for each kind whose engines wait for each other.

        Args:
            folds: the input side.
            filters: (filters,) numbers of parallel filters.
            g, columns: parallel groups and output columns.
        """
        if self.options.engines == "averaged":
            return []
        found = []
        for kind, rows in by_kind(folds.engine):
            if not kind.waits:
                continue
            alone = np.repeat(folds.alone[rows, None], len(filters), axis=1)
            over, deviation = [np.empty_like(alone) for _ in range(3)], np.empty((len(rows), 1))
            m, choice, channels = folds.m[rows], folds.choice[rows], g * (folds.i[rows] // folds.m[rows])
            for bundle in np.unique(m):
                some = m == bundle
                deviation[some, 0], *slowest = kind.lockstep(
                    self._work, int(bundle), choice[some], channels[some], filters, columns
                )
                for values, cycles in zip(over, slowest, strict=True):
                    values[some] = cycles
            engines = (channels[:, None] * filters).astype(float)
            found.append((rows, LockstepCycles(alone, deviation, engines, *over)))
        return found

    def round_cycles(
        self,
        folds: InputFolds,
        scheduled: Floats,
        lockstep: list[LockstepRows],
        uneven: Floats,
        filters: Ints,
        g: int,
        fifo: int,
    ) -> Floats:
        """The mean cycles of a round, waiting for slower engines included.

        Args:
            folds: the input side.
            scheduled: (rows, filters) cycles where none waits.
            lockstep: cycles of its engines in lock-step, for the rows that wait for each other.
            uneven: (rows,) load imbalance of channels and groups.
            filters: (filters,) numbers of parallel filters.
            g: parallel groups.
            fifo: rounds that an engine may be ahead of the slowest; 0 = lock-step.

        Returns:
            (rows, filters) cycles.
        """
        t = scheduled * uneven[:, None]
        for rows, cycles in lockstep:
            layer = self.layer
            blocks = ceil_div(layer.channels_per_group, folds.i[rows]) * ceil_div(layer.groups, g)
            of_channels = blocks[:, None].astype(float)
            rounds = of_channels * ceil_div(layer.filters_per_group, filters).astype(float)
            t[rows] = round_cycles(cycles, uneven[rows, None], of_channels, rounds, fifo)
        return t

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
