"""Profiles as plain data: exact there and back, and refused with a reason."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware import LayerSparsity, Operation, OperationKind, SparsityProfile, Workload
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.workload import FeatureMap

fractions = st.floats(0, 1)


@st.composite
def histograms(draw: st.DrawFn) -> tuple[float, ...]:
    parts = draw(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5).filter(lambda some: sum(some) > 1e-3))
    return tuple(part / sum(parts) for part in parts)


layers = st.builds(
    LayerSparsity, fractions, fractions, fractions, st.dictionaries(st.integers(1, 2048), histograms(), max_size=2),
    st.lists(fractions, max_size=4).map(tuple),
    activation_histograms=st.dictionaries(st.integers(1, 2048), histograms(), max_size=2),
    filter_nonzeros=st.lists(st.integers(0, 5000), max_size=4).map(tuple),
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), layers, max_size=3).map(SparsityProfile))
def test_there_and_back_is_exact(profile: SparsityProfile) -> None:
    again = SparsityProfile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert again == profile
    assert list(again.layers) == list(profile.layers)


def data(**changes: Any) -> dict[str, Any]:
    """A profile of one layer with some of its entries changed, or removed where they are `...`."""
    layer = LayerSparsity(0.5, 0.5, 0.25, {1: (0.75, 0.25)}, (0.0, 0.5)).to_dict() | changes
    return {"layers": {"conv1": {key: value for key, value in layer.items() if value is not ...}}}


def test_lanes_of_another_window_are_not_this_networks() -> None:
    layer = Operation(
        "conv", OperationKind.CONV, ("input",), FeatureMap(8, 8, 4), FeatureMap(8, 8, 4), (3, 3), (1, 1), (1, 1)
    )
    workload = Workload("network", (4, 8, 8), (layer,))
    lanes = replace(Lanes.unknown(1, 1, 1), fullest=((1, 1, 1), (1, 1, 1), (0, 0, 0)))
    profile = SparsityProfile({"conv": LayerSparsity(histograms={1: (0.5, 0.25, 0.25)}, lanes=lanes)})
    with pytest.raises(ValueError, match="lanes of conv tell of windows of 2 positions, and network has 9"):
        profile.check_covers(workload)


def test_a_profile_from_before_activations_and_filters_were_counted_loads() -> None:
    read = SparsityProfile.from_dict(data(activation_histograms=..., filter_nonzeros=...)).layers["conv1"]
    assert read == LayerSparsity(0.5, 0.5, 0.25, {1: (0.75, 0.25)}, (0.0, 0.5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2], "[1, 2] is not an object with the key 'layers'"),
        ({"schema": 1}, "'layers' is missing"),
        ({"layers": []}, "layers is []; it must be an object"),
        ({"layers": {"conv1": 3}}, "layer 'conv1': 3 is not an object"),
        (
            data(lanes=replace(Lanes.unknown(1, 1, 1), fullest=((1, 1, 1), (1, 1, 1), (0, 0, 0))).to_dict()),
            "layer 'conv1': the fullest lanes and a channel's histogram are of windows of different sizes",
        ),
        (data(pair_density=...), "layer 'conv1': 'pair_density' is missing"),
        (data(histograms=...), "layer 'conv1': 'histograms' is missing"),
        (data(channel_densities=...), "layer 'conv1': 'channel_densities' is missing"),
        (data(pair_density="0.5"), "layer 'conv1': pair_density is '0.5'; it must be a number"),
        (data(pair_density=True), "layer 'conv1': pair_density is True; it must be a number"),
        (data(pair_density=1.5), "layer 'conv1': pair_density is 1.5; it must lie in [0, 1]"),
        (data(weight_density=float("nan")), "layer 'conv1': weight_density is nan; it must lie in [0, 1]"),
        (data(channel_densities=0.5), "layer 'conv1': channel_densities is 0.5; it must be a list"),
        (data(channel_densities=[0.5, None]), "layer 'conv1': channel_densities[1] is None; it must be a number"),
        (data(channel_densities=[0.5, 2]), "layer 'conv1': channel_densities[1] is 2; it must lie in [0, 1]"),
        (data(histograms=[0.5, 0.5]), "layer 'conv1': histograms is [0.5, 0.5]; it must be an object"),
        (data(histograms={"one": [1.0]}), "layer 'conv1': histograms has the key 'one'"),
        (data(histograms={"0": [1.0]}), "layer 'conv1': histograms has the key '0'"),
        (data(histograms={"1": ["a"]}), "layer 'conv1': histograms[1][0] is 'a'; it must be a number"),
        (data(histograms={"1": []}), "layer 'conv1': the histogram for 1 bundled channels is not a probability"),
        (data(histograms={"1": [0.5, 0.4]}), "layer 'conv1': the histogram for 1 bundled channels"),
        (data(histograms={"1": [0.5, 10**400]}), "layer 'conv1': the histogram for 1 bundled channels"),
        (data(histograms={"1": [float("nan")]}), "layer 'conv1': the histogram for 1 bundled channels"),
        (data(filter_nonzeros=[1, 2.5]), "layer 'conv1': filter_nonzeros[1] is 2.5; it must be a whole number"),
        (data(filter_nonzeros=[-1]), "layer 'conv1': filter_nonzeros has -1; numbers of weights are ≥ 0"),
        (data(activation_histograms={"x": [1.0]}), "layer 'conv1': activation_histograms has the key 'x'"),
        (data(activation_histograms={"1": [0.5]}), "layer 'conv1': the activation histogram for 1 bundled channels"),
    ],
)
def test_wrong_data_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        SparsityProfile.from_dict(given)
    assert "\n" not in str(caught.value)
