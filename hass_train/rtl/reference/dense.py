"""Engines that multiply all pairs of a window, or those whose activation is not zero."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.engine_rounds import lane_rounds
from hass_train.hardware.dataflow.costs.modules import activation, shared_activations
from hass_train.hardware.dataflow.costs.modules import dense as costs
from hass_train.hardware.dataflow.costs.modules.memories import SMALL_PRODUCT
from hass_train.rtl.module import Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range
from hass_train.runtime.errors import UserError

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
class _Engine(shared_activations.Engine, Module):
    """What the engines of this file have in common; each keeps the sums of its bundles apart."""

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
class DenseEngine(costs.DenseEngine, _Engine):
    """All pairs of a window: ⌈M/N⌉ cycles a round."""

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
        return replace(trial, in_dsp=int(rng.integers(2)) if fits else 0)

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        columns = int(rng.choice([1, 1, 2]))
        common = _typical(rng, _MULTIPLIERS // columns, [1, 2, 4] if columns > 1 else [1, 2])
        in_dsp = int(common["products"] == 1 and common["data_bits"] + common["weight_bits"] > SMALL_PRODUCT)
        return cls(**common, columns=columns, in_dsp=in_dsp * int(rng.integers(2)))


@dataclass(frozen=True, kw_only=True)
class ActivationEngine(activation.ActivationEngine, _Engine):
    """The pairs of a window whose activation is not zero: as many cycles a round as the fullest lane has."""

    @property
    def ports(self) -> int:
        return self.bundles * self.multipliers

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        """The cycles of all windows."""
        windows = self._windows(words)[:, 0]
        return int(lane_rounds(windows != 0, self.multipliers).sum()) * self.rounds

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
