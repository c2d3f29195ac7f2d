"""What is asked of a kind of compute engine, and what it is told of a layer (hardware-model, section 2).

M pairs of a weight and an activation meet in a round of an engine with N multipliers. How many cycles that takes, for
which other engines it waits, which N are worth building, and what multipliers, weight memories and logic cost, is what
kinds differ in. They are in `engine_kinds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import spaced
from hass_train.hardware.dataflow.costs import cycles, logic
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices, nonzero_pairs
from hass_train.hardware.dataflow.costs.rounds import LockstepRounds
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class ComputeEngine(StrEnum):
    """The names of the kinds, as options, estimates and designs have them."""

    DENSE = "dense"
    ACTIVATION = "activation"
    WEIGHT = "weight"
    PAIR = "pair"
    CROSSBAR = "crossbar"

    @property
    def code(self) -> int:
        """Its number in tables of designs."""
        return _CODES[self]


_CODES = {engine: code for code, engine in enumerate(ComputeEngine)}


@dataclass(frozen=True)
class LayerWork:
    """What the compute engines of one layer have to do.

    Args:
        layer: convolution, linear layer or matrix product.
        sparsity: its sparsity.
        t_min: least cycles of a round of engines that skip zeros.
        max_pixels: most pixels read at once.
        step: ratio between the numbers of multipliers that engines that skip zeros are explored with; 1 = all.
    """

    layer: Operation
    sparsity: LayerSparsity
    t_min: int
    max_pixels: int
    step: float = 1.0
    _pairs: dict[int, LockstepRounds] = field(default_factory=dict, init=False, repr=False)

    @property
    def has_zeros(self) -> bool:
        """Whether there is any pair to skip."""
        return self.sparsity.pair_density < 1 or bool(self.sparsity.histograms)

    def few(self, choices: Ints) -> Bools:
        """(choices,) which numbers of multipliers to look at."""
        if self.step == 1:
            return np.ones(len(choices), bool)
        return np.isin(choices, spaced(choices.tolist(), self.step))

    def pairs(self, bundle: int) -> LockstepRounds:
        """The rounds of engines of so many bundled channels that take the non-zero pairs, whichever they are."""
        if bundle not in self._pairs:
            histogram = nonzero_pairs(self.sparsity, self.layer.window, bundle, self.layer.channels_per_group)
            self._pairs[bundle] = LockstepRounds(self._lanes, bundle, histogram, self.t_min)
        return self._pairs[bundle]

    @cached_property
    def _lanes(self) -> Lanes:
        layer = self.layer
        return self.sparsity.lanes or Lanes.unknown(self.max_pixels, layer.source.channels, layer.filters_per_group)


class EngineKind(ABC):
    """One kind of compute engine.

    Numbers of multipliers are indices in `multiplier_choices(M)` where an argument is called `choice`, and a result
    `(choices,)` has a value for each N in it.

    Attributes:
        static: whether the schedule is known before an image is seen. Such engines wait for none, and need no FIFOs;
            those of the other kinds wait for the slowest one.
        skips_tiles: whether tiles of weights that are all zero are left out of the schedule.
    """

    static: ClassVar[bool]
    skips_tiles: ClassVar[bool]

    # ---- rounds ------------------------------------------------------------------------------------------------

    @abstractmethod
    def multipliers(self, work: LayerWork, bundle: int) -> Ints:
        """The choices of N worth building for engines of `bundle` channels, ascending; none if the kind is not."""

    @abstractmethod
    def unsuited(self, work: LayerWork) -> str:
        """Why no engine of the kind is worth building for a layer, in words after its name."""

    @abstractmethod
    def alone(self, work: LayerWork, bundle: int) -> Floats:
        """(choices,) mean cycles of a round of one engine by itself."""

    def channel_imbalance(self, work: LayerWork, i: int, bundle: int) -> Floats:
        """(choices,) the slowest of i/`bundle` parallel streams of channels over their mean; 1 where none waits."""
        return np.ones(len(multiplier_choices(work.layer.window * bundle)))

    def group_imbalance(self, work: LayerWork, g: int, bundle: int) -> Floats:
        """(choices,) the slowest of g parallel groups over their mean; 1 where none waits."""
        return np.ones(len(multiplier_choices(work.layer.window * bundle)))

    def lockstep(
        self, work: LayerWork, bundle: int, choice: Ints, channels: Ints, filters: Ints, columns: int
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """The waiting of engines in lock-step; asked of kinds that are not static.

        Args:
            work: the layer.
            bundle: channels of one engine.
            choice, channels: (rows,) choices of N, and bundles and groups side by side.
            filters: (filters,) numbers of filters side by side.
            columns: columns side by side.

        Returns:
            (rows,) the standard deviation of one engine's cycles that lies between kernels; and (rows, filters) mean
            cycles of the slowest engine of a column and bundle, of a column, and of all.
        """
        raise TypeError("a kind whose engines wait for each other says for how long")

    @abstractmethod
    def computed_fraction(self, pair_density: float) -> float:
        """The fraction of a layer's pairs that multipliers are fed with."""

    # ---- costs -------------------------------------------------------------------------------------------------

    def products_per_dsp(self, activation_bits: int, weight_bits: int) -> int:
        """The products that share a DSP: two of 8×8 bits, four of 4×4 (hardware-model, section 5)."""
        wide = max(activation_bits, weight_bits)
        return 4 if wide <= 4 else 2 if wide <= 8 else 1

    def dsp(self, multipliers: Ints, activation_bits: int, weight_bits: int) -> Ints:
        """The DSPs of some multipliers of one layer."""
        products = self.products_per_dsp(activation_bits, weight_bits)
        return cycles.dsp_of_multipliers(multipliers, activation_bits, weight_bits, products)

    @abstractmethod
    def weight_words(self, pairs: Ints, n: Ints) -> Ints:
        """The weights that one engine reads together, of M = `pairs`."""

    @abstractmethod
    def weight_depth(self, pairs: Ints, n: Ints, passes: Ints, kept: Floats, compressed: float) -> Ints:
        """The depth of a bank of weights.

        Args:
            pairs, n: M and N.
            passes: rounds of an output pixel.
            kept: fraction of the tiles that are not all zero.
            compressed: bits of compressed weights over those of all weights.
        """

    @abstractmethod
    def stored_fraction(self, kept: ArrayLike, compressed: float) -> Floats:
        """The bits that are stored of the weights over those of all weights; arguments as of `weight_depth`."""

    @abstractmethod
    def modules(self, layer: Operation, folds: logic.Folds, bits: logic.Widths) -> Iterator[logic.Logic]:
        """The modules from the sliding window to the accumulators, all copies of each.

        Args:
            layer: the operation.
            folds: the folds of designs with engines of this kind.
            bits: word widths.
        """
