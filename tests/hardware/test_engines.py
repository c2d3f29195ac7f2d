"""Engines side by side: what lanes are worth, and how long a round is that waits for the slowest."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware.dataflow.costs.initiation import binomial, multiplier_choices
from hass_train.hardware.dataflow.costs.rounds import LockstepCycles, LockstepRounds, expected_maximum, round_cycles
from hass_train.hardware.lanes import LEVELS, Lanes, grid, interpolation
from hass_train.sparsity.independence import bundled, measure_lanes, spread
from hass_train.sparsity.lane_kernel import count_largest


@given(st.sampled_from([(1, 1), (1, 4), (2, 1)]), st.floats(0.05, 0.95), st.integers(0, 1))
def test_independent_engines_wait_for_the_largest_of_so_many_draws(
    engines: tuple[int, int], density: float, t_min: int
) -> None:
    """Against all combinations of non-zero counts of up to four engines, at points of the grid."""
    columns, filters = engines
    lanes = Lanes.unknown(4, 16, 16)
    histogram = binomial(4, density)
    rounds = LockstepRounds(lanes, 1, histogram, t_min)
    choices = multiplier_choices(4)
    found = rounds.slowest(columns, np.array([1]), np.array([0]), np.array([filters]))[0, 0]
    expected = sum(
        np.prod(histogram[list(counts)]) * max(t_min, *(-(-k // choices[0]) for k in counts))
        for counts in itertools.product(range(5), repeat=columns * filters)
    )
    assert found == pytest.approx(expected, rel=1e-9)
    assert rounds.alone[0] == pytest.approx(sum(histogram[k] * max(t_min, k) for k in range(5)))


def test_lanes_of_independent_and_of_equal_windows() -> None:
    """Noise: every engine counts. Windows that are the same for all channels: one does."""
    random = torch.Generator().manual_seed(0)
    noise = (torch.rand((256, 4, 1, 16, 9), generator=random) < 0.5).float()
    kernels = torch.ones((1, 4, 16, 9))
    middle = LEVELS.index(0.5)
    table = np.asarray(measure_lanes(noise, kernels).independent)[0]
    assert table[0, 2, 0, middle] == pytest.approx(16, rel=0.15)  # 16 channels of their own
    assert table[2, 2, 0, middle] == pytest.approx(64, rel=0.15)  # and 4 columns
    assert table[0, 0, 1, middle] == 1  # 4 filters that are all alike
    alike = noise[:, :1, :, :1].expand(256, 4, 1, 16, 9)
    assert np.asarray(measure_lanes(alike, kernels).independent).max() == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_the_largest_of_whole_groups_are_counted(seed: int, columns: int, engines: int, filters: int) -> None:
    """Against the maxima of blocks, cut one by one."""
    pairs = np.random.default_rng(seed).integers(0, 7, (2, columns, engines, filters)).astype(np.int16)
    sides = [sorted({*grid(side, ratio), side}) for side, ratio in zip(pairs.shape[1:], (2, 4, 4), strict=True)]
    counts = count_largest(pairs, *map(np.array, sides))
    for place in itertools.product(*(range(len(side)) for side in sides)):
        p, e, f = (side[at] for side, at in zip(sides, place, strict=True))
        starts = itertools.product(range(columns // p), range(engines // e), range(filters // f))
        largest = [
            pairs[:, i * p : (i + 1) * p, j * e : (j + 1) * e, k * f : (k + 1) * f].max((1, 2, 3)) for i, j, k in starts
        ]
        assert (counts[place] == np.bincount(np.ravel(largest), minlength=pairs.max() + 1)).all()


def test_kernels_that_differ_last() -> None:
    """Half of the kernels are empty: with constant windows all variance lies between them, and never averages out."""
    windows = torch.ones((32, 4, 1, 8, 9))
    kernels = torch.zeros((1, 8, 8, 9))
    kernels[:, ::2] = 1
    assert measure_lanes(windows, kernels).lasting[0] == pytest.approx(1, abs=1e-3)
    random = torch.Generator().manual_seed(1)
    noise = (torch.rand((64, 4, 1, 8, 9), generator=random) < 0.5).float()
    assert measure_lanes(noise, torch.ones((1, 8, 8, 9))).lasting[0] < 0.05


def test_filters_are_not_sorted_by_the_channels_that_a_bundle_happens_to_have() -> None:
    """Each filter has a weight in each bank of 16 of 96 channels, so none is denser; but among 64 channels some are."""
    places = torch.randint(16, (256, 6), generator=torch.Generator().manual_seed(0)) + 16 * torch.arange(6)
    kernels = torch.zeros(1, 256, 96, 1)
    kernels[0, torch.arange(256)[:, None], places] = 1
    lanes = measure_lanes(torch.ones((2, 1, 1, 96, 1)), kernels)
    size, filters = lanes.bundles.index(64), lanes.filters.index(16)
    assert min(np.asarray(lanes.independent)[size, 0, 0, filters, 1:5]) > 8


def test_single_pixels_are_bundled() -> None:
    windows = torch.ones((4, 1, 1, 20, 1))
    lanes = measure_lanes(windows, torch.ones((1, 8, 20, 1)))
    assert lanes.bundles == (4, 16, 20)
    assert lanes.channels == (1, 4, 5)  # bundles of the smallest size side by side
    dealt = bundled(torch.arange(10.0), 4)
    assert dealt.shape == (2, 4)
    assert len(set(dealt.flatten().tolist())) == 8
    assert float(dealt.float().mean()) == 4.5  # what is left out is neither the densest nor the sparsest
    assert abs(float(dealt[0].float().mean() - dealt[1].float().mean())) <= 1


def test_bundles_of_single_pixels_count_beside_each_other() -> None:
    """20 channels of noise are five bundles of four that are independent; of channels that are all alike, one."""
    random = torch.Generator().manual_seed(2)
    noise, kernels = (torch.rand((2048, 1, 1, 20, 1), generator=random) < 0.5).float(), torch.ones((1, 1, 20, 1))
    middle = LEVELS.index(0.5)
    lanes = measure_lanes(noise, kernels)
    table = np.asarray(lanes.independent)
    assert table[0, 0, :, 0, middle] == pytest.approx([1, 4, 5], rel=0.15)
    assert table[1:, 0, :, 0, middle] == pytest.approx(np.tile([1, 4, 5], (2, 1)), rel=0.15)  # as the smaller ones grow
    alike = noise[..., :1, :].expand(2048, 1, 1, 20, 1)
    assert np.asarray(measure_lanes(alike, kernels).independent).max() == 1


def test_all_filters_side_by_side_are_measured() -> None:
    """Six are no grid point of 1, 4, …: the two beyond four count as well."""
    random = torch.Generator().manual_seed(3)
    kernels = (torch.rand((1, 6, 1, 400), generator=random) < 0.5).float()
    windows = (torch.rand((512, 1, 1, 1, 400), generator=random) < 0.5).float()
    kernels[0, :, 0] = torch.eye(6).repeat(1, 67)[:, :400]  # no two filters meet the same activation
    lanes = measure_lanes(windows, kernels)
    assert lanes.filters == (1, 4, 6)
    assert np.asarray(lanes.independent)[0, 0, 0, :, LEVELS.index(0.5)] == pytest.approx([1, 4, 6], rel=0.15)


@given(st.integers(1, 64), st.integers(1, 40))
def test_samples_are_one_of_each_part(runs: int, each: int) -> None:
    places = spread(runs, runs * each)
    assert (places // each).tolist() == list(range(runs))


def test_samples_do_not_keep_time_with_rows() -> None:
    """Of rows of eight pixels all columns are met, however many rows there are for each sample."""
    for each in (2, 4, 8, 16):
        assert len(set((spread(64, 64 * each) % 8).tolist())) == 8


def slowest(alone: float, filters: float, channels: float, columns: float, spread: float = 0.0) -> LockstepCycles:
    one = np.array([[alone]])
    return LockstepCycles(
        one, np.array([[spread]]), np.array([[64.0]]), one * filters, one * filters * channels,
        one * filters * channels * columns,
    )  # fmt: skip


@given(
    st.floats(1, 5), st.floats(1, 3), st.floats(1, 3), st.floats(1, 3), st.floats(0, 1), st.integers(1, 9),
    st.integers(1, 9),
)  # fmt: skip
def test_deeper_fifos_lose_less(
    alone: float, filters: float, channels: float, columns: float, spread: float, blocks: int, others: int
) -> None:
    """From lock-step, the slowest of all, down towards the mean; what lasts stays."""
    case = slowest(alone, filters, channels, columns, spread)
    uneven, by, rounds = np.ones((1, 1)), np.array([[float(blocks)]]), np.array([[float(blocks * others)]])
    cycles = [float(round_cycles(case, uneven, by, rounds, fifo)[0, 0]) for fifo in (0, 1, 4, 16, 256, 10**9)]
    assert cycles[0] == pytest.approx(alone * filters * channels * columns)
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(cycles))
    lasting = min(float(expected_maximum(np.array(64.0))) * spread / np.sqrt(blocks * others), cycles[0] - alone)
    assert cycles[-1] == pytest.approx(alone + lasting, rel=1e-3)


def test_the_largest_of_normal_draws() -> None:
    random = np.random.default_rng(0)
    for draws in (2, 10, 100):
        measured = random.standard_normal((20_000, draws)).max(axis=1).mean()
        assert float(expected_maximum(np.array(float(draws)))) == pytest.approx(measured, abs=0.03)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=5, unique=True), st.integers(1, 600))
def test_interpolation_weights_sum_to_one(axis: list[int], at: int) -> None:
    points = tuple(sorted(axis))
    weights = interpolation(points, np.array([at]))[0]
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    inside = min(max(at, points[0]), points[-1])
    assert np.exp2(weights @ np.log2(points)) == pytest.approx(inside)


def test_lanes_survive_json_and_nonsense_is_refused() -> None:
    lanes = replace(Lanes.unknown(4, 9, 5), fullest=((2, 2, 2), (1, 1, 1), (0, 3, 3)))
    assert Lanes.from_dict(json.loads(json.dumps(lanes.to_dict()))) == lanes
    assert np.exp(lanes.logs[0, 1, 1, 1]) == pytest.approx(np.full(len(LEVELS), 32))
    for change, message in (
        ({"columns": [2, 4]}, "columns of lanes are"),
        ({"independent": [1.0]}, "independent lanes have the shape"),
        ({"lasting": [1.5]}, "lasting shares of lanes are"),
        ({"fullest": [[1, 1], [1, 1]]}, "fullest lanes of 1 positions must be 1 counts"),
        ({"fullest": [[2, 2, 2], [1, 1], [0, 0, 0]]}, "fullest lanes of 2 positions must be 3 counts"),
        ({"fullest": [[float("inf")], [1]]}, "lanes must hold"),
        ({"fullest": [[1], [-1]]}, "fullest lanes of 1 positions must be 1 counts"),
        ({"filters": None}, "lanes must hold bundles, columns, channels, filters, independent and lasting"),
    ):
        with pytest.raises(ValueError, match=message):
            Lanes.from_dict({**lanes.to_dict(), **change})
