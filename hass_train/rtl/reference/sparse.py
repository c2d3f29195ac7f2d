"""Compute engines that skip zeros of weights, or of pairs of weight and activation (hardware-model, section 2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.engine_rounds import Bools, lane_rounds, pooled_rounds
from hass_train.hardware.dataflow.costs.modules import pairs
from hass_train.hardware.dataflow.costs.modules import sparse as costs
from hass_train.hardware.dataflow.costs.modules.memories import address_bits
from hass_train.rtl.module import Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range
from hass_train.rtl.weights import (
    addressed_rows,
    integers_of,
    listed_rows,
    row_of,
    stepped,
    zero_rows,
)


@dataclass(frozen=True, kw_only=True)
class SparseEngine(costs.SparseEngine, Module):
    """What the three engines share: windows that stay for some rounds, and the sums of each round."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.side_by_side * self.positions, self.data_bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.side_by_side * self.filters, self.sum_bits)}

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


_LARGEST_CROSSBAR = 500
"""The inputs of all multiplexers of the largest crossbar that is characterised."""


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
class WeightEngine(costs.WeightEngine, SparseEngine):
    """Zero weights are neither stored nor multiplied; the schedule is in the memory (`listed_rows`)."""

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


@dataclass(frozen=True, kw_only=True)
class PairEngine(pairs.PairEngine, SparseEngine):
    """Lanes skip pairs in which the value or the weight is zero; weights are read by address, zero bits beside them."""

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


@dataclass(frozen=True, kw_only=True)
class CrossbarEngine(pairs.CrossbarEngine, PairEngine):
    """Multipliers take the first pairs without a zero, wherever in the window they are (HASS)."""

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        while True:  # larger ones take minutes to synthesise
            drawn = super().typical(rng)
            if drawn.positions * drawn.multipliers * drawn.filters * drawn.bundles <= _LARGEST_CROSSBAR:
                return drawn

    @property
    def places(self) -> int:
        return self.positions

    def _words(self, weights: Ints) -> Ints:
        return stepped(weights, 1)

    def cycles(self, words: Words, memories: Mapping[str, Memory]) -> Ints:
        return pooled_rounds(self._pairs(words, memories), self.multipliers)
