"""The engine that multiplies the pairs of a window whose activation is not zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.modules.lane_sums import over_sizes
from hass_train.hardware.dataflow.costs.modules.memories import state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family, Number
from hass_train.hardware.dataflow.costs.modules.shared_activations import CHAIN, Engine


@dataclass(frozen=True, kw_only=True)
class ActivationEngine(Engine):
    """The pairs of a window whose activation is not zero: as many cycles a round as the fullest lane has."""

    name: ClassVar[str] = "activation_engine"

    def check(self) -> None:
        if self.products not in (1, 2):
            raise self.refused("PRODUCTS", "it must be 1 or 2")
        super().check()

    @property
    def by_step(self) -> Number:
        """Whether the rows of a step, not those of a round, stand together: their number then takes no adder."""
        blocks = self.passes * self.rounds
        return (self.steps & self.steps - 1 != 0) & (blocks & blocks - 1 == 0)

    @property
    def adds_rows(self) -> Number:
        """Whether the number of a row is the sum of its step's and its round's."""
        return (self.steps & self.steps - 1 != 0) & (self.by_step == 0)

    @property
    def latency(self) -> Number:
        """As of dense engines, a cycle in which a window is loaded, and one between picking an activation and the
        address of its weights."""
        return super().latency + 2

    @property
    def _sooner(self) -> Number:
        """A lane that has nothing left gets zero by the reset of its first register, which shift registers lack."""
        return 1 * (self.steps > 1)

    def lut_terms(self, family: Family) -> dict[str, Number]:
        lanes, positions = self.bundles * self.multipliers, self.bundles * self.positions
        several = self.steps > 1
        groups = ceil_div(self.longest, CHAIN)  # of lanes that read at the same time
        places = over_sizes(self.positions, self.multipliers, lambda count: count * state_bits(count))
        beside = lanes - CHAIN * self.bundles
        return super().lut_terms(family) | {
            "zero tests": positions * ceil_div(self.data_bits, 5 if family == "xc7" else 3) * several,
            "picks": positions * several,
            "places": self.bundles * places,
            "row adders": lanes * self.row_bits * self.adds_rows,
            "late rows": self.row_bits * (groups - 1) + beside * (beside > 0) * state_bits(self.steps),
        }

    @property
    def counter_bits(self) -> Number:
        """Those of `round_counter`, of the row that is loaded, and of the one beside what is picked."""
        return 3 * self.row_bits + state_bits(self.rounds)

    def ff_terms(self, family: Family) -> dict[str, Number]:
        terms, several = super().ff_terms(family), self.steps > 1
        # the window, as it is loaded and beside what is picked
        held = 2 * self.bundles * self.positions * self.data_bits
        # of what is left: the bits, whether there are more and any, and the first one's place
        left = over_sizes(self.positions, self.multipliers, lambda count: count + 2 + state_bits(count))
        reset = self._operands * self._over_lanes(lambda cycles: 1 * (cycles > 0)) if family == "xc7" else 0
        terms["datapath"] = terms["datapath"] + held + (self.bundles * left + reset) * several
        return terms
