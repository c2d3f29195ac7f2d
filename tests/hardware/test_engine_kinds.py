"""Kinds of compute engine: which a layer may be built with, and that each keeps its own rules among others."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware import (
    CannotFit,
    DataflowAccelerator,
    DataflowOptions,
    LayerSparsity,
    Operation,
    OperationKind,
    SparsityProfile,
    Structure,
    Workload,
    load_device,
)
from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine, LayerWork
from hass_train.hardware.dataflow.costs.engine_kinds import KINDS, by_kind, waiting
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace
from hass_train.hardware.workload import FeatureMap

DENSE, CROSSBAR = ComputeEngine.DENSE, ComputeEngine.CROSSBAR


def conv(channels: int = 6, filters: int = 8, window: int = 3) -> Operation:
    pad = (window // 2, window // 2)
    return Operation(
        "conv", OperationKind.CONV, ("input",), FeatureMap(6, 6, channels), FeatureMap(6, 6, filters),
        (window, window), padding=pad,
    )  # fmt: skip


def table(layer: Operation, sparsity: LayerSparsity, **options: Any) -> ComputeDesigns:
    space = DesignSpace(np.full(6, np.inf))
    return ComputeDesigns(layer, sparsity, OperandFifos((), 0), DataflowOptions(**options), space)


def rows_of(designs: ComputeDesigns, code: int) -> set[tuple[float, ...]]:
    """Everything that a table says of the designs of one kind."""
    folds = designs.folds
    columns = [getattr(folds, name) for name in ("i", "o", "g", "m", "n", "q", "p", "fifo")]
    memory = designs.memory.transpose(1, 0, 2).reshape(len(designs), -1)
    numbers = np.column_stack([*columns, designs.interval, designs.t, designs.alone, designs.logic, memory])
    return {tuple(row) for row in numbers[folds.engine == code]}


def test_every_name_has_a_kind_and_its_place() -> None:
    assert list(KINDS) == list(ComputeEngine)
    assert [engine.code for engine in ComputeEngine] == list(range(len(ComputeEngine)))


@given(st.lists(st.sampled_from(list(ComputeEngine)), max_size=12))
def test_rows_are_shared_out_among_kinds(engines: list[ComputeEngine]) -> None:
    codes = np.array([engine.code for engine in engines], np.int64)
    found = {int(row): kind for kind, rows in by_kind(codes) for row in rows}
    assert [found[row] for row in range(len(engines))] == [KINDS[engine] for engine in engines]
    assert waiting(codes).tolist() == [engine is CROSSBAR for engine in engines]


@pytest.mark.parametrize("structure", [None, Structure(block=(2, 2))])
@pytest.mark.parametrize(("engines", "window"), itertools.product(("auto", "lockstep"), (1, 3)))
def test_a_restricted_choice_has_the_same_designs_of_its_kinds(
    engines: str, window: int, structure: Structure | None
) -> None:
    """Nothing that is said of a kind depends on which others are allowed."""
    layer, sparsity = conv(window=window), LayerSparsity(0.6, 0.7, 0.42, structure=structure)
    whole = table(layer, sparsity, engines=engines)
    for engine, other in ((DENSE, CROSSBAR), (CROSSBAR, DENSE)):
        alone = table(layer, sparsity, engines=engines, compute_engines=[engine])
        assert rows_of(alone, engine.code) == rows_of(whole, engine.code) != set()
        assert not rows_of(alone, other.code)


def test_only_engines_that_wait_have_fifos() -> None:
    folds = table(conv(), LayerSparsity(0.6, 0.7, 0.42)).folds
    assert folds.fifo[folds.engine == DENSE.code].max() == 0
    assert folds.fifo[folds.engine == CROSSBAR.code].max() == DataflowOptions().engine_fifo


def test_layers_get_only_what_is_allowed() -> None:
    layer = conv()
    workload = Workload("one", (6, 6, 6), (layer,))
    profile = SparsityProfile({"conv": LayerSparsity(0.3, 0.5, 0.15)})
    options = DataflowOptions(limits=("dsp",), tolerance=0.0)
    rates = {}
    for allowed in ([DENSE], [CROSSBAR], [DENSE, CROSSBAR]):
        found = DataflowAccelerator(load_device("zedboard"), replace(options, compute_engines=allowed))
        estimate = found.estimate(workload, profile)
        assert estimate.layers[0].engine in allowed
        rates[tuple(allowed)] = estimate.throughput_ips
    assert max(rates.values()) == rates[DENSE, CROSSBAR]


@pytest.mark.parametrize(
    ("layer", "sparsity", "why"),
    [
        (conv(), LayerSparsity(), "has no zeros that a crossbar could skip"),
        (conv(channels=1, window=1), LayerSparsity(0.5, 0.5, 0.25), "has windows of a single pair"),
    ],
)
def test_a_layer_that_no_allowed_engine_suits_is_told(layer: Operation, sparsity: LayerSparsity, why: str) -> None:
    workload = Workload("one", (layer.source.channels, 6, 6), (layer,))
    accelerator = DataflowAccelerator(load_device("u250"), DataflowOptions(compute_engines=["crossbar"]))
    wanted = rf"^conv has no design with compute_engines=\[crossbar\]: it {why}; add dense to hw.compute_engines$"
    with pytest.raises(CannotFit, match=wanted):
        accelerator.estimate(workload, SparsityProfile({"conv": sparsity}))


def test_a_crossbar_is_not_built_for_nothing() -> None:
    assert not (table(conv(), LayerSparsity()).folds.engine == CROSSBAR.code).any()
    work = LayerWork(conv(), LayerSparsity(0.5, 0.5, 0.25), t_min=1, max_pixels=1)
    free = replace(work, t_min=0)
    assert KINDS[CROSSBAR].multipliers(work, 1).tolist() == list(range(8))
    assert KINDS[CROSSBAR].multipliers(free, 1).tolist() == list(range(9))  # a window of zeros may cost no cycle


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["crosbar"], "compute_engines names 'crosbar'; did you mean 'crossbar'?"),
        (["dense", "wieght"], "compute_engines names 'wieght'; choose from crossbar, dense"),
        ([3], "compute_engines names 3; choose from crossbar, dense"),
        ([], "compute_engines is empty; name at least one of dense, crossbar"),
    ],
)
def test_unknown_kinds_are_refused(names: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DataflowOptions(compute_engines=names)


def test_kinds_are_named_in_any_order_and_distinguish_options() -> None:
    usual = DataflowOptions()
    assert DataflowOptions(compute_engines=["crossbar", "dense", "dense"]) == usual
    assert len({usual, replace(usual, compute_engines=[DENSE]), replace(usual, compute_engines=[CROSSBAR])}) == 3
