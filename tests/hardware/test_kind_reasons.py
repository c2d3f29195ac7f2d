"""Why layers have their kinds of compute engine: each figure told against a search through whole tables."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hass_train.hardware import DataflowOptions, Estimate, LayerSparsity, SparsityProfile, Workload, load_device
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.exploration.kind_reasons import KindReasons
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.resources import LABELS
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind

Vector = NDArray[np.float64]
DSP, LUT = 0, 3
OPTIONS = DataflowOptions(weight_bits=8, activation_bits=8, max_pixels=2, partitions="never")


def chain(*channels: int, kernel: int = 3) -> Workload:
    """Convolutions one after another on maps of 6 × 6, each from one number of channels to the next."""
    maps = [FeatureMap(6, 6, one) for one in channels]
    names = ["input", *(f"conv{k}" for k in range(len(maps) - 1))]
    return Workload("chain", (channels[0], 6, 6), tuple(
        Operation(names[k + 1], OperationKind.CONV, (names[k],), maps[k], maps[k + 1], (kernel, kernel), (1, 1),
                  (kernel // 2, kernel // 2))
        for k in range(len(maps) - 1)
    ))  # fmt: skip


def sparse(workload: Workload, *densities: tuple[float, float]) -> SparsityProfile:
    """The densities of weights and activations of each layer, independent of each other."""
    pairs = zip(workload.compute_layers, densities, strict=True)
    return SparsityProfile({layer.name: LayerSparsity(w, a, w * a) for layer, (w, a) in pairs})


TABLES: dict[tuple[float, float], ComputeDesigns] = {}


def table_of(weight: float, activation: float) -> ComputeDesigns:
    """The designs of a small layer; they are made once."""
    if (weight, activation) not in TABLES:
        workload = chain(4, 4)
        network = DataflowAccelerator(load_device("zcu104"), OPTIONS).network(
            workload, sparse(workload, (weight, activation))
        )
        (table,) = network.tables
        assert isinstance(table, ComputeDesigns)
        TABLES[weight, activation] = table
    return TABLES[weight, activation]


def name(design: int, table: ComputeDesigns) -> str:
    """What a design's kind of engine is called."""
    kind = VARIANTS[int(table.folds.engine[design])]
    return f"{kind.engine}{' in LUTs' if kind.multiplier == 'lut' else ''}"


def figures(one: Vector, other: Vector) -> set[str]:
    """All that can be told of DSPs and LUTs where one design is held against another."""
    found = set()
    for k, label in ((DSP, "DSPs"), (LUT, "LUTs")):
        if other[k]:
            ratio = one[k] / other[k]
            found |= {f"{1 - ratio:.0%} fewer {label}", f"{ratio:.{1 if ratio < 10 else 0}f} times the {label}"}
    return found


