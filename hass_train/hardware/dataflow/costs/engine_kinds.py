"""The kinds of compute engine: whatever depends on what an engine does with zeros is asked of its kind, here.

A further kind is a name in `ComputeEngine`, a class here, and its costs in a cost model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from hass_train.hardware.dataflow.costs.balance import over_channels, over_groups
from hass_train.hardware.dataflow.costs.compute_engine import (
    Bools,
    ComputeEngine,
    EngineKind,
    Floats,
    Ints,
    LayerWork,
    Multiplier,
)
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.initiation import (
    initiation_intervals,
    multiplier_choices,
    nonzero_weights,
)
from hass_train.hardware.dataflow.costs.lane_cycles import lane_cycles
from hass_train.hardware.dataflow.costs.rounds import LockstepRounds
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import OperationKind


class Dense(EngineKind):
    """All M pairs through N multipliers, zeros or not: ⌈M/N⌉ cycles."""

    engine, waits, skips_tiles = ComputeEngine.DENSE, False, True

    def multipliers(self, work: LayerWork, bundle: int) -> Ints:
        rounds = self._rounds(work, bundle)
        return np.flatnonzero(np.r_[True, rounds[1:] < rounds[:-1]])

    def unsuited(self, work: LayerWork) -> str:
        return ""  # any layer can be built so

    def alone(self, work: LayerWork, bundle: int) -> Floats:
        return self._rounds(work, bundle).astype(float)

    def _rounds(self, work: LayerWork, bundle: int) -> Ints:
        pairs = work.layer.window * bundle
        return np.asarray(dense_rounds(pairs, multiplier_choices(pairs)), np.int64)


class Skipping(EngineKind):
    """What kinds that skip zeros have in common: they pay for nothing in a layer without zeros, nor with a multiplier
    for every pair where a round takes a cycle anyway."""

    def multipliers(self, work: LayerWork, bundle: int) -> Ints:
        if not self.finds_zeros(work.sparsity):
            return np.zeros(0, np.int64)
        return work.skipping(bundle, self.lanes)

    def unsuited(self, work: LayerWork) -> str:
        what = f"{self.engine} engines could skip"
        return "has windows of a single pair" if self.finds_zeros(work.sparsity) else f"has no zeros that {what}"

    def finds_zeros(self, sparsity: LayerSparsity) -> bool:
        return self.computed_fraction(sparsity) < 1


class Waiting(Skipping):
    """What kinds have in common whose rounds depend on the image, so that engines wait for slower ones."""

    waits = True
    shared: ClassVar[bool] = False
    """Whether filters share the picks: however many there are, no kernel is slower than another."""

    @abstractmethod
    def rounds(self, work: LayerWork, bundle: int) -> LockstepRounds:
        """The rounds of engines of `bundle` channels."""

    def by_channel(self, work: LayerWork) -> LayerSparsity:
        """The sparsity with the channels' densities that rounds follow."""
        return work.sparsity

    def alone(self, work: LayerWork, bundle: int) -> Floats:
        return self.rounds(work, bundle).alone

    def channel_imbalance(self, work: LayerWork, i: int, bundle: int) -> Floats:
        return over_channels(work.layer, self.by_channel(work), i, bundle, work.t_min)

    def group_imbalance(self, work: LayerWork, g: int, bundle: int) -> Floats:
        return over_groups(work.layer, self.by_channel(work), g, bundle, work.t_min)

    def lockstep(
        self, work: LayerWork, bundle: int, choice: Ints, channels: Ints, columns: Ints
    ) -> tuple[Floats, Floats, Floats, Floats]:
        rounds, one = self.rounds(work, bundle), np.ones(len(choice), np.int64)
        beside = [(one, one), (one, channels), (columns, channels)]
        over_filters, over_bundles, over_columns = rounds.at_filters(beside, choice, int(self.shared))
        deviation = np.zeros(len(choice)) if self.shared else rounds.deviation[choice]
        return deviation, over_filters, over_bundles, over_columns


class Activation(Waiting):
    """Skips zero activations, by lanes; filters share the picks, so that only windows wait for each other."""

    engine, density, shared = ComputeEngine.ACTIVATION, "activation_density", True

    def __init__(self, multiplier: Multiplier = "dsp") -> None:
        super().__init__(True, multiplier)

    def rounds(self, work: LayerWork, bundle: int) -> LockstepRounds:
        return work.activations(bundle)

    def by_channel(self, work: LayerWork) -> LayerSparsity:
        return work.activation_sparsity


class Pair(Waiting):
    """Skips pairs in which the weight or the activation is zero, by lanes."""

    engine, density = ComputeEngine.PAIR, "pair_density"

    def __init__(self, lanes: bool = True) -> None:
        super().__init__(lanes)

    def rounds(self, work: LayerWork, bundle: int) -> LockstepRounds:
        return work.pairs(bundle, self.lanes)

    def finds_zeros(self, sparsity: LayerSparsity) -> bool:
        return super().finds_zeros(sparsity) or bool(sparsity.histograms)


