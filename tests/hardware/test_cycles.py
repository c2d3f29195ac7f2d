"""Layer equations against the peer's model, published numbers and brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware import LayerSparsity, Operation, OperationKind
from hass_train.hardware.arithmetic import ceil_div, useful_folds
from hass_train.hardware.dataflow.costs import cycles, memory
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.initiation import (
    binomial,
    initiation_intervals,
    multiplier_choices,
    nonzero_pairs,
    thinned,
)
from hass_train.hardware.dataflow.costs.logic import Widths
from hass_train.hardware.dataflow.costs.peer import PeerCosts
from hass_train.hardware.workload import FeatureMap
from tests.hardware.brute import expected_cycles
from tests.hardware.peers import one_design

COMPUTE = ("conv", "conv_pointwise", "conv_depthwise", "conv_sparse", "conv_pointwise_sparse", "inner_product")
STREAM = {
    "max_pool": OperationKind.MAX_POOL,
    "relu": OperationKind.ACTIVATION,
    "thresholded_relu": OperationKind.ACTIVATION,
    "hardswish": OperationKind.ACTIVATION,
    "eltwise_add": OperationKind.ADD,
    "eltwise_mul": OperationKind.MULTIPLY,
    "split": OperationKind.ACTIVATION,
}


def operation(row: dict[str, Any]) -> Operation:
    """A peer row as an operation. The peer streams all padding in, so that it is part of the map for ours."""
    shape, expected = row["shape"], row["expected"]
    pads = 2 * shape.get("pad_each_side", shape.get("pad", 0))
    source = FeatureMap(shape.get("rows_in", 1) + pads, shape.get("cols_in", 1) + pads, shape["channels_in"])
    result = FeatureMap(expected["rows_out"], expected["cols_out"], expected["channels_out"])
    kind = OperationKind.CONV if row["layer"] in COMPUTE else STREAM[row["layer"]]
    kernel = (shape.get("kernel_rows", shape.get("kernel", 1)), shape.get("kernel_cols", shape.get("kernel", 1)))
    stride = shape.get("stride", 1)
    return Operation(
        row["id"], kind, ("input",), source, result, kernel, (stride, stride), groups=shape.get("groups", 1)
    )


def dense_rows(peer: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in peer["layers"] if row["layer"] in COMPUTE and "sparsity" not in row]


def test_dense_rows_of_the_peer_are_reproduced_to_the_cycle(peer: dict[str, Any]) -> None:
    rows = dense_rows(peer)
    assert len(rows) == 8
    for row in rows:
        layer, folds = operation(row), row["parallelism"]
        i, o, g = (folds.get(f"coarse_{name}", 1) for name in ("in", "out", "group"))
        n = folds.get("fine", 1)
        compute = cycles.compute_cycles(layer, i, o, g, ceil_div(layer.window, n))
        ours = cycles.interval(compute, cycles.input_cycles(layer, i, g), cycles.output_cycles(layer, o, g))
        assert int(ours) == row["expected"]["latency_cycles"], row["id"]
        bits = row["bit_widths"]
        costs = PeerCosts(Widths(bits["data"], bits["weight"], bits["accumulator"]))
        dsp = costs.compute(layer, one_design(ComputeEngine.DENSE, i, o, g, n=n))[0, 0]
        assert int(dsp) == row["expected"]["DSP"], row["id"]


def test_streaming_rows_of_the_peer_are_reproduced_to_the_cycle(peer: dict[str, Any]) -> None:
    """All but its global pool (`v063`: 64 cycles, which leaves the H·W = 49 pixels to its pipeline depth)."""
    seen = 0
    for row in peer["layers"]:
        if row["layer"] in STREAM:
            streams = row["parallelism"].get("coarse", 1)
            assert int(cycles.streaming_cycles(operation(row), streams)) == row["expected"]["latency_cycles"], row["id"]
            seen += 1
    assert seen == 7


def test_sparse_rows_of_the_peer_follow_from_their_histograms(peer: dict[str, Any]) -> None:
    """Compute cycles with all-zero windows skipped; the peer gives zeros per window, we take non-zeros."""
    seen = 0
    for row in peer["layers"]:
        zeros = row.get("sparsity", {}).get("histogram_all_channels")
        if zeros is None:
            continue
        layer, folds = operation(row), row["parallelism"]
        t = initiation_intervals(np.array(zeros[::-1]), t_min=0)[folds["fine"] - 1]
        i, o, g = folds["coarse_in"], folds["coarse_out"], folds["coarse_group"]
        ours = float(cycles.compute_cycles(layer, i, o, g, t))
        assert math.ceil(ours * (1 - 1e-12)) == row["expected"]["latency_cycles"], row["id"]
        seen += 1
    assert seen == 5


def test_block_rams_of_dense_rows_of_the_peer(peer: dict[str, Any]) -> None:
    """Weights (one wide memory) plus line and window buffers. `v027` differs: the peer puts a memory one word deep into
    1,920 block RAMs, ours into LUTs."""
    for row in dense_rows(peer):
        if row["id"] in ("v027", "v013"):  # v013 is v011 with its weights in UltraRAM
            continue
        layer, folds, bits = operation(row), row["parallelism"], row["bit_widths"]["weight"]
        i, o, g = (folds.get(f"coarse_{name}", 1) for name in ("in", "out", "group"))
        n = folds.get("fine", 1)
        depth = int(cycles.rounds(layer, i, o, g)) // layer.result.pixels * ceil_div(layer.window, n)
        weights = int(memory.bram18(n * i * o * g * bits, depth))
        lines = int(memory.window_buffers(layer, np.array(i * g), bits).bram18)
        assert weights + lines == row["expected"]["BRAM18"], row["id"]


def test_memory_rows_of_the_peer(peer: dict[str, Any]) -> None:
    for row in peer["memory"]:
        assert int(memory.bram18(row["width_bits"], row["depth"])) == row["bram18_as_memory"]
        assert int(memory.uram(row["width_bits"], row["depth"])) == row["uram"]


def test_the_mean_of_the_ceiling_is_not_the_ceiling_of_the_mean() -> None:
    """At sparsity 0.7, M = 9, N = 3 the ceiling of the mean says 1; the truth is 1.27 (hardware-model, section 2)."""
    t = initiation_intervals(binomial(9, 0.3), t_min=1)[2]
    assert t == pytest.approx(1.27, abs=0.005)
    assert initiation_intervals(binomial(9, 0.5), t_min=1)[3] == pytest.approx(1.50, abs=0.005)


@given(st.integers(1, 30), st.floats(0.0, 1.0), st.integers(0, 1))
def test_initiation_interval_is_the_expectation(pairs: int, density: float, t_min: int) -> None:
    ours = initiation_intervals(binomial(pairs, density), t_min)
    for n, t in zip(multiplier_choices(pairs), ours, strict=True):
        assert t == pytest.approx(expected_cycles(pairs, int(n), density, t_min), abs=1e-9)


@given(st.integers(2, 40), st.data())
def test_thinning_keeps_the_mean_density_and_matches_draws_without_replacement(total: int, data: st.DataObject) -> None:
    pairs = data.draw(st.integers(1, total))
    weights = np.array(data.draw(st.lists(st.floats(0, 1), min_size=total + 1, max_size=total + 1)))
    weights[data.draw(st.integers(0, total))] += 0.5
    histogram = weights / weights.sum()
    ours = thinned(histogram, pairs)
    exact = np.zeros(pairs + 1)
    for have, probability in enumerate(histogram):
        for k in range(max(0, pairs - (total - have)), min(have, pairs) + 1):
            ways = math.comb(have, k) * math.comb(total - have, pairs - k)
            exact[k] += probability * ways / math.comb(total, pairs)
    assert ours == pytest.approx(exact, abs=1e-9)


def test_a_long_histogram_is_condensed_without_moving_its_mean() -> None:
    histogram = binomial(600, 0.37)
    ours = thinned(histogram, 100)
    assert ours @ np.arange(101) / 100 == pytest.approx(0.37, abs=2e-3)
    assert ours == pytest.approx(binomial(100, 0.37), abs=5e-3)


def test_measured_histograms_come_before_the_binomial() -> None:
    measured = (0.5, 0.0, 0.0, 0.0, 0.5)
    sparsity = LayerSparsity(pair_density=0.5, histograms={4: measured})
    assert nonzero_pairs(sparsity, 1, 4) == pytest.approx(measured)
    assert nonzero_pairs(sparsity, 1, 1) == pytest.approx([0.5, 0.5])
    assert nonzero_pairs(LayerSparsity(pair_density=0.5), 1, 2) == pytest.approx([0.25, 0.5, 0.25])


@given(st.integers(1, 200))
def test_useful_folds_cover_every_number_of_passes_at_least_cost(dimension: int) -> None:
    folds = useful_folds(dimension)
    for p in range(1, dimension + 1):
        same = [fold for fold in folds if ceil_div(dimension, fold) == ceil_div(dimension, p)]
        assert same
        assert min(same) <= p
    assert useful_folds(dimension, divisors_only=True) == [p for p in range(1, dimension + 1) if dimension % p == 0]
