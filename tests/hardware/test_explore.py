"""Exploration: exact, monotone, and right about published numbers."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hass_train.hardware import (
    CannotFit,
    Device,
    Estimate,
    LayerSparsity,
    Operation,
    OperationKind,
    SparsityProfile,
    Workload,
    load_device,
)
from hass_train.hardware.dataflow.designs import laid, passes
from hass_train.hardware.dataflow.designs.laid import lay
from hass_train.hardware.dataflow.designs.tables import LOGIC, MEMORY, DesignSpace, Table, per_unit
from hass_train.hardware.dataflow.exploration import walk
from hass_train.hardware.dataflow.exploration.knapsack import Knapsack, NoSelection
from hass_train.hardware.dataflow.exploration.relax import cutting_plane
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.trace import trace
from hass_train.hardware.workload import FeatureMap
from tests.conftest import ROOT
from tests.hardware.brute import best
from tests.hardware.peers import peers

U250 = Device("u250", 12288, 5376, 1280, 1728000, 3456000, 250, 614.4)


@st.composite
def layer(draw: st.DrawFn, name: str) -> Operation:
    size, kernel = draw(st.integers(1, 5)), draw(st.sampled_from([1, 1, 3]))
    groups = draw(st.sampled_from([1, 1, 2]))
    channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    dilation = draw(st.sampled_from([1, 1, 4]))
    pad = kernel // 2 * dilation
    return Operation(
        name, OperationKind.CONV, ("input",), FeatureMap(size, size, channels), FeatureMap(size, size, filters),
        (kernel, kernel), (1, 1), (pad, pad), (dilation, dilation), groups,
    )  # fmt: skip


@st.composite
def case(draw: st.DrawFn) -> tuple[list[Operation], list[float]]:
    count = draw(st.integers(1, 3))
    layers = [draw(layer(f"conv{k}")) for k in range(count)]
    return layers, [draw(st.sampled_from([0.1, 0.35, 0.6, 1.0])) for _ in layers]


def rate(layers: list[Operation], densities: list[float], limits: dict[str, int], most: int, pixels: int = 1) -> float:
    """Replicas per cycle, weights on chip."""
    workload = Workload("random", (1, 1, 1), tuple(layers))
    device = dataclasses.replace(U250, **limits)
    options = peers(weights="dense", max_replicas=most, max_pixels=pixels, limits=tuple(limits), **FULL)
    profile = SparsityProfile({o.name: LayerSparsity(pair_density=d) for o, d in zip(layers, densities, strict=True)})
    try:
        found = OnChip(device, options).estimate(workload, profile)
    except CannotFit:
        return 0.0
    assert found.slack == 0
    return found.replicas / found.interval_cycles


FULL: dict[str, Any] = {"engines": "averaged", "max_lut_utilization": 1.0, "partitions": "never", "tolerance": 0.0}


class OnChip(DataflowAccelerator):
    """Off-chip memory for images only."""

    def __init__(self, device: Device, options: DataflowOptions) -> None:
        super().__init__(device, options)
        self.budget[-1] = 0.0


def test_where_nothing_is_decided_the_cheapest_is_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds and few branches may leave every question open; then the answer is the selection that is known to fit."""
    layers = [
        Operation(f"conv{k}", OperationKind.CONV, ("input",), FeatureMap(6, 6, 8), FeatureMap(6, 6, 8), (3, 3))
        for k in range(2)
    ]
    workload = Workload("open", (8, 6, 6), tuple(layers))
    network = DataflowAccelerator(U250).network(workload, SparsityProfile.dense(workload))
    known = network.explorer(0, 2, 0.0, prove=True).fastest_design(1)
    open_ended = network.explorer(0, 2, 0.0, prove=False)
    for method in ("quick_fit", "branched_fit"):
        monkeypatch.setattr(Knapsack, method, lambda *_: NoSelection.UNKNOWN)
    assert open_ended.attempt(known.interval, 1, exact=True) is NoSelection.UNKNOWN
    assert open_ended.cheapest(known.interval, 1, 0, 1e-3, known.selection) is known.selection


