"""What calibration counts, and what it takes over."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hass_train.sparsity import LayerRule, calibrate, sparsify
from hass_train.sparsity.count_kernel import occurrences
from hass_train.sparsity.independence import measure_lanes


@given(st.lists(st.integers(0, 30), max_size=50), st.sampled_from([torch.float32, torch.int16, torch.int64]))
def test_every_number_is_counted_where_it_belongs(numbers: list[int], dtype: torch.dtype) -> None:
    counts = occurrences(torch.tensor(numbers, dtype=dtype).reshape(1, -1, 1), 30)
    assert counts.tolist() == [numbers.count(one) for one in range(31)]


@pytest.mark.parametrize("off", [-1e-3, 1e-3])
def test_sums_that_are_a_little_off_are_whole_numbers(off: float) -> None:
    assert occurrences(torch.tensor([0.0, 1.0, 7.0]) + off, 7).tolist() == [1, 1, 0, 0, 0, 0, 0, 1]


def test_nearby_densities_are_measured_and_shapes_taken_over() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 6, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip
    sparsify(model, {"all": LayerRule("*")})
    first, second = torch.randn(5, 3, 8, 8), torch.randn(6, 3, 8, 8)
    known, measured = calibrate(model, [first]), calibrate(model, [second])
    found = calibrate(model, [second[:2], second[2:]], like=known)
    assert any(layer.lanes != known.layers[name].lanes for name, layer in measured.layers.items())
    for name, layer in found.layers.items():
        before, exact = known.layers[name], measured.layers[name]
        taken = {one: getattr(before, one) for one in ("lanes", "activation_lanes")}
        shapes = {one: getattr(layer, one) for one in ("histograms", "activation_histograms")}
        assert layer == replace(exact, **taken, **shapes, pair_density=layer.pair_density)
        assert layer.pair_density == pytest.approx(exact.pair_density)
        for one, shape in shapes.items():
            for size, histogram in getattr(exact, one).items():
                mean = np.arange(len(histogram)) @ np.array(histogram)
                assert np.arange(len(histogram)) @ np.array(shape[size]) == pytest.approx(mean, rel=1e-6)
    for name, layer in calibrate(model, [first], like=known).layers.items():  # of what was not changed nothing changes
        for size, histogram in layer.histograms.items():
            assert histogram == pytest.approx(known.layers[name].histograms[size], abs=1e-6)


@pytest.mark.parametrize("groups", [1, 4])
def test_the_fullest_lanes_of_single_channels_are_counted(groups: int) -> None:
    """On maps whose rows are alike: of noise, columns would be as full as any other lanes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, groups=groups), nn.Conv2d(8, 4, 1))
    sparsify(model, {"all": LayerRule("*")})
    images = torch.randn(16, 4, 1, 2).expand(-1, -1, 2, -1) * (torch.rand(16, 4, 1, 2) < 0.5)
    convolution, pixels = calibrate(model, [images]).layers.values()
    assert convolution.activation_lanes
    counts = np.array(convolution.activation_lanes.fullest)
    assert counts.shape == (10, 9 + 5 + 3 + 3 + 2 * 4 + 1)
    held = counts[:, 8] / counts[:, 8].sum()  # no single lane has more than all nine
    assert held == pytest.approx(convolution.activation_histograms[1], abs=0.1)
    three = counts[:, 9 + 5 : 9 + 5 + 3]
    assert counts[2, 8]
    assert not three[2, 0]  # two non-zeros are above each other, in a lane of three
    assert convolution.lanes
    assert np.array(convolution.lanes.fullest).tolist() == (8 // groups * counts).tolist()  # each filter takes all
    assert pixels.lanes
    assert pixels.lanes.fullest == ()


@settings(max_examples=40)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 20), st.integers(1, 18), st.sampled_from([1, 4]),
    st.integers(0, 10**6),
)  # fmt: skip
def test_engines_amount_to_one_at_least_and_to_all_at_most(
    runs: int, columns: int, channels: int, filters: int, taps: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    windows, kernels = (
        torch.from_numpy((random.random(shape) < random.random()).astype(np.float32))
        for shape in ((runs, columns, 1, channels, taps), (1, filters, channels, taps))
    )
    lanes = measure_lanes(windows, kernels)  # which refuses less than one
    beside = np.multiply.outer(np.multiply.outer(lanes.columns, lanes.channels), lanes.filters)
    assert (np.array(lanes.independent) <= beside[None, ..., None]).all()
