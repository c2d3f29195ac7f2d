"""The fullest lane of windows that reach into padding, against all that can be left of them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware import Operation, OperationKind
from hass_train.hardware.dataflow.costs.engine_rounds import lane_rounds
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.costs.lane_cycles import fullest_lane, loads
from hass_train.hardware.dataflow.costs.padded_lanes import borders, fullest_padded, lanes_in_use
from hass_train.hardware.dataflow.costs.rounds import LockstepRounds
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.workload import FeatureMap
from hass_train.sparsity.lane_kernel import count_fullest


def conv(size: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> Operation:
    padding = (kernel - 1) * dilation // 2
    result = (size + 2 * padding - (kernel - 1) * dilation - 1) // stride + 1
    return Operation(
        "conv", OperationKind.CONV, ("input",), FeatureMap(size, size, 8), FeatureMap(result, result, 8),
        (kernel, kernel), (stride, stride), (padding, padding), (dilation, dilation),
    )  # fmt: skip


@given(st.integers(1, 6), st.sampled_from([1, 3, 5]), st.integers(1, 2), st.integers(1, 2))
def test_what_windows_read_of_the_map(size: int, kernel: int, stride: int, dilation: int) -> None:
    """Pixel by pixel, on maps so small that no kind of window is rare."""
    layer = conv(size, kernel, stride, dilation)
    seen: dict[tuple[bool, ...], float] = {}
    for y, x in itertools.product(range(layer.result.height), repeat=2):
        at = [
            (y * stride + dy * dilation - layer.padding[0], x * stride + dx * dilation - layer.padding[1])
            for dy, dx in itertools.product(range(kernel), repeat=2)
        ]
        taps = tuple(0 <= row < size and 0 <= column < size for row, column in at)
        seen[taps] = seen.get(taps, 0.0) + 1 / layer.result.pixels
    assert dict(borders(layer)) == pytest.approx(seen if any(not all(taps) for taps in seen) else {})


def test_large_maps_have_whole_windows() -> None:
    assert borders(conv(112)) == ()
    assert 1 < len(borders(conv(14))) < 9  # corners are rare
    assert sum(share for _, share in borders(conv(14))) == pytest.approx(1)


@given(
    st.lists(st.booleans(), min_size=2, max_size=4).filter(any), st.integers(1, 2),
    st.lists(st.floats(0.01, 1), min_size=9, max_size=9),
)  # fmt: skip
def test_non_zeros_lie_anywhere_in_what_is_left(taps: list[bool], bundle: int, weights: list[float]) -> None:
    """Where all pixels read the same of the map, against all windows."""
    left = [k for k in range(len(taps) * bundle) if taps[k % len(taps)]]
    histogram = np.zeros(len(taps) * bundle + 1)
    histogram[: len(left) + 1] = weights[: len(left) + 1]
    histogram /= histogram.sum()
    below = fullest_padded(histogram, ((tuple(taps), 1.0),))
    windows = np.zeros((2 ** len(left), len(taps) * bundle), bool)
    windows[:, left] = list(itertools.product([False, True], repeat=len(left)))
    held = windows.sum(1)
    likely = histogram[held] / np.array([math.comb(len(left), k) for k in held])
    for row, (lanes, x) in enumerate(zip(*loads(len(taps) * bundle)[:2], strict=True)):
        assert below[row] == pytest.approx(likely[lane_rounds(windows[:, None], int(lanes)) <= x].sum(), abs=1e-9)


def test_windows_at_borders_fill_fewer_lanes() -> None:
    """A 4×4 map that is unevenly dense, four channels of a 3×3 window, and lanes that are columns of the kernel."""
    rng = np.random.default_rng(0)
    density = np.clip(0.6 + 0.2 * rng.standard_normal((2000, 1, 1, 1)), 0, 1)
    maps = np.zeros((2000, 6, 6, 4), bool)
    maps[:, 1:5, 1:5] = rng.random((2000, 4, 4, 4)) < density
    windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), (1, 2)).reshape(-1, 1, 36)
    histogram = np.bincount(windows.sum((1, 2)), minlength=37) / len(windows)
    choices, (_, _, starts) = multiplier_choices(36), loads(36)
    for lanes in (2, 3, 5, 9):
        column = list(choices).index(lanes)
        measured = lane_rounds(windows, lanes).mean()
        anywhere, ours = (
            1 + np.add.reduceat(1 - below, starts)[column]
            for below in (fullest_lane(histogram), fullest_padded(histogram, borders(conv(4))))
        )
        assert ours == pytest.approx(measured, rel=0.03)
        if lanes in (3, 9):
            assert anywhere < 0.92 * measured


def test_neighbours_that_are_alike_share_a_lane_or_not() -> None:
    """Pixels above each other are zero together: three lanes, columns of the kernel, are fuller than by chance, and two
    emptier. Seen on some images, asked about others, sparser ones."""
    rng = np.random.default_rng(1)

    def windows(count: int, density: float) -> np.ndarray:
        maps = np.zeros((count, 4, 4), np.uint8)
        maps[:, 1:3, 1:3] = rng.random((count, 1, 2)) < density
        return np.lib.stride_tricks.sliding_window_view(maps, (3, 3), (1, 2)).reshape(-1, 9)

    seen = tuple(map(tuple, count_fullest(windows(2000, 0.6)).tolist()))
    others = windows(4000, 0.4)
    histogram = np.bincount(others.sum(1), minlength=10) / len(others)
    choices, (_, _, starts) = multiplier_choices(9).tolist(), loads(9)
    expected = {lanes: lane_rounds(others[:, None], lanes).mean() for lanes in choices}
    ours, anywhere = (
        dict(zip(choices, 1 + np.add.reduceat(1 - below, starts), strict=True))
        for below in (fullest_padded(histogram, borders(conv(2)), seen), fullest_padded(histogram, borders(conv(2))))
    )
    assert ours == pytest.approx(expected, rel=0.01)
    assert anywhere[3] < 0.93 * expected[3]
    assert anywhere[2] > 1.05 * expected[2]


def test_only_engines_of_a_channel_are_as_was_seen() -> None:
    """Lanes that were seen to share nothing, two non-zeros in two of three."""
    rows = count_fullest(np.tile(np.array([1, 1, 0, 0, 0, 0, 0, 0, 0], np.uint8), (1000, 1)))
    unknown = Lanes.unknown(1, 8, 8)
    known = replace(unknown, fullest=tuple(map(tuple, rows.tolist())))
    three = multiplier_choices(9).tolist().index(3)
    histogram = np.eye(10)[2]
    alone = [LockstepRounds(lanes, 1, histogram, 1, by_lanes=True).alone[three] for lanes in (known, unknown)]
    assert alone == pytest.approx([1, 1.25], abs=5e-3)  # by chance a quarter of the pairs share a lane
    wider = [LockstepRounds(lanes, 2, np.eye(19)[4], 1, by_lanes=True).alone for lanes in (known, unknown)]
    assert wider[0].tolist() == wider[1].tolist()


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 10**6))
def test_fullest_lanes_are_counted(positions: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    windows = (rng.random((count, positions)) < rng.random()).astype(np.uint8)
    counts = count_fullest(windows)
    row = 0
    for lanes in range(1, positions + 1):
        fullest = lane_rounds(windows[:, None], lanes)
        for x in range(1, -(-positions // lanes) + 1):
            held = np.bincount(windows[fullest <= x].sum(1), minlength=positions + 1)
            assert counts[:, row].tolist() == held.tolist()
            row += 1
    assert counts.shape == (positions + 1, row)


def test_windows_that_were_not_seen_have_non_zeros_anywhere() -> None:
    histogram = np.full(10, 0.1)
    nothing = tuple(map(tuple, count_fullest(np.zeros((0, 9), np.uint8)).tolist()))
    for kinds in ((), borders(conv(2))):
        assert fullest_padded(histogram, kinds, nothing) == pytest.approx(fullest_padded(histogram, kinds))


def test_lanes_without_positions_are_not_in_use() -> None:
    """Of a single pixel only the middle of the kernel reads the map; nine lanes hold it all in one, five in four."""
    use = dict(zip(multiplier_choices(36).tolist(), lanes_in_use(36, borders(conv(1))), strict=True))
    assert (use[1], use[9], use[5]) == (1, 1, 4)
    assert lanes_in_use(36, ()).tolist() == multiplier_choices(36).tolist()
