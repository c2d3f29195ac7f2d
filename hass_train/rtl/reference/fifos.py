"""FIFOs, which hold exactly as many words as they say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from hass_train.hardware.dataflow.costs.modules import plumbing as costs
from hass_train.rtl.module import Module, Words
from hass_train.rtl.reference.plumbing import random_words
from hass_train.rtl.streams import Ints, Memory, Stream


@dataclass(frozen=True, kw_only=True)
class _Fifo(costs.Fifo, Module):
    """A queue of `depth` words of `width` bits."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(1, self.width)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(1, self.width)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        return {"out": words["in"]}

    @property
    def holds(self) -> int:
        return self.depth

    @property
    @abstractmethod
    def latency(self) -> int:
        """The cycles from a word's entry to its earliest exit."""

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {"in": random_words(rng, words, self.inputs["in"])}


@dataclass(frozen=True, kw_only=True)
class RegisterFifo(costs.RegisterFifo, _Fifo):
    """A queue in flip-flops; two words cut long paths of valid and ready."""

    @property
    def latency(self) -> int:
        return 1

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.integers(1, 41)), depth=int(rng.integers(2, 10)))

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.choice([4, 8, 16, 24, 32, 64])), depth=int(rng.integers(2, 5)))


@dataclass(frozen=True, kw_only=True)
class LutramFifo(costs.LutramFifo, _Fifo):
    """A queue in the memory of LUTs: as shift registers, or addressed."""

    @property
    def latency(self) -> int:
        return 1

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(
            width=int(rng.integers(1, 41)), depth=int(rng.choice([2, 3, 4, 5, 15, 16, 17, 31, 33, 64, 100])),
            shift_registers=int(rng.integers(2)),
        )  # fmt: skip

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(
            width=int(rng.choice([8, 16, 24, 32, 64])), depth=int(rng.integers(4, 129)),
            shift_registers=int(rng.integers(2)),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BlockFifo(costs.BlockFifo, _Fifo):
    """A queue in block RAM, whose oldest word waits in the output register."""

    @property
    def latency(self) -> int:
        return 2

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.integers(1, 41)), depth=int(rng.choice([3, 4, 5, 16, 17, 18, 65, 100, 513])))

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.choice([8, 16, 24, 32, 64])), depth=int(2 ** rng.uniform(7, 13)))
