"""Patterns in the dataflow model: N:M bounds, skipped blocks, dead channels; what is promised survives a file."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hass_train.hardware import (
    Blocks,
    DataflowAccelerator,
    DataflowOptions,
    LayerSparsity,
    SparsityProfile,
    Structure,
    Workload,
    load_device,
    trace,
)
from hass_train.hardware.channels import without_dead_channels
from hass_train.hardware.dataflow.costs.initiation import binomial, nonzero_pairs
from hass_train.hardware.dataflow.designs.zero_tiles import ZeroTiles
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind
from hass_train.results.playing import simulate_design
from hass_train.runtime.errors import UserError
from hass_train.sparsity import NM, Block, LayerRule, Mode, calibrate, sparse_layers, sparsify


def conv(filters: int, channels: int, window: int = 3) -> Operation:
    pad = (window // 2, window // 2)
    return Operation(
        "conv", OperationKind.CONV, ("input",), FeatureMap(8, 8, channels), FeatureMap(8, 8, filters),
        (window, window), padding=pad,
    )  # fmt: skip


@given(st.integers(1, 24), st.sampled_from([1, 9]), st.sampled_from([(1, 4), (2, 4), (4, 8)]))
def test_the_most_that_nm_leaves(channels: int, window: int, nm: tuple[int, int]) -> None:
    structure, (n, m) = Structure(nm=nm), nm
    counted = sum(min(n, len(range(start, min(start + m, channels)))) for start in range(0, channels, m))
    assert structure.most(channels, window) == counted * window


@given(st.integers(1, 7), st.sampled_from([1, 2, 3]), st.integers(1, 3), st.integers(1, 6), st.floats(0.05, 1))
def test_pairs_of_whole_banks_are_counted_right(
    channels: int, window: int, size: int, k: int, activation: float
) -> None:
    """Against all ways in which the activations that meet a filter's non-zero weights can be zero."""
    size = min(size, channels)
    held = [min(k, (min(start + size, channels) - start) * window) for start in range(0, channels, size)]
    structure, pairs = Structure(bank=(k, size)), channels * window
    assert structure.most(channels, window) == sum(held)
    expected = np.zeros(pairs + 1)
    for alive in itertools.product((0, 1), repeat=min(sum(held), 10)):
        expected[sum(alive)] += activation ** sum(alive) * (1 - activation) ** (len(alive) - sum(alive))
    density = sum(held) / pairs
    banks = LayerSparsity(density, activation, min(density * activation, 1.0), structure=structure)
    if sum(held) <= 10:
        assert np.allclose(nonzero_pairs(banks, window, channels, channels), expected)
    # a measured histogram, of the whole dot product, gives whole banks of it the same distribution
    bundle = channels // size * size
    whole = nonzero_pairs(banks, window, channels, channels)
    measured = replace(banks, histograms={channels: tuple(whole)})
    exact = binomial(structure.most(bundle, window), activation)
    found = nonzero_pairs(measured, window, bundle, channels)
    assert np.allclose(found[: len(exact)], exact)
    assert not found[len(exact) :].any()