@given(st.sampled_from([(0.3, 0.9), (0.9, 0.4), (0.5, 0.5)]), st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_what_is_told_is_so(densities: tuple[float, float], seed: int, quantile: float) -> None:
    table, random = table_of(*densities), np.random.default_rng(seed)
    interval = int(np.quantile(table.interval, quantile**3))
    budget = np.append(table.space.budget[:-1], 1e6)
    worth = (random.dirichlet(np.full(6, 0.5)) + 1e-3) / budget
    design = int(random.integers(np.searchsorted(table.interval, interval, side="right")))
    own, mine = table.resources(design, 0), name(design, table)
    kind, _, told = KindReasons(interval, worth).of(table, design, 0).partition(": ")
    assert kind == mine
    every = {name(k, table) for k in range(len(table))}
    wanted = {"dense": every - {"dense"}, "dense in LUTs": {"dense"}}.get(mine, {"dense", "dense in LUTs"})
    others = [
        (float(held @ worth), name(k, table), held)
        for k in range(len(table)) for place in range(len(table.memory))
        if table.interval[k] <= interval and name(k, table) in wanted
        for held in [table.resources(k, place)]
    ]  # fmt: skip
    if not others:
        assert (
            told == "no other kind is fast enough" if mine == "dense" else re.match("dense would take .* cycles", told)
        )
        return
    least = min(cost for cost, _, _ in others)
    close = [(called, held) for cost, called, held in others if cost <= least * (1 + 1e-9)]
    heard = set(re.findall(r"\d+% fewer (?:DSPs|LUTs)|[\d.]+ times the (?:DSPs|LUTs)", told))
    if mine != "dense":
        assert any(called in told and heard <= figures(own, held) for called, held in close)
    elif told == "no kind is cheaper":
        assert least >= (own @ worth) * (1 - 1e-9)
    elif told.startswith("hardly"):
        assert least < own @ worth
        assert not heard
    else:
        assert least < own @ worth
        assert any(told.startswith(f"{called} would take ") and heard <= figures(held, own) for called, held in close)


def test_a_layer_says_why_no_other_kind_comes_into_question() -> None:
    dense, both = table_of(1.0, 1.0), table_of(0.5, 0.5)
    worth = 1 / np.array([1728, 624, 96, 230400, 460800, 1e9])
    plain = int(np.flatnonzero(dense.folds.engine == 0)[-1])
    luts = np.array([1e-6, 0, 0, 1.0, 0, 0])  # multipliers in LUTs are no cheaper where LUTs count
    assert KindReasons(int(dense.interval[plain]), luts).of(dense, plain, 0) == "dense: no zeros to skip"
    kinds = both.folds.engine
    code = next(k for k, kind in enumerate(VARIANTS) if kind.engine is ComputeEngine.PAIR)
    quick = int(np.flatnonzero(kinds == code)[0])
    slowest_dense = int(both.interval[np.flatnonzero(np.isin(kinds, [0, 6]))[0]])
    told = KindReasons(slowest_dense - 1, worth).of(both, quick, 0)
    assert told == f"pair: dense would take {slowest_dense // both.urgency:,} cycles"


def answer(engines: tuple[str, ...], device: str = "zedboard", **limits: int) -> Estimate:
    """The best design of three layers of different sparsity with some kinds of engine."""
    workload = chain(8, 16, 16, 8)
    options = DataflowOptions(
        weight_bits=8, activation_bits=8, partitions="never", compute_engines=[ComputeEngine(one) for one in engines]
    )
    profile = sparse(workload, (1.0, 1.0), (0.2, 0.9), (0.9, 0.3))
    return DataflowAccelerator(load_device(device, **limits), options).estimate(workload, profile)


def test_estimates_say_why_and_what_the_kinds_take() -> None:
    found = answer(("dense", "activation", "weight"), dsp=60)
    rows = {row.name: row for row in found.layers}
    assert {row.engine for row in found.layers} >= {"dense", "weight"}
    assert rows["conv0"].reason == "dense: no zeros to skip"
    for row in found.layers:
        assert row.reason.split(":")[0].split()[0] == row.engine
    assert re.match(r"weight: \d+% fewer DSPs than dense", rows["conv1"].reason)
    assert Estimate.from_dict(found.to_dict()).layers == found.layers
    binds = found.bottleneck
    assert f"{binds.layer} ({rows[binds.layer].engine} engines) " in binds.reason
    (shares,) = re.findall(rf"\({LABELS[binds.resource]} now: (.*) engines\)", binds.reason)
    whole = sum(getattr(row.resources, binds.resource) for row in found.layers)
    for share, engine in re.findall(r"(\d+)% (\w+)", shares):
        taken = sum(getattr(row.resources, binds.resource) for row in found.layers if row.engine == engine)
        assert int(share) == pytest.approx(100 * taken / whole, abs=0.51)


def test_with_a_single_kind_there_is_nothing_to_tell_apart() -> None:
    found = answer(("dense",), dsp=60)
    assert [row.reason for row in found.layers][1] == "dense: the only one of hw.compute_engines"
    assert " now: " not in found.bottleneck.reason
