"""Pools of windows and of whole maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.rtl.module import Family, Module, Words
from hass_train.rtl.reference.windows import DelayLines, any_values
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range
from hass_train.rtl.weights import address_bits


def _read(words: Ints, bits: int, signed: int) -> Ints:
    """Two's-complement values, or what their bits are without a sign."""
    return words if signed else words % (1 << bits)


def _tree(count: int, family: Family) -> tuple[list[int], list[int], list[int]]:
    """Nodes and registers of every level of a binary tree of values, and the levels of shift registers.

    A value that has no partner over three levels or more is a shift register on Xilinx devices, a LUT a bit.
    """
    nodes, registers, waits, shifted = [], [], 0, []
    while count > 1:
        nodes.append(count // 2)
        registers.append(-(-count // 2))
        waits = waits + 1 if count % 2 else 0
        if family == "xc7" and waits >= 3:
            for level in range(-3 if waits == 3 else -1, 0):
                registers[level] -= 1
            if waits == 3:
                shifted.append(len(nodes) - 3)
        count = -(-count // 2)
    return nodes, registers, shifted


@dataclass(frozen=True, kw_only=True)
class MaxPool(Module):
    """The largest value of every window."""

    name: ClassVar[str] = "max_pool"
    streams: int
    columns: int
    positions: int
    bits: int
    signed: int

    def least(self, parameter: str) -> int:
        return 0 if parameter == "SIGNED" else 1

    def check(self) -> None:
        if self.signed > 1:
            raise self.refused("SIGNED", "it must be 0 or 1")

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
    def levels(self) -> int:
        """Levels of the tree, at least one register."""
        return max(1, (self.positions - 1).bit_length())

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

    def lut_terms(self, family: Family) -> dict[str, float]:
        values, (nodes, _, shifted) = self.columns * self.streams, _tree(self.positions, family)
        return {
            "bits": values * sum(nodes) * self.bits, "nodes": values * sum(nodes),
            "shifted": values * len(shifted) * self.bits, "fixed": 1,
        }  # fmt: skip

    def ff_terms(self, family: Family) -> dict[str, float]:
        _, registers, _ = _tree(self.positions, family)
        values = self.columns * self.streams * max(sum(registers), self.positions == 1)
        return {"values": values * self.bits, "levels": self.levels}


@dataclass(frozen=True, kw_only=True)
class _Average(Module):
    """What pools that divide by a reciprocal share.

    Attributes:
        signed: whether values are.
        multiplier, shift: a sum is multiplied by `multiplier` / 2^`shift`.
    """

    streams: int
    bits: int
    signed: int
    multiplier: int
    shift: int

    def least(self, parameter: str) -> int:
        return 0 if parameter in ("SIGNED", "SHIFT", "OPERATION") else 1

    def check(self) -> None:
        for parameter, most in {"SIGNED": 1, "MULTIPLIER": 65535, "SHIFT": 31}.items():
            if self.parameters[parameter] > most:
                raise self.refused(parameter, f"it must be at most {most}")

    def scaled(self, sums: Ints) -> Ints:
        """Sums times the reciprocal, half to even, saturated."""
        low, high = signed_range(self.bits) if self.signed else (0, 2**self.bits - 1)
        product, half = sums * self.multiplier, 1 << self.shift >> 1
        rounded = product + half >> self.shift
        odd_halves = (product - (rounded << self.shift) == -half) & (rounded % 2 == 1) & (self.shift > 0)
        return np.clip(rounded - odd_halves, low, high)

    @property
    def odd(self) -> tuple[int, int]:
        """Multiplier and shift, both halved as often as they can be."""
        halvings = min((self.multiplier & -self.multiplier).bit_length() - 1, self.shift)
        return self.multiplier >> halvings, self.shift - halvings

    def dsps_each(self, sum_bits: int, family: Family) -> int:
        """The DSPs that multiply one sum (25 × 18 bits on Xilinx devices, 18 × 18 on ECP5): none by a power of two."""
        return 0 if self.odd[0] == 1 else 1 if sum_bits + 1 <= (25 if family == "xc7" else 18) else 2

    def scale_luts(self, sums: int, sum_bits: int, family: Family) -> dict[str, float]:
        """Terms of `scale`: rounding where no DSP does it, comparisons, and results."""
        multiplier, shift = self.odd
        kept = max(sum_bits + multiplier.bit_length() - shift, 1)
        return {
            "rounded": sums * kept * (multiplier == 1 or family == "ecp5"), "compared": sums * max(kept - self.bits, 0),
            "results": sums * self.bits, "ties": sums * shift * (0 < shift <= sum_bits),
        }  # fmt: skip

    def scale_flip_flops(self, sums: int, sum_bits: int, family: Family) -> dict[str, float]:
        """Terms of `scale`: products and rounded ones where they are not a DSP's, and results."""
        multiplier, shift = self.odd
        low = shift if shift <= sum_bits else 0
        kept = max(sum_bits + multiplier.bit_length() - shift, 1)
        return {"products": sums * (kept + low) * (multiplier == 1 or family == "ecp5"), "results": sums * self.bits}

    @staticmethod
    def reciprocal(rng: np.random.Generator, positions: int) -> dict[str, int]:
        """The multiplier of 16 bits and the shift of a division, perhaps with a change of scale of up to four."""
        wanted = float(rng.choice([1.0, 1.0, rng.uniform(0.5, 4)])) / positions
        shift = int(np.floor(np.log2(65535.49 / wanted)))
        return {"multiplier": int(np.rint(wanted * 2**shift)), "shift": shift}


@dataclass(frozen=True, kw_only=True)
class AveragePool(_Average):
    """The sum of every window times a reciprocal."""

    name: ClassVar[str] = "average_pool"
    columns: int
    positions: int

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
    def levels(self) -> int:
        """Levels of the tree of adders."""
        return (self.positions - 1).bit_length()

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

    def lut_terms(self, family: Family) -> dict[str, float]:
        values, (nodes, _, shifted) = self.columns * self.streams, _tree(self.positions, family)
        added = sum(count * (self.bits + level) for level, count in enumerate(nodes))
        return {
            "added": values * added, "shifted": values * sum(self.bits + level for level in shifted),
            **self.scale_luts(values, self.bits + self.levels, family), "fixed": 1,
        }  # fmt: skip

    def ff_terms(self, family: Family) -> dict[str, float]:
        values, (_, registers, _) = self.columns * self.streams, _tree(self.positions, family)
        sums = sum(count * (self.bits + level + 1) for level, count in enumerate(registers))
        return {
            "sums": values * sums, **self.scale_flip_flops(values, self.bits + self.levels, family),
            "levels": self.levels, "fixed": 1,
        }  # fmt: skip

    def dsps(self, family: Family) -> int:
        return self.columns * self.streams * self.dsps_each(self.bits + self.levels, family)


@dataclass(frozen=True, kw_only=True)
class GlobalPool(_Average):
    """The average (`operation` 0) or the largest value (1) of every channel over a map."""

    name: ClassVar[str] = "global_pool"
    block_ram: ClassVar[bool] = True
    depth: int
    pixels_of_map: int
    operation: int

    def check(self) -> None:
        super().check()
        if self.operation > 1:
            raise self.refused("OPERATION", "it must be 0 (average) or 1 (largest)")

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

    @property
    def sum_bits(self) -> int:
        """Bits of what is kept of a channel."""
        return self.bits + (0 if self.operation else (self.pixels_of_map - 1).bit_length())

    @property
    def delay(self) -> DelayLines:
        """The memory of what there was so far."""
        return DelayLines(self.streams * self.sum_bits, self.depth, self.sum_bits)

    def block_rams(self, family: Family) -> int:
        return self.delay.block_rams

    def dsps(self, family: Family) -> int:
        return 0 if self.operation else self.streams * self.dsps_each(self.sum_bits, family)

    @property
    def counters(self) -> dict[str, float]:
        """Bits of the counters of words and pixels."""
        return {"passes": address_bits(self.depth) * (self.depth > 1), "pixels": address_bits(self.pixels_of_map)}

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {
            **({"larger": self.streams * self.bits} if self.operation else {"added": self.streams * self.sum_bits}),
            "memory": self.delay.luts(family), **self.counters, "fixed": 1,
            **({} if self.operation else self.scale_luts(self.streams, self.sum_bits, family)),
        }  # fmt: skip

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {
            "sums": self.streams * self.sum_bits * (self.depth > 1) + self.delay.flip_flops,
            **({} if self.operation else self.scale_flip_flops(self.streams, self.sum_bits, family)),
            "counters": sum(self.counters.values()), "fixed": 1,
        }  # fmt: skip
