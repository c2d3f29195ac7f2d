"""Exploration among all kinds of compute engine: against all combinations of the rows of small tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hass_train.hardware import (
    CannotFit,
    DataflowOptions,
    LayerSparsity,
    Operation,
    SparsityProfile,
    Workload,
    load_device,
)
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.model import DataflowAccelerator
from tests.hardware.brute import best_of_tables
from tests.hardware.test_explore import FULL, OnChip, layer

LAYERS = st.lists(layer("conv"), min_size=1, max_size=3)
DENSITIES = st.sampled_from([0.1, 0.35, 0.6, 0.85, 1.0])
SPARSITIES = st.lists(st.tuples(DENSITIES, DENSITIES), min_size=3, max_size=3)
Network = tuple[Workload, SparsityProfile]


def network(layers: list[Operation], densities: list[tuple[float, float]]) -> Network:
    """The layers one beside the other, with their densities of weights and activations."""
    named = tuple(replace(one, name=f"conv{k}") for k, one in enumerate(layers))
    sparsities = {one.name: LayerSparsity(w, a, w * a) for one, (w, a) in zip(named, densities, strict=False)}
    return Workload("random", (1, 1, 1), named), SparsityProfile(sparsities)


def rate(accelerator: DataflowAccelerator, asked: Network) -> float:
    """Replicas per cycle of what the exploration finds; 0 if nothing fits."""
    try:
        found = accelerator.estimate(*asked)
    except CannotFit:
        return 0.0
    assert found.slack == 0
    return found.replicas / found.interval_cycles


@given(
    LAYERS, SPARSITIES, st.integers(1, 20), st.integers(1_000, 12_000), st.integers(0, 6), st.integers(1, 8),
    st.sampled_from([4, 8, 16]), st.sampled_from([1, 2]), st.sampled_from(["u250", "u250", "ecp5_85k"]),
)  # fmt: skip
@settings(max_examples=200)
def test_exploration_equals_brute_force_among_all_kinds(
    layers: list[Operation], densities: list[tuple[float, float]], dsp: int, lut: int, bram: int, most: int,
    bits: int, pixels: int, device: str,
) -> None:  # fmt: skip
    limits = {"dsp": dsp, "lut": lut, "bram18": bram}
    options = DataflowOptions(
        weight_bits=bits, activation_bits=bits, max_replicas=most, max_pixels=pixels, limits=tuple(limits),
        **{**FULL, "engines": "auto"},
    )  # fmt: skip
    accelerator = OnChip(load_device(device, **limits), options)
    asked = network(layers, densities)
    try:
        tables = accelerator.network(*asked).tables
    except CannotFit:
        tables = []
    expected = best_of_tables(tables, limits, most) if tables else 0.0
    assert rate(accelerator, asked) == pytest.approx(expected, rel=1e-12)


@given(LAYERS, SPARSITIES, st.integers(4, 40), st.integers(3_000, 12_000), st.integers(2, 12))
def test_more_of_anything_is_never_slower(
    layers: list[Operation], densities: list[tuple[float, float]], dsp: int, lut: int, bram: int
) -> None:
    limits, asked = {"dsp": dsp, "lut": lut, "bram18": bram}, network(layers, densities)
    options = DataflowOptions(limits=tuple(limits), max_pixels=2, **{**FULL, "engines": "auto"})

    def within(**more: int) -> float:
        return rate(OnChip(load_device("u250", **{**limits, **more}), options), asked)

    base = within()
    for name, more in (("dsp", 3), ("lut", 800), ("bram18", 2)):
        assert within(**{name: limits[name] + more}) >= base


@given(
    LAYERS, SPARSITIES, st.integers(2, 40), st.sampled_from([*([one] for one in ComputeEngine), list(ComputeEngine)])
)
def test_fewer_of_anything_non_zero_is_never_slower_where_multipliers_bind(
    layers: list[Operation], densities: list[tuple[float, float]], dsp: int, kinds: list[ComputeEngine]
) -> None:
    """Of every kind by itself in lock-step: a round never takes longer, and multipliers are what they were.

    Where LUTs or block RAMs bind it need not hold: lists become so short that they move from block RAM to LUTs, and a
    layer that is faster reads faster, for which its FIFOs are deeper.
    """
    options = DataflowOptions(limits=("dsp",), compute_engines=kinds, max_pixels=2, **{**FULL, "engines": "lockstep"})
    accelerator = OnChip(load_device("u250", dsp=dsp), options)
    base = rate(accelerator, network(layers, densities))
    fewer_weights = [(0.6 * w, a) for w, a in densities]
    assert rate(accelerator, network(layers, fewer_weights)) >= base
    assert rate(accelerator, network(layers, [(w, 0.6 * a) for w, a in densities])) >= base
