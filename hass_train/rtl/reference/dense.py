"""Engines that multiply all pairs of a window, or those whose activation is not zero."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds, lane_rounds
from hass_train.rtl.module import Family, Module, Words
from hass_train.rtl.reference.memories import choice, registers_of_delay, state_bits
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range
from hass_train.runtime.errors import UserError

_CHAIN = 4  # lanes whose operands DSPs and a register can delay, and products that a field holds
_SMALL_PRODUCT = 8  # bits of a product for which Yosys takes no DSP of a Xilinx device
_MULTIPLIERS = 64  # the most that `typical` engines have, for syntheses of a few seconds


def packed_weights(weights: Ints, bits: int) -> Ints:
    """Weights as engines with more than one product a DSP read them.

    Args:
        weights: (…, filters) weights.
        bits: of a weight; none may be the smallest of them: −127 … 127 for 8.

    Returns:
        (…, filters) weights, where an odd filter's is less by one if that of the even filter before it is negative:
        beside each other they are then the bits of w1·2^field + w0.

    Raises:
        UserError: a weight is out of range.
    """
    _, high = signed_range(bits)
    if np.abs(weights).max(initial=0) > high:
        raise UserError(f"packed weights must be within ±{high}, and these are {weights.min()} … {weights.max()}")
    packed = np.array(weights)
    pairs = packed.shape[-1] // 2
    packed[..., 1::2] -= packed[..., : 2 * pairs : 2] < 0
    return packed


def unpacked_weights(packed: Ints) -> Ints:
    """The weights that `packed_weights` packed."""
    weights = np.array(packed)
    pairs = weights.shape[-1] // 2
    weights[..., 1::2] += weights[..., : 2 * pairs : 2] < 0
    return weights


def packing_errors(data_bits: int, weight_bits: int, products: int) -> int:
    """How many of all operands two or four products in a DSP would get wrong, tried one by one: 0.

    Tries the arithmetic of `dot_products.sv`: packed operands, fields that start at half their range, and what is read
    out of them. Sums of four products stay inside a field of data_bits + weight_bits + 1 bits, so they are exact too.

    Args:
        data_bits, weight_bits: bits of the operands; 4 for four products.
        products: 2 = two weights × one activation, 4 = two weights × two activations.
    """
    field = data_bits + weight_bits + 1
    low, high = signed_range(data_bits)
    weights, data = np.arange(1 - (1 << weight_bits - 1), 1 << weight_bits - 1), np.arange(low, high + 1)
    w0, w1, a0, a1 = np.ix_(weights, weights, data, data if products == 4 else np.zeros(1, np.int64))
    operands = (w1 << field) + w0, (a1 << 2 * field) + a0
    half = sum(1 << (field * place + field - 1) for place in range(products - 1))
    total = operands[0] * operands[1] + half
    wrong = np.zeros(total.shape, np.bool_)
    for place, product in enumerate((w0 * a0, w1 * a0, w0 * a1, w1 * a1)[:products]):
        raw = total >> field * place
        # below the top field the highest bit is inverted, and the bits above it belong to the next field
        read = (raw & (1 << field) - 1) - (1 << field - 1) if place < products - 1 else raw
        wrong |= read != product
    return int(wrong.sum())


@dataclass(frozen=True, slots=True)
class _Share:
    """Products that share DSPs, `many` times in a lane: how many, and the bits of operands and sums."""

    fields: int
    many: int
    x_bits: int
    y_bits: int
    sum_bits: int


def _typical(rng: np.random.Generator, multipliers: int, products: list[int]) -> dict[str, int]:
    """Parameters that all engines have, of at most some multipliers."""
    positions = int(rng.choice([9, 9, 16, 25, 32, 49]))
    each = int(rng.choice([n for n in (1, 2, 3, 4, 5, 6, 8, 9, 12, 16) if n <= positions]))
    bundles = int(rng.choice([b for b in (1, 1, 2, 4, 8) if b * each <= multipliers]))
    filters = int(rng.choice([f for f in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if f * bundles * each <= multipliers]))
    shared = int(rng.choice(products)) if filters > 1 else 1
    bits = {1: [4, 5, 8, 8, 8, 16], 2: [4, 6, 8, 8, 8], 4: [4]}[shared]
    return {
        "positions": positions, "multipliers": each, "filters": filters, "bundles": bundles,
        "rounds": int(rng.choice([1, 2, 4, 8, 12, 64])), "passes": int(rng.choice([1, 2, 6, 16, 128])),
        "data_bits": int(rng.choice(bits)), "weight_bits": int(rng.choice(bits)), "products": shared,
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Engine(Module):
    """What the engines of this file have in common; each keeps the sums of its bundles apart.

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
        return int(dense_rounds(self.positions, self.multipliers))

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
        return int(ceil_div(self.multipliers, _CHAIN)) if self.products > 1 and not self.accumulates else 1

    @property
    def longest(self) -> int:
        """Lanes of the longest chain."""
        return int(ceil_div(self.multipliers, self.chains))

    @property
    def accumulates(self) -> bool:
        """Whether DSPs add up the steps of a round, each its own."""
        return False

    @property
    def by_step(self) -> bool:
        """Whether the rows of a step, not those of a round, stand together in the weights' memory."""
        return False

    @property
    def _order(self) -> tuple[int, int]:
        """The shape of the weights' rows: blocks and steps, or the other way round."""
        return (self.steps, -1) if self.by_step else (-1, self.steps)

    @property
    @abstractmethod
    def ports(self) -> int:
        """Ports to the weights."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.side_columns * self.bundles * self.positions, self.data_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.side_columns * self.bundles * self.filters, self.sum_bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        windows = self._windows(words)
        rows = memories["weight"].rows.reshape(*self._order, self.bundles, self.multipliers, self.filters)
        rows = np.moveaxis(rows, 0 if self.by_step else 1, 2)  # blocks, bundles, steps, multipliers, filters
        rows = unpacked_weights(rows) if self.products > 1 else rows
        weights = rows.reshape(self.passes, self.rounds, self.bundles, -1, self.filters)
        weights = weights[np.arange(len(windows)) % self.passes, ..., : self.positions, :]
        sums = np.einsum("wcbm,wrbmf->wrcbf", windows, weights)
        return {"out": sums.reshape(len(windows) * self.rounds, -1)}

    def _windows(self, words: Words) -> Ints:
        """The (windows, columns, bundles, positions) activations."""
        return np.reshape(words["in"], (-1, self.side_columns, self.bundles, self.positions))

    @property
    def latency(self) -> int:
        """From a window's last step, in which it is read, to its last sums; the cycle of reading is the 1."""
        adders = 1 if self.steps > 1 and not self.accumulates else 0
        skew = self.steps if self.accumulates else 1
        return 3 + (self.longest - 1) * skew + (self.chains - 1).bit_length() + adders

    # ---- what it costs -------------------------------------------------------------------------------------------

    @property
    def _skews(self) -> list[int]:
        """The cycles by which each lane works later than the first, by its place in its chain."""
        ends = [self.multipliers * chain // self.chains for chain in range(self.chains + 1)]
        places = [range(self.longest - end + start, self.longest) for start, end in pairwise(ends)]
        return [place * (self.steps if self.accumulates else 1) for chain in places for place in chain]

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
        """The DSPs. Packing saves some on ECP5 only if both operands fit 18 bits: that is, `data` + 2·`weight` ≤ 17."""
        if family == "ecp5":
            each = sum(s.many * int(ceil_div(s.x_bits, 18) * ceil_div(s.y_bits, 18)) for s in self._shares)
        else:
            each = sum(s.many for s in self._shares if s.x_bits + s.y_bits > _SMALL_PRODUCT)
        return each * self.bundles * self.multipliers

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
        late = [skew - 1 for skew in self._skews if skew > 3]
        small = sum(share.many for share in self._shares if share.x_bits + share.y_bits <= _SMALL_PRODUCT)
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
        ahead = [0 if self.accumulates else skew % _CHAIN for skew in self._skews]
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
            delays = self._operands * sum(skew + 1 for skew in self._skews) + weights * sum(ahead)
            return terms | {"products": lanes * products, "chains": lanes * chains, "delays": delays}
        few = sum(registers_of_delay(max(skew - 1, 0)) for skew in self._skews)
        terms["datapath"] += self._operands * few + weights * sum(wait == 3 for wait in ahead)
        small = sum(share.many for share in self._shares if share.x_bits + share.y_bits <= _SMALL_PRODUCT)
        return terms | {
            "small products": lanes * small * (self.data_bits + self.weight_bits + self.sum_bits),
        }

    # ---- how it is tried -----------------------------------------------------------------------------------------

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        shape = (int(ceil_div(words, self.rounds)), self.inputs["in"].values)
        low, high = signed_range(self.data_bits)
        values = rng.integers(low, high, shape, endpoint=True)
        extreme = rng.integers(2, size=shape[0]) * rng.integers(2, size=shape[0])
        values = np.where((extreme > 0)[:, None], np.where(rng.random(shape) < 0.8, low, high), values)
        density = rng.choice([0.0, 0.3, 0.7, 1.0], size=(shape[0], 1))
        return {"in": np.where(rng.random(shape) < density, values, 0)}

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        """The weights: rows by pass, round and step, or by step, pass and round if `by_step`.

        In each there are (bundles, multipliers, filters) weights, filters fastest. None of them is the smallest of its
        bits, as symmetric quantisation has it, and packing needs it. Steps that are no position of a lane have zeros.
        """
        _, high = signed_range(self.weight_bits)
        shape = (self.passes * self.rounds * self.steps, self.bundles * self.multipliers, self.filters)
        weights = rng.integers(-high, high, shape, endpoint=True)
        weights = np.where(rng.integers(2, size=shape[2:]), weights, rng.choice([-high, high], size=shape))
        order = weights.reshape(*self._order, self.bundles, self.multipliers, self.filters)
        last = order[-1] if self.by_step else order[:, -1]
        last[..., self.multipliers - (self.steps * self.multipliers - self.positions) :, :] = 0
        rows = (packed_weights(weights, self.weight_bits) if self.products > 1 else weights).reshape(shape[0], -1)
        return {"weight": Memory(Stream(rows.shape[1], self.weight_bits), self.ports, rows)}


@dataclass(frozen=True, kw_only=True)
class DenseEngine(_Engine):
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
    def side_columns(self) -> int:
        return self.columns

    @property
    def capacity(self) -> int:
        """The products that a field of a shared DSP sums up, if DSPs accumulate."""
        field = (24 - self.data_bits) // 2 if self.products == 4 else 25 - self.weight_bits
        return ((1 << field - 1) - 1) // ((1 << self.data_bits - 1) * ((1 << self.weight_bits - 1) - 1))

    @property
    def accumulates(self) -> bool:
        return bool(self.in_dsp)

    @property
    def ports(self) -> int:
        if self.accumulates:
            return self.multipliers
        return 1 if self.chains > 1 else int(ceil_div(self.multipliers, _CHAIN))

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        """The cycles of all windows."""
        return len(words["in"]) * self.rounds * self.steps

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        positions = int(rng.choice([1, 2, 4, 5, 9, 16, 25]))
        multipliers = int(rng.integers(1, min(positions, 9) + 1))
        products = int(rng.choice([1, 2, 4]))
        bits = 16 // products
        data_bits, weight_bits = (int(b) for b in rng.integers(4, bits + 1, 2))
        if products > 1 and rng.integers(2):
            data_bits = weight_bits = bits
        trial = cls(
            positions=positions, multipliers=multipliers, filters=int(rng.integers(1 + (products > 1), 6)),
            bundles=int(rng.choice([1, 1, 2, 3])), columns=int(rng.integers(1 + (products == 4), 5)),
            rounds=int(rng.choice([1, 2, 3, 4, 7])), passes=int(rng.choice([1, 2, 3, 4])), data_bits=data_bits,
            weight_bits=weight_bits, products=products, in_dsp=0,
        )  # fmt: skip
        fits = products == 1 or positions <= trial.capacity
        return cls(**{**vars(trial), "in_dsp": int(rng.integers(2)) if fits else 0})

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        columns = int(rng.choice([1, 1, 2]))
        common = _typical(rng, _MULTIPLIERS // columns, [1, 2, 4] if columns > 1 else [1, 2])
        in_dsp = int(common["products"] == 1 and common["data_bits"] + common["weight_bits"] > _SMALL_PRODUCT)
        return cls(**common, columns=columns, in_dsp=in_dsp * int(rng.integers(2)))

    @property
    def _late_rows(self) -> tuple[int, int]:
        """Bits of the addresses that ports get later than the first, and the cycles from port to port."""
        bits = state_bits(self.passes * self.rounds * self.steps)
        return bits * (self.ports - 1), self.steps if self.accumulates else _CHAIN

    def lut_terms(self, family: Family) -> dict[str, float]:
        bits, cycles = self._late_rows
        flags = self.multipliers if self.accumulates else 0
        shifted = bits * int(ceil_div(cycles, 32)) if cycles > 2 else 0
        return super().lut_terms(family) | ({"late rows": shifted + flags} if family == "xc7" else {})

    @property
    def counter_bits(self) -> int:
        """Those of `row_counter`: rows, and steps and rounds where they are not bits of the row."""
        rows, inner = self.passes * self.rounds * self.steps, self.rounds * self.steps
        separate = [count for count, within in ((self.steps, self.steps), (self.rounds, inner))
                    if count > 1 and within != rows and within & within - 1]  # fmt: skip
        return state_bits(rows) + sum(map(state_bits, separate))

    def ff_terms(self, family: Family) -> dict[str, float]:
        bits, cycles = self._late_rows
        terms = super().ff_terms(family)
        terms["datapath"] += bits * (cycles if family == "ecp5" else registers_of_delay(cycles))
        if self.accumulates and cycles < 3:  # too short for shift registers are the flags of the lanes, too
            terms["datapath"] += (self.multipliers - 1) * cycles
        return terms


@dataclass(frozen=True, kw_only=True)
class ActivationEngine(_Engine):
    """The pairs of a window whose activation is not zero: as many cycles a round as the fullest lane has."""

    name: ClassVar[str] = "activation_engine"

    def check(self) -> None:
        if self.products not in (1, 2):
            raise self.refused("PRODUCTS", "it must be 1 or 2")
        super().check()

    @property
    def by_step(self) -> bool:
        blocks = self.passes * self.rounds
        return self.steps & self.steps - 1 != 0 and blocks & blocks - 1 == 0

    @property
    def ports(self) -> int:
        return self.bundles * self.multipliers

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        """The cycles of all windows."""
        windows = self._windows(words)[:, 0]
        return int(lane_rounds(windows != 0, self.multipliers).sum()) * self.rounds

    @property
    def latency(self) -> int:
        """As of dense engines, and a cycle between picking an activation and the address of its weights."""
        return super().latency + 1

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        positions = int(rng.choice([1, 2, 4, 5, 9, 16, 25]))
        products = int(rng.choice([1, 1, 2]))
        data_bits, weight_bits = (int(b) for b in rng.integers(4, 16 // products + 1, 2))
        if rng.integers(2):
            data_bits = weight_bits = 16 // products
        return cls(
            positions=positions, multipliers=int(rng.integers(1, min(positions, 9) + 1)),
            filters=int(rng.integers(products, 6)), bundles=int(rng.choice([1, 1, 2, 3])),
            rounds=int(rng.choice([1, 2, 3, 4, 7])), passes=int(rng.choice([1, 2, 3, 4])), data_bits=data_bits,
            weight_bits=weight_bits, products=products,
        )  # fmt: skip

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(**_typical(rng, _MULTIPLIERS, [1, 2]))

    def lut_terms(self, family: Family) -> dict[str, float]:
        lanes, positions = self.bundles * self.multipliers, self.bundles * self.positions
        blocks = self.passes * self.rounds
        adds = blocks > 1 and self.steps & self.steps - 1 and not self.by_step
        bits = state_bits(blocks * self.steps)
        tests = ceil_div(self.data_bits, 5 if family == "xc7" else 3)
        groups = int(ceil_div(self.longest, _CHAIN))  # of lanes that read at the same time
        places = [len(range(lane, self.positions, self.multipliers)) for lane in range(self.multipliers)]
        return super().lut_terms(family) | {
            "zero tests": positions * int(tests) if self.steps > 1 else 0,
            "picks": positions if self.steps > 1 else 0,
            "places": self.bundles * sum(count * state_bits(count) for count in places),
            "row adders": lanes * bits if adds else 0,
            "late rows": bits * (groups - 1) + max(lanes - _CHAIN * self.bundles, 0) * (self.steps - 1).bit_length(),
        }

    @property
    def counter_bits(self) -> int:
        """Those of `round_counter`, and of the row beside what is picked."""
        blocks = self.passes * self.rounds
        return 2 * state_bits(blocks * self.steps) + state_bits(self.rounds)

    def ff_terms(self, family: Family) -> dict[str, float]:
        lanes = self.bundles * self.multipliers
        terms = super().ff_terms(family)
        if self.steps > 1:  # else the DSP's own register takes the value
            places = [len(range(lane, self.positions, self.multipliers)) for lane in range(self.multipliers)]
            state = self.bundles * sum(count - 1 + state_bits(count) for count in places)
            terms["datapath"] += lanes * self.data_bits * (family == "xc7") + state
        return terms
