"""What engines whose filters share activations have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.costs.modules.lane_sums import least, over_numbers, over_sizes
from hass_train.hardware.dataflow.costs.modules.memories import (
    SMALL_PRODUCT,
    choice,
    multipliers,
    registers_of_delay,
    state_bits,
)
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters, Number

CHAIN = 4  # lanes whose operands DSPs and a register can delay, and products that a field holds


@dataclass(frozen=True, slots=True)
class _Share:
    """Products that share DSPs, `many` times in a lane, which may be 0: how many, and the bits of operands and sums."""

    fields: Number
    many: Number
    x_bits: Number
    y_bits: Number
    sum_bits: Number


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

    vectorised: ClassVar[bool] = True
    positions: int
    multipliers: int
    filters: int
    bundles: int
    rounds: int
    passes: int
    data_bits: int
    weight_bits: int
    products: int

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

    @cached_property
    def steps(self) -> Number:
        """The most cycles that a round takes, S = ⌈M/N⌉."""
        return dense_rounds(self.positions, self.multipliers)

    @cached_property
    def sum_bits(self) -> Number:
        """Bits of a sum."""
        return self.data_bits + self.weight_bits + state_bits(self.positions)

    @property
    def side_columns(self) -> Number:
        """Output columns side by side."""
        return 1

    @cached_property
    def chains(self) -> Number:
        """Chains of DSPs into which the lanes of a filter are cut, of which some may be a lane shorter."""
        cut = (self.products > 1) * (1 - self.accumulates)
        return 1 + (ceil_div(self.multipliers, CHAIN) - 1) * cut

    @cached_property
    def longest(self) -> Number:
        """Lanes of the longest chain."""
        return ceil_div(self.multipliers, self.chains)

    @property
    def accumulates(self) -> Number:
        """Whether DSPs add up the steps of a round, each its own: 0 or 1."""
        return 0

    @property
    def _skew(self) -> Number:
        """The cycles by which a lane works later than the one before it in its chain; the last ones end together."""
        return 1 + (self.steps - 1) * self.accumulates

    @property
    def latency(self) -> Number:
        """From a window's last step, in which it is read, to its last sums; the cycle of reading is the 1."""
        adders = (self.steps > 1) * (1 - self.accumulates)
        return 4 + (self.longest - 1) * self._skew + state_bits(self.chains) + adders

    def _over_lanes(self, counted: Callable[[Any], Any], sooner: Number = 0) -> Number:
        """The sum over the lanes of a filter of something, by the cycles that each works later than the first.

        Args:
            counted: of an array of cycles; 0 for none, as the first place has, which shorter chains lack.
            sooner: 1 where all lanes but the first count a cycle less, otherwise 0.
        """

        def of_place(kinds: Any, place: Any) -> Any:
            return counted(np.maximum(kinds // 2 * place - kinds % 2, 0))

        return self.chains * over_numbers(2 * self._skew + sooner, self.longest, of_place)

    @property
    def _sooner(self) -> Number:
        """Whether the shift registers of Xilinx devices hold a cycle less of every lane; see `_over_lanes`."""
        return 0

    @cached_property
    def _field(self) -> Number:
        """Bits of a field of a shared DSP."""
        four = self.products == 4
        of_sums = (24 - self.data_bits) // 2 * four + (25 - self.weight_bits) * (1 - four)
        alone = self.data_bits + self.weight_bits + 1
        return alone + (of_sums - alone) * self.accumulates

    @cached_property
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
                x_bits=self.data_bits + (2 * self._field + 1) * (columns == 2),
                y_bits=(filters - 1) * self._field + self.weight_bits,
                sum_bits=self.sum_bits + (columns * filters * self._field - self.sum_bits) * (columns * filters > 1),
            )
            for columns, many in counts[0] for filters, times in counts[1]
        ]  # fmt: skip

    @cached_property
    def _small(self) -> Number:
        """Products of a lane that are so narrow that Yosys makes them of a Xilinx device's LUTs."""
        return sum(share.many * (share.x_bits + share.y_bits <= SMALL_PRODUCT) for share in self._shares)

    def dsps(self, family: Family) -> Number:
        """The DSPs. Packing saves some on ECP5 only if both operands fit a multiplier: `data` + 2·`weight` ≤ 18."""
        if family == "ecp5":
            each = sum(s.many * multipliers(s.x_bits) * multipliers(s.y_bits) for s in self._shares)
        else:
            each = sum(s.many for s in self._shares) - self._small
        return each * self.bundles * self.multipliers

    @cached_property
    def row_bits(self) -> Number:
        """Bits of the number of a row of weights."""
        return state_bits(self.passes * self.rounds * self.steps)

    @property
    @abstractmethod
    def counter_bits(self) -> Number:
        """Bits of the counters of rows, steps and rounds."""

    @cached_property
    def _sums(self) -> Number:
        return self.side_columns * self.bundles * self.filters

    @cached_property
    def _accumulators(self) -> Number:
        """Bits of the accumulators that are not in DSPs."""
        return self._sums * self.sum_bits * (self.steps > 1) * (1 - self.accumulates)

    @property
    def _operands(self) -> Number:
        """Bits of the activations of a lane, of all columns and bundles."""
        return self.side_columns * self.bundles * self.data_bits

    @cached_property
    def _node(self) -> Number:
        """Bits of a sum of chains."""
        return least(self._field + state_bits(self.chains), self.sum_bits)

    def lut_terms(self, family: Family) -> dict[str, Number]:
        lanes, values, steps = self.bundles * self.multipliers, self._operands, self.steps

        def chosen(places: Any) -> Any:
            """The LUTs of what a lane chooses with; of 8, Yosys takes 3 or 4."""
            among = steps + (places - steps) * (places & places - 1 == 0)
            return choice(among, family) + (among == 8) / 2

        fields = self.bundles * sum((share.fields - 1) * share.many for share in self._shares)
        terms: dict[str, Number] = {
            "datapath": self._accumulators
            + self._sums * self._node * (self.chains - 1)
            + values * over_sizes(self.positions, self.multipliers, chosen),
            "counters": self.counter_bits,
            "fixed": 1,
        }
        if family == "ecp5":
            chains = lanes * sum(share.sum_bits * share.many for share in self._shares)
            return terms | {"chains": chains, "chosen sums": chains * self.accumulates}
        late = self._over_lanes(lambda cycles: ceil_div(cycles, 32) * (cycles > 2), self._sooner)
        return terms | {
            "inverted signs": fields * (self._accumulators == 0) * (self.chains == 1),
            "delays": values * late,
            "packed columns": values * self.multipliers * (self.products == 4),
            "small products": lanes * self._small * (self.data_bits * self.weight_bits + self.sum_bits),
        }

    def ff_terms(self, family: Family) -> dict[str, Number]:
        lanes, depth = self.bundles * self.multipliers, state_bits(self.chains)
        ahead = 1 - self.accumulates  # DSPs that accumulate get weights with their activations
        weights = self.bundles * self.filters * self.weight_bits
        # the highest bits of a lone product are its sign, which synthesis keeps once in about half of the cases
        lone = (self._accumulators > 0) & (self.multipliers == 1) & (self.products == 1)
        alone = self._sums * state_bits(self.positions) / 2 * lone
        nodes = sum(ceil_div(self.chains, 1 << level) * (level <= depth) for level in range(1, int(np.max(depth)) + 1))
        terms: dict[str, Number] = {
            "datapath": 2 * self._accumulators - alone + self._sums * self._node * nodes,
            "control": self.latency + self.counter_bits,
            "fixed": 1,
        }
        if family == "ecp5":
            products = sum((share.x_bits + share.y_bits) * share.many for share in self._shares)
            chains = sum(share.sum_bits * share.many for share in self._shares)
            waits = self.multipliers + ahead * self._over_lanes(lambda cycles: cycles % CHAIN)
            skews = self._over_lanes(lambda cycles: cycles) + 2 * self.multipliers
            delays = self._operands * skews + weights * waits
            return terms | {"products": lanes * products, "chains": lanes * chains, "delays": delays}
        few = self._over_lanes(registers_of_delay, self._sooner)
        waits = ahead * self._over_lanes(lambda cycles: np.maximum(cycles % CHAIN - 1, 0))
        terms["datapath"] = terms["datapath"] + self._operands * few + weights * waits
        small = self._small * (self.data_bits + self.weight_bits + self.sum_bits)
        return terms | {"small products": lanes * small}