@pytest.mark.parametrize("window", [1, 9])
@pytest.mark.parametrize("bundle", [4, 8, 32])
def test_with_dense_activations_nothing_of_nm_is_left_to_chance(window: int, bundle: int) -> None:
    nm = LayerSparsity(0.5, 1.0, 0.5, structure=Structure(nm=(2, 4)))
    certain = np.zeros(window * bundle + 1)
    certain[window * bundle // 2] = 1.0
    assert np.allclose(nonzero_pairs(nm, window, bundle), certain)
    whole = np.zeros(window * 32 + 1)
    whole[window * 16] = 1.0
    measured = replace(nm, histograms={32: tuple(whole)})
    assert np.allclose(nonzero_pairs(measured, window, bundle), certain)
    free = nonzero_pairs(replace(nm, structure=None), window, bundle)
    assert free[window * bundle // 2] < 0.5  # a binomial is no promise


def test_nm_is_bounded_where_activations_are_sparse_too() -> None:
    nm = LayerSparsity(0.5, 0.6, 0.3, structure=Structure(nm=(2, 4)))
    found = nonzero_pairs(nm, 9, 8)
    assert found[9 * 4 + 1 :].sum() == 0
    assert found @ np.arange(len(found)) == pytest.approx(0.3 * 72)


def test_nm_is_measured_and_makes_faster_designs_than_as_many_zeros_anywhere() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.Hardswish(), nn.Conv2d(32, 32, 3, padding=1)).eval()
    workload = trace(model, (3, 16, 16), "pair")
    sparsify(model, {"all": LayerRule("*", activation=False), "first": LayerRule("@first", False, False)}, NM(2, 4))
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(0.5, 0.0)
        layer.set_mode(Mode.FROZEN)
    profile = calibrate(model, [torch.randn(2, 3, 16, 16)])
    assert profile.layers["2"].structure == Structure(nm=(2, 4))
    anywhere = SparsityProfile({name: replace(one, structure=None) for name, one in profile.layers.items()})
    accelerator = DataflowAccelerator(load_device("zedboard"), DataflowOptions(limits=("dsp",), tolerance=0.0))
    ours, theirs = (accelerator.estimate(workload, one) for one in (profile, anywhere))
    assert ours.throughput_ips > theirs.throughput_ips
    rows = [next(row for row in one.layers if row.name == "2") for one in (ours, theirs)]
    uneven = [row.initiation_interval / row.initiation_interval_of_mean for row in rows]
    assert uneven[0] < uneven[1]  # engines differ only by what padding leaves them


@given(
    st.sampled_from([(8, 8), (4, 8), (3, 2)]), st.integers(1, 6), st.integers(1, 6),
    st.sampled_from([1, 2, 4, 8, 16, 24]), st.sampled_from([1, 2, 3, 4, 8, 16]), st.randoms(use_true_random=False),
)  # fmt: skip
def test_tiles_left_are_counted_right(size: tuple[int, int], rows: int, columns: int, i: int, o: int, random) -> None:  # type: ignore[no-untyped-def]
    live = tuple("".join(random.choice("01") for _ in range(columns)) for _ in range(rows))
    filters, channels = rows * size[0], columns * size[1]
    sparsity = LayerSparsity(structure=Structure(blocks=Blocks(size, live)))
    zero_tiles = ZeroTiles(conv(filters, channels), sparsity)
    found = float(zero_tiles.kept_fraction(np.array([i]), np.array([o]))[0])
    if any(fold % block and block % fold for fold, block in ((o, size[0]), (i, size[1]))):
        assert found == 1.0  # tiles that cut blocks are taken to be full
        return
    tiles = [
        any(
            live[f // size[0]][c // size[1]] == "1"
            for f in range(a, min(a + o, filters)) for c in range(b, min(b + i, channels))
        )
        for a, b in itertools.product(range(0, filters, o), range(0, channels, i))
    ]  # fmt: skip
    assert found == pytest.approx(sum(tiles) / len(tiles)) or "0" not in "".join(live)


def test_blocks_of_zeros_are_left_out_of_the_schedule() -> None:
    half = tuple("10" * 4 if row % 2 else "01" * 4 for row in range(8))
    blocks = LayerSparsity(0.5, 1.0, 0.5, structure=Structure(blocks=Blocks((8, 8), half)))
    layer = conv(64, 64)
    workload = Workload("one", (64, 8, 8), (layer,))
    accelerator = DataflowAccelerator(load_device("zedboard"), DataflowOptions(limits=("dsp",), tolerance=0.0))
    dense = accelerator.estimate(workload, SparsityProfile.dense(workload))
    ours = accelerator.estimate(workload, SparsityProfile({"conv": blocks}))
    assert ours.throughput_ips / dense.throughput_ips > 1.8
    row = ours.layers[0]
    if row.engine == "dense":
        assert row.initiation_interval < -(-9 * row.folds["m"] // row.folds["N"])


class _Net(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, hidden, 3), nn.Conv2d(hidden, 12, 3), nn.Conv2d(12, 12, 1)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(nn.functional.max_pool2d(torch.relu(self.first(x)), 2)))
        return self.fc((x + torch.sigmoid(self.third(x))).mean((2, 3)))  # type: ignore[no-any-return]


def test_dead_filters_leave_a_smaller_network() -> None:
    """With a quarter of the first layer's filters dead, the design is that of a network that never had them."""
    whole, small = (trace(_Net(hidden).eval(), (3, 20, 20), "net") for hidden in (16, 12))
    dead = LayerSparsity(0.75, 1.0, 0.75, structure=Structure(dead_filters=(0, 5, 6, 15)))
    after = LayerSparsity(1.0, 0.75, 0.75)
    profile = SparsityProfile({**SparsityProfile.dense(whole).layers, "first": dead, "second": after})
    shrunk, denser = without_dead_channels(whole, profile)
    assert [one.geometry for one in shrunk] == [one.geometry for one in small]
    assert denser.layers["first"].pair_density == denser.layers["second"].pair_density == 1.0
    accelerator = DataflowAccelerator(load_device("zedboard"), DataflowOptions(limits=("dsp",), tolerance=0.0))
    ours, theirs = accelerator.estimate(whole, profile), accelerator.estimate(small, SparsityProfile.dense(small))
    assert ours.interval_cycles == theirs.interval_cycles
    assert without_dead_channels(small, SparsityProfile.dense(small))[0] is small


def test_windows_of_the_channels_left_are_those_that_were_measured() -> None:
    """Of 16 channels 4 are zero; what is measured of a network that never had them is what is left."""
    torch.manual_seed(0)
    whole = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 12, 3))
    dead = (0, 5, 6, 15)
    with torch.no_grad():
        for values in (whole[0].weight, whole[0].bias):
            values[list(dead)] = 0
    small = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3))
    kept = [channel for channel in range(16) if channel not in dead]
    small[0].weight.data, small[0].bias.data = whole[0].weight.data[kept], whole[0].bias.data[kept]
    small[2].weight.data, small[2].bias.data = whole[2].weight.data[:, kept], whole[2].bias.data
    images = torch.randn(2, 3, 9, 9)
    measured, expected = (
        calibrate(sparsify(model.eval(), {"all": LayerRule("*")}), [images]).layers for model in (whole, small)
    )
    first = replace(measured["0"], structure=Structure(dead_filters=dead))
    workload = trace(whole, (3, 9, 9), "net")
    _, denser = without_dead_channels(workload, SparsityProfile({"0": first, "2": measured["2"]}))
    for name in ("0", "2"):
        ours, theirs = denser.layers[name], expected[name]
        assert ours.activation_density == pytest.approx(theirs.activation_density)
        assert ours.filter_nonzeros == theirs.filter_nonzeros
        for found, exact in (
            (ours.histograms, theirs.histograms), (ours.activation_histograms, theirs.activation_histograms)
        ):  # fmt: skip
            # of bundles with dead channels among others it is not known which were measured
            assert set(found) == (set(exact) if name == "0" else {1, 12})
            for bundle, histogram in found.items():
                assert histogram == pytest.approx(exact[bundle], abs=1e-9)


