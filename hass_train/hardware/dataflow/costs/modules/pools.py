"""Pools of windows and of whole maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.dataflow.costs.modules.memories import address_bits, multipliers
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters
from hass_train.hardware.dataflow.costs.modules.windows import DelayLines


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
class MaxPool(ModuleParameters):
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
    def levels(self) -> int:
        """Levels of the tree, at least one register."""
        return max(1, (self.positions - 1).bit_length())

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
class Average(ModuleParameters):
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

    @property
    def odd(self) -> tuple[int, int]:
        """Multiplier and shift, both halved as often as they can be."""
        halvings = min((self.multiplier & -self.multiplier).bit_length() - 1, self.shift)
        return self.multiplier >> halvings, self.shift - halvings

    def dsps_each(self, sum_bits: int, family: Family) -> int:
        """The DSPs that multiply one sum (25 × 18 bits on Xilinx devices, 18 × 18 on ECP5): none by a power of two."""
        if self.odd[0] == 1:
            return 0
        return multipliers(sum_bits) if family == "ecp5" else 1 + (sum_bits + 1 > 25)

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


@dataclass(frozen=True, kw_only=True)
class AveragePool(Average):
    """The sum of every window times a reciprocal."""

    name: ClassVar[str] = "average_pool"
    columns: int
    positions: int

    @property
    def levels(self) -> int:
        """Levels of the tree of adders."""
        return (self.positions - 1).bit_length()

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
class GlobalPool(Average):
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
