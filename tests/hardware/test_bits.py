"""Layers with widths of their own: each is built, stored and moved as an accelerator of that width would do it."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, replace
from typing import Any

import pytest
import timm

from hass_train.hardware import (
    Accelerator,
    AieAccelerator,
    AieArray,
    CannotFit,
    DataflowAccelerator,
    DataflowOptions,
    Estimate,
    SparsityProfile,
    Workload,
    ai_engine_array,
    fpga,
    load_device,
)
from hass_train.hardware.dataflow.design import design_of
from hass_train.hardware.trace import trace
from tests.hardware.peers import peers

QUICK: dict[str, Any] = {"tolerance": 0.02}


@pytest.fixture(scope="module")
def workload() -> Workload:
    return trace(timm.create_model("test_resnet.r160_in1k"), (3, 32, 32))


def all_with(workload: Workload, weight: int, activation: int) -> Workload:
    return workload.with_bits(
        {one.name: weight for one in workload if one.has_weights}, {one.name: activation for one in workload}
    )


def array(**rules: Any) -> AieAccelerator:
    return AieAccelerator(AieArray("aie", 4, 4, depth_tiling=True, **rules))


def dataflow(**rules: Any) -> DataflowAccelerator:
    return DataflowAccelerator(load_device("zcu104"), DataflowOptions(**QUICK, **rules))


def with_peer(**rules: Any) -> DataflowAccelerator:
    return DataflowAccelerator(load_device("zcu104"), peers(**QUICK, **rules))


@pytest.mark.parametrize("make", [dataflow, with_peer, array])
@pytest.mark.parametrize(("weight", "activation"), [(4, 8), (8, 4), (8, 8)])
def test_widths_of_all_operations_are_those_of_an_accelerator(
    make: Any, weight: int, activation: int, workload: Workload
) -> None:
    profile = SparsityProfile.uniform(workload, 0.5, weight_density=0.6)
    # without bandwidth: answers, which no operation reads, have the accelerator's width
    rules: dict[str, Any] = {} if make is array else {"limits": ("dsp", "bram18", "uram", "lut", "ff")}
    wide = make(weight_bits=16, activation_bits=16, **rules)
    narrow = make(weight_bits=weight, activation_bits=activation, **rules)
    wide.estimate(workload, profile)  # what it keeps is not taken for other widths
    own, other = wide.estimate(all_with(workload, weight, activation), profile), narrow.estimate(workload, profile)
    assert own.throughput_ips == other.throughput_ips
    assert [asdict(row) for row in own.layers] == [asdict(row) for row in other.layers]
    assert (own.prices, own.weight_prices) == (other.prices, other.weight_prices)
    assert own.energy.compute_j == pytest.approx(other.energy.compute_j)
    assert own.energy.onchip_j == pytest.approx(other.energy.onchip_j)


def test_tables_of_equal_layers_differ_by_their_bits(workload: Workload) -> None:
    """Two layers of one geometry, one of which has fewer bits: the other one is what it was."""
    alike: dict[object, list[str]] = {}
    for one in workload.compute_layers:
        alike.setdefault((one.geometry, one.result), []).append(one.name)
    first, second = max(alike.values(), key=len)[:2]
    accelerator, profile = dataflow(weight_bits=8, activation_bits=8), SparsityProfile.dense(workload)
    narrow = workload.with_bits({first: 4}, {})
    tables = {
        one.name: table
        for one, table in zip(narrow, accelerator.network(narrow, profile).tables, strict=True)
    }  # fmt: skip
    plain = {
        one.name: table
        for one, table in zip(workload, accelerator.network(workload, profile).tables, strict=True)
    }  # fmt: skip
    assert tables[second] is plain[second]
    assert tables[first] is not plain[first]
    assert tables[first].logic[:, 1].min() < plain[first].logic[:, 1].min()  # LUTs
    rows = {row.name: row for row in accelerator.estimate(narrow, profile).layers}
    assert [(rows[name].weight_bits, rows[name].activation_bits) for name in (first, second)] == [(4, 8), (8, 8)]


def test_a_search_goes_on_from_a_checkpoint_with_bits_by_layer(workload: Workload) -> None:
    names = [one.name for one in workload.compute_layers]
    narrow = workload.with_bits(dict.fromkeys(names[1:-1:2], 4), dict.fromkeys(names[2:4], 6))
    accelerator = dataflow(weight_bits=8, activation_bits=8)
    steering = accelerator.steering()
    for density in (0.6, 0.55):
        steering.estimate(workload, SparsityProfile.uniform(workload, density))
    steering.estimate(narrow, SparsityProfile.uniform(workload, 0.5))  # bits have changed: their designs are found anew
    resumed = accelerator.steering()
    resumed.anchor(narrow, steering.anchors())
    for density in (0.48, 0.45):
        ours, theirs = (one.estimate(narrow, SparsityProfile.uniform(narrow, density)) for one in (steering, resumed))
        assert asdict(ours) == asdict(theirs)


def test_weights_of_two_bits_are_stored_as_such_and_multiplied_as_four(workload: Workload) -> None:
    profile, accelerator = SparsityProfile.dense(workload), dataflow(weight_bits=8, activation_bits=8)
    name = max(workload.compute_layers, key=lambda one: one.weights).name
    tables = {}
    for bits in (8, 4, 2):
        narrow = workload.with_bits({name: bits}, {})
        found = accelerator.network(narrow, profile).tables
        tables[bits] = dict(zip((one.name for one in narrow), found, strict=True))[name]
    folds, t, held = tables[8].folds, tables[8].t, {}
    for bits, table in tables.items():
        banks = table._pricing._weight_banks(folds, t)
        held[bits] = banks.count * banks.words * banks.word_bits * banks.depth
    assert (held[2] < held[4]).all()
    assert (held[4] < held[8]).all()
    assert (tables[2].costs.compute(tables[2].layer, folds) == tables[4].costs.compute(tables[4].layer, folds)).all()
    dsps = {bits: accelerator.estimate(workload.with_bits({name: bits}, {}), profile) for bits in (8, 2)}
    assert dsps[2].energy.onchip_j < dsps[8].energy.onchip_j


def test_maps_that_leave_the_device_have_the_bits_of_who_reads_them(workload: Workload) -> None:
    reader = next(one for one in workload if "input" in one.inputs)
    narrow = workload.with_bits({}, {reader.name: 5})
    assert narrow.crossing_bits(0, 8) == 5 * narrow.crossing(0).words
    assert workload.crossing_bits(0, 8) == 8 * workload.crossing(0).words
    end = len(workload.operations)
    assert narrow.crossing_bits(end, 8) == 8 * narrow.crossing(end).words
    accelerator = dataflow(weight_bits=8, activation_bits=8)
    moved = {}
    for name, one in (("plain", workload), ("narrow", narrow)):
        found = accelerator.estimate(one, SparsityProfile.dense(one))
        moved[name] = design_of(one, found, asdict(accelerator.options)).parts[0].offchip_bits
        moved[name] -= sum(row.resources.offchip_bits for row in found.layers)
    assert moved["plain"] - moved["narrow"] == 3 * workload.crossing(0).words


def test_dead_channels_and_parts_keep_bits(workload: Workload) -> None:
    names = {one.name: 4 for one in workload.compute_layers}
    narrow, cut = workload.with_bits(names, names), workload.cuts()[0]
    part = narrow.part(0, cut)
    assert all(one.weight_bits == one.activation_bits == 4 for one in part.compute_layers)


@pytest.mark.parametrize("accelerator", [dataflow(), array()])
def test_what_an_array_cannot_do_is_refused_or_rounded_up(accelerator: Accelerator, workload: Workload) -> None:
    name, profile = workload.compute_layers[1].name, SparsityProfile.dense(workload)
    wide = workload.with_bits({name: 24}, {})
    if isinstance(accelerator, DataflowAccelerator):
        with pytest.raises(CannotFit, match=rf"{name}: weight_bits is 24; modules are synthesised for at most 16 bits"):
            accelerator.estimate(wide, profile)
    else:
        found: list[Estimate] = [
            accelerator.estimate(workload.with_bits({name: bits}, {}), profile) for bits in (2, 4)
        ]  # fmt: skip
        assert found[0].throughput_ips == found[1].throughput_ips
        rows = [next(row for row in one.layers if row.name == name) for one in found]
        assert [row.weight_bits for row in rows] == [2, 4]


def test_widths_that_are_none_are_defaults() -> None:
    device = {**dataclasses.asdict(load_device("zcu104"))}
    none = dict.fromkeys(("weight_bits", "activation_bits", "accumulator_bits"))
    assert fpga(**device, **none).options == DataflowOptions()
    assert replace(ai_engine_array(name="aie", rows=2, columns=2, **none).array) == AieArray("aie", 2, 2)
    assert fpga(**device, **{**none, "weight_bits": 6}).options == DataflowOptions(weight_bits=6)