def test_one_channel_stays_where_all_are_dead() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU(), nn.Conv2d(1, 4, 3)).eval()
    measured = calibrate(sparsify(model, {"all": LayerRule("*")}), [torch.randn(2, 3, 9, 9)]).layers
    workload = trace(model, (3, 9, 9), "net")
    profile = SparsityProfile({**measured, "0": replace(measured["0"], structure=Structure(dead_filters=(0,)))})
    shrunk, denser = without_dead_channels(workload, profile)
    assert shrunk["2"].source.channels == 1
    assert denser.layers["2"].activation_histograms.keys() == {1}
    denser.check_covers(shrunk)


@pytest.mark.parametrize("structure", [Structure(nm=(2, 4)), Structure(bank=(5, 4)), Structure(block=(4, 4))])
def test_groups_of_channels_are_not_whole_where_some_are_dead(structure: Structure) -> None:
    """What is left of 16 channels no longer lies in a pattern's groups: four of them may hold more than it allows."""
    whole = trace(_Net(16).eval(), (3, 20, 20), "net")
    dead = LayerSparsity(0.75, 1.0, 0.75, structure=Structure(dead_filters=(0, 5, 6, 15)))
    bounded = LayerSparsity(0.5, 0.75, 0.375, structure=structure)
    profile = SparsityProfile({**SparsityProfile.dense(whole).layers, "first": dead, "second": bounded})
    assert without_dead_channels(whole, profile)[1].layers["second"].structure == Structure()
    alone = SparsityProfile({**SparsityProfile.dense(whole).layers, "second": bounded})
    assert without_dead_channels(whole, alone)[1].layers["second"].structure == structure