@given(case(), st.integers(1, 60), st.integers(1, 3))
def test_exploration_equals_brute_force_with_dsps(
    network: tuple[list[Operation], list[float]], dsp: int, most: int
) -> None:
    limits = {"dsp": dsp}
    assert rate(*network, limits, most) == pytest.approx(best(*network, limits, most), rel=1e-12)


@given(case(), st.integers(2, 60), st.integers(200, 30_000), st.integers(1, 3), st.integers(1, 2))
def test_exploration_equals_brute_force_with_dsps_and_luts(
    network: tuple[list[Operation], list[float]], dsp: int, lut: int, most: int, pixels: int
) -> None:
    limits = {"dsp": dsp, "lut": lut}
    assert rate(*network, limits, most, pixels) == pytest.approx(best(*network, limits, most, pixels), rel=1e-12)


@given(case(), st.integers(2, 60), st.integers(0, 12), st.integers(0, 4), st.integers(1, 3))
def test_exploration_equals_brute_force_with_three_resources(
    network: tuple[list[Operation], list[float]], dsp: int, bram: int, uram: int, most: int
) -> None:
    limits = {"dsp": dsp, "bram18": bram, "uram": uram}
    assert rate(*network, limits, most) == pytest.approx(best(*network, limits, most), rel=1e-12)


@given(case(), st.integers(4, 60))
def test_more_of_anything_or_fewer_pairs_is_never_slower(
    network: tuple[list[Operation], list[float]], dsp: int
) -> None:
    layers, densities = network
    limits = {"dsp": dsp, "bram18": 50, "uram": 10, "lut": 20_000, "ff": 40_000}
    base = rate(layers, densities, limits, 4)
    for name, more in (("dsp", 3), ("bram18", 10), ("uram", 2), ("lut", 3_000), ("ff", 5_000)):
        assert rate(layers, densities, {**limits, name: limits[name] + more}, 4) >= base
    assert rate(layers, [d * 0.5 for d in densities], limits, 4) >= base


@pytest.fixture(scope="module")
def mobilenet() -> Workload:
    return trace(timm.create_model("mobilenetv3_small_100"), (3, 224, 224), "mobilenetv3_small_100")


def test_the_published_number_is_the_input_bound(mobilenet: Workload) -> None:
    """HASS (FPL 2024) reports 4,895 images/s for MobileNetV3: 250 MHz over 226² padded pixels. Ours reads only the
    224², since the first layer's stride leaves out what pads the map below and on the right."""
    assert pytest.approx(4895, abs=1) == 250e6 / 226**2
    accelerator = DataflowAccelerator(U250, DataflowOptions(max_replicas=1, max_pixels=1))
    estimate = accelerator.estimate(mobilenet, SparsityProfile.dense(mobilenet))
    assert estimate.interval_cycles == 224**2
    assert estimate.throughput_ips == pytest.approx(250e6 / 224**2)
    assert (estimate.bottleneck.layer, estimate.bottleneck.resource) == ("conv_stem", "parallelism")
    assert estimate.resources.dsp < U250.dsp / 8


def test_estimate_rows_add_up(mobilenet: Workload) -> None:
    accelerator = DataflowAccelerator(U250, DataflowOptions(tolerance=0.01))
    estimate = accelerator.estimate(mobilenet, SparsityProfile.uniform(mobilenet, 0.4))
    for name in ("dsp", "bram18", "uram", "lut", "ff"):
        rows = sum(getattr(row.resources, name) for row in estimate.layers)
        assert getattr(estimate.resources, name) == rows * estimate.replicas
        assert estimate.utilization[name] <= 1
    # a squeeze-excite gate's layers are built faster than the pipeline, so that a map waits less for them
    assert max(row.interval_cycles * row.urgency for row in estimate.layers) == estimate.interval_cycles
    assert {row.urgency for row in estimate.layers} > {1, 16}
    assert estimate.throughput_ips == pytest.approx(estimate.replicas * 250e6 / estimate.interval_cycles)


