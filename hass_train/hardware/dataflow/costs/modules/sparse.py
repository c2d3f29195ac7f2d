"""Compute engines that skip zeros of weights, or of pairs of weight and activation (hardware-model, section 2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.modules.memories import (
    SMALL_PRODUCT,
    address_bits,
    choice,
    multipliers,
    state_bits,
)
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters

_PACKED = 25  # bits of two values that share a DSP


def samples_of(rows: str) -> tuple[Mapping[str, int], ...]:
    """Parameters that tell rates apart; `rows` is the one that says how many rows a memory has beside `rounds`."""
    values = ((1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 1, 4), (1, 1, 2, 4), (1, 1, 4, 8), (5, 3, 5, 35))
    return tuple(dict(zip(("filters", "bundles", "rounds", rows), one, strict=True)) for one in values)


@dataclass(frozen=True, kw_only=True)
class SparseEngine(ModuleParameters):
    """What the three engines share: windows that stay for some rounds, and the sums of each round."""

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
    def side_by_side(self) -> int:
        """Windows in a word; consecutive ones are bundles."""
        return self.bundles

    @property
    def choices(self) -> int:
        """Positions that a multiplier chooses among, at most."""
        return self.steps

    @property
    def packed(self) -> bool:
        """Whether two products share a DSP."""
        return False

    @property
    def steps(self) -> int:
        """⌈M/N⌉."""
        return ceil_div(self.positions, self.multipliers)

    @property
    def sum_bits(self) -> int:
        """The bits of a sum, which cannot overflow."""
        return self.data_bits + self.weight_bits + (self.positions - 1).bit_length()

    @property
    def cascades(self) -> tuple[int, int]:
        """How `dot_product` adds: cascades of DSPs, and lanes in each."""
        largest = 2 ** (self.data_bits - 1) * (2 ** (self.weight_bits - 1) - 1)
        longest = min(8, (2 ** (24 - self.data_bits) - 1) // largest) if self.packed else 8
        cascades = ceil_div(self.multipliers, longest)
        return cascades, ceil_div(self.multipliers, cascades)

    @property
    def latency(self) -> int:
        """Of `dot_product`, of what comes before it, and a cycle in which the memory's first row is fetched ahead."""
        cascades, length = self.cascades
        alone = self.multipliers == 1 and not self.packed
        return 5 + self.late + self.loads + (0 if alone else ceil_div(length, 2)) + (cascades > 1)

    @property
    def copies(self) -> int:
        """Sums that are made side by side."""
        return self.side_by_side * self.filters

    @property
    def dots(self) -> int:
        """Instances of `dot_product`."""
        columns = self.side_by_side // self.bundles
        return ceil_div(columns, 2 if self.packed else 1) * self.bundles * self.filters

    def in_luts(self, family: Family) -> bool:
        """Whether products are so narrow that Yosys makes them of a Xilinx device's LUTs."""
        return family == "xc7" and not self.packed and self.data_bits + self.weight_bits <= SMALL_PRODUCT

    @property
    def waits(self) -> list[int]:
        """The registers before the product of each lane of a `dot_product`."""
        _, length = self.cascades
        return [1 + lane % length // 2 for lane in range(self.multipliers)]

    @abstractmethod
    def chosen_from(self, lane: int) -> int:
        """The positions among which a lane chooses."""

    def _delays(self, family: Family) -> list[tuple[int, int, int]]:
        """(registers in a row, bits, engines) before the products of all engines, beyond those that DSPs have.

        Where a lane has nothing to choose from, filters have the same values, and synthesis keeps one of them.
        """
        inside = 2 if family == "xc7" and not self.in_luts(family) else 0
        rows = []
        for lane, wait in enumerate(self.waits):
            rows.append((wait - inside, self.weight_bits, self.bundles * self.filters))  # columns share them
            engines = self.dots if self.chosen_from(lane) > 1 else self.dots // self.filters
            if self.packed:
                within = 1 if family == "xc7" else 0
                rows += [(wait - within, self.data_bits, engines), (wait, self.data_bits, engines)]
            else:
                rows.append((wait + self.late - inside, self.data_bits, engines))
        return [row for row in rows if row[0] > 0]

    def sums_in_luts(self, family: Family) -> bool:
        """Whether sums are kept outside DSPs: a Xilinx one without neighbours keeps its own."""
        return family == "ecp5" or self.multipliers > 1 or self.packed or self.in_luts(family)

    def accumulates(self, family: Family) -> bool:
        """Whether they are added up over the cycles of a round."""
        return self.sums_in_luts(family)

    def _sum_luts(self, family: Family) -> dict[str, float]:
        """The LUTs of `dot_product`: a bit of an adder takes one, and so do three registers in a row and more."""
        cascades, _ = self.cascades
        sums = self.copies * self.sum_bits
        if family == "ecp5":
            return {"datapath": 0, "adders": sums * self.multipliers}
        adders = self.accumulates(family) + (self.multipliers if self.in_luts(family) else cascades) - 1
        product = round(5 / 3 * self.data_bits * self.weight_bits) if self.in_luts(family) else 0  # as measured
        shifted = sum(bits * engines for count, bits, engines in self._delays(family) if count > 2)
        return {
            "datapath": sums * adders + shifted + self.dots * self.multipliers * product,
            "parities": self.dots * self.multipliers * self.packed,
        }

    def _sum_ffs(self, family: Family) -> dict[str, float]:
        """The flip-flops of `dot_product`, operands that wait and sums, and of the engine's control."""
        cascades, length = self.cascades
        in_fabric = family == "ecp5" or self.in_luts(family)
        # DSPs have the registers of sums along a cascade, but not behind lanes that are none
        lanes = range(0 if in_fabric else self.multipliers, cascades * length if self.sums_in_luts(family) else 0)
        passed = sum(lane % length % 2 == 1 or lane % length == length - 1 for lane in lanes)
        passed -= in_fabric and self.multipliers == 1 and not self.packed
        passed -= 0 < len(lanes) < length and lanes[0] % length % 2  # the DSP before has the register
        operand = _PACKED if self.packed else self.data_bits
        products = self.dots * self.multipliers * (operand + self.weight_bits) * in_fabric
        waiting = sum(
            count * bits * engines for count, bits, engines in self._delays(family) if count < 3 or family == "ecp5"
        )
        return {
            "datapath": self.copies * self.sum_bits * (self.sums_in_luts(family) + (cascades > 1) + passed)
            + waiting
            + products,
            "counters": address_bits(self.memory_rows) * (1 + self.late + self.loads) + state_bits(self.rounds),
            "pipeline": self.latency,
            "fixed": 1,
        }

    @property
    @abstractmethod
    def memory_rows(self) -> int:
        """Rows of the memory that says what to do."""

    @property
    def factors(self) -> tuple[int, ...]:
        counters = address_bits(self.memory_rows), address_bits(self.rounds), state_bits(self.rounds)
        return 1, self.bundles, self.bundles * self.filters, *counters

    def dsps(self, family: Family) -> int:
        each = multipliers(_PACKED) if family == "ecp5" and self.packed else 1
        return 0 if self.in_luts(family) else each * self.dots * self.multipliers


@dataclass(frozen=True, kw_only=True)
class WeightEngine(SparseEngine):
    """Zero weights are neither stored nor multiplied; the schedule is in the memory (`listed_rows`)."""

    name: ClassVar[str] = "weight_engine"
    samples: ClassVar[tuple[Mapping[str, int], ...]] = samples_of("rows")
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
    def side_by_side(self) -> int:
        return self.bundles * self.columns

    @property
    def packed(self) -> bool:
        return self.products == 2

    @property
    def choices(self) -> int:
        return self.steps if self.lanes else self.positions

    def chosen_from(self, lane: int) -> int:
        return int(ceil_div(self.positions - lane, self.multipliers)) if self.lanes else self.positions

    @property
    def memory_rows(self) -> int:
        return self.rows

    def lut_terms(self, family: Family) -> dict[str, float]:
        choices = [self.chosen_from(lane) for lane in range(self.multipliers)]
        terms = self._sum_luts(family)
        terms["datapath"] += self.copies * self.data_bits * sum(choice(count, family) for count in choices)
        return terms | {"counters": address_bits(self.rows) + address_bits(self.rounds), "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        """With the row of entries that waits behind the memory."""
        terms = self._sum_ffs(family)
        entry = self.weight_bits + address_bits(self.choices)
        terms["datapath"] += self.bundles * self.filters * self.multipliers * entry
        return terms
