"""The engine that multiplies all pairs of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.modules.memories import registers_of_delay, state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family, Number
from hass_train.hardware.dataflow.costs.modules.shared_activations import CHAIN, Engine


@dataclass(frozen=True, kw_only=True)
class DenseEngine(Engine):
    """All pairs of a window: ⌈M/N⌉ cycles a round.

    Attributes:
        columns: output columns side by side, with the same weights.
        in_dsp: 1 if DSPs accumulate, at the price of delays that filters share (wins where filters are many).
    """

    name: ClassVar[str] = "dense_engine"
    columns: int
    in_dsp: int

    def check(self) -> None:
        if self.products not in (1, 2, 4):
            raise self.refused("PRODUCTS", "it must be 1, 2 or 4")
        super().check()
        if self.products == 4 and self.columns == 1:
            raise self.refused("PRODUCTS", "it must be at most 2 where COLUMNS is 1")
        if self.in_dsp > 1:
            raise self.refused("IN_DSP", "it must be 0 or 1")
        if self.in_dsp and self.products > 1 and self.positions > self.capacity:
            raise self.refused("IN_DSP", f"a DSP that {self.products} products share sums up {self.capacity} of them")

    @property
    def side_columns(self) -> Number:
        return self.columns

    @property
    def capacity(self) -> Number:
        """The products that a field of a shared DSP sums up, if DSPs accumulate."""
        return ((1 << self._field - 1) - 1) // ((1 << self.data_bits - 1) * ((1 << self.weight_bits - 1) - 1))

    @property
    def accumulates(self) -> Number:
        return self.in_dsp

    @property
    def ports(self) -> Number:
        alone = 1 + (ceil_div(self.multipliers, CHAIN) - 1) * (self.chains == 1)
        return alone + (self.multipliers - alone) * self.accumulates

    @property
    def _late_rows(self) -> tuple[Number, Number]:
        """Bits of the addresses that ports get later than the first, and the cycles from port to port."""
        return self.row_bits * (self.ports - 1), CHAIN + (self.steps - CHAIN) * self.accumulates

    def lut_terms(self, family: Family) -> dict[str, Number]:
        terms = super().lut_terms(family)
        if family == "xc7":
            bits, cycles = self._late_rows
            terms["late rows"] = bits * ceil_div(cycles, 32) * (cycles > 2) + self.multipliers * self.accumulates
        return terms

    @property
    def counter_bits(self) -> Number:
        """Those of `row_counter`: rows, and steps and rounds where they are not bits of the row."""
        rows, inner = self.passes * self.rounds * self.steps, self.rounds * self.steps
        separate = [
            state_bits(count) * ((within != rows) & (within & within - 1 != 0))
            for count, within in ((self.steps, self.steps), (self.rounds, inner))
        ]
        return self.row_bits + sum(separate)

    def ff_terms(self, family: Family) -> dict[str, Number]:
        bits, cycles = self._late_rows
        terms = super().ff_terms(family)
        late = bits * (cycles if family == "ecp5" else registers_of_delay(cycles))
        # too short for shift registers are the flags of the lanes, too
        flags = (self.multipliers - 1) * cycles * (cycles < 3) * self.accumulates
        terms["datapath"] = terms["datapath"] + late + flags
        return terms
