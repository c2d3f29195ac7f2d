"""Modules that add up what parallel engines and successive passes give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from hass_train.hardware.dataflow.costs.modules import sums as costs
from hass_train.hardware.dataflow.costs.stream_cycles import accumulation_cycles
from hass_train.rtl.module import Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range


@dataclass(frozen=True, kw_only=True)
class AdderTree(costs.AdderTree, Module):
    """The sum of `addends` signed values of every stream; in a word the stream runs fastest, then the addend."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.addends * self.streams, self.in_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.in_bits + self.latency)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        return {"out": words["in"].reshape(-1, self.addends, self.streams).sum(1)}

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(addends=int(rng.integers(1, 10)), streams=int(rng.integers(1, 5)), in_bits=int(rng.integers(1, 33)))

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        low, high = signed_range(self.in_bits)
        values = rng.integers(low, high, (words, self.addends * self.streams), endpoint=True)
        values[::16] = low  # the sum of most bits
        return {"in": values}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(addends=int(rng.integers(2, 9)), streams=int(rng.integers(1, 5)), in_bits=int(rng.integers(16, 25)))


@dataclass(frozen=True, kw_only=True)
class Accumulator(costs.Accumulator, Module):
    """Sums over passes, with a bias; words come by group, pass, round, the round fastest."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams, self.in_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.out_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        values = words["in"].reshape(-1, self.groups, self.passes, self.rounds, self.streams)
        sums = values.sum(2) + memories["bias"].rows.reshape(self.groups, self.rounds, self.streams)
        half = 1 << self.out_bits - 1
        return {"out": ((sums + half) % (2 * half) - half).reshape(-1, self.streams)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        pixels = len(words["in"]) // (self.groups * self.passes * self.rounds)
        return accumulation_cycles(pixels, self.groups, self.passes, self.rounds)

    @property
    def latency(self) -> int:
        """One of the sum, and one in which the first bias is fetched."""
        return 2

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        bits = rng.integers(2, 25, 2)
        return cls(
            streams=int(rng.integers(1, 5)), passes=int(rng.integers(1, 6)),
            rounds=int(rng.choice([1, 1, 2, 3, 4, 7, 16])), groups=int(rng.choice([1, 1, 2, 3])),
            in_bits=int(bits[0]), bias_bits=int(bits[1]), out_bits=int(max(bits) + rng.integers(5)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        pixel = self.groups * self.passes * self.rounds
        low, high = signed_range(self.in_bits)
        return {"in": rng.integers(low, high, (-(-words // pixel) * pixel, self.streams), endpoint=True)}

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        low, high = signed_range(self.bias_bits)
        rows = rng.integers(low, high, (self.groups * self.rounds, self.streams), endpoint=True)
        return {"bias": Memory(Stream(self.streams, self.bias_bits), 1, rows)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        bits = int(rng.integers(16, 25))
        return cls(
            streams=int(rng.integers(1, 9)), passes=int(rng.integers(2, 65)),
            rounds=int(rng.choice([1, 2, 4, 8, 16, 32])), groups=1, in_bits=bits, bias_bits=bits,
            out_bits=bits + int(rng.integers(1, 6)),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Align(costs.Align, Module):
    """Sums moved to the left by the shifts in a memory, whose rows words take in turn."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams, self.in_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.out_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        shifts = memories["shift"].rows[np.arange(len(words["in"])) % self.rows]
        half = 1 << self.out_bits - 1
        return {"out": ((words["in"] << shifts) + half) % (2 * half) - half}

    @property
    def latency(self) -> int:
        """One, and one in which the first shifts are fetched."""
        return 2

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        bits, shift_bits = int(rng.integers(2, 25)), int(rng.integers(1, 5))
        return cls(
            streams=int(rng.integers(1, 5)), in_bits=bits, out_bits=bits + int(rng.integers(1 << shift_bits)),
            shift_bits=shift_bits, rows=int(rng.choice([1, 2, 3, 4, 7, 16])),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        low, high = signed_range(self.in_bits)
        return {"in": rng.integers(low, high, (words, self.streams), endpoint=True)}

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        rows = rng.integers(0, 1 << self.shift_bits, (self.rows, self.streams))
        return {"shift": Memory(Stream(self.streams, self.shift_bits), 1, rows)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        bits, shift_bits = int(rng.integers(16, 25)), int(rng.integers(1, 4))
        return cls(
            streams=int(rng.integers(1, 9)), in_bits=bits, out_bits=bits + (1 << shift_bits) - 1,
            shift_bits=shift_bits, rows=int(rng.choice([2, 4, 6, 8, 16, 32])),
        )  # fmt: skip
