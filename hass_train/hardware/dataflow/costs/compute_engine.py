"""What is asked of a kind of compute engine, and what it is told of a layer (hardware-model, section 2).

M pairs of a weight and an activation meet in a round of an engine with N multipliers. How many cycles that takes, for
which other engines it waits and which N are worth building is what kinds differ in. They are in `engine_kinds`; what
they cost is in `cost_model`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import spaced
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices, nonzero_activations, nonzero_pairs
from hass_train.hardware.dataflow.costs.padded_lanes import Borders, borders
from hass_train.hardware.dataflow.costs.rounds import LockstepRounds
from hass_train.hardware.dataflow.costs.weight_rounds import FilterHistograms, IndependentWeights, filter_histograms
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Multiplier = Literal["dsp", "lut"]
"""What multipliers are made of."""


class ComputeEngine(StrEnum):
    """The names of the kinds, as options, estimates and designs have them."""

    DENSE = "dense"
    ACTIVATION = "activation"
    WEIGHT = "weight"
    PAIR = "pair"
    CROSSBAR = "crossbar"


@dataclass(frozen=True)
class LayerWork:
    """What the compute engines of one layer have to do.

    Args:
        layer: convolution, linear layer or matrix product.
        sparsity: its sparsity.
        t_min: least cycles of a round of engines that skip zeros.
        max_pixels: most pixels read at once.
        step: ratio between the numbers of multipliers that engines that skip zeros are explored with; 1 = all.
        most_choices: positions among which a multiplier can choose; 0 = as many as there are.
    """

    layer: Operation
    sparsity: LayerSparsity
    t_min: int
    max_pixels: int
    step: float = 1.0
    most_choices: int = 0
    _pairs: dict[tuple[int, bool], LockstepRounds] = field(default_factory=dict, init=False, repr=False)
    _activations: dict[int, LockstepRounds] = field(default_factory=dict, init=False, repr=False)
    _weights: dict[tuple[int, bool, int], IndependentWeights] = field(default_factory=dict, init=False, repr=False)
    _histograms: dict[int, FilterHistograms] = field(default_factory=dict, init=False, repr=False)

    def skipping(self, bundle: int, lanes: bool) -> Ints:
        """The choices of N worth building for engines of `bundle` channels that skip zeros: those that can choose among
        what they have to, and no multiplier for every pair where a round takes a cycle anyway."""
        return _skipping(self.layer.window * bundle, lanes, self.step, self.most_choices, self.t_min)

    @cached_property
    def activation_sparsity(self) -> LayerSparsity:
        """The sparsity with its channels' densities those of activations; where these are unknown, as if their weights
        were equally dense."""
        sparsity = self.sparsity
        if sparsity.channel_activations:
            return replace(sparsity, channel_densities=sparsity.channel_activations)
        scale = sparsity.activation_density / max(sparsity.pair_density, 1e-9)
        return replace(sparsity, channel_densities=tuple(min(one * scale, 1.0) for one in sparsity.channel_densities))

    def pairs(self, bundle: int, lanes: bool) -> LockstepRounds:
        """The rounds of engines of so many bundled channels that skip zero pairs, by lanes or wherever they are."""
        if (bundle, lanes) not in self._pairs:
            histogram = nonzero_pairs(self.sparsity, self.layer.window, bundle, self.layer.channels_per_group)
            self._pairs[bundle, lanes] = LockstepRounds(self.lanes, bundle, histogram, self.t_min, lanes, self.borders)
        return self._pairs[bundle, lanes]

    def activations(self, bundle: int) -> LockstepRounds:
        """The rounds of engines of so many bundled channels that skip zero activations, by lanes."""
        if bundle not in self._activations:
            histogram = nonzero_activations(self.sparsity, self.layer.window, bundle)
            lanes = self.sparsity.activation_lanes or self.lanes
            self._activations[bundle] = LockstepRounds(lanes, bundle, histogram, self.t_min, True, self.borders)
        return self._activations[bundle]

    def weights(self, bundle: int, lanes: bool, g: int) -> IndependentWeights:
        """The rounds of engines of so many bundled channels and g groups side by side that skip zero weights."""
        key = bundle, lanes, g
        if key not in self._weights:
            self._weights[key] = IndependentWeights(self.filter_histograms(bundle), lanes, self.layer.groups, g)
        return self._weights[key]

    def filter_histograms(self, bundle: int) -> FilterHistograms:
        """See `weight_rounds.filter_histograms`."""
        if bundle not in self._histograms:
            self._histograms[bundle] = filter_histograms(self.layer, self.sparsity, bundle)
        return self._histograms[bundle]

    @cached_property
    def borders(self) -> Borders:
        """What windows read of the map."""
        return borders(self.layer)

    @cached_property
    def lanes(self) -> Lanes:
        """How engines that skip pairs depend on each other."""
        layer = self.layer
        return self.sparsity.lanes or Lanes.unknown(self.max_pixels, layer.source.channels, layer.filters_per_group)


@lru_cache(maxsize=8192)
def _skipping(pairs: int, lanes: bool, step: float, most_choices: int, t_min: int) -> Ints:
    """See `LayerWork.skipping`."""
    choices = multiplier_choices(pairs)
    worth = np.isin(choices, spaced(choices.tolist(), step)) & ((choices < pairs) | (t_min == 0))
    among = -(-pairs // choices) if lanes else np.full(len(choices), pairs)
    return np.flatnonzero(worth & ((among <= most_choices) | (most_choices == 0)))


class EngineKind(ABC):
    """One kind of compute engine, or a variant of one.

    Numbers of multipliers are indices in `multiplier_choices(M)` where an argument is called `choice`, and a result
    `(choices,)` has a value for each N in it.

    Args:
        lanes: whether each multiplier takes only positions of its own, and not any of the window's.
        multiplier: what multipliers are made of.

    Attributes:
        engine: the name of the kind.
        density: the density that its rounds follow, a field of `LayerSparsity`; empty if they follow none.
        orders_filters: whether filters are computed in the order of their non-zeros.
        waits: whether engines wait for slower ones beside them, or need FIFOs. Those whose schedule is known before an
            image is seen do not.
        skips_tiles: whether tiles of weights that are all zero are left out of the schedule.
    """

    engine: ClassVar[ComputeEngine]
    waits: ClassVar[bool]
    density: ClassVar[str] = ""
    orders_filters: ClassVar[bool] = False
    skips_tiles: ClassVar[bool] = False

    def __init__(self, lanes: bool = False, multiplier: Multiplier = "dsp") -> None:
        self.lanes, self.multiplier = lanes, multiplier

    def finds_zeros(self, sparsity: LayerSparsity) -> bool:
        """Whether a layer has zeros that the kind skips, or it is worth building without."""
        return True

    @abstractmethod
    def multipliers(self, work: LayerWork, bundle: int) -> Ints:
        """The choices of N worth building for engines of `bundle` channels, ascending; none if the kind is not.

        Of the sparsity they depend on `finds_zeros` alone.
        """

    @abstractmethod
    def unsuited(self, work: LayerWork) -> str:
        """Why no engine of the kind is worth building for a layer, in words after its name."""

    @abstractmethod
    def alone(self, work: LayerWork, bundle: int) -> Floats:
        """(choices,) mean cycles of a round of one engine by itself."""

    def computed_fraction(self, sparsity: LayerSparsity) -> float:
        """The fraction of a layer's pairs that multipliers are fed with."""
        return float(getattr(sparsity, self.density)) if self.density else 1.0

    def bounded(self, work: LayerWork, bundle: int) -> bool:
        """Whether rounds of `bundle` channels follow how many weights a pattern leaves, and not a density alone."""
        return False

    def growth(self, before: LayerWork, after: LayerWork, bundle: int) -> Floats:
        """(choices,) the cycles of a round of one engine at one sparsity of a layer over those at another nearby; asked
        of kinds whose rounds are `bounded`."""
        raise TypeError("a kind whose rounds a pattern bounds says how they grow")

    def channel_imbalance(self, work: LayerWork, i: int, bundle: int) -> Floats:
        """(choices,) the slowest of i/`bundle` parallel streams of channels over their mean; 1 where none waits."""
        return np.ones(len(multiplier_choices(work.layer.window * bundle)))

    def group_imbalance(self, work: LayerWork, g: int, bundle: int) -> Floats:
        """(choices,) the slowest of g parallel groups over their mean; 1 where none waits."""
        return np.ones(len(multiplier_choices(work.layer.window * bundle)))

    def scheduled(self, work: LayerWork, bundle: int, choice: Ints, bundles: Ints, filters: Ints, g: int) -> Floats:
        """The mean cycles of a round of engines that wait for none, all those side by side included.

        Args:
            work: the layer.
            bundle: channels of one engine.
            choice, bundles: (rows,) choices of N, and bundles side by side in a group.
            filters: (filters,) numbers of filters side by side.
            g: groups side by side.

        Returns:
            (rows, filters) cycles.
        """
        return np.repeat(self.alone(work, bundle)[choice, None], len(filters), axis=1)

    def lockstep(
        self, work: LayerWork, bundle: int, choice: Ints, channels: Ints, columns: Ints
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """The waiting of engines in lock-step; asked of kinds that wait.

        Args:
            work: the layer.
            bundle: channels of one engine.
            choice, channels, columns: (rows,) choices of N, bundles and groups side by side, and columns.

        Returns:
            (rows,) the standard deviation of one engine's cycles that lies between kernels; and (rows, points) mean
            cycles of the slowest engine of a column and bundle, of a column, and of all, at the lanes' grid points of
            filters. It is a single point where filters do not wait for each other.
        """
        raise TypeError("a kind whose engines wait for each other says for how long")