def test_a_tolerance_is_kept() -> None:
    """On a network small enough to be explored exactly in seconds, and large enough for three answers that differ."""
    workload = trace(timm.create_model("mobilenetv3_small_050"), (3, 64, 64), "mobilenetv3_small_050")
    zcu104, profile = load_device("zcu104"), SparsityProfile.uniform(workload, 0.3)

    def found(tolerance: float) -> Estimate:
        return DataflowAccelerator(zcu104, peers(tolerance=tolerance)).estimate(workload, profile)

    exact, proved, quick = found(0.0), found(0.004), found(0.02)
    assert exact.slack == 0
    assert exact.throughput_ips * 0.996 <= proved.throughput_ips <= exact.throughput_ips
    # a quick one says what it left open among fewer folds
    assert quick.throughput_ips < exact.throughput_ips <= quick.throughput_ips * (1 + quick.slack) * 1.02


def test_a_device_that_is_too_small_is_named(mobilenet: Workload) -> None:
    with pytest.raises(CannotFit, match="dsp"):
        DataflowAccelerator(Device("tiny", 8, 5376, 0, 10**6, 10**6, 100, 10)).estimate(
            mobilenet, SparsityProfile.dense(mobilenet)
        )


def test_a_profile_of_another_network_is_refused(mobilenet: Workload) -> None:
    profile = SparsityProfile({"nowhere": LayerSparsity()})
    with pytest.raises(ValueError, match="do not match mobilenetv3_small_100"):
        DataflowAccelerator(U250).estimate(mobilenet, profile)