def test_dead_channels_end_where_something_is_added() -> None:
    whole = trace(_Net(16).eval(), (3, 20, 20), "net")
    dead = LayerSparsity(0.5, 1.0, 0.5, structure=Structure(dead_filters=(1, 2, 3, 4, 5, 6)))
    profile = SparsityProfile({**SparsityProfile.dense(whole).layers, "second": dead})
    shrunk, _ = without_dead_channels(whole, profile)
    assert shrunk["second"].result.channels == 6
    assert (shrunk["third"].source.channels, shrunk["third"].result.channels) == (6, 12)  # a sigmoid of 0 is not 0
    assert shrunk["fc"].source.channels == 12


def test_what_a_pattern_promises_survives_a_file() -> None:
    for structure in (
        Structure(nm=(2, 4)), Structure(bank=(3, 1)), Structure(block=(8, 8)), Structure(dead_filters=(1, 3)),
        Structure(blocks=Blocks((4, 4), ("01", "11"), 1)),
    ):  # fmt: skip
        layer = LayerSparsity(0.5, structure=structure)
        again = LayerSparsity.from_dict(json.loads(json.dumps(layer.to_dict())))
        assert again.structure == structure
    with pytest.raises(ValueError, match="structure is no object"):
        Structure.from_dict({"nm": 3})
    for make in (
        lambda: Structure(nm=(5, 4)), lambda: Structure(bank=(0, 4)), lambda: Structure(nm=(2, 4), bank=(1, 1)),
        lambda: Blocks((8, 8), ("01", "1")), lambda: Blocks((8, 8), ("02",)),
        lambda: Blocks((0, 8), ("1",)), lambda: Structure(block=(0, 8)), lambda: Structure(dead_filters=(-1,)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"pattern|rows|hold|exist|negative"):
            make()


def test_the_simulator_refuses_what_it_cannot_play() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
    workload = trace(model, (8, 8, 8), "two")
    sparsify(model, {"all": LayerRule("*")}, Block())
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(0.5, 0.0)
        layer.set_mode(Mode.FROZEN)
    images = torch.randn(2, 8, 8, 8)
    profile = calibrate(model, [images])
    accelerator = DataflowAccelerator(load_device("zedboard"))
    design = accelerator.design(workload, accelerator.estimate(workload, profile))
    with pytest.raises(UserError, match="leaves out blocks or channels of 2"):
        simulate_design(design, workload, model, images, profile)


def test_depthwise_filters_that_are_dead_are_gone_with_their_channels() -> None:
    net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3, groups=12), nn.ReLU(), nn.Conv2d(12, 6, 1))
    workload = trace(net.eval(), (3, 12, 12), "depthwise")
    dead = LayerSparsity(0.75, 1.0, 0.75, channel_densities=(1.0,) * 12, structure=Structure(dead_filters=(0, 4, 11)))
    after = LayerSparsity(1.0, 0.75, 0.75)
    profile = SparsityProfile({**SparsityProfile.dense(workload).layers, "2": dead, "4": after})
    shrunk, denser = without_dead_channels(workload, profile)
    assert (shrunk["2"].groups, shrunk["2"].result.channels) == (9, 9)
    assert shrunk["4"].source.channels == 9
    assert denser.layers["2"].pair_density == 1.0
    assert len(denser.layers["2"].channel_densities) == 9
    assert denser.layers["4"].activation_density == 1.0
    accelerator = DataflowAccelerator(load_device("zedboard"), DataflowOptions(limits=("dsp",), tolerance=0.0))
    faster, dense = (accelerator.estimate(workload, one) for one in (profile, SparsityProfile.dense(workload)))
    assert faster.throughput_ips >= dense.throughput_ips


def test_blocks_that_are_only_promised_are_skipped_as_many_as_there_may_be() -> None:
    promised = LayerSparsity(0.5, structure=Structure(block=(8, 8)))
    zero_tiles = ZeroTiles(conv(64, 64), promised)
    assert zero_tiles.kept_fraction(np.array([8, 16, 3]), np.array([8, 8, 8])).tolist() == [0.5, 0.75, 1.0]
