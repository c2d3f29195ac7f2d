"""What engines whose filters share activations have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.modules.memories import (
    SMALL_PRODUCT,
    choice,
    multipliers,
    registers_of_delay,
    state_bits,
)
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters

CHAIN = 4  # lanes whose operands DSPs and a register can delay, and products that a field holds


@dataclass(frozen=True, slots=True)
class _Share:
    """Products that share DSPs, `many` times in a lane: how many, and the bits of operands and sums."""

    fields: int
    many: int
    x_bits: int
    y_bits: int
    sum_bits: int


@dataclass(frozen=True, kw_only=True)
class Engine(ModuleParameters):
    """An engine whose filters share activations; it keeps the sums of its bundles apart.

    Attributes:
        positions: M pairs of a round, of each filter and bundle.
        multipliers: N multipliers of each filter and bundle.
        filters: filters side by side, with the same activations.
        bundles: engines side by side, with their own activations and weights.
        rounds: filter blocks that meet a window.
        passes: windows until weights repeat.
        data_bits, weight_bits: bits of activations and weights, both signed.
        products: products that share a DSP.
    """

    positions: int
    multipliers: int
    filters: int
    bundles: int
    rounds: int
    passes: int
    data_bits: int
    weight_bits: int
    products: int
    samples: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"filters": filters, "bundles": bundles, "rounds": rounds, "passes": passes}
        for filters, bundles, rounds, passes in (
            (2, 1, 1, 1), (3, 1, 1, 1), (4, 1, 1, 1), (2, 2, 1, 1), (2, 1, 2, 1), (2, 1, 1, 2), (2, 1, 3, 2),
            (5, 3, 5, 7),
        )
    )  # fmt: skip

    def least(self, parameter: str) -> int:
        return 0 if parameter == "IN_DSP" else 4 if parameter in ("DATA_BITS", "WEIGHT_BITS") else 1

    def check(self) -> None:
        if self.multipliers > self.positions:
            raise self.refused("MULTIPLIERS", f"it must be at most POSITIONS={self.positions}")
        for parameter in ("DATA_BITS", "WEIGHT_BITS"):
            most = 16 // self.products
            if self.parameters[parameter] > most:
                raise self.refused(parameter, f"it must be at most {most} with PRODUCTS={self.products}")
        if self.products > 1 and self.filters == 1:
            raise self.refused("PRODUCTS", "it must be 1 where FILTERS is")

    @property
    def steps(self) -> int:
        """The most cycles that a round takes, S = ⌈M/N⌉."""
        return dense_rounds(self.positions, self.multipliers)

    @property
    def sum_bits(self) -> int:
        """Bits of a sum."""
        return self.data_bits + self.weight_bits + (self.positions - 1).bit_length()

    @property
    def side_columns(self) -> int:
        """Output columns side by side."""
        return 1

    @property
    def chains(self) -> int:
        """Chains of DSPs into which the lanes of a filter are cut."""
        return int(ceil_div(self.multipliers, CHAIN)) if self.products > 1 and not self.accumulates else 1

    @property
    def longest(self) -> int:
        """Lanes of the longest chain."""
        return int(ceil_div(self.multipliers, self.chains))

    @property
    def accumulates(self) -> bool:
        """Whether DSPs add up the steps of a round, each its own."""
        return False

    @property
    def latency(self) -> int:
        """From a window's last step, in which it is read, to its last sums; the cycle of reading is the 1."""
        adders = 1 if self.steps > 1 and not self.accumulates else 0
        skew = self.steps if self.accumulates else 1
        return 4 + (self.longest - 1) * skew + (self.chains - 1).bit_length() + adders

    @property
    def _skews(self) -> list[int]:
        """The cycles by which each lane works later than the first, by its place in its chain."""
        ends = [self.multipliers * chain // self.chains for chain in range(self.chains + 1)]
        places = [range(self.longest - end + start, self.longest) for start, end in pairwise(ends)]
        return [place * (self.steps if self.accumulates else 1) for chain in places for place in chain]

    @property
    def _shifted(self) -> list[int]:
        """Of these cycles, those that the shift registers of Xilinx devices may hold."""
        return self._skews

    @property
    def _field(self) -> int:
        """Bits of a field of a shared DSP."""
        if not self.accumulates:
            return self.data_bits + self.weight_bits + 1
        return (24 - self.data_bits) // 2 if self.products == 4 else 25 - self.weight_bits

    @property
    def _shares(self) -> list[_Share]:
        """What shares the DSPs of a lane: the pairs of columns and filters, and those that stay alone."""
        pairs = 1 + (self.products == 4), 1 + (self.products > 1)
        counts = [
            [(pair, side // pair), (1, side % pair)]
            for pair, side in zip(pairs, (self.side_columns, self.filters), strict=True)
        ]
        return [
            _Share(
                fields=columns * filters, many=many * times,
                x_bits=2 * self._field + self.data_bits + 1 if columns == 2 else self.data_bits,
                y_bits=(filters - 1) * self._field + self.weight_bits,
                sum_bits=self.sum_bits if columns * filters == 1 else columns * filters * self._field,
            )
            for columns, many in counts[0] for filters, times in counts[1] if many * times
        ]  # fmt: skip

    def dsps(self, family: Family) -> int:
        """The DSPs. Packing saves some on ECP5 only if both operands fit a multiplier: `data` + 2·`weight` ≤ 18."""
        if family == "ecp5":
            each = sum(s.many * multipliers(s.x_bits) * multipliers(s.y_bits) for s in self._shares)
        else:
            each = sum(s.many for s in self._shares if s.x_bits + s.y_bits > SMALL_PRODUCT)
        return each * self.bundles * self.multipliers

    @property
    def row_bits(self) -> int:
        """Bits of the number of a row of weights."""
        return state_bits(self.passes * self.rounds * self.steps)

    @property
    def factors(self) -> tuple[int, ...]:
        """Filters that share DSPs are pairs; the odd one stays alone."""
        odd = self.filters % 2
        return 1, self.bundles, self.bundles * self.filters, self.bundles * odd, self.row_bits, self.counter_bits

    @property
    @abstractmethod
    def counter_bits(self) -> int:
        """Bits of the counters of rows, steps and rounds."""

    @property
    def _sums(self) -> int:
        return self.side_columns * self.bundles * self.filters

    @property
    def _accumulators(self) -> int:
        """Bits of the accumulators that are not in DSPs."""
        return self._sums * self.sum_bits if self.steps > 1 and not self.accumulates else 0

    @property
    def _operands(self) -> int:
        """Bits of the activations of a lane, of all columns and bundles."""
        return self.side_columns * self.bundles * self.data_bits

    def _choices(self, lane: int) -> int:
        """What the multiplexer of a lane chooses from."""
        places = len(range(lane, self.positions, self.multipliers))
        return places if places & places - 1 == 0 else self.steps

    def lut_terms(self, family: Family) -> dict[str, float]:
        lanes = self.bundles * self.multipliers
        places = [self._choices(lane) for lane in range(self.multipliers)]
        values = self._operands
        node = min(self._field + (self.chains - 1).bit_length(), self.sum_bits)
        fields = self.bundles * sum((share.fields - 1) * share.many for share in self._shares)
        terms: dict[str, float] = {
            "datapath": self._accumulators
            + self._sums * node * (self.chains - 1)
            + values * sum(choice(place, family) + (place == 8) / 2 for place in places),  # of 8, Yosys takes 3 or 4
            "counters": self.counter_bits,
            "fixed": 1,
        }
        if family == "ecp5":
            chains = lanes * sum(share.sum_bits * share.many for share in self._shares)
            return terms | {"chains": chains, "chosen sums": chains if self.accumulates else 0}
        late = [cycles for cycles in self._shifted if cycles > 2]
        small = sum(share.many for share in self._shares if share.x_bits + share.y_bits <= SMALL_PRODUCT)
        return terms | {
            "inverted signs": 0 if self._accumulators or self.chains > 1 else fields,
            "delays": values * sum(int(ceil_div(cycles, 32)) for cycles in late),
            "packed columns": values * self.multipliers if self.products == 4 else 0,
            "small products": lanes * small * (self.data_bits * self.weight_bits + self.sum_bits),
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        lanes = self.bundles * self.multipliers
        node = min(self._field + (self.chains - 1).bit_length(), self.sum_bits)
        levels = range(1, (self.chains - 1).bit_length() + 1)
        ahead = [0 if self.accumulates else skew % CHAIN for skew in self._skews]
        weights = self.bundles * self.filters * self.weight_bits
        # the highest bits of a lone product are its sign, which synthesis keeps once in about half of the cases
        lone = self._accumulators and self.multipliers == self.products == 1
        alone = self._sums * state_bits(self.positions) / 2 if lone else 0
        trees = self._sums * node * sum(int(ceil_div(self.chains, 1 << level)) for level in levels)
        terms: dict[str, float] = {
            "datapath": 2 * self._accumulators - alone + trees,
            "control": self.latency + self.counter_bits,
            "fixed": 1,
        }
        if family == "ecp5":
            products = sum((share.x_bits + share.y_bits) * share.many for share in self._shares)
            chains = sum(share.sum_bits * share.many for share in self._shares)
            waits = sum(one + 1 for one in ahead)
            delays = self._operands * sum(skew + 2 for skew in self._skews) + weights * waits
            return terms | {"products": lanes * products, "chains": lanes * chains, "delays": delays}
        few = sum(registers_of_delay(cycles) for cycles in self._shifted)
        terms["datapath"] += self._operands * few + weights * sum(max(wait - 1, 0) for wait in ahead)
        small = sum(share.many for share in self._shares if share.x_bits + share.y_bits <= SMALL_PRODUCT)
        return terms | {
            "small products": lanes * small * (self.data_bits + self.weight_bits + self.sum_bits),
        }
