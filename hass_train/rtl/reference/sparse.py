"""Compute engines that skip the zeros of weights, or of pairs of a weight and an activation (engines, section 2)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.engine_rounds import Bools, lane_rounds, pooled_rounds
from hass_train.rtl.module import Family, Module, Words
from hass_train.rtl.reference.memories import choice
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range
from hass_train.rtl.weights import (
    address_bits,
    addressed_rows,
    integers_of,
    listed_rows,
    row_of,
    stepped,
    zero_rows,
)


@dataclass(frozen=True, kw_only=True)
class SparseEngine(Module):
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
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.side_by_side * self.positions, self.data_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.side_by_side * self.filters, self.sum_bits)}

    # ---- what it does --------------------------------------------------------------------------------------------

    @abstractmethod
    def weights_of(self, memories: Mapping[str, Memory]) -> Ints:
        """(rounds until they repeat, bundles, filters, positions) weights in the memories."""

    @abstractmethod
    def cycles(self, words: Words, memories: Mapping[str, Memory]) -> Ints:
        """(windows × ROUNDS,) cycles of each round."""

    def met(self, words: Words, memories: Mapping[str, Memory]) -> tuple[Ints, Ints]:
        """What meets in rounds: (windows, 1, columns, bundles, 1, positions) values, and weights to broadcast with."""
        values = words["in"].reshape(-1, 1, self.side_by_side // self.bundles, self.bundles, 1, self.positions)
        weights = self.weights_of(memories)
        order = np.arange(len(values) * self.rounds) % len(weights)
        return values, weights[order].reshape(-1, self.rounds, 1, self.bundles, self.filters, self.positions)

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        values, weights = self.met(words, memories)
        return {"out": (values * weights).sum(-1).reshape(-1, self.side_by_side * self.filters)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        return int(self.cycles(words, memories).sum())

    @property
    def cascades(self) -> tuple[int, int]:
        """How `dot_product` adds: cascades of DSPs, and lanes in each."""
        largest = 2 ** (self.data_bits - 1) * (2 ** (self.weight_bits - 1) - 1)
        longest = min(8, (2 ** (24 - self.data_bits) - 1) // largest) if self.packed else 8
        cascades = ceil_div(self.multipliers, longest)
        return cascades, ceil_div(self.multipliers, cascades)

    @property
    def latency(self) -> int:
        cascades, length = self.cascades
        alone = self.multipliers == 1 and not self.packed
        return 4 + self.late + self.loads + (0 if alone else ceil_div(length, 2)) + (cascades > 1)

    # ---- how it is tried -----------------------------------------------------------------------------------------

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        low, high = signed_range(self.data_bits)
        shape = (ceil_div(words, self.rounds), self.side_by_side * self.positions)
        values = rng.integers(low, high, shape, endpoint=True)
        values[rng.random(shape) < 0.1] = low  # the widest products
        return {"in": np.where(rng.random(shape) < _densities(rng, len(values)), values, 0)}

    def random_weights(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Ints:
        """Weights that are not zero."""
        low, high = signed_range(self.weight_bits)
        low += self.packed
        values = np.where(rng.random(shape) < 0.2, low, rng.integers(low, high, shape, endpoint=True))
        return np.where(values == 0, 1, values)

    # ---- what it costs -------------------------------------------------------------------------------------------

    @property
    def copies(self) -> int:
        """Sums that are made side by side."""
        return self.side_by_side * self.filters

    @property
    def dots(self) -> int:
        """Instances of `dot_product`."""
        columns = self.side_by_side // self.bundles
        return ceil_div(columns, 2 if self.packed else 1) * self.bundles * self.filters

    @property
    def in_luts(self) -> bool:
        """Whether products are so narrow that Yosys makes them of LUTs: of fewer than nine bits."""
        return not self.packed and self.data_bits + self.weight_bits < 9

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
        inside = 2 if family == "xc7" and not self.in_luts else 0
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

    @property
    def sums_in_luts(self) -> bool:
        """Whether sums are kept outside DSPs: one without neighbours keeps its own."""
        return self.multipliers > 1 or self.packed or self.in_luts

    @property
    def accumulates(self) -> bool:
        """Whether they are added up over the cycles of a round."""
        return self.sums_in_luts

    def _sum_luts(self, family: Family) -> dict[str, float]:
        """The LUTs of `dot_product`: a bit of an adder takes one, and so do three registers in a row and more."""
        cascades, _ = self.cascades
        sums = self.copies * self.sum_bits
        if family == "ecp5":
            return {"datapath": 0, "adders": sums * self.multipliers}
        adders = self.accumulates + (self.multipliers if self.in_luts else cascades) - 1
        shifted = sum(bits * engines for count, bits, engines in self._delays(family) if count > 2)
        return {
            "datapath": sums * adders + shifted,
            "products": self.dots * self.multipliers * self.data_bits * self.weight_bits * self.in_luts,
            "parities": self.dots * self.multipliers * self.packed,
        }

    def _sum_ffs(self, family: Family) -> dict[str, float]:
        """The flip-flops of `dot_product`, operands that wait and sums, and of the engine's control."""
        cascades, length = self.cascades
        in_fabric = family == "ecp5" or self.in_luts
        # DSPs have the registers of sums along a cascade, but not behind lanes that are none
        lanes = range(0 if in_fabric else self.multipliers, cascades * length if self.sums_in_luts else 0)
        passed = sum(lane % length % 2 == 1 or lane % length == length - 1 for lane in lanes)
        passed -= in_fabric and self.multipliers == 1
        passed -= 0 < len(lanes) < length and lanes[0] % length % 2  # the DSP before has the register
        products = self.dots * self.multipliers * (self.data_bits + self.weight_bits) * in_fabric
        waiting = sum(
            count * bits * engines for count, bits, engines in self._delays(family) if count < 3 or family == "ecp5"
        )
        return {
            "datapath": self.copies * self.sum_bits * (self.sums_in_luts + (cascades > 1) + passed)
            + waiting
            + products,
            "counters": address_bits(self.memory_rows) * (1 + self.late + self.loads) + (self.rounds - 1).bit_length(),
            "pipeline": self.latency,
            "fixed": 1,
        }

    @property
    @abstractmethod
    def memory_rows(self) -> int:
        """Rows of the memory that says what to do."""

    def dsps(self, family: Family) -> int:
        each = 2 if family == "ecp5" and self.packed else 1  # packed values have 25 bits, an ECP5's multiplier 18
        return 0 if self.in_luts else each * self.dots * self.multipliers


