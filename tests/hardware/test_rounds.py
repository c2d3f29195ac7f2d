"""Rounds of engines that skip zero activations or zero weights, against brute force and against what the RTL takes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hass_train.hardware import LayerSparsity, Structure
from hass_train.hardware.dataflow.costs import lane_cycles as lanes_module
from hass_train.hardware.dataflow.costs.engine_rounds import lane_rounds, pooled_rounds
from hass_train.hardware.dataflow.costs.initiation import (
    binomial,
    hypergeometric,
    initiation_intervals,
    multiplier_choices,
    nonzero_activations,
    nonzero_weights,
)
from hass_train.hardware.dataflow.costs.lane_cycles import fullest_lane, lane_cycles, loads
from hass_train.hardware.dataflow.costs.weight_rounds import (
    FilterHistograms,
    IndependentWeights,
    filter_histograms,
    filter_order,
)
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind
from tests.hardware.schedules import bundle_nonzeros, fullest_lanes, lane_weight_cycles, pooled_weight_cycles


@st.composite
def histograms(draw: st.DrawFn, most: int) -> np.ndarray:
    """The distribution of the non-zeros of a window of up to so many positions."""
    positions = draw(st.integers(1, most))
    weights = draw(st.lists(st.floats(0, 1), min_size=positions + 1, max_size=positions + 1))
    weights[draw(st.integers(0, positions))] += 0.5
    return np.array(weights) / sum(weights)


def windows_of(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All windows, (windows, positions), and their probabilities: those with equally many non-zeros are as likely."""
    positions = len(histogram) - 1
    windows = np.array(list(itertools.product([False, True], repeat=positions)))
    counts = windows.sum(1)
    return windows, histogram[counts] / np.bincount(counts)[counts]


# ---- activations -----------------------------------------------------------------------------------------------------


@given(histograms(7))
def test_the_fullest_lane_of_every_window(histogram: np.ndarray) -> None:
    windows, probability = windows_of(histogram)
    below = fullest_lane(histogram)
    for row, (lanes, x) in enumerate(zip(*loads(len(histogram) - 1)[:2], strict=True)):
        fullest = lane_rounds(windows[:, None], int(lanes))  # at least 1, which is no matter: x is
        assert below[row] == pytest.approx(probability[fullest <= x].sum(), abs=1e-9)
    expected = [probability @ lane_rounds(windows[:, None], int(n)) for n in multiplier_choices(len(histogram) - 1)]
    np.testing.assert_allclose(lane_cycles(histogram), expected, atol=1e-9)


@given(histograms(4), st.integers(1, 3))
def test_engines_in_lock_step_wait_for_the_fullest_lane_of_all(histogram: np.ndarray, engines: int) -> None:
    windows, probability = windows_of(histogram)
    together = np.array(list(itertools.product(range(len(windows)), repeat=engines)))
    likely = probability[together].prod(1)
    expected = [likely @ lane_rounds(windows[together], int(n)) for n in multiplier_choices(len(histogram) - 1)]
    np.testing.assert_allclose(lane_cycles(histogram, engines), expected, atol=1e-9)
    both = lane_cycles(np.stack([histogram, histogram]), np.array([engines, 1]))
    np.testing.assert_allclose(both, [expected, lane_cycles(histogram)], atol=1e-9)


def test_rounds_of_random_windows_last_as_long_on_average() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((20_000, 3, 27)) < 0.4
    choices, ours = multiplier_choices(27), lane_cycles(binomial(27, 0.4), 3)
    for n in (1, 2, 5, 9, 27):
        measured = lane_rounds(mask, n).mean()
        assert ours[list(choices).index(n)] == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("density", [0.1, 0.5])
