"""Modules that add up what parallel engines and successive passes give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hass_train.hardware.dataflow.costs.modules.memories import lutram, state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters


@dataclass(frozen=True, kw_only=True)
class AdderTree(ModuleParameters):
    """The sum of `addends` signed values of every stream; in a word the stream runs fastest, then the addend."""

    name: ClassVar[str] = "adder_tree"
    vectorised: ClassVar[bool] = True
    addends: int
    streams: int
    in_bits: int

    @property
    def latency(self) -> int:
        """Levels of the tree, a cycle each."""
        return int(state_bits(self.addends))

    def _levels(self) -> list[tuple[Any, Any]]:
        """The values that every level takes, of every stream, none beyond the last, and the bits of those it gives."""
        deepest = int(np.max(state_bits(self.addends)))
        values = [-(-self.addends >> level) for level in range(deepest)]
        return [(count * (count > 1), self.in_bits + level + 1) for level, count in enumerate(values)]

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {"adders": self.streams * sum(values // 2 * bits for values, bits in self._levels()), "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        registers = self.streams * sum(-(-values // 2) * bits for values, bits in self._levels())
        return {"sums": registers, "valid": state_bits(self.addends)}


@dataclass(frozen=True, kw_only=True)
class Accumulator(ModuleParameters):
    """Sums over passes, with a bias; words come by group, pass, round, the round fastest."""

    name: ClassVar[str] = "accumulator"
    vectorised: ClassVar[bool] = True
    streams: int
    passes: int
    rounds: int
    groups: int
    in_bits: int
    bias_bits: int
    out_bits: int

    def check(self) -> None:
        for parameter in ("IN_BITS", "BIAS_BITS"):
            if self.parameters[parameter] > self.out_bits:
                raise self.refused(parameter, f"it must be at most OUT_BITS={self.out_bits}")

    def lut_terms(self, family: Family) -> dict[str, float]:
        stored = self.streams * self.out_bits * (self.rounds > 1) * (self.passes > 1)
        return {
            "adders": self.streams * self.out_bits,
            "partial sums": lutram(stored, self.rounds, family),
            "counters": state_bits(self.passes) + state_bits(self.rounds) + state_bits(self.groups * self.rounds),
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        counters = state_bits(self.passes) + state_bits(self.rounds) + state_bits(self.groups * self.rounds)
        return {"sums": self.streams * self.out_bits, "counters": counters, "fixed": 2}


@dataclass(frozen=True, kw_only=True)
class Align(ModuleParameters):
    """Sums moved to the left, each by a shift of its own, so that one division suits all of them.

    Attributes:
        streams: sums side by side.
        in_bits, out_bits: of a sum, before and after; signed.
        shift_bits: of a shift.
        rows: words until shifts repeat.
    """

    name: ClassVar[str] = "align"
    streams: int
    in_bits: int
    out_bits: int
    shift_bits: int
    rows: int

    def check(self) -> None:
        if self.out_bits < self.in_bits:
            raise self.refused("OUT_BITS", f"it must be at least IN_BITS={self.in_bits}")

    def lut_terms(self, family: Family) -> dict[str, float]:
        """See `ModuleParameters`: a LUT of six inputs chooses among four, and so does two steps of a shifter."""
        pairs, odd = divmod(self.shift_bits, 2)
        steps = pairs + odd if family == "xc7" else self.shift_bits
        return {"shifter": self.streams * self.out_bits * steps, "counter": state_bits(self.rows), "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"sums": self.streams * self.out_bits, "counter": state_bits(self.rows), "fixed": 2}
