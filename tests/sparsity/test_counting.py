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


def test_independence_of_engines_is_taken_over_and_all_else_measured() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4))
    sparsify(model, {"all": LayerRule("*")})
    first, second = torch.randn(5, 3, 8, 8), torch.randn(5, 3, 8, 8)
    known, measured = calibrate(model, [first]), calibrate(model, [second])
    found = calibrate(model, [second], like=known)
    assert any(layer.lanes != known.layers[name].lanes for name, layer in measured.layers.items())
    for name, layer in found.layers.items():
        before = known.layers[name]
        assert layer == replace(measured.layers[name], lanes=before.lanes, activation_lanes=before.activation_lanes)


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
