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
from hass_train.hardware.dataflow.costs.engine_kinds import KINDS, VARIANTS, by_kind, waiting
from hass_train.hardware.dataflow.costs.initiation import multiplier_choices
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace
from hass_train.hardware.workload import FeatureMap
from tests.hardware.brute import dense_choices
from tests.hardware.peers import CODES, peers

DENSE, CROSSBAR = ComputeEngine.DENSE, ComputeEngine.CROSSBAR


def conv(channels: int = 6, filters: int = 8, window: int = 3) -> Operation:
    pad = (window // 2, window // 2)
    return Operation(
        "conv", OperationKind.CONV, ("input",), FeatureMap(6, 6, channels), FeatureMap(6, 6, filters),
        (window, window), padding=pad,
    )  # fmt: skip


def table(
    layer: Operation, sparsity: LayerSparsity, rules: DataflowOptions | None = None, **options: Any
) -> ComputeDesigns:
    space = DesignSpace(np.full(6, np.inf))
    return ComputeDesigns(layer, sparsity, OperandFifos((), 0), rules or DataflowOptions(**options), space)


def rows_of(designs: ComputeDesigns, code: int) -> set[tuple[float, ...]]:
    """Everything that a table says of the designs of one kind."""
    folds = designs.folds
    columns = [getattr(folds, name) for name in ("i", "o", "g", "m", "n", "q", "p", "fifo")]
    memory = designs.memory.transpose(1, 0, 2).reshape(len(designs), -1)
    numbers = np.column_stack([*columns, designs.interval, designs.t, designs.alone, designs.logic, memory])
    return {tuple(row) for row in numbers[folds.engine == code]}


def test_every_name_has_a_kind_and_every_variant_its_place() -> None:
    assert set(KINDS) == set(ComputeEngine)
    assert all(KINDS[engine] is VARIANTS[CODES[engine]] for engine in ComputeEngine)
    assert {(one.engine, one.lanes, one.multiplier) for one in VARIANTS} == {
        *(("dense", False, made) for made in ("dsp", "lut")), *(("activation", True, made) for made in ("dsp", "lut")),
        *(("weight", lanes, made) for lanes in (False, True) for made in ("dsp", "lut")),
        ("pair", True, "dsp"), ("crossbar", False, "dsp"),
    }  # fmt: skip


@given(st.lists(st.integers(0, len(VARIANTS) - 1), max_size=12))
def test_rows_are_shared_out_among_kinds(codes: list[int]) -> None:
    found = {int(row): kind for kind, rows in by_kind(np.array(codes, np.int64)) for row in rows}
    assert [found[row] for row in range(len(codes))] == [VARIANTS[code] for code in codes]
    known = [VARIANTS[code].engine not in (DENSE, ComputeEngine.WEIGHT) for code in codes]  # no schedule beforehand
    assert waiting(np.array(codes, np.int64)).tolist() == known


@pytest.mark.parametrize("structure", [None, Structure(block=(2, 2))])
@pytest.mark.parametrize(("engines", "window"), itertools.product(("auto", "lockstep"), (1, 3)))
@pytest.mark.parametrize("bits", [4, 8])
def test_a_restricted_choice_has_the_same_designs_of_its_kinds(
    bits: int, engines: str, window: int, structure: Structure | None
) -> None:
    """Nothing that is said of a kind depends on which others are allowed."""
    layer, sparsity = conv(window=window), LayerSparsity(0.6, 0.7, 0.42, structure=structure)
    rules: dict[str, Any] = {"engines": engines, "weight_bits": bits, "activation_bits": bits, "max_pixels": 2}
    whole = table(layer, sparsity, **rules)
    assert {VARIANTS[code].multiplier for code in whole.folds.engine} == ({"dsp", "lut"} if bits == 4 else {"dsp"})
    for engine in ComputeEngine:
        alone = table(layer, sparsity, **rules, compute_engines=[engine])
        assert {VARIANTS[code].engine for code in alone.folds.engine} == {engine}
        for code in np.unique(alone.folds.engine):
            assert rows_of(alone, code) == rows_of(whole, code) != set()


@pytest.mark.parametrize("costs", ["synthesis", "peer"])
def test_only_engines_that_wait_have_fifos(costs: str) -> None:
    rules = DataflowOptions() if costs == "synthesis" else peers()
    folds = table(conv(), LayerSparsity(0.6, 0.7, 0.42), rules).folds
    for engine in rules.compute_engines:
        deepest = rules.engine_fifo if engine not in (DENSE, ComputeEngine.WEIGHT) else 0
        assert folds.fifo[folds.engine == CODES[engine]].max() == deepest


def test_layers_get_only_what_is_allowed() -> None:
    workload = Workload("one", (6, 6, 6), (conv(),))
    profile = SparsityProfile({"conv": LayerSparsity(0.3, 0.5, 0.15)})
    options = DataflowOptions(limits=("dsp",), tolerance=0.0)
    rates = {}
    for allowed in (*([engine] for engine in ComputeEngine), [DENSE, CROSSBAR], list(ComputeEngine)):
        found = DataflowAccelerator(load_device("zedboard"), replace(options, compute_engines=allowed))
        estimate = found.estimate(workload, profile)
        assert estimate.layers[0].engine in allowed
        rates[tuple(allowed)] = estimate.throughput_ips
    assert len(set(rates.values())) > 2
    assert max(rates.values()) == rates[tuple(ComputeEngine)]
    assert max(rates[DENSE,], rates[CROSSBAR,]) == rates[DENSE, CROSSBAR]


HALF = LayerSparsity(0.5, 0.5, 0.25)
MATMUL = Operation(
    "conv", OperationKind.MATMUL, ("a", "b"), FeatureMap(1, 6, 6), FeatureMap(1, 6, 6)
)  # fmt: skip


@pytest.mark.parametrize(
    ("engines", "layer", "sparsity", "why"),
    [
        (["crossbar"], conv(), LayerSparsity(), "has no zeros that crossbar engines could skip"),
        (["activation"], conv(), LayerSparsity(0.5, 1.0, 0.5), "has no zeros that activation engines could skip"),
        (["weight"], conv(), LayerSparsity(1.0, 0.5, 0.5), "has no zeros that weight engines could skip"),
        (["pair", "crossbar"], conv(channels=1, window=1), HALF, "has windows of a single pair"),
        (
            ["activation", "weight"], conv(), LayerSparsity(),
            "has no zeros that activation engines could skip and has no zeros that weight engines could skip",
        ),
        (["weight"], MATMUL, HALF, "has no weights that are known beforehand"),
    ],
)  # fmt: skip
def test_a_layer_that_no_allowed_engine_suits_is_told(
    engines: list[str], layer: Operation, sparsity: LayerSparsity, why: str
) -> None:
    told = re.escape(
        f"conv has no design with compute_engines=[{','.join(engines)}]: it {why}; add dense to hw.compute_engines"
    )
    with pytest.raises(CannotFit, match=f"^{told}$"):
        table(layer, sparsity, compute_engines=engines)


@pytest.mark.parametrize("engine", ["activation", "weight", "pair", "crossbar"])
def test_engines_that_skip_are_not_built_for_nothing(engine: ComputeEngine) -> None:
    """Without zeros of their own, or with a multiplier for every pair; where windows of zeros cost nothing they may."""
    others = {"activation": LayerSparsity(0.5, 1.0, 0.5), "weight": LayerSparsity(1.0, 0.5, 0.5)}
    assert not (table(conv(), others.get(engine, LayerSparsity())).folds.engine == CODES[engine]).any()
    work = LayerWork(conv(), HALF, t_min=1, max_pixels=1)
    assert KINDS[engine].multipliers(work, 1).tolist() == list(range(8))
    assert KINDS[engine].multipliers(replace(work, t_min=0), 1).tolist() == list(range(9))


def test_multipliers_choose_among_as_many_positions_as_synthesis_knows() -> None:
    """At most 64: those of a lane, or all of the window's."""
    work = LayerWork(conv(channels=8), HALF, t_min=1, max_pixels=1, most_choices=64)
    for kind in VARIANTS:
        for m in (1, 4, 7, 8):
            choices = multiplier_choices(9 * m)[kind.multipliers(work, m)]
            if kind.engine is DENSE:
                assert choices.tolist() == dense_choices(9 * m)
            else:
                few = multiplier_choices(9 * m)[:-1].tolist()
                assert choices.tolist() == [n for n in few if (-(-9 * m // n) if kind.lanes else 9 * m) <= 64]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["crosbar"], "compute_engines names 'crosbar'; did you mean 'crossbar'?"),
        (["dense", "wieght"], "compute_engines names 'wieght'; did you mean 'weight'?"),
        ([3], "compute_engines names 3; choose from activation, crossbar, dense, pair, weight"),
        ([], "compute_engines is empty; name at least one of dense, activation, weight, pair, crossbar"),
    ],
)
def test_unknown_kinds_are_refused(names: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DataflowOptions(compute_engines=names)


def test_kinds_are_named_in_any_order_and_distinguish_options() -> None:
    usual = DataflowOptions()
    assert DataflowOptions(compute_engines=["crossbar", "pair", "weight", "dense", "activation", "dense"]) == usual
    assert len({usual, replace(usual, compute_engines=[DENSE]), replace(usual, compute_engines=[CROSSBAR])}) == 3