def _within_reach(choices: int, pick: int) -> int:
    """The choices of the pick behind `pick` others, as its place has constant bits: it is `pick` at least."""
    differing = ((choices - 1) ^ pick).bit_length()
    return choices - (pick >> differing << differing)


_LARGEST_CROSSBAR = 500
"""The inputs of all multiplexers of the largest crossbar that is characterised."""


def _encoder(choices: int, family: Family) -> int:
    """The LUTs of the place of a pick among some choices."""
    bits = address_bits(choices)
    return sum(choice(2**bit, family) for bit in range(bits)) if choices > 1 else 0


def _densities(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(count, 1) chances of a non-zero, which stay for some time; often all or none."""
    level = rng.choice([0.0, 0.1, 0.3, 0.5, 0.8, 1.0], ceil_div(count, 8))
    return np.repeat(level, 8)[:count, None]


def _sizes(rng: np.random.Generator, largest: int, multipliers: int) -> dict[str, int]:
    """Random sizes of an engine of at most some positions and multipliers."""
    positions = int(rng.choice([1, 2, 3, 4, 5, 7, 9, 12, 16, 17, 25, 32, 49, 64][:largest]))
    return {
        "positions": positions,
        **_side_by_side(rng, int(rng.integers(1, min(positions, multipliers) + 1)), multipliers),
    }


def _typical_sizes(rng: np.random.Generator, multipliers: int) -> dict[str, int]:
    """Sizes of an engine as networks have them, of at most some multipliers."""
    positions = int(rng.choice([4, 9, 9, 16, 16, 25, 32, 49]))
    lanes = int(rng.integers(1, min(positions, 16, multipliers) + 1))
    return {"positions": positions, **_side_by_side(rng, min(lanes, int(rng.integers(1, 17))), multipliers)}


def _side_by_side(rng: np.random.Generator, lanes: int, multipliers: int) -> dict[str, int]:
    """N of each filter, filters and bundles that have at most some multipliers together."""
    filters = int(rng.integers(1, min(16, multipliers // lanes) + 1))
    bundles = int(rng.integers(1, min(4, multipliers // (lanes * filters)) + 1))
    return {"multipliers": lanes, "filters": filters, "bundles": bundles}


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
    def side_by_side(self) -> int:
        return self.bundles * self.columns

    @property
    def packed(self) -> bool:
        return self.products == 2

    @property
    def choices(self) -> int:
        return self.steps if self.lanes else self.positions

    def _stored(self, memories: Mapping[str, Memory]) -> tuple[Ints, Ints]:
        """The (rows, bits) of the lists, and the (rounds,) numbers of rows."""
        rows = memories["weight"].rows
        ends = np.flatnonzero(rows[:, -1])
        return rows[:, :-1], np.diff(ends, prepend=-1)

    def weights_of(self, memories: Mapping[str, Memory]) -> Ints:
        rows, lengths = self._stored(memories)
        entries = rows.reshape(len(rows), self.bundles, self.filters, self.multipliers, -1)
        values = integers_of(entries[..., : self.weight_bits], self.weight_bits, signed=True)
        index = integers_of(entries[..., self.weight_bits :], address_bits(self.choices), signed=False)
        if self.lanes:
            index = index * self.multipliers + np.arange(self.multipliers)[:, None]
        number = np.repeat(np.arange(len(lengths)), lengths)
        row, bundle, filter_, _, _ = np.indices(values.shape)
        weights = np.zeros((len(lengths), self.bundles, self.filters, self.positions), np.int64)
        np.add.at(weights, (number[row], bundle, filter_, index), values)
        return weights

    def cycles(self, words: Words, memories: Mapping[str, Memory]) -> Ints:
        _, lengths = self._stored(memories)
        rounds = lane_rounds if self.lanes else pooled_rounds
        weights = self.weights_of(memories)
        cycles = rounds(weights.reshape(len(weights), -1, self.positions) != 0, self.multipliers)
        assert np.array_equal(cycles, lengths)
        return cycles[np.arange(len(words["in"]) * self.rounds) % len(cycles)]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        columns = int(rng.integers(1, 4))
        products = int(rng.integers(1, 3)) if columns > 1 else 1
        bits = 9 if products == 2 else 17
        sizes = _sizes(rng, 14, 24 // columns)
        rounds, windows = int(rng.choice([1, 1, 2, 3, 4, 5])), int(rng.integers(1, 12))
        spare = int(rng.integers(rounds)) if sizes["positions"] > sizes["multipliers"] else 0
        return cls(
            **sizes, columns=columns, rounds=rounds, rows=rounds * windows + spare, lanes=int(rng.integers(2)),
            products=products, data_bits=int(rng.integers(4, bits)), weight_bits=int(rng.integers(4, bits)),
        )  # fmt: skip

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        fewest = ceil_div(ceil_div(self.rows, self.steps), self.rounds)
        lengths = np.ones(self.rounds * int(rng.integers(fewest, self.rows // self.rounds + 1)), np.int64)
        favour = rng.random(len(lengths)) ** 4
        while lengths.sum() < self.rows:
            lengths[np.argmax(np.where(lengths < self.steps, favour * rng.random(len(lengths)), -1))] += 1
        weights = self._weights_lasting(rng, lengths)
        rows = listed_rows(weights, self.multipliers, self.weight_bits, lanes=bool(self.lanes), packed=self.packed)
        return {"weight": Memory(Stream(rows.shape[1], 1), 1, rows)}

    def _weights_lasting(self, rng: np.random.Generator, lengths: Ints) -> Ints:
        """(rounds, bundles, filters, positions) random weights whose rounds take so many cycles."""
        engines, lanes = self.bundles * self.filters, self.multipliers if self.lanes else 1
        most = -(-(self.positions - np.arange(lanes)) // lanes)
        cap = np.minimum(most, lengths[:, None, None] * (1 if self.lanes else self.multipliers))
        count = rng.integers(0, cap, (len(lengths), engines, lanes), endpoint=True)
        # an engine (its first lane, which has most positions) that needs them all; in a single row any does
        least = np.where(lengths > 1, (lengths - 1) * (1 if self.lanes else self.multipliers) + 1, 0)
        slowest = rng.integers(0, engines, len(lengths))
        count[np.arange(len(lengths)), slowest, 0] = rng.integers(least, cap[:, 0, 0], endpoint=True)
        steps = ceil_div(self.positions, lanes)
        places = np.arange(steps * lanes).reshape(steps, lanes)
        draw = rng.random((len(lengths), engines, steps, lanes)) + 2 * (places >= self.positions)
        kept = draw.argsort(2).argsort(2) < count[:, :, None]
        kept = kept.reshape(len(lengths), self.bundles, self.filters, -1)[..., : self.positions]
        return np.where(kept, self.random_weights(rng, kept.shape), 0)

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        columns = int(rng.choice([1, 1, 2, 4]))
        products = int(rng.integers(1, 3)) if columns > 1 else 1
        bits = rng.choice([4, 6, 8] if products == 2 else [4, 6, 8, 8, 12, 16], 2)
        rounds = int(rng.integers(1, 65))
        return cls(
            **_typical_sizes(rng, 32 // columns), columns=columns, rounds=rounds,
            rows=rounds * int(rng.integers(1, 4096 // rounds)), lanes=int(rng.integers(2)), products=products,
            data_bits=int(bits[0]), weight_bits=int(bits[1]),
        )  # fmt: skip

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
        return self._sum_ffs(family)


@dataclass(frozen=True, kw_only=True)
class PairEngine(SparseEngine):
    """Lanes skip pairs in which the value or the weight is zero; weights are read by address, zero bits beside them."""

    name: ClassVar[str] = "pair_engine"
    loads: ClassVar[int] = 1
    passes: int

    @property
    def places(self) -> int:
        """Rows of weights in a round."""
        return self.steps

    def _words(self, weights: Ints) -> Ints:
        """(rounds, places, words of a row) from (rounds, bundles, filters, positions)."""
        return stepped(weights, self.multipliers)

    def weights_of(self, memories: Mapping[str, Memory]) -> Ints:
        rows, _ = row_of(self.rounds * self.passes, self.places)
        words = memories["weight"].rows[rows]  # (rounds, places, words)
        lanes = words.shape[2] // (self.bundles * self.filters)
        each = words.reshape(len(words), self.places, self.bundles, self.filters, lanes).transpose(0, 2, 3, 1, 4)
        weights = each.reshape(len(words), self.bundles, self.filters, -1)[..., : self.positions]
        return np.where(memories["mask"].rows.reshape(weights.shape) != 0, 0, weights)

    def _pairs(self, words: Words, memories: Mapping[str, Memory]) -> Bools:
        """(windows × ROUNDS, engines, positions) whether a pair has no zero."""
        values, weights = self.met(words, memories)
        return ((values != 0) & (weights != 0)).reshape(-1, self.bundles * self.filters, self.positions)

    def cycles(self, words: Words, memories: Mapping[str, Memory]) -> Ints:
        return lane_rounds(self._pairs(words, memories), self.multipliers)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(
            **_sizes(rng, 14, 16), rounds=int(rng.choice([1, 1, 2, 3, 4, 5])),
            passes=int(rng.choice([1, 1, 2, 3, 4, 7])),
            data_bits=int(rng.integers(4, 17)), weight_bits=int(rng.integers(4, 17)),
        )  # fmt: skip

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        shape = (self.rounds * self.passes, self.bundles, self.filters, self.positions)
        density = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0], (*shape[:3], 1))
        weights = np.where(rng.random(shape) < density, self.random_weights(rng, shape), 0)
        rows = self._words(weights)
        ports = self.bundles * self.filters * self.multipliers
        return {
            "weight": Memory(Stream(rows.shape[2], self.weight_bits), ports, addressed_rows(rows)),
            "mask": Memory(Stream(weights[0].size, 1), 1, zero_rows(weights)),
        }

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        bits = rng.choice([4, 6, 8, 8, 12, 16], 2)
        return cls(
            **_typical_sizes(rng, 32), rounds=int(rng.integers(1, 65)), passes=int(rng.integers(1, 129)),
            data_bits=int(bits[0]), weight_bits=int(bits[1]),
        )  # fmt: skip

    @property
    def pickers(self) -> tuple[list[int], int]:
        """The places among which each picker of an engine picks, and how many it picks at once."""
        return [ceil_div(self.positions - lane, self.multipliers) for lane in range(self.multipliers)], 1

    def chosen_from(self, lane: int) -> int:
        return int(ceil_div(self.positions - lane, self.multipliers))

    @property
    def memory_rows(self) -> int:
        return self.rounds * self.passes

    @property
    def accumulates(self) -> bool:
        return super().accumulates and self.steps > 1

    def lut_terms(self, family: Family) -> dict[str, float]:
        places, picks = self.pickers
        inputs = 5 if family == "xc7" else 3
        terms = self._sum_luts(family)
        muxes = sum(choice(_within_reach(n, pick), family) for n in places for pick in range(picks))
        terms["multiplexers"] = self.copies * self.data_bits * muxes
        terms["datapath"] += self.bundles * self.positions * int(ceil_div(self.data_bits - 1, inputs))
        several = [n for n in places if n > 1]
        return terms | {
            "pairs": self.copies * sum(places),
            "trees": self.copies * sum(n * math.log2(n) for n in several),
            "ranks": self.copies * sum(max(n - pick - 1, 0) for n in several for pick in range(picks)),
            "places": self.copies * picks * sum(_encoder(n, family) for n in several),
            "lanes": self.copies * self.multipliers,
            "counters": address_bits(self.memory_rows) + address_bits(self.rounds),
            "fixed": 1,
        }

    def ff_terms(self, family: Family) -> dict[str, float]:
        places, picks = self.pickers
        terms = self._sum_ffs(family)
        terms["datapath"] += self.loads * (self.copies * sum(places) + self.bundles * self.positions * self.data_bits)
        if self.loads > 1:  # places are registered
            varying = sum(((self.positions - 1) ^ pick).bit_length() for pick in range(picks))
            terms["datapath"] += self.copies * varying
        delays = [wait + self.loads for wait in self.waits]  # three registers and more are one, and a LUT
        idle = sum(delay if delay < 3 or family == "ecp5" else 1 for delay in delays)
        terms["datapath"] += self.copies * idle
        return terms


@dataclass(frozen=True, kw_only=True)
class CrossbarEngine(PairEngine):
    """Multipliers take the first pairs without a zero, wherever in the window they are (HASS)."""

    name: ClassVar[str] = "crossbar_engine"
    loads: ClassVar[int] = 2

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        while True:  # larger ones take minutes to synthesise
            drawn = super().typical(rng)
            if drawn.positions * drawn.multipliers * drawn.filters * drawn.bundles <= _LARGEST_CROSSBAR:
                return drawn

    @property
    def choices(self) -> int:
        return self.positions

    @property
    def places(self) -> int:
        return self.positions

    @property
    def pickers(self) -> tuple[list[int], int]:
        return [self.positions], self.multipliers

    def chosen_from(self, lane: int) -> int:
        return self.positions

    def _words(self, weights: Ints) -> Ints:
        return stepped(weights, 1)

    def cycles(self, words: Words, memories: Mapping[str, Memory]) -> Ints:
        return pooled_rounds(self._pairs(words, memories), self.multipliers)
