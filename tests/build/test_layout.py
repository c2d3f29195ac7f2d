"""How maps lie in words, and what explorations of buildable designs choose among."""

from __future__ import annotations

import numpy as np
import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st

from hass_train.build.layout import NOTHING, Layout
from hass_train.hardware import DataflowAccelerator, DataflowOptions, SparsityProfile, load_device, trace
from hass_train.precision.formats import Format


@given(st.data())
def test_every_value_is_in_one_word(data: st.DataObject) -> None:
    channels, height, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    places = data.draw(st.permutations([*range(channels), *[NOTHING] * data.draw(st.integers(0, 2))]))
    pixels = data.draw(st.integers(1, 3))
    streams = len(places) if pixels > 1 else data.draw(st.integers(1, len(places)))
    layout = Layout(height, width, tuple(places), streams, pixels, Format(8, 0))
    maps = np.arange(1, 1 + 2 * channels * height * width).reshape(2, channels, height, width)
    words = layout.words_of(maps)
    assert words.shape == (2 * layout.words, pixels * streams)
    known = np.tile(layout.known(), (2, 1))
    assert sorted(words[known].tolist()) == list(range(1, maps.size + 1))
    assert not words[~known].any()
    first = [one for one in places[:streams] if one != NOTHING]
    assert words[0][known[0]][: len(first)].tolist() == [int(maps[0, channel, 0, 0]) for channel in first]


def test_buildable_designs_keep_to_their_rules() -> None:
    workload = trace(timm.create_model("mobilenetv3_small_100", num_classes=10), (3, 64, 64), "mobilenetv3_small_100")
    profile = SparsityProfile.dense(workload)
    options = DataflowOptions(weight_bits=8, activation_bits=8, tolerance=0.02, buildable=True)
    estimate = DataflowAccelerator(load_device("zcu104"), options).estimate(workload, profile)
    assert len(estimate.parts) == 1
    for operation, row in zip(workload, estimate.layers, strict=True):
        assert row.weights_in != "off_chip"
        if not operation.multiplies:
            continue
        folds = row.folds
        if folds["p"] > 1:
            assert folds["o"] == operation.filters_per_group
        if operation.groups > 1 and folds["g"] > 1:
            assert (folds["i"], folds["o"]) == (operation.channels_per_group, operation.filters_per_group)


def test_buildable_designs_are_of_one_part() -> None:
    assert DataflowOptions(buildable=True).partitions == "never"
    with pytest.raises(ValueError, match="partitions is 'best', but buildable=true makes RTL of one part"):
        DataflowOptions(buildable=True, partitions="best")