class Crossbar(Pair):
    """Any of N multipliers takes any of the non-zero pairs, as in HASS: max(t_min, ⌈nnz/N⌉) cycles."""

    engine = ComputeEngine.CROSSBAR

    def __init__(self) -> None:
        super().__init__(lanes=False)


class Weight(Skipping):
    """Takes only the weights that are not zero, from lists: the schedule is the same for every pixel."""

    engine, density, waits, orders_filters = ComputeEngine.WEIGHT, "weight_density", False, True

    def multipliers(self, work: LayerWork, bundle: int) -> Ints:
        if work.layer.kind is OperationKind.MATMUL:  # its second operand comes with the image
            return np.zeros(0, np.int64)
        return super().multipliers(work, bundle)

    def unsuited(self, work: LayerWork) -> str:
        streamed = work.layer.kind is OperationKind.MATMUL
        return "has no weights that are known beforehand" if streamed else super().unsuited(work)

    def alone(self, work: LayerWork, bundle: int) -> Floats:
        different, place = work.filter_histograms(bundle)
        return self._of_one(np.bincount(place) @ different / len(place))

    def scheduled(self, work: LayerWork, bundle: int, choice: Ints, bundles: Ints, filters: Ints, g: int) -> Floats:
        return work.weights(bundle, self.lanes, g).cycles(choice, bundles, filters)

    def bounded(self, work: LayerWork, bundle: int) -> bool:
        structure = work.sparsity.structure
        return structure is not None and structure.holds_whole(bundle, work.layer.channels_per_group)

    def growth(self, before: LayerWork, after: LayerWork, bundle: int) -> Floats:
        layer = after.layer
        old, new = (  # of a bounded number of weights a round takes whole cycles
            self._of_one(nonzero_weights(one.sparsity, layer.window, bundle, layer.channels_per_group))
            for one in (before, after)
        )
        return np.asarray(new / old)

    def _of_one(self, histogram: Floats) -> Floats:
        """(choices,) cycles of one engine that has 0 … M non-zero weights with these probabilities."""
        return lane_cycles(histogram) if self.lanes else initiation_intervals(histogram, 1)


VARIANTS: Sequence[EngineKind] = (
    Dense(), Activation(), Weight(), Weight(lanes=True), Pair(), Crossbar(),
    Dense(multiplier="lut"), Activation("lut"), Weight(multiplier="lut"), Weight(lanes=True, multiplier="lut"),
)  # fmt: skip
"""All kinds and their variants; a variant's place is its code in tables of designs."""
KINDS: Mapping[str, EngineKind] = MappingProxyType({kind.engine: kind for kind in reversed(VARIANTS)})
"""The first variant of each kind, by the kind's name."""
_NUMBERS = np.array([list(KINDS).index(kind.engine) for kind in VARIANTS])
_WAITS = np.array([kind.waits for kind in VARIANTS])
_TIMINGS = [(kind.engine, kind.lanes) for kind in VARIANTS]
_TIMING = np.array([_TIMINGS.index(one) for one in _TIMINGS])  # the first variant whose rounds take as long


def variants(engines: Sequence[ComputeEngine], small_products: bool) -> list[int]:
    """The codes of the variants of some kinds.

    Args:
        engines: the kinds.
        small_products: whether multipliers may be made of LUTs.
    """
    made_of = ("dsp", "lut") if small_products else ("dsp",)
    return [k for k, one in enumerate(VARIANTS) if one.engine in engines and one.multiplier in made_of]


def waiting(codes: Ints) -> Bools:
    """Which designs have engines that wait for each other, by the codes of their engines."""
    return np.asarray(_WAITS[codes])


def by_engine(codes: Ints) -> Iterator[tuple[ComputeEngine, Ints]]:
    """The kinds among some designs, whatever the variant, by the codes of their engines, each with the indices of its
    designs."""
    numbers = _NUMBERS[codes]
    for number, engine in enumerate(KINDS):
        rows = np.flatnonzero(numbers == number)
        if len(rows):
            yield KINDS[engine].engine, rows


def by_rounds(codes: Ints) -> Iterator[tuple[EngineKind, Ints]]:
    """What `by_kind` gives, but variants together whose rounds take as long, whatever multipliers are made of."""
    return by_kind(_TIMING[codes])


def by_kind(codes: Ints) -> Iterator[tuple[EngineKind, Ints]]:
    """The variants among some designs, by the codes of their engines, each with the indices of its designs."""
    for code, kind in enumerate(VARIANTS):
        rows = np.flatnonzero(codes == code)
        if len(rows):
            yield kind, rows