def test_wide_windows_are_nearly_exact(density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is used beyond 128 positions, at 96 of them."""
    histogram = 0.5 * binomial(96, density) + 0.5 * binomial(96, density / 2)
    exact = lane_cycles(histogram, [1, 16])
    monkeypatch.setattr(lanes_module, "EXACT", 0)
    lanes_module._given.cache_clear()
    try:
        ours = lane_cycles(histogram, [1, 16])
    finally:
        lanes_module._given.cache_clear()
    assert not np.array_equal(ours, exact)
    np.testing.assert_allclose(ours[0], exact[0], rtol=0.08)
    np.testing.assert_allclose(ours[1], exact[1], rtol=0.02)
    assert ours[0, 0] == pytest.approx(exact[0, 0], rel=3e-3)  # a single lane


def test_activations_that_were_measured_come_before_the_binomial() -> None:
    sparsity = LayerSparsity(0.5, 0.5, 0.2, activation_histograms={4: (0.5, 0.0, 0.0, 0.0, 0.5)})
    assert nonzero_activations(sparsity, 1, 2) == pytest.approx([0.5, 0.0, 0.5])
    bounded = LayerSparsity(0.5, 0.5, 0.2, structure=Structure(nm=(2, 4)))
    assert nonzero_activations(bounded, 1, 4) == pytest.approx(binomial(4, 0.5))
    assert nonzero_weights(bounded, 1, 4) == pytest.approx([0, 0, 1, 0, 0])
    assert nonzero_weights(bounded, 9, 1) == pytest.approx(binomial(9, 0.5))


# ---- weights ---------------------------------------------------------------------------------------------------------

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)))
"""(groups, filters, channels, window)"""


@given(MASKS, st.data())
def test_rounds_of_weights_are_those_of_the_rtl(mask: np.ndarray, data: st.DataObject) -> None:
    groups, filters, channels, window = mask.shape
    bundle, engines = data.draw(st.integers(1, channels)), data.draw(st.integers(1, 3))
    g, o = data.draw(st.integers(1, groups)), data.draw(st.integers(1, filters))
    flat = mask.reshape(groups * filters, channels, window)
    order = filter_order(flat.sum((1, 2)), groups)
    positions, bundles = window * bundle, -(-channels // bundle)
    pooled = pooled_weight_cycles(bundle_nonzeros(flat, bundle)[order], positions, np.array([1, o]), engines, groups, g)
    lanes = lane_weight_cycles(fullest_lanes(flat, bundle)[:, order], np.array([1, o]), engines, groups, g)

    padded = np.zeros((groups, filters, bundles * bundle, window), bool)
    padded[:, :, :channels] = flat[order].reshape(mask.shape)
    windows = padded.reshape(groups, filters, bundles, positions)
    blocks = [
        windows[a : a + g, f : f + o, b : b + engines].reshape(1, -1, positions)
        for a in range(0, groups, g) for f in range(0, filters, o) for b in range(0, bundles, engines)
    ]  # fmt: skip
    for column, n in enumerate(multiplier_choices(positions)):
        assert pooled[1, column] == pytest.approx(np.mean([pooled_rounds(block, int(n))[0] for block in blocks]))
        assert lanes[1, column] == pytest.approx(np.mean([lane_rounds(block, int(n))[0] for block in blocks]))


@given(MASKS)
def test_filters_are_sorted_within_their_groups(mask: np.ndarray) -> None:
    groups, filters = mask.shape[:2]
    nonzeros = mask.sum((2, 3))
    order = filter_order(nonzeros.ravel(), groups).reshape(groups, filters)
    assert sorted(order.ravel().tolist()) == list(range(groups * filters))
    assert all(len(set(row.tolist())) == 1 for row in order // filters)
    placed = nonzeros.ravel()[order]
    assert (np.diff(placed, axis=1) <= 0).all()
    assert (np.diff(placed.sum(1)) <= 0).all()


def test_sorted_filters_wait_less() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((64, 16, 9)) < rng.uniform(0.1, 0.9, (64, 1, 1))
    nonzeros = bundle_nonzeros(mask, 1)
    given_order, in_order = (
        pooled_weight_cycles(one, 9, np.array([8]), 2) for one in (nonzeros, nonzeros[filter_order(nonzeros.sum(1))])
    )
    assert (in_order[0, :4] < 0.9 * given_order[0, :4]).all()


def independent_weight_cycles(
    rows: FilterHistograms, o: np.ndarray, engines: int, groups: int = 1, g: int = 1, *, lanes: bool
) -> np.ndarray:
    """(folds, choices) cycles of filters of which is known how many weights are not zero."""
    choices = np.arange(len(multiplier_choices(rows.different.shape[1] - 1)))
    found = IndependentWeights(rows, lanes, groups, g)
    return found.cycles(choices, np.full(len(choices), engines), o).T


@pytest.mark.parametrize("lanes", [False, True])
def test_filters_that_are_alike_are_no_special_case(lanes: bool) -> None:
    one, o = hypergeometric(40, np.array([11]), 9), np.array([1, 2, 3, 5, 7, 15])
    same, apart = FilterHistograms(one, np.zeros(15, np.int64)), FilterHistograms(np.tile(one, (15, 1)), np.arange(15))
    for engines, groups, g in ((1, 1, 1), (3, 1, 1), (2, 3, 2), (1, 15, 4)):
        alike = independent_weight_cycles(same, o, engines, groups, g, lanes=lanes)
        told = independent_weight_cycles(apart, o, engines, groups, g, lanes=lanes)
        np.testing.assert_allclose(alike, told)


@pytest.mark.parametrize("lanes", [False, True])
def test_filters_of_one_number_of_non_zeros_are_counted_one_by_one(lanes: bool) -> None:
    held, place = hypergeometric(40, np.array([20, 11, 4]), 9), np.repeat([0, 1, 2, 0, 2], 3)
    together, apart = FilterHistograms(held, place), FilterHistograms(held[place], np.arange(15))
    o = np.array([1, 2, 3, 5, 7, 15])
    for engines, groups, g in ((1, 1, 1), (2, 3, 1), (2, 3, 2), (1, 15, 4)):
        np.testing.assert_allclose(
            *(independent_weight_cycles(one, o, engines, groups, g, lanes=lanes) for one in (together, apart))
        )


@given(st.lists(st.integers(0, 4), min_size=4, max_size=4), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_rounds_of_filters_whose_non_zeros_are_anywhere(held: list[int], engines: int, o: int, g: int) -> None:
    """Two groups of two filters of four positions, against all their engines' windows."""
    rows = hypergeometric(4, np.array(held), 2)
    for lanes, rounds in ((False, pooled_rounds), (True, lane_rounds)):
        ours = independent_weight_cycles(
            FilterHistograms(rows, np.arange(4)), np.array([o]), engines, 2, g, lanes=lanes
        )[0]
        for column, n in enumerate(multiplier_choices(2)):
            blocks = []
            for a, f in itertools.product(range(0, 2, g), range(0, 2, o)):
                block = [2 * k + j for k in range(a, a + g) for j in range(f, f + o)] * engines
                some = [windows_of(rows[filter_]) for filter_ in block]
                places = np.array(list(itertools.product(range(4), repeat=len(block))))
                likely = np.prod([one[1][places[:, k]] for k, one in enumerate(some)], axis=0)
                windows = np.stack([one[0][places[:, k]] for k, one in enumerate(some)], axis=1)
                blocks.append(likely @ rounds(windows, int(n)))
            assert ours[column] == pytest.approx(np.mean(blocks))


def test_what_a_profile_says_of_filters_gives_nearly_the_exact_rounds() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((256, 32, 9)) < rng.uniform(0.1, 0.9, (256, 1, 1))
    nonzeros, o = bundle_nonzeros(mask, 2), np.array([1, 8])
    exact = pooled_weight_cycles(nonzeros[filter_order(nonzeros.sum(1))], 18, o, 2)
    layer = Operation(
        "conv", OperationKind.CONV, ("input",), FeatureMap(8, 8, 32), FeatureMap(8, 8, 256), (3, 3), padding=(1, 1)
    )
    sparsity = LayerSparsity(float(mask.mean()), filter_nonzeros=tuple(mask.sum((1, 2)).tolist()))
    rows = filter_histograms(layer, sparsity, 2)
    np.testing.assert_allclose(independent_weight_cycles(rows, o, 2, lanes=False), exact, rtol=0.03)
    alike = filter_histograms(layer, LayerSparsity(sparsity.weight_density), 2)
    assert alike.place.shape == rows.place.shape
    assert (np.abs(independent_weight_cycles(alike, o, 2, lanes=False) / exact - 1) > 0.05).any()
    for structure in (Structure(nm=(1, 2)), Structure(bank=(9, 2))):
        bounded = filter_histograms(layer, replace(sparsity, weight_density=0.5, structure=structure), 2)
        np.testing.assert_allclose(bounded.different, np.eye(19)[9:10], atol=1e-12)


@pytest.mark.parametrize("lanes", [False, True])
def test_from_a_density_alone_rounds_are_those_of_random_weights(lanes: bool) -> None:
    mask = np.random.default_rng(1).random((256, 64, 9)) < 0.3
    o, row = np.array([1, 8, 32]), nonzero_weights(LayerSparsity(0.3), 9, 2)
    expected = independent_weight_cycles(FilterHistograms(row[None], np.zeros(256, np.int64)), o, 2, lanes=lanes)
    if lanes:
        measured = lane_weight_cycles(fullest_lanes(mask, 2), o, 2)
    else:
        measured = pooled_weight_cycles(bundle_nonzeros(mask, 2), 18, o, 2)
        of_sixteen = np.diff(np.cumsum(row) ** 16, prepend=0.0)  # the most that 8 filters × 2 bundles have
        np.testing.assert_allclose(initiation_intervals(of_sixteen, 1), expected[1])
    np.testing.assert_allclose(measured, expected, rtol=0.04)
