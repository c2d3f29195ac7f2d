"""Modules that add up what parallel engines and successive passes give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.dataflow.costs.modules.memories import lutram, state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters


@dataclass(frozen=True, kw_only=True)
class AdderTree(ModuleParameters):
    """The sum of `addends` signed values of every stream; in a word the stream runs fastest, then the addend."""

    name: ClassVar[str] = "adder_tree"
    addends: int
    streams: int
    in_bits: int

    @property
    def latency(self) -> int:
        """Levels of the tree, a cycle each."""
        return (self.addends - 1).bit_length()

    def _levels(self) -> list[tuple[int, int]]:
        """The values that every level takes, of every stream, and the bits of those that it gives."""
        return [(-(-self.addends >> level), self.in_bits + level + 1) for level in range(self.latency)]

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {"adders": self.streams * sum(values // 2 * bits for values, bits in self._levels()), "fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        registers = self.streams * sum(-(-values // 2) * bits for values, bits in self._levels())
        return {"sums": registers, "valid": self.latency}


@dataclass(frozen=True, kw_only=True)
class Accumulator(ModuleParameters):
    """Sums over passes, with a bias; words come by group, pass, round, the round fastest."""

    name: ClassVar[str] = "accumulator"
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
        stored = self.streams * self.out_bits if self.rounds > 1 and self.passes > 1 else 0
        return {
            "adders": self.streams * self.out_bits,
            "partial sums": lutram(stored, self.rounds, family),
            "counters": state_bits(self.passes) + state_bits(self.rounds) + state_bits(self.groups * self.rounds),
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        counters = state_bits(self.passes) + state_bits(self.rounds) + state_bits(self.groups * self.rounds)
        return {"sums": self.streams * self.out_bits, "counters": counters, "fixed": 2}
