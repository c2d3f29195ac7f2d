"""Compute engines that skip zeros of weights, or of pairs of weight and activation (hardware-model, section 2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.modules.lane_sums import lanes_choosing, least, over_sizes, running
from hass_train.hardware.dataflow.costs.modules.memories import (
    SMALL_PRODUCT,
    address_bits,
    choice,
    multipliers,
    state_bits,
)
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters, Number

Ints = NDArray[np.int64]

_CASCADE = 8  # lanes of a cascade of DSPs, at most
_PACKED = 25  # bits of two values that share a DSP


@dataclass(frozen=True, kw_only=True)
class SparseEngine(ModuleParameters):
    """What the three engines share: windows that stay for some rounds, and the sums of each round."""

    vectorised: ClassVar[bool] = True
    positions: int
    multipliers: int
    filters: int
    bundles: int
    rounds: int
    data_bits: int
    weight_bits: int
    late: ClassVar[int] = 1
    """Cycles from choosing a value to its weight."""
    loads: ClassVar[int] = 0
    """Cycles from taking a round to choosing its first value."""

    def check(self) -> None:
        if self.multipliers > self.positions:
            raise self.refused("MULTIPLIERS", f"it must be at most POSITIONS={self.positions}")
        if self.choices > 64:
            raise self.refused("POSITIONS", f"a multiplier chooses among at most 64 of them, not {self.choices}")
        for parameter in ("DATA_BITS", "WEIGHT_BITS"):
            if not 2 <= self.parameters[parameter] <= 16:
                raise self.refused(parameter, "it must be 2 to 16")

    @property
    def side_by_side(self) -> Number:
        """Windows in a word; consecutive ones are bundles."""
        return self.bundles

    @property
    def choices(self) -> Number:
        """Positions that a multiplier chooses among, at most."""
        return self.steps

    @property
    def packed(self) -> Number:
        """Whether two products share a DSP."""
        return False

    @cached_property
    def steps(self) -> Number:
        """⌈M/N⌉."""
        return ceil_div(self.positions, self.multipliers)

    @cached_property
    def sum_bits(self) -> Number:
        """The bits of a sum, which cannot overflow."""
        return self.data_bits + self.weight_bits + state_bits(self.positions)

    @cached_property
    def cascades(self) -> tuple[Number, Number]:
        """How `dot_product` adds: cascades of DSPs, and lanes in each."""
        largest = (1 << self.data_bits - 1) * ((1 << self.weight_bits - 1) - 1)
        shared = ((1 << 24 - self.data_bits) - 1) // largest
        longest = _CASCADE + (least(shared, _CASCADE) - _CASCADE) * self.packed
        cascades = ceil_div(self.multipliers, longest)
        return cascades, ceil_div(self.multipliers, cascades)

    @property
    def latency(self) -> Number:
        """Of `dot_product`, of what comes before it, and a cycle in which the memory's first row is fetched ahead."""
        cascades, length = self.cascades
        alone = (self.multipliers == 1) * (1 - self.packed)
        return 5 + self.late + self.loads + ceil_div(length, 2) * (1 - alone) + (cascades > 1)

    @property
    def copies(self) -> Number:
        """Sums that are made side by side."""
        return self.side_by_side * self.filters

    @cached_property
    def dots(self) -> Number:
        """Instances of `dot_product`."""
        columns = self.side_by_side // self.bundles
        return ceil_div(columns, 1 + self.packed) * self.bundles * self.filters

    def in_luts(self, family: Family) -> Number:
        """Whether products are so narrow that Yosys makes them of a Xilinx device's LUTs: 0 or 1."""
        return (family == "xc7") * (1 - self.packed) * (self.data_bits + self.weight_bits <= SMALL_PRODUCT)

    @property
    @abstractmethod
    def choosing(self) -> Number:
        """The lanes, the first ones, that choose among several positions."""

    def over_waits(self, counted: Callable[[Ints], Ints], more: Number = 0, lanes: Number | None = None) -> Number:
        """The sum over the lanes of a `dot_product` of something, by the registers before a lane's product.

        Args:
            counted: of an array of registers in a row.
            more: that many are added, or taken away; 3 at most.
            lanes: the first ones alone.
        """
        _, length = self.cascades
        many = self.multipliers if lanes is None else lanes
        # lanes of a cascade wait by pairs: 1, 1, 2, 2, …
        waits = 1 + np.arange(_CASCADE) // 2 + np.arange(-3, 4)[:, None]
        sums = running(counted(np.maximum(waits, 0)))
        return many // length * sums[more + 3, length] + sums[more + 3, many % length]

    def _delayed(self, family: Family, counted: Callable[[Ints], Ints]) -> Number:
        """The sum of something, by the registers in a row before the products of all engines that DSPs do not have.

        Where a lane has nothing to choose from, filters have the same values, and synthesis keeps one of them.
        """
        inside = 2 * (family == "xc7") * (1 - self.in_luts(family))
        # columns share the registers of weights
        found = self.weight_bits * self.bundles * self.filters * self.over_waits(counted, -inside)
        shared = self.dots // self.filters
        within = 1 if family == "xc7" else 0
        for more, there in ((self.late - inside, 1 - self.packed), (-within, self.packed), (0, self.packed)):
            own = self.over_waits(counted, more, self.choosing)
            every = self.over_waits(counted, more)
            found = found + there * self.data_bits * (own * self.dots + (every - own) * shared)
        return found

    def sums_in_luts(self, family: Family) -> Number:
        """Whether sums are kept outside DSPs: a Xilinx one without neighbours keeps its own."""
        return (family == "ecp5") | (self.multipliers > 1) | self.packed | (self.in_luts(family) > 0)

    def accumulates(self, family: Family) -> Number:
        """Whether they are added up over the cycles of a round."""
        return self.sums_in_luts(family)

    def _sum_luts(self, family: Family) -> dict[str, Number]:
        """The LUTs of `dot_product`: a bit of an adder takes one, and so do three registers in a row and more."""
        cascades, _ = self.cascades
        sums = self.copies * self.sum_bits
        if family == "ecp5":
            return {"datapath": 0, "adders": sums * self.multipliers}
        in_luts = self.in_luts(family)
        adders = self.accumulates(family) + cascades + (self.multipliers - cascades) * in_luts - 1
        product = np.rint(5 / 3 * self.data_bits * self.weight_bits) * in_luts  # as measured
        shifted = self._delayed(family, lambda registers: 1 * (registers > 2))
        return {
            "datapath": sums * adders + shifted + self.dots * self.multipliers * product,
            "parities": self.dots * self.multipliers * self.packed,
        }

    def _sum_ffs(self, family: Family) -> dict[str, Number]:
        """The flip-flops of `dot_product`, operands that wait and sums, and of the engine's control."""
        cascades, length = self.cascades
        in_fabric = (family == "ecp5") | (self.in_luts(family) > 0)
        kept = 1 * self.sums_in_luts(family)
        # DSPs have the registers of sums along a cascade, but not behind lanes that are none
        none = self.multipliers * (1 - in_fabric)
        behind = (cascades * length - none) * kept
        passed = cascades * ceil_div(length, 2) - none // length * ceil_div(length, 2) - none % length // 2
        passed = passed * kept - in_fabric * (self.multipliers == 1) * (1 - self.packed)
        passed = passed - (behind > 0) * (behind < length) * (none % length % 2)  # the DSP before has the register
        operand = self.data_bits + (_PACKED - self.data_bits) * self.packed
        products = self.dots * self.multipliers * (operand + self.weight_bits) * in_fabric
        waiting = self._delayed(family, lambda registers: registers * ((registers < 3) | (family == "ecp5")))
        return {
            "datapath": self.copies * self.sum_bits * (kept + (cascades > 1) + passed) + waiting + products,
            "counters": address_bits(self.memory_rows) * (1 + self.late + self.loads) + state_bits(self.rounds),
            "pipeline": self.latency,
            "fixed": 1,
        }

    @property
    @abstractmethod
    def memory_rows(self) -> Number:
        """Rows of the memory that says what to do."""

    def dsps(self, family: Family) -> Number:
        each = 1 + (multipliers(_PACKED) - 1) * self.packed * (family == "ecp5")
        return each * self.dots * self.multipliers * (1 - self.in_luts(family))


