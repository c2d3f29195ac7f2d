"""Modules that treat every value alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hass_train.rtl.module import Family, Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range


@dataclass(frozen=True, kw_only=True)
class Requantise(Module):
    """Sums to values: divided by 2^`shift`, half to even, saturated (integer-network)."""

    name: ClassVar[str] = "requantise"
    streams: int
    in_bits: int
    out_bits: int
    shift: int
    signed_out: int

    def least(self, parameter: str) -> int:
        return 0 if parameter in ("SHIFT", "SIGNED_OUT") else 1

    def check(self) -> None:
        if self.shift >= self.in_bits:
            raise self.refused("SHIFT", f"it must be less than IN_BITS={self.in_bits}")

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams, self.in_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.out_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        low, high = signed_range(self.out_bits) if self.signed_out else (0, 2**self.out_bits - 1)
        return {"out": np.clip(np.rint(words["in"] / 2**self.shift), low, high).astype(np.int64)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        return len(words["in"])

    @property
    def latency(self) -> int:
        return 2

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        bits = int(rng.integers(8, 33))
        return cls(
            streams=int(rng.integers(1, 5)), in_bits=bits, out_bits=int(rng.integers(4, 17)),
            shift=int(rng.integers(0, bits)), signed_out=int(rng.integers(2)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        low, high = signed_range(self.in_bits)
        return {"in": rng.integers(low, high, (words, self.streams), endpoint=True)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        bits = int(rng.integers(16, 33))
        return cls(
            streams=int(rng.integers(1, 33)), in_bits=bits, out_bits=int(rng.choice([4, 8, 9, 16])),
            shift=int(rng.integers(1, bits - 8)), signed_out=int(rng.integers(2)),
        )  # fmt: skip

    def lut_terms(self, family: Family) -> dict[str, float]:
        kept = self.in_bits - self.shift
        return {
            "rounding": self.streams * (kept if self.shift else 0),
            "sticky": self.streams * max(self.shift - 2, 0),
            "saturation": self.streams * self.out_bits,
            "compared": self.streams * max(kept - self.out_bits, 0),
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"values": self.streams * self.out_bits, "fixed": 1}
