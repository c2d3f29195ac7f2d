"""Packed products, the memories of weights and the cycles of rounds, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hass_train.hardware.dataflow.costs import engine_rounds, stream_cycles
from hass_train.hardware.dataflow.costs.initiation import initiation_intervals, multiplier_choices
from hass_train.hardware.dataflow.costs.modules.memories import address_bits
from hass_train.rtl.module import Module
from hass_train.rtl.reference.dense import DenseEngine, packed_weights, packing_errors, unpacked_weights
from hass_train.rtl.reference.sparse import WeightEngine
from hass_train.rtl.simulate import Case, play
from hass_train.rtl.streams import Memory, Stream
from hass_train.rtl.weights import bits_of, integers_of, listed_rows, row_of
from hass_train.runtime.errors import UserError
from tests.rtl.test_verify import simulated

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 12)))


# ---- two and four products in a DSP ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("data_bits", "weight_bits", "products"), [(8, 8, 2), (4, 8, 2), (4, 4, 2), (4, 4, 4)])
def test_packed_products_are_right_for_all_operands(data_bits: int, weight_bits: int, products: int) -> None:
    assert packing_errors(data_bits, weight_bits, products) == 0


def test_the_check_of_packing_sees_fields_that_are_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hass_train.rtl.reference.dense.signed_range", lambda bits: (-(1 << bits + 3), 1 << bits + 3))
    assert packing_errors(4, 4, 2) > 0


@given(arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 7)), elements=st.integers(-127, 127)))
def test_packed_weights_come_back(weights: np.ndarray) -> None:
    packed = packed_weights(weights, 8)
    np.testing.assert_array_equal(unpacked_weights(packed), weights)
    if weights.shape[1] >= 2:  # beside each other they are the bits of w1·2^k + w0, for any k they fit in
        whole = (weights[:, 1] << 17) + weights[:, 0]
        bits = (packed[:, 1] << 17) | (weights[:, 0] & (1 << 17) - 1)
        np.testing.assert_array_equal(bits, whole)


def single(kind: type[Module], **more: int) -> Module:
    """An engine of one multiplier for each product, of 8 bits, two to a DSP."""
    known = kind.__dataclass_fields__
    wanted = {"positions": 1, "multipliers": 1, "filters": 1, "bundles": 1, "columns": 1, "rounds": 1, "passes": 1,
              "data_bits": 8, "weight_bits": 8, "products": 2, "in_dsp": 0, "lanes": 0, **more}  # fmt: skip
    return kind(**{name: value for name, value in wanted.items() if name in known})


@simulated
def test_two_filters_share_a_dsp_for_all_pairs_of_weights() -> None:
    """Each of the 255² pairs of weights, against activations at the ends of their range and between."""
    pairs = np.array(list(itertools.product(range(-127, 128), repeat=2)), np.int64)
    module = single(DenseEngine, filters=2, passes=len(pairs))
    memory = Memory(Stream(2, 8), 1, packed_weights(pairs, 8))
    activations = np.repeat([-128, -1, 1, 93, 127], len(pairs))
    (outcome,) = play([Case(module, {"in": activations[:, None]}, {"weight": memory})])
    assert outcome.fault == ""
    assert outcome.words == 5 * len(pairs)


@simulated
def test_two_columns_share_a_dsp_for_all_pairs_of_activations() -> None:
    """Each of the 256² pairs of activations, against weights at the ends of their range and between."""
    weights = np.array([-127, -1, 1, 86, 127], np.int64)
    rows = listed_rows(weights.reshape(-1, 1, 1, 1), 1, 8, lanes=False, packed=True)
    module = single(WeightEngine, columns=2, rows=len(rows))
    pairs = np.array(list(itertools.product(range(-128, 128), repeat=2)), np.int64)
    windows = np.repeat(pairs, len(weights), axis=0)
    (outcome,) = play([Case(module, {"in": windows}, {"weight": Memory(Stream(rows.shape[1], 1), 1, rows)})])
    assert outcome.fault == ""
    assert outcome.words == 5 * len(pairs)


# ---- cycles ----------------------------------------------------------------------------------------------------------


@given(MASKS, st.data())
def test_rounds_last_as_long_as_multipliers_need_one_by_one(mask: np.ndarray, data: st.DataObject) -> None:
    multipliers = data.draw(st.integers(1, mask.shape[2]))
    pooled, lanes = [], []
    for window in mask:
        slowest_pooled = slowest_lane = 1
        for engine in window:
            left, cycles = int(engine.sum()), 0
            while left > 0:
                left, cycles = left - multipliers, cycles + 1
            slowest_pooled = max(slowest_pooled, cycles)
            for lane in range(multipliers):
                taken = sum(bool(engine[k]) for k in range(len(engine)) if k % multipliers == lane)
                slowest_lane = max(slowest_lane, taken)
        pooled.append(slowest_pooled)
        lanes.append(slowest_lane)
    assert engine_rounds.pooled_rounds(mask, multipliers).tolist() == pooled
    assert engine_rounds.lane_rounds(mask, multipliers).tolist() == lanes
    assert all(one <= engine_rounds.dense_rounds(mask.shape[2], multipliers) for one in lanes)


@given(st.integers(1, 20), st.integers(0, 1), st.data())
def test_the_model_expects_the_rounds_that_the_rtl_takes(pairs: int, least: int, data: st.DataObject) -> None:
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=pairs + 1, max_size=pairs + 1)))
    histogram = weights / weights.sum()
    expected = [
        float(engine_rounds.pooled_cycles(np.arange(pairs + 1), n, least) @ histogram)
        for n in multiplier_choices(pairs).tolist()
    ]
    np.testing.assert_allclose(initiation_intervals(histogram, least), expected)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_a_width_converter_moves_a_word_a_cycle(values: int, in_values: int, out_values: int) -> None:
    """Word by word: a cycle reads a word, or writes one, or both; a word is written once its values are there."""
    cycles = read = written = 0
    while written < values:
        cycles += 1
        read = min(read + in_values, values)
        if read >= min(written + out_values, values):
            written = min(written + out_values, values)
    assert cycles <= stream_cycles.repacking_cycles(values, in_values, out_values) <= cycles + 1


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_rows_of_a_map_begin_words(height: int, width: int, pixels: int, depth: int) -> None:
    words = {(row, column // pixels, part) for row in range(height) for column in range(width) for part in range(depth)}
    assert stream_cycles.map_words(height, width, pixels, depth) == len(words)


# ---- memories --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 9))
def test_rows_read_by_address_are_side_by_side(rounds: int, steps: int) -> None:
    rows, depth = row_of(rounds, steps)
    assert len(set(rows.ravel().tolist())) == rounds * steps
    assert rows.max() == depth - 1
    assert depth <= min(
        rounds * (1 << address_bits(steps)) if steps > 1 else rounds,
        steps * (1 << address_bits(rounds)) if rounds > 1 else steps,
    )


@given(arrays(np.int64, st.integers(1, 6), elements=st.integers(-8, 7)))
def test_integers_are_their_bits(values: np.ndarray) -> None:
    np.testing.assert_array_equal(integers_of(bits_of(values, 4), 4, signed=True), values)


@given(
    arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 7)),
           elements=st.integers(-7, 7)),
    st.booleans(), st.data(),
)  # fmt: skip
def test_lists_hold_the_non_zero_weights_alone(weights: np.ndarray, lanes: bool, data: st.DataObject) -> None:
    multipliers = data.draw(st.integers(1, weights.shape[3]))
    rows = listed_rows(weights, multipliers, 4, lanes=lanes, packed=False)
    counted = (engine_rounds.lane_rounds if lanes else engine_rounds.pooled_rounds)(
        weights.reshape(len(weights), -1, weights.shape[3]) != 0, multipliers
    )
    assert len(rows) == counted.sum()
    assert rows[:, -1].sum() == len(weights)
    module = single(
        WeightEngine, positions=weights.shape[3], multipliers=multipliers, filters=weights.shape[2],
        bundles=weights.shape[1], rows=len(rows), weight_bits=4, products=1, lanes=int(lanes),
        rounds=1 if multipliers < weights.shape[3] else len(weights),
    )  # fmt: skip
    assert isinstance(module, WeightEngine)
    memories = {"weight": Memory(Stream(rows.shape[1], 1), 1, rows)}
    np.testing.assert_array_equal(module.weights_of(memories), weights)


def test_the_smallest_weight_is_refused_where_products_are_packed() -> None:
    with pytest.raises(UserError, match=r"within -127 … 127, and these are -128"):
        listed_rows(np.full((1, 1, 1, 1), -128), 1, 8, lanes=False, packed=True)
    with pytest.raises(UserError, match=r"within ±127, and these are -128"):
        packed_weights(np.array([[-128, 1]]), 8)