@dataclass(frozen=True, kw_only=True)
class WeightEngine(SparseEngine):
    """Zero weights are neither stored nor multiplied; the schedule is in the memory (`listed_rows`)."""

    name: ClassVar[str] = "weight_engine"
    late: ClassVar[int] = 0
    columns: int
    rows: int
    lanes: int
    products: int

    def least(self, parameter: str) -> int:
        return 0 if parameter == "LANES" else 1

    def check(self) -> None:
        super().check()
        if self.lanes > 1:
            raise self.refused("LANES", "it must be 0 or 1")
        if self.products > 2:
            raise self.refused("PRODUCTS", "it must be 1 or 2")
        if self.products == 2 and self.columns < 2:
            raise self.refused("PRODUCTS", "two products share a DSP only where COLUMNS is at least 2")
        if self.products == 2 and max(self.data_bits, self.weight_bits) > 8:
            raise self.refused(
                "PRODUCTS", "two products share a DSP only where DATA_BITS and WEIGHT_BITS are at most 8"
            )
        if self.rows < self.rounds:
            raise self.refused("ROWS", f"it must be at least ROUNDS={self.rounds}")
        if self.multipliers == self.positions and self.rows % self.rounds:
            raise self.refused("ROWS", f"rounds take one row where MULTIPLIERS=POSITIONS: a multiple of {self.rounds}")

    @property
    def side_by_side(self) -> Number:
        return self.bundles * self.columns

    @property
    def packed(self) -> Number:
        return self.products == 2

    @property
    def choices(self) -> Number:
        return self.positions + (self.steps - self.positions) * self.lanes

    @property
    def choosing(self) -> Number:
        pooled = self.multipliers * (self.positions > 1)
        return pooled + (lanes_choosing(self.positions, self.multipliers) - pooled) * self.lanes

    @property
    def memory_rows(self) -> Number:
        return self.rows

    def lut_terms(self, family: Family) -> dict[str, Number]:
        pooled = self.multipliers * choice(self.positions, family)
        by_lane = over_sizes(self.positions, self.multipliers, lambda count: choice(count, family))
        terms = self._sum_luts(family)
        chosen = pooled + (by_lane - pooled) * self.lanes
        terms["datapath"] = terms["datapath"] + self.copies * self.data_bits * chosen
        return terms | {"counters": address_bits(self.rows) + address_bits(self.rounds), "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, Number]:
        """With the row of entries that waits behind the memory."""
        terms = self._sum_ffs(family)
        entry = self.weight_bits + address_bits(self.choices)
        terms["datapath"] = terms["datapath"] + self.bundles * self.filters * self.multipliers * entry
        return terms
