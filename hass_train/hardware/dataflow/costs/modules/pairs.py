"""Engines that skip pairs in which the value or the weight is zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.modules.lane_sums import lanes_choosing, over_numbers, over_sizes, running
from hass_train.hardware.dataflow.costs.modules.memories import address_bits, choice, state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family, Number
from hass_train.hardware.dataflow.costs.modules.sparse import SparseEngine


@dataclass(frozen=True, kw_only=True)
class PairEngine(SparseEngine):
    """Lanes skip pairs in which the value or the weight is zero; weights are read by address, zero bits beside them."""

    name: ClassVar[str] = "pair_engine"
    loads: ClassVar[int] = 2
    registers: ClassVar[int] = 1
    passes: int

    @property
    def choosing(self) -> Number:
        return lanes_choosing(self.positions, self.multipliers)

    @property
    def memory_rows(self) -> Number:
        return self.rounds * self.passes

    def accumulates(self, family: Family) -> Number:
        return super().accumulates(family) & (self.steps > 1)

    def _over_pickers(self, counted: Callable[[Any], Any]) -> Number:
        """The sum over the pickers of an engine, each of a lane, of something, by the places among which it picks."""
        return over_sizes(self.positions, self.multipliers, counted)

    @property
    def _picks(self) -> Number:
        """How many places a picker picks at once."""
        return 1

    def _over_picks(self, counted: Callable[[Any, Any], Any]) -> Number:
        """The sum over all picks of something, by the places that there are and the picks before it."""
        return self._over_pickers(lambda places: counted(places, 0))

    @property
    def _place_bits(self) -> Number:
        """Bits of the places that are picked, and of a lane's two registers beside them."""
        return self._over_pickers(lambda places: (state_bits(places) + 2) * (places > 1))

    def lut_terms(self, family: Family) -> dict[str, Number]:
        """See `ModuleParameters`: of `pair_picker`, "pairs" are the registers of those left, "trees" what finds the
        first among n places (n·log2 n), "ranks" the counts for later picks, "places" the encoders."""
        inputs = 5 if family == "xc7" else 3
        encoders = running(choice(1 << np.arange(7), family))  # of 0, 1, … bits
        terms = self._sum_luts(family)
        muxes = self._over_picks(lambda places, pick: choice(_within_reach(places, pick), family))
        tests = self.bundles * self.positions * ceil_div(self.data_bits - 1, inputs)
        return terms | {
            "multiplexers": self.copies * self.data_bits * muxes,
            "datapath": terms["datapath"] + tests,
            "pairs": self.copies * self.positions,
            "trees": self.copies * self._over_pickers(lambda n: np.rint(n * np.log2(np.maximum(n, 1)))),
            "ranks": self.copies * self._over_picks(lambda n, pick: np.maximum(n - pick - 1, 0)),
            "places": self.copies
            * self._picks
            * self._over_pickers(lambda n: encoders[address_bits(np.maximum(n, 1))] * (n > 1)),
            "lanes": self.copies * self.multipliers,
            "counters": address_bits(self.memory_rows) + address_bits(self.rounds),
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, Number]:
        terms = self._sum_ffs(family)
        held = (self.registers + 1) * self.positions  # pairs that are loaded and left, and the mask

        def idle(registers: Any) -> Any:
            """Three registers and more are one, and a LUT."""
            return registers if family == "ecp5" else registers * (registers < 3) + (registers > 2)

        own = held + self._place_bits + self.over_waits(idle, self.loads)
        values = 2 * self.bundles * self.positions * self.data_bits
        return terms | {"datapath": terms["datapath"] + self.copies * own + values}


@dataclass(frozen=True, kw_only=True)
class CrossbarEngine(PairEngine):
    """Multipliers take the first pairs without a zero, wherever in the window they are (HASS)."""

    name: ClassVar[str] = "crossbar_engine"
    registers: ClassVar[int] = 2

    @property
    def choices(self) -> Number:
        return self.positions

    @property
    def choosing(self) -> Number:
        return self.multipliers * (self.positions > 1)

    def _over_pickers(self, counted: Callable[[Any], Any]) -> Number:
        return counted(self.positions)

    @property
    def _picks(self) -> Number:
        return self.multipliers

    def _over_picks(self, counted: Callable[[Any, Any], Any]) -> Number:
        return over_numbers(self.positions, self.multipliers, counted)

    @property
    def _place_bits(self) -> Number:
        """A pick's place is at least its number, so that some of its bits may be constant."""
        return self._over_picks(_differing)


def _differing(choices: Any, pick: Any) -> Any:
    """The bits of the place of the pick behind `pick` others that are not constant: it is `pick` at least."""
    return state_bits(np.asarray((choices - 1) ^ pick) + 1)


def _within_reach(choices: Any, pick: Any) -> Any:
    """The choices of that pick, as its place has constant bits."""
    differing = _differing(choices, pick)
    return choices - (pick >> differing << differing)
