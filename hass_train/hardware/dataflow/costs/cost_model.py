"""What is asked of a model of costs: what designs of operations take, as one source has it (hardware-model, 5)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.dataflow.costs import memory
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.logic import Folds
from hass_train.hardware.dataflow.costs.modules.memories import Rom, rom
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the memories of weights must hold for an output pixel, as arrays over designs.

    Args:
        passes: rounds of an output pixel.
        kept: fraction of the tiles of weights that are not all zero.
        cycles: mean cycles of a round.
        compressed: bits of compressed weights over those of all weights.
    """

    passes: Ints
    kept: Floats
    cycles: Floats
    compressed: float

    def __getitem__(self, rows: Ints) -> Schedule:
        return Schedule(self.passes[rows], self.kept[rows], self.cycles[rows], self.compressed)


@dataclass(frozen=True)
class WeightBanks:
    """The memories of weights, as arrays over designs.

    Args:
        count: banks that are read at addresses of their own.
        words: weights, or entries of a list, in a row of a bank.
        word_bits: bits of each.
        depth: rows.
        stored: bits that are stored over those of all weights.
        masks, mask_bits, mask_depth: memories that tell which weights are zero, bits of a row, and rows; else none.
        family: whose synthesis says what is in LUTs, and what that takes; empty: all banks of fewer than `LUTRAM_BITS`.
    """

    count: Ints
    words: Ints
    word_bits: Ints
    depth: Ints
    stored: Floats
    masks: Ints | int = 0
    mask_bits: Ints | int = 1
    mask_depth: Ints | int = 1
    family: Family | Literal[""] = ""

    @property
    def in_luts(self) -> NDArray[np.bool_]:
        """Which are small enough for LUTs."""
        if self.family:
            return np.asarray(self._banks.blocks == 0)
        return np.asarray(self.depth * self.word_bits < memory.LUTRAM_BITS)

    @property
    def luts(self) -> Floats:
        """LUTs of those in LUTs, 64 bits each if they are not synthesised; of masks, and of what joins block RAMs."""
        if self.family:
            return np.asarray(self.count * self._banks.lut + self.masks * self._masks.lut, float)
        bits = self.count * self.words * self.word_bits * np.ceil(self.depth / 64)
        return np.where(self.in_luts, bits.astype(float), 0.0)

    @property
    def bram18(self) -> Ints:
        """Block RAMs of those that are not in LUTs."""
        if self.family:
            return np.asarray(self.count * self._banks.blocks + self.masks * self._masks.blocks)
        return np.where(self.in_luts, 0, self.count * memory.bram18(self.words * self.word_bits, self.depth))

    @property
    def uram(self) -> Ints:
        """UltraRAMs of the same memories."""
        return np.where(self.in_luts, 0, self.count * memory.uram(self.words * self.word_bits, self.depth))

    @property
    def ffs(self) -> Floats:
        """Flip-flops behind them."""
        if not self.family:
            return np.zeros(len(self.depth))
        return np.asarray(self.count * self._banks.ff + self.masks * self._masks.ff, float)

    @cached_property
    def _banks(self) -> Rom:
        assert self.family
        return rom(self.words * self.word_bits, self.depth, self.family)

    @cached_property
    def _masks(self) -> Rom:
        assert self.family
        return rom(self.mask_bits, np.broadcast_to(self.mask_depth, self.depth.shape), self.family)


class CostModel(ABC):
    """The costs of designs.

    Attributes:
        engines: the kinds of compute engine that it knows.
        lists: those whose memories hold no zero weights, or may not.
        most_choices: positions among which a multiplier can choose; 0 = as many as there are.
        small_products: whether multipliers may be made of LUTs.
    """

    engines: ClassVar[Sequence[ComputeEngine]]
    lists: ClassVar[Sequence[ComputeEngine]]
    most_choices: ClassVar[int] = 0
    small_products: bool = False

    @abstractmethod
    def compute(self, layer: Operation, folds: Folds, pixels: int = 1) -> Floats:
        """(n, 3) DSPs, LUTs and flip-flops of the designs of an operation with multipliers, without memories.

        Args:
            layer: convolution, linear layer or matrix product.
            folds: the designs.
            pixels: the most that designs read at once, not only these.
        """

    @abstractmethod
    def weights(self, layer: Operation, folds: Folds, schedule: Schedule) -> WeightBanks:
        """The memories of their weights."""

    @abstractmethod
    def window(self, operation: Operation, streams: Ints, pixels: Ints) -> memory.Buffer:
        """The memories of sliding windows of words of some streams and pixels; LUTs that others count are left out."""

    @abstractmethod
    def fifo(self, words: ArrayLike, depth: ArrayLike) -> memory.Buffer:
        """FIFOs of entries of so many words of a map; none where the depth is 0."""

    def rows(self, operation: Operation, words: ArrayLike, depth: ArrayLike) -> memory.Buffer:
        """The FIFOs of rows that are read ahead of windows."""
        return self.fifo(words, depth)

    def windows_ahead(self, layer: Operation, folds: Folds, interval: Ints) -> memory.Buffer | None:
        """The FIFOs of windows on which engines live while words are read that complete none; None = there are none.

        Args:
            layer: convolution, linear layer or matrix product.
            folds: the designs.
            interval: (n,) cycles between images, for which engines are taken to work.
        """
        return None

    @abstractmethod
    def stream(self, operation: Operation, streams: Ints) -> Floats:
        """(n, 3) DSPs, LUTs and flip-flops of the designs of an operation without weights, without memories."""
