"""Pools of windows and of whole maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from hass_train.hardware.dataflow.costs.modules import pools as costs
from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.rtl.module import Module, Words
from hass_train.rtl.reference.windows import any_values
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range


def _read(words: Ints, bits: int, signed: int) -> Ints:
    """Two's-complement values, or what their bits are without a sign."""
    return words if signed else words % (1 << bits)


@dataclass(frozen=True, kw_only=True)
class MaxPool(costs.MaxPool, Module):
    """The largest value of every window."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.columns * self.streams * self.positions, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.columns * self.streams, self.bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        values = _read(words["in"], self.bits, self.signed)
        return {"out": values.reshape(len(values), -1, self.positions).max(2)}

    @property
    def latency(self) -> int:
        return self.levels

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(
            streams=int(rng.integers(1, 4)), columns=int(rng.choice([1, 1, 2])),
            positions=int(rng.choice([1, 2, 3, 4, 4, 6, 9, 10, 25])), bits=int(rng.integers(1, 17)),
            signed=int(rng.integers(2)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {"in": any_values(rng, self.bits, (words, self.columns * self.streams * self.positions))}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(
            streams=int(rng.choice([1, 2, 3, 4, 6, 8])), columns=int(rng.choice([1, 1, 2])),
            positions=int(rng.choice([4, 4, 9, 9, 6, 16])), bits=int(rng.choice([4, 5, 6, 7, 8, 8, 12, 16])),
            signed=int(rng.integers(2)),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Average(costs.Average, Module):
    """What pools that divide by a reciprocal share."""

    def scaled(self, sums: Ints) -> Ints:
        """Sums times the reciprocal, half to even, saturated."""
        low, high = signed_range(self.bits) if self.signed else (0, 2**self.bits - 1)
        product, half = sums * self.multiplier, 1 << self.shift >> 1
        rounded = product + half >> self.shift
        odd_halves = (product - (rounded << self.shift) == -half) & (rounded % 2 == 1) & (self.shift > 0)
        return np.clip(rounded - odd_halves, low, high)

    @staticmethod
    def reciprocal(rng: np.random.Generator, positions: int) -> dict[str, int]:
        """The multiplier of 16 bits and the shift of a division, perhaps with a change of scale of up to four."""
        wanted = float(rng.choice([1.0, 1.0, rng.uniform(0.5, 4)])) / positions
        shift = int(np.floor(np.log2(65535.49 / wanted)))
        return {"multiplier": int(np.rint(wanted * 2**shift)), "shift": shift}


@dataclass(frozen=True, kw_only=True)
class AveragePool(costs.AveragePool, _Average):
    """The sum of every window times a reciprocal."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.columns * self.streams * self.positions, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.columns * self.streams, self.bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        values = _read(words["in"], self.bits, self.signed)
        return {"out": self.scaled(values.reshape(len(values), -1, self.positions).sum(2))}

    @property
    def latency(self) -> int:
        return self.levels + 3

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        positions = int(rng.choice([1, 2, 3, 4, 6, 9, 25, 49]))
        division = cls.reciprocal(rng, positions)
        if rng.random() < 0.4:  # halves are frequent among few bits
            division = {
                "multiplier": int(rng.integers(1, 65536)) >> int(rng.integers(16)) or 1,
                "shift": int(rng.integers(12)),
            }
        return cls(
            streams=int(rng.integers(1, 4)), columns=int(rng.choice([1, 1, 2])), positions=positions,
            bits=int(rng.integers(1, 17)), signed=int(rng.integers(2)), **division,
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {"in": any_values(rng, self.bits, (words, self.columns * self.streams * self.positions))}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        positions = int(rng.choice([4, 4, 9, 9, 6, 16]))
        return cls(
            streams=int(rng.choice([1, 2, 3, 4, 6, 8])), columns=int(rng.choice([1, 1, 2])),
            positions=positions, bits=int(rng.choice([4, 6, 8, 8, 16])), signed=int(rng.integers(2)),
            **cls.reciprocal(rng, positions),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GlobalPool(costs.GlobalPool, _Average):
    """The average (`operation` 0) or the largest value (1) of every channel over a map."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": self.inputs["in"]}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        values = _read(words["in"], self.bits, self.signed).reshape(-1, self.pixels_of_map, self.depth, self.streams)
        result = values.max(1) if self.operation else self.scaled(values.sum(1))
        return {"out": result.reshape(-1, self.streams)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        return len(words["in"]) // self.frame * self.frame

    @property
    def frame(self) -> int:
        """The words of a map."""
        return map_words(1, self.pixels_of_map, 1, self.depth)

    @property
    def latency(self) -> int:
        return 1 if self.operation else 4

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        pixels = int(rng.choice([1, 2, 4, 9, 49]))
        return cls(
            streams=int(rng.integers(1, 4)), depth=int(rng.choice([1, 2, 3, 4, 5, 16, 70])), pixels_of_map=pixels,
            bits=int(rng.integers(1, 17)), signed=int(rng.integers(2)), operation=int(rng.choice([0, 0, 1])),
            **cls.reciprocal(rng, pixels),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {"in": any_values(rng, self.bits, (max(2, -(-words // self.frame)) * self.frame, self.streams))}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        pixels = int(rng.choice([16, 49, 64, 196]))
        return cls(
            streams=int(rng.choice([1, 2, 3, 4, 6, 8, 12, 16])),
            depth=int(rng.choice([1, 2, 3, 4, 8, 12, 16, 24, 40, 64])),
            pixels_of_map=pixels, bits=int(rng.choice([4, 6, 8, 8, 16])), signed=int(rng.integers(2)),
            operation=int(rng.choice([0, 0, 0, 1])), **cls.reciprocal(rng, pixels),
        )  # fmt: skip
