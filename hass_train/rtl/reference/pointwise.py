"""Modules that treat every value alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from hass_train.hardware.dataflow.costs.modules import pointwise as costs
from hass_train.rtl.module import Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range


def _range(bits: int, signed: int) -> tuple[int, int]:
    """The smallest and largest integer of some bits."""
    return signed_range(bits) if signed else (0, (1 << bits) - 1)


def _random_values(rng: np.random.Generator, words: int, stream: Stream, signed: int) -> Ints:
    """Random (words, values) integers of all magnitudes, both ends of the range and round numbers among them."""
    low, high = _range(stream.bits, signed)
    values = rng.integers(low, high, (words, stream.values), endpoint=True)
    values >>= rng.integers(0, stream.bits, values.shape) * rng.integers(0, 2, values.shape)
    zeros = rng.integers(0, stream.bits, values.shape) * rng.integers(0, 2, values.shape)
    values = values >> zeros << zeros
    values[::16], values[1::16] = low, high
    return values


def _requantised(sums: Ints, shift: int, bits: int, signed: int) -> Ints:
    """Sums divided by 2^shift, half to even, saturated to some bits."""
    return np.clip(np.rint(sums / 2**shift), *_range(bits, signed)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Requantise(costs.Requantise, Module):
    """Sums to values: divided by 2^`shift`, half to even, saturated (integer-network)."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams, self.in_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.out_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        return {"out": _requantised(words["in"], self.shift, self.out_bits, self.signed_out)}

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
        return {"in": _random_values(rng, words, self.inputs["in"], signed=1)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        bits = int(rng.integers(16, 33))
        return cls(
            streams=int(rng.integers(1, 13)), in_bits=bits, out_bits=int(rng.choice([4, 8, 9, 16])),
            shift=int(rng.integers(1, bits - 8)), signed_out=int(rng.integers(2)),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Threshold(costs.Threshold, Module):
    """Values of a magnitude of at most `threshold` become 0."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        return {"out": np.where(np.abs(words["in"]) <= self.threshold, 0, words["in"])}

    @property
    def latency(self) -> int:
        return 1

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        bits, signed = int(rng.integers(2, 17)), int(rng.integers(2))
        threshold = int(rng.integers(0, 1 << rng.integers(0, bits - signed, endpoint=True)))
        return cls(streams=int(rng.integers(1, 5)), bits=bits, threshold=threshold, signed=signed)

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {"in": _random_values(rng, words, self.inputs["in"], self.signed)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(
            streams=int(rng.integers(1, 13)), bits=int(rng.choice([4, 8, 8, 16])), threshold=int(rng.integers(1, 8)),
            signed=int(rng.integers(2)),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LookupTable(costs.LookupTable, Module):
    """A function of every value, as a table; negative values are the upper half of its rows."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams, self.in_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.out_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        return {"out": memories["table"].rows[:, 0][words["in"]]}

    @property
    def latency(self) -> int:
        return 1

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        bits = rng.integers(1, 11, 2)
        return cls(streams=int(rng.integers(1, 5)), in_bits=int(bits[0]), out_bits=int(bits[1]))

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {"in": rng.integers(-(1 << self.in_bits - 1), 1 << self.in_bits - 1, (words, self.streams))}

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        rows = rng.integers(0, 1 << self.out_bits, (1 << self.in_bits, 1))
        return {"table": Memory(Stream(1, self.out_bits), self.streams, rows)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(streams=int(rng.integers(1, 33)), in_bits=int(rng.choice([4, 8])), out_bits=int(rng.choice([4, 8])))


@dataclass(frozen=True, kw_only=True)
class StreamAdd(costs.StreamAdd, Module):
    """The sum of two streams, each shifted to the left, then requantised."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"a": Stream(self.streams, self.a_bits), "b": Stream(self.streams, self.b_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.out_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        sums = (words["a"] << self.shift_a) + (words["b"] << self.shift_b)
        return {"out": _requantised(sums, self.shift, self.out_bits, self.signed_out)}

    @property
    def latency(self) -> int:
        return 3

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        bits, shifts, signs = rng.integers(2, 13, 3), rng.integers(0, 4, 3), rng.integers(0, 2, 3)
        return cls(
            streams=int(rng.integers(1, 5)), a_bits=int(bits[0]), b_bits=int(bits[1]), signed_a=int(signs[0]),
            signed_b=int(signs[1]), shift_a=int(shifts[0]), shift_b=int(shifts[1]),
            shift=int(rng.integers(0, max(bits[0] + shifts[0], bits[1] + shifts[1]))), out_bits=int(bits[2]),
            signed_out=int(signs[2]),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {
            "a": _random_values(rng, words, self.inputs["a"], self.signed_a),
            "b": _random_values(rng, words, self.inputs["b"], self.signed_b),
        }

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        bits = int(rng.choice([4, 8, 8, 8, 16]))
        shifts, signs = rng.integers(0, 4, 2), rng.integers(0, 2, 3)
        return cls(
            streams=int(rng.integers(1, 9)), a_bits=bits, b_bits=bits, signed_a=int(signs[0]), signed_b=int(signs[1]),
            shift_a=int(shifts[0]), shift_b=0, shift=int(shifts[1]), out_bits=bits, signed_out=int(signs[2]),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StreamMultiply(costs.StreamMultiply, Module):
    """Every pixel of a map times one gate a channel; the gates come once a frame."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"a": Stream(self.streams, self.a_bits), "b": Stream(self.streams, self.b_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.streams, self.out_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        maps = words["a"].reshape(-1, self.pixels, self.depth, self.streams)
        products = maps * words["b"].reshape(-1, 1, self.depth, self.streams)
        return {"out": _requantised(products, self.shift, self.out_bits, self.signed_out).reshape(-1, self.streams)}

    @property
    def latency(self) -> int:
        return 5

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        bits, signs = rng.integers(2, 18, 3), rng.integers(0, 2, 3)
        return cls(
            streams=int(rng.integers(1, 5)), a_bits=int(bits[0]), b_bits=int(bits[1]), signed_a=int(signs[0]),
            signed_b=int(signs[1]), depth=int(rng.choice([1, 2, 3, 5, 16, 33])), pixels=int(rng.choice([1, 2, 3, 9])),
            shift=int(rng.integers(0, bits[0] + bits[1])), out_bits=int(bits[2]), signed_out=int(signs[2]),
            block=int(rng.integers(2)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        frames = -(-words // (self.depth * self.pixels))
        return {
            "a": _random_values(rng, frames * self.depth * self.pixels, self.inputs["a"], self.signed_a),
            "b": _random_values(rng, frames * self.depth, self.inputs["b"], self.signed_b),
        }

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        bits = int(rng.choice([4, 8, 8, 8]))
        block = int(rng.integers(2))
        return cls(
            streams=int(rng.integers(1, 9)), a_bits=bits, b_bits=8, signed_a=int(rng.integers(2)), signed_b=0,
            depth=int(2 ** rng.uniform(7, 10)) if block else int(2 ** rng.uniform(2, 7)),
            pixels=int(rng.integers(4, 29)) ** 2, shift=8, out_bits=bits, signed_out=int(rng.integers(2)), block=block,
        )  # fmt: skip
