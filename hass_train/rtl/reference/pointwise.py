"""Modules that treat every value alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hass_train.rtl.module import Family, Module, Words
from hass_train.rtl.reference.memories import block_rams, lutram, state_bits, tree
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
class Requantise(Module):
    """Sums to values: divided by 2^`shift`, half to even, saturated (integer-network)."""

    name: ClassVar[str] = "requantise"
    streams: int
    in_bits: int
    out_bits: int
    shift: int
    signed_out: int

    def least(self, parameter: str) -> int:
        return {"SHIFT": 0, "SIGNED_OUT": 0, "OUT_BITS": 2}.get(parameter, 1)

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

    def lut_terms(self, family: Family) -> dict[str, float]:
        above = self.in_bits - self.shift - self.out_bits + 1  # bits that a value in range repeats
        return {
            "sticky": self.streams * (tree(self.shift + 2, family) if self.shift else 0),
            "compared": self.streams * (tree(above + 1, family) if above > 1 else 0),
            # the carry chain of a Xilinx device takes a bit that nothing is added to without a LUT
            "rounding": self.streams * (self.out_bits + 1 if self.shift and family == "ecp5" else 0),
            "streams": self.streams,
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"values": 2 * self.streams * (self.out_bits + 1), "fixed": 2}


@dataclass(frozen=True, kw_only=True)
class Threshold(Module):
    """Values of a magnitude of at most `threshold` become 0."""

    name: ClassVar[str] = "threshold"
    streams: int
    bits: int
    threshold: int
    signed: int

    def least(self, parameter: str) -> int:
        return {"THRESHOLD": 0, "SIGNED": 0, "BITS": 2}.get(parameter, 1)

    def check(self) -> None:
        largest = _range(self.bits, self.signed)[1]
        if self.threshold > largest:
            raise self.refused("THRESHOLD", f"it must be at most {largest}, the largest value of BITS={self.bits}")

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

    def lut_terms(self, family: Family) -> dict[str, float]:
        inverted = self.threshold + 1
        compared = self.bits + 1 - (inverted & -inverted).bit_length()  # without the low bits that do not matter
        wide = self.streams * max(compared - (5 if family == "xc7" else 3), 0)  # beyond a LUT, beside the enable
        return {"streams": self.streams, "wide": wide, "signs": self.signed * wide, "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"values": self.streams * self.bits, "fixed": 1}


@dataclass(frozen=True, kw_only=True)
class LookupTable(Module):
    """A function of every value, as a table; negative values are the upper half of its rows."""

    name: ClassVar[str] = "lookup_table"
    streams: int
    in_bits: int
    out_bits: int

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

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {"fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"fixed": 1}


@dataclass(frozen=True, kw_only=True)
class StreamAdd(Module):
    """The sum of two streams, each shifted to the left, then requantised."""

    name: ClassVar[str] = "stream_add"
    streams: int
    a_bits: int
    b_bits: int
    signed_a: int
    signed_b: int
    shift_a: int
    shift_b: int
    shift: int
    out_bits: int
    signed_out: int

    def least(self, parameter: str) -> int:
        return {"STREAMS": 1, "OUT_BITS": 2}.get(parameter, 0 if parameter.startswith(("SHIFT", "SIGNED")) else 1)

    @property
    def sum_bits(self) -> int:
        """The bits of the sum, signed."""
        return 1 + max(
            self.a_bits + self.shift_a + (not self.signed_a), self.b_bits + self.shift_b + (not self.signed_b)
        )

    @property
    def _requantise(self) -> Requantise:
        """The last part of it."""
        return Requantise(
            streams=self.streams, in_bits=self.sum_bits, out_bits=self.out_bits, shift=self.shift,
            signed_out=self.signed_out,
        )  # fmt: skip

    def check(self) -> None:
        if self.shift >= self.sum_bits:
            raise self.refused("SHIFT", f"it must be less than the {self.sum_bits} bits of the sum")

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

    def lut_terms(self, family: Family) -> dict[str, float]:
        ends = (self.a_bits + self.shift_a, self.signed_a), (self.b_bits + self.shift_b, self.signed_b)
        top, signed = min(ends)
        # below the larger shift one operand passes; above an unsigned one that is narrower only the carry does
        added = max((self.sum_bits if signed else top) - max(self.shift_a, self.shift_b), 0)
        terms = self._requantise.lut_terms(family)
        if not (self.signed_a or self.signed_b):  # nothing is too small
            terms = terms | {"compared": terms["compared"] / 2, "streams": 0}
        return {"adders": self.streams * added} | terms

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"sums": self.streams * self.sum_bits, "values": 2 * self.streams * (self.out_bits + 1), "fixed": 3}


@dataclass(frozen=True, kw_only=True)
class StreamMultiply(Module):
    """Every pixel of a map times one gate a channel; the gates come once a frame."""

    name: ClassVar[str] = "stream_multiply"
    block_ram: ClassVar[bool] = True
    streams: int
    a_bits: int
    b_bits: int
    signed_a: int
    signed_b: int
    depth: int
    pixels: int
    shift: int
    out_bits: int
    signed_out: int
    block: int

    def least(self, parameter: str) -> int:
        return {"SHIFT": 0, "BLOCK": 0, "OUT_BITS": 2}.get(parameter, 0 if parameter.startswith("SIGNED") else 1)

    @property
    def product_bits(self) -> int:
        """The bits of a product, signed."""
        return self.a_bits + self.b_bits + (not self.signed_a and not self.signed_b)

    @property
    def _requantise(self) -> Requantise:
        """The last part of it."""
        return Requantise(
            streams=self.streams, in_bits=self.product_bits, out_bits=self.out_bits, shift=self.shift,
            signed_out=self.signed_out,
        )  # fmt: skip

    def check(self) -> None:
        if self.shift >= self.product_bits:
            raise self.refused("SHIFT", f"it must be less than the {self.product_bits} bits of the product")
        for name, bits, signed in (("A_BITS", self.a_bits, self.signed_a), ("B_BITS", self.b_bits, self.signed_b)):
            if bits + (not signed) > 18:
                raise self.refused(name, f"a DSP takes at most {18 - (not signed)} bits")

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

    def lut_terms(self, family: Family) -> dict[str, float]:
        words, pixels = state_bits(self.depth), state_bits(self.pixels)
        gates = 0 if self.block else lutram(self.streams * self.b_bits, self.depth, family)
        counters = {"memory": gates, "words": words, "pixels": pixels}
        return counters | self._requantise.lut_terms(family)

    def ff_terms(self, family: Family) -> dict[str, float]:
        words, pixels = state_bits(self.depth), state_bits(self.pixels)
        early = self.streams * self.a_bits
        return {
            "values": 2 * self.streams * (self.out_bits + 1), "early": early, "counters": 2 * words + pixels,
            "fixed": 5,
            "multiplier": 0 if family == "xc7" else self.streams * (self.product_bits + self.a_bits),
            "gates": 0 if self.block else self.streams * self.b_bits,
        }  # fmt: skip

    def dsps(self, family: Family) -> int:
        return self.streams

    def block_rams(self, family: Family) -> int:
        return block_rams(self.streams * self.b_bits, self.depth, family) if self.block else 0
