"""Engines that skip pairs in which the value or the weight is zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.modules.memories import address_bits, choice
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.costs.modules.sparse import SparseEngine, samples_of


@dataclass(frozen=True, kw_only=True)
class PairEngine(SparseEngine):
    """Lanes skip pairs in which the value or the weight is zero; weights are read by address, zero bits beside them."""

    name: ClassVar[str] = "pair_engine"
    samples: ClassVar[tuple[Mapping[str, int], ...]] = samples_of("passes")
    loads: ClassVar[int] = 2
    registers: ClassVar[int] = 1
    passes: int

    @property
    def pickers(self) -> tuple[list[int], int]:
        """The places among which each picker of an engine picks, and how many it picks at once."""
        return [ceil_div(self.positions - lane, self.multipliers) for lane in range(self.multipliers)], 1

    def chosen_from(self, lane: int) -> int:
        return int(ceil_div(self.positions - lane, self.multipliers))

    @property
    def memory_rows(self) -> int:
        return self.rounds * self.passes

    def accumulates(self, family: Family) -> bool:
        return super().accumulates(family) and self.steps > 1

    @property
    def _place_bits(self) -> int:
        """Bits of the places that are picked, and of a lane's two registers beside them."""
        return sum((n - 1).bit_length() + 2 * (n > 1) for n in self.pickers[0])

    def lut_terms(self, family: Family) -> dict[str, float]:
        """See `ModuleParameters`: of `pair_picker`, "pairs" are the registers of those left, "trees" what finds the
        first among n places (n·log2 n), "ranks" the counts for later picks, "places" the encoders."""
        places, picks = self.pickers
        inputs = 5 if family == "xc7" else 3
        terms = self._sum_luts(family)
        muxes = sum(choice(_within_reach(n, pick), family) for n in places for pick in range(picks))
        terms["multiplexers"] = self.copies * self.data_bits * muxes
        terms["datapath"] += self.bundles * self.positions * int(ceil_div(self.data_bits - 1, inputs))
        several = [n for n in places if n > 1]
        return terms | {
            "pairs": self.copies * sum(places),
            "trees": self.copies * sum(round(n * math.log2(n)) for n in several),
            "ranks": self.copies * sum(max(n - pick - 1, 0) for n in several for pick in range(picks)),
            "places": self.copies * picks * sum(_encoder(n, family) for n in several),
            "lanes": self.copies * self.multipliers,
            "counters": address_bits(self.memory_rows) + address_bits(self.rounds),
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        places, _ = self.pickers
        terms = self._sum_ffs(family)
        held = self.registers * sum(places) + self.positions  # pairs that are loaded and left, and the mask
        terms["datapath"] += self.copies * held + 2 * self.bundles * self.positions * self.data_bits
        terms["datapath"] += self.copies * self._place_bits
        delays = [wait + self.loads for wait in self.waits]  # three registers and more are one, and a LUT
        idle = sum(delay if delay < 3 or family == "ecp5" else 1 for delay in delays)
        terms["datapath"] += self.copies * idle
        return terms


@dataclass(frozen=True, kw_only=True)
class CrossbarEngine(PairEngine):
    """Multipliers take the first pairs without a zero, wherever in the window they are (HASS)."""

    name: ClassVar[str] = "crossbar_engine"
    registers: ClassVar[int] = 2

    @property
    def choices(self) -> int:
        return self.positions

    @property
    def pickers(self) -> tuple[list[int], int]:
        return [self.positions], self.multipliers

    @property
    def _place_bits(self) -> int:
        """A pick's place is at least its number, so that some of its bits may be constant."""
        return sum(((self.positions - 1) ^ pick).bit_length() for pick in range(self.multipliers))

    def chosen_from(self, lane: int) -> int:
        return self.positions


def _within_reach(choices: int, pick: int) -> int:
    """The choices of the pick behind `pick` others, as its place has constant bits: it is `pick` at least."""
    differing = ((choices - 1) ^ pick).bit_length()
    return choices - (pick >> differing << differing)


def _encoder(choices: int, family: Family) -> int:
    """The LUTs of the place of a pick among some choices."""
    bits = address_bits(choices)
    return sum(choice(2**bit, family) for bit in range(bits)) if choices > 1 else 0
