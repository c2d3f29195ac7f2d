"""Modules that move words and change no value: fork, queues, width converter, concatenation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.modules.memories import (
    block_rams,
    lutram,
    multiplexer,
    state_bits,
    tree,
)
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters, Number
from hass_train.hardware.dataflow.costs.stream_cycles import repacking_cycles


@dataclass(frozen=True, kw_only=True)
class StreamFork(ModuleParameters):
    """A word to several readers, each of which takes it when it likes."""

    name: ClassVar[str] = "stream_fork"
    width: int
    copies: int

    def lut_terms(self, family: Family) -> dict[str, Number]:
        return {"copies": self.copies, "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, Number]:
        return {"copies": self.copies}


@dataclass(frozen=True, kw_only=True)
class StreamJoin(ModuleParameters):
    """The words of several streams side by side, when all are there."""

    name: ClassVar[str] = "stream_join"
    width: int
    copies: int

    def lut_terms(self, family: Family) -> dict[str, Number]:
        return {"valid": tree(self.copies + 1, family)}

    def ff_terms(self, family: Family) -> dict[str, Number]:
        return {"none": 0}


@dataclass(frozen=True, kw_only=True)
class Reorder(ModuleParameters):
    """The values of a frame in another order, by way of a memory of two frames for each value of a word."""

    name: ClassVar[str] = "reorder"
    bits: int
    in_words: int
    in_values: int
    out_words: int
    out_values: int

    @property
    def counters(self) -> int:
        """Bits of the counters of words."""
        return state_bits(self.in_words) + 2 * state_bits(self.out_words)

    def lut_terms(self, family: Family) -> dict[str, Number]:
        row, words = self.in_values * self.bits, 2 << state_bits(self.in_words)
        return {
            "memory": self.out_values * lutram(row, words, family),
            "multiplexer": self.out_values * self.bits * multiplexer(self.in_values, family),
            "counters": self.counters,
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, Number]:
        return {"values": self.out_values * self.bits, "counters": self.counters, "fixed": 1}


@dataclass(frozen=True, kw_only=True)
class Fifo(ModuleParameters):
    """A queue of `depth` words of `width` bits."""

    vectorised: ClassVar[bool] = True
    width: int
    depth: int


@dataclass(frozen=True, kw_only=True)
class RegisterFifo(Fifo):
    """A queue in flip-flops; two words cut long paths of valid and ready."""

    name: ClassVar[str] = "register_fifo"

    def least(self, parameter: str) -> int:
        return 2 if parameter == "DEPTH" else 1

    def lut_terms(self, family: Family) -> dict[str, Number]:
        return {
            "multiplexer": self.width * multiplexer(self.depth, family),
            "index": state_bits(self.depth),
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, Number]:
        return {"rows": self.width * self.depth, "index": state_bits(self.depth), "fixed": 1}


@dataclass(frozen=True, kw_only=True)
class LutramFifo(Fifo):
    """A queue in the memory of LUTs: as shift registers, or addressed."""

    name: ClassVar[str] = "lutram_fifo"
    shift_registers: int

    def least(self, parameter: str) -> int:
        return {"SHIFT_REGISTERS": 0, "DEPTH": 2}.get(parameter, 1)

    def lut_terms(self, family: Family) -> dict[str, Number]:
        index, shifted = state_bits(self.depth), self.shift_registers
        addressed = 1 - shifted
        # of addressed ones both addresses, and the number of words
        counters = addressed * (2 * index + state_bits(self.depth + 1))
        terms = {
            "memory": addressed * lutram(self.width, self.depth, family), "counters": counters, "fixed": addressed,
            "fixed shift registers": shifted,
        }  # fmt: skip
        if family == "ecp5":
            return terms | {"multiplexer": shifted * self.width * self.depth}
        return terms | {"shift registers": shifted * self.width * -(-self.depth // 32), "index": shifted * index}

    def ff_terms(self, family: Family) -> dict[str, Number]:
        index, shifted = state_bits(self.depth), self.shift_registers
        rows = shifted * self.width * self.depth * (family == "ecp5")
        counters = (1 - shifted) * (2 * index + state_bits(self.depth + 1) + 2)
        return {"rows": rows, "index": shifted * (index + 1), "counters": counters}


@dataclass(frozen=True, kw_only=True)
class BlockFifo(Fifo):
    """A queue in block RAM, whose oldest word waits in the output register."""

    name: ClassVar[str] = "block_fifo"
    block_ram: ClassVar[bool] = True

    def least(self, parameter: str) -> int:
        return 3 if parameter == "DEPTH" else 1

    @property
    def _counters(self) -> Number:
        """Bits of both addresses, and of the number of words."""
        return 2 * state_bits(self.depth - 1) + state_bits(self.depth)

    def lut_terms(self, family: Family) -> dict[str, Number]:
        return {"counters": self._counters, "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, Number]:
        return {"counters": self._counters, "fixed": 3}

    def block_rams(self, family: Family) -> Number:
        return block_rams(self.width, self.depth - 1, family)


@dataclass(frozen=True, kw_only=True)
class WidthConverter(ModuleParameters):
    """Words of `in_values` values to words of `out_values`, in frames of `total` values filled up with zeros."""

    name: ClassVar[str] = "width_converter"
    vectorised: ClassVar[bool] = True
    bits: int
    in_values: int
    out_values: int
    total: int

    @property
    def _counters(self) -> Number:
        """Bits of the counters of cycles of a lap, of places of the window in a lap, and of laps of a frame."""
        read, written = self.in_values, self.out_values
        common = np.gcd(read, written)
        lap = read * written // common
        laps, rest = self.total // lap, self.total % lap
        # the last lap is like the others
        alike = (ceil_div(rest, read) == lap // read) & (ceil_div(rest, written) == lap // written)
        rest = rest * (1 - alike)
        whole = (laps > 0) | (rest == 0)
        steps = repacking_cycles(rest + (lap - rest) * whole, read, written)
        last = repacking_cycles(rest, read, written) * (rest > 0)
        return (
            state_bits(steps + (last - steps) * (last > steps))
            + state_bits(read // common) * (read < written)
            + state_bits(laps + 1) * ((rest > 0) & (laps > 0))
        )

    def lut_terms(self, family: Family) -> dict[str, Number]:
        places = self.in_values // np.gcd(self.in_values, self.out_values)
        read, written = ceil_div(self.total, self.in_values), ceil_div(self.total, self.out_values)
        ends = written * self.out_values > read * self.in_values  # the last word written ends with zeros
        return {
            "multiplexer": self.bits * self.out_values * multiplexer(places, family),
            "zeros": self.bits * self.out_values * ends,
            "counters": self._counters,
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, Number]:
        history = self.bits * (self.out_values - np.gcd(self.in_values, self.out_values))
        return {"history": history, "counters": self._counters}


@dataclass(frozen=True, kw_only=True)
class Concatenate(ModuleParameters):
    """Two maps joined along channels: of a pixel `depth_a` words of one, then `depth_b` of the other."""

    name: ClassVar[str] = "concatenate"
    width: int
    depth_a: int
    depth_b: int

    def lut_terms(self, family: Family) -> dict[str, Number]:
        return {"multiplexer": self.width, "words": state_bits(max(self.depth_a, self.depth_b)), "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, Number]:
        return {"words": state_bits(max(self.depth_a, self.depth_b)), "fixed": 1}