@pytest.mark.parametrize("field", ["dsp", "clock_mhz", "bram18"])
def test_devices_are_checked(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(U250, **{field: -1})


def test_a_closed_standard_output_hurts_nobody() -> None:
    """HiGHS is kept quiet by turning file descriptor 1 away; there may be none."""
    room = "hass_train.hardware.dataflow.exploration"
    code = f"import os; os.close(1)\nfrom {room}.knapsack import quiet\nwith quiet(): pass"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr


@given(st.integers(1, 4))
def test_a_solver_that_gives_up_proves_nothing(status: int) -> None:
    """HiGHS's limit of nodes reaches scipy as status 4; only 2 says that nothing fits."""
    gave_up = SimpleNamespace(x=None, status=status)
    knapsack = Knapsack(np.array([[2.0, 1.0], [1.0, 2.0]] * 2), np.array([0, 0, 1, 1]), 2, np.array([3.0, 3.0]))
    with patch("hass_train.hardware.dataflow.exploration.knapsack.milp", return_value=gave_up):
        assert knapsack._by_integer_programming(1) is (NoSelection.IMPOSSIBLE if status == 2 else NoSelection.UNKNOWN)


def _undominated(rows: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The ascending indices of rows that none of less cost matches or beats in every column."""
    order = np.argsort(cost, kind="stable")
    return np.sort(order[passes.alive(rows[order])])


@given(st.integers(1, 700), st.integers(1, 6), st.sampled_from([2, 5, 1000]), st.integers(0, 99))
def test_undominated_rows_are_those_of_brute_force(count: int, columns: int, values: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, values, (count, columns)).astype(float)
    left = _undominated(rows, rows.sum(axis=1))
    below = (rows[:, None] <= rows[None]).all(axis=2) & (rows[:, None] < rows[None]).any(axis=2)
    wanted = rows[~below.any(axis=0)]
    assert sorted(map(tuple, rows[left])) == sorted(set(map(tuple, wanted)))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_branch_and_bound_equals_brute_force(operations: int, most: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, most + 1, operations)
    rows = random.integers(0, 12, (sizes.sum(), columns)).astype(float)
    budget = random.integers(0, 8 * operations, columns).astype(float)
    end = np.cumsum(sizes)
    first = end - sizes
    every = itertools.product(*(range(a, b) for a, b in zip(first, end, strict=True)))
    possible = any((rows[list(one)].sum(axis=0) <= budget).all() for one in every)
    weights = random.dirichlet(np.ones(columns))
    found, chosen = walk.branch(rows, first, end, budget, per_unit(budget), weights, 10**6)
    assert found == (walk.FITS if possible else walk.IMPOSSIBLE)
    if possible:
        assert ((first <= chosen) & (chosen < end)).all()
        assert (rows[chosen].sum(axis=0) <= budget).all()


@given(st.integers(2, 9), st.integers(0, 10**6))
def test_branch_and_bound_proves_nothing_past_its_limit(operations: int, seed: int) -> None:
    """Each operation spends on either of two resources, evenly in the relaxation, so that only branching decides."""
    random = np.random.default_rng(seed)
    size = float(random.integers(3, 9))
    rows = np.tile([[size, 0.0], [0.0, size]], (operations, 1))
    first = np.arange(0, 2 * operations, 2)
    budget = np.full(2, operations * size / 2)
    found, _ = walk.branch(rows, first, first + 2, budget, per_unit(budget), np.full(2, 0.5), 1)
    assert found == (walk.OPEN if operations % 2 else walk.FITS)
    found, _ = walk.branch(rows, first, first + 2, budget, per_unit(budget), np.full(2, 0.5), 10**6)
    assert found == (walk.IMPOSSIBLE if operations % 2 else walk.FITS)


@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 10**6))
def test_passes_over_tables_equal_brute_force(count: int, places: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    interval = np.sort(random.integers(1, 12, count))
    logic = random.integers(0, 9, (count, 3)).astype(float)
    memory = random.integers(0, 9, (places, count, 3)).astype(float)
    weights, limit = random.integers(0, 4, 6).astype(float), float(random.integers(0, 60))
    end = int(random.integers(1, count + 1))
    rows = np.empty((count, places, 6))
    rows[:, :, LOGIC], rows[:, :, MEMORY] = logic[:, None], memory.transpose(1, 0, 2)
    cost = rows @ weights
    spent = np.zeros(6)
    least = passes.cheapest(logic, memory, end, weights, 2, spent)
    assert least == cost[:end].min() == spent @ weights / 2
    near = np.nonzero(cost[:end] <= limit)
    assert [list(found) for found in passes.near(logic, memory, end, weights, limit)] == [
        list(near[0]), list(near[1]), list(cost[near])
    ]  # fmt: skip
    assert list(passes.within(logic, memory, end, weights, limit)) == sorted(set(near[0]))
    assert (passes.gathered(logic, memory, *near) == rows[near]).all()
    at, costs = passes.steps(interval, logic, memory, weights)
    reached = {int(one): cost[interval <= one].min() for one in interval}
    assert all(costs[np.searchsorted(at, one, side="right") - 1] == least for one, least in reached.items())
    assert (np.diff(at) > 0).all()
    assert (np.diff(costs) < 0).all()
    rest = random.integers(0, 9, 6).astype(float)
    fit = np.where((rows[:end] <= rest).all(axis=2), cost[:end], np.inf)
    worth, design, place = passes.lightest(logic, memory, end, weights, limit, rest)
    if fit.min() < limit:
        assert worth == fit[design, place] == fit.min()
    else:
        assert design == -1


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), min_size=1, max_size=4), st.integers(0, 10**6))
def test_tables_laid_end_to_end_are_passed_as_single_ones_are(shapes: list[tuple[int, int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    tables = [
        Table(
            random.integers(1, 12, count), random.integers(0, 9, (count, 3)).astype(float),
            random.integers(0, 9, (places, count, 3)).astype(float), DesignSpace(np.full(6, np.inf)),
        )
        for count, places in shapes
    ]  # fmt: skip
    copies = random.integers(1, 4, len(tables))
    weights, columns = random.integers(1, 4, 6).astype(float), np.arange(6)
    interval = max(int(table.interval[0]) for table in tables) + 3
    split = int(random.integers(0, len(tables) + 1))
    parts = [lay(tables[a:b], copies[a:b]) for a, b in ((0, split), (split, len(tables))) if b > a]
    whole = laid.joined(parts)
    ends = laid.ends_at(whole, interval)
    least, spent = np.empty(len(tables)), np.zeros(6)
    bound = laid.cheapest(whole, ends, weights, least, spent)
    alone = np.zeros(6)
    for table, end, one, count in zip(tables, ends, least, copies, strict=True):
        assert end == (table.interval <= interval).sum()
        assert one == passes.cheapest(table.logic, table.memory, end, weights, count, alone)
    assert bound == copies @ least
    assert (spent == alone).all()
    limits = least + random.integers(0, 20)
    begin, design, place, resources, complete = laid.survivors(whole, ends, weights, limits, 2**62, columns)
    left = laid.within(whole, ends, weights, limits)
    assert complete
    for k, (table, end, limit) in enumerate(zip(tables, ends, limits, strict=True)):
        near, where, cost = passes.near(table.logic, table.memory, end, weights, limit)
        rows = passes.gathered(table.logic, table.memory, near, where)
        best, own = _undominated(rows, cost), slice(begin[k], begin[k + 1])
        assert [list(design[own]), list(place[own])] == [list(near[best]), list(where[best])]
        assert (resources[own] == rows[best]).all()
        kept = left[5][left[0][k] : left[0][k + 1]]
        assert list(kept) == sorted(set(near))
        memory = left[4][left[1][k] : left[1][k + 1]].reshape(len(table.memory), -1, 3)
        assert (memory == table.memory[:, kept]).all()
    _, few, *_, complete = laid.survivors(whole, ends, weights, limits, 1, columns)
    assert len(few) == len(tables)
    assert complete == all(
        len(passes.near(table.logic, table.memory, end, weights, limit)[0]) == 1
        for table, end, limit in zip(tables, ends, limits, strict=True)
    )
    at, change, fastest = laid.steps(whole, weights)
    assert fastest == max(table.interval[0] for table in tables)
    for asked in range(int(fastest), 14):
        cheapest = [table.cost(weights)[table.interval <= asked].min() for table in tables]
        need = copies @ cheapest
        assert change[at <= asked].sum() == need


@given(st.integers(1, 20), st.integers(1, 3), st.integers(0, 10**6))
def test_a_table_keeps_the_designs_that_fit(count: int, places: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    interval, budget = random.integers(1, 12, count), random.integers(0, 9, 6).astype(float)
    logic, memory = random.uniform(0, 9, (count, 3)), random.uniform(0, 9, (places, count, 3))
    before = logic.copy()
    table = Table(interval, logic, memory, DesignSpace(budget))
    inside = (np.ceil(logic) <= budget[LOGIC]).all(axis=1) & (np.ceil(memory) <= budget[MEMORY]).all(axis=2).any(axis=0)
    assert sorted(table.kept) == list(np.flatnonzero(inside))
    assert (np.diff(table.interval) >= 0).all()
    assert (table.interval == interval[table.kept]).all()
    assert (table.memory == np.ceil(memory[:, table.kept])).all()
    assert (table.least[LOGIC] == np.ceil(logic).min(axis=0)).all()
    assert (table.least[MEMORY] == np.ceil(memory).min(axis=(0, 1))).all()
    assert (logic == before).all()


@given(st.lists(st.lists(st.floats(0.1, 3), min_size=3, max_size=3), min_size=1, max_size=6))
def test_cutting_planes_bound_the_cheapest_selection(spent: list[list[float]]) -> None:
    """No weights make the cheapest of the selections dearer than what the method promises; its own weights reach it."""
    cuts = [np.array(row) for row in spent]
    roof, weights = cutting_plane(cuts)
    assert min(float(cut @ weights) for cut in cuts) == pytest.approx(roof, abs=1e-6)
    for other in np.random.default_rng(0).dirichlet(np.ones(3), 50):
        assert min(float(cut @ other) for cut in cuts) <= roof + 1e-5
