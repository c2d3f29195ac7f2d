"""Modules that treat every value alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.dataflow.costs.modules.memories import block_rams, lutram, state_bits, tree
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters


@dataclass(frozen=True, kw_only=True)
class Requantise(ModuleParameters):
    """Sums to values: divided by 2^`shift`, half to even, saturated (integer-network)."""

    name: ClassVar[str] = "requantise"
    vectorised: ClassVar[bool] = True
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

    def lut_terms(self, family: Family) -> dict[str, float]:
        above = self.in_bits - self.shift - self.out_bits + 1  # bits that a value in range repeats
        return {
            "sticky": self.streams * tree(self.shift + 2, family) * (self.shift > 0),
            "compared": self.streams * tree(above + 1, family) * (above > 1),
            # the carry chain of a Xilinx device takes a bit that nothing is added to without a LUT
            "rounding": self.streams * (self.out_bits + 1) * (self.shift > 0) * (family == "ecp5"),
            "streams": self.streams,
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"values": 2 * self.streams * (self.out_bits + 1), "fixed": 2}


@dataclass(frozen=True, kw_only=True)
class Threshold(ModuleParameters):
    """Values of a magnitude of at most `threshold` become 0."""

    name: ClassVar[str] = "threshold"
    streams: int
    bits: int
    threshold: int
    signed: int

    def least(self, parameter: str) -> int:
        return {"THRESHOLD": 0, "SIGNED": 0, "BITS": 2}.get(parameter, 1)

    def check(self) -> None:
        largest = (1 << self.bits - bool(self.signed)) - 1
        if self.threshold > largest:
            raise self.refused("THRESHOLD", f"it must be at most {largest}, the largest value of BITS={self.bits}")

    def lut_terms(self, family: Family) -> dict[str, float]:
        inverted = self.threshold + 1
        compared = self.bits + 1 - (inverted & -inverted).bit_length()  # without the low bits that do not matter
        wide = self.streams * max(compared - (5 if family == "xc7" else 3), 0)  # beyond a LUT, beside the enable
        return {"streams": self.streams, "wide": wide, "signs": self.signed * wide, "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"values": self.streams * self.bits, "fixed": 1}


@dataclass(frozen=True, kw_only=True)
class LookupTable(ModuleParameters):
    """A function of every value, as a table; negative values are the upper half of its rows."""

    name: ClassVar[str] = "lookup_table"
    streams: int
    in_bits: int
    out_bits: int

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {"fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"fixed": 1}


@dataclass(frozen=True, kw_only=True)
class StreamAdd(ModuleParameters):
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
class StreamMultiply(ModuleParameters):
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
