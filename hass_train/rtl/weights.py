"""Weights as the rows of the memories beside compute engines: plain words, lists of non-zeros, and zero bits."""

from __future__ import annotations

import numpy as np

from hass_train.hardware.dataflow.costs.modules.memories import address_bits
from hass_train.rtl.streams import Ints, signed_range
from hass_train.runtime.errors import UserError


def bits_of(values: Ints, bits: int) -> Ints:
    """Integers as their two's-complement bits, the lowest first: (…, values) to (…, values × bits)."""
    shifted = values[..., None] >> np.arange(bits) & 1
    return np.reshape(shifted, (*values.shape[:-1], -1))


def integers_of(bits: Ints, width: int, *, signed: bool) -> Ints:
    """The inverse of `bits_of`: (…, values × width) to (…, values)."""
    each = np.reshape(bits, (*bits.shape[:-1], -1, width))
    scale = 1 << np.arange(width)
    if signed:
        scale[-1] *= -1
    return np.asarray(each @ scale, np.int64)


def listed_rows(weights: Ints, multipliers: int, weight_bits: int, *, lanes: bool, packed: bool = False) -> Ints:
    """The memory of `weight_engine`: the non-zero weights of every filter, a row for each cycle.

    Args:
        weights: (rounds, bundles, filters, positions).
        multipliers: N of each filter.
        weight_bits: of a weight.
        lanes: multiplier j holds the weights at the positions k with k mod N = j alone.
        packed: two products share a DSP, so that the smallest number is no weight.

    Returns:
        (rows, bits): for each multiplier (fastest), filter and bundle the weight and, above it, its place among the
        positions that the multiplier chooses from; then a bit that marks the last row of a round.

    Raises:
        UserError: a weight does not fit.
    """
    low, high = signed_range(weight_bits)
    if weights.min() < low + packed or weights.max() > high:
        range_ = f"{weights.min()} … {weights.max()}"
        raise UserError(f"weights must be within {low + packed} … {high}, and these are {range_}")
    positions = weights.shape[-1]
    index = address_bits(-(-positions // multipliers) if lanes else positions)
    rows = []
    for block in weights.reshape(len(weights), -1, positions):
        entries: list[list[list[tuple[int, int]]]] = []  # by engine, by multiplier, in order of time
        for engine in block:
            places = np.flatnonzero(engine)
            if lanes:
                held = [places[places % multipliers == lane] for lane in range(multipliers)]
                entries.append([[(int(engine[k]), int(k) // multipliers) for k in lane] for lane in held])
            else:
                held = [places[lane::multipliers] for lane in range(multipliers)]
                entries.append([[(int(engine[k]), int(k)) for k in lane] for lane in held])
        length = max(1, max(len(lane) for engine_lanes in entries for lane in engine_lanes))
        table = np.zeros((length, len(block), multipliers, 2), np.int64)
        for e, engine_lanes in enumerate(entries):
            for j, lane in enumerate(engine_lanes):
                table[: len(lane), e, j] = np.reshape(lane, (-1, 2))
        entry = np.concatenate([bits_of(table[..., :1], weight_bits), bits_of(table[..., 1:], index)], axis=-1)
        last = np.arange(length) == length - 1
        rows.append(np.concatenate([entry.reshape(length, -1), last[:, None]], axis=1))
    return np.concatenate(rows).astype(np.int64)


def row_of(rounds: int, steps: int) -> tuple[Ints, int]:
    """Where words that are read by address lie: (rounds, steps) rows, and the depth of the memory.

    A row's address puts the bits of the round and those of the step side by side, whichever order wastes fewer rows;
    so it takes no adder.
    """
    above = (rounds - 1) * (1 << address_bits(steps)) + steps  # the round in the high bits
    below = (steps - 1) * (1 << address_bits(rounds)) + rounds
    number, step = np.arange(rounds)[:, None], np.arange(steps)[None]
    if rounds == 1 or steps == 1:
        return number + step, rounds * steps
    if above <= below:
        return (number << address_bits(steps)) + step, above
    return (step << address_bits(rounds)) + number, below


def addressed_rows(weights: Ints) -> Ints:
    """The memory of an engine that reads its weights by round and step.

    Args:
        weights: (rounds, steps, words).

    Returns:
        (rows, words) as `row_of` places them; rows between are zero.
    """
    rows, depth = row_of(*weights.shape[:2])
    memory = np.zeros((depth, weights.shape[2]), np.int64)
    memory[rows] = weights
    return memory


def stepped(weights: Ints, multipliers: int) -> Ints:
    """Weights by lanes: (rounds, bundles, filters, positions) to (rounds, steps, bundles × filters × N).

    Lane j meets position s·N + j in step s; positions beyond the last one are zero.
    """
    rounds, bundles, filters, positions = weights.shape
    steps = -(-positions // multipliers)
    padded = np.pad(weights, ((0, 0), (0, 0), (0, 0), (0, steps * multipliers - positions)))
    each = padded.reshape(rounds, bundles * filters, steps, multipliers)
    return each.transpose(0, 2, 1, 3).reshape(rounds, steps, -1)


def zero_rows(weights: Ints) -> Ints:
    """The zero bits beside weights: (rounds, …, positions) to (rounds, bits), 1 where a weight is zero."""
    return np.asarray(weights.reshape(len(weights), -1) == 0, np.int64)
