"""Answers that steer a search: near those of the whole design space, and the same again from a checkpoint."""

from __future__ import annotations

import dataclasses
from copy import copy

import numpy as np
import pytest
import timm

from hass_train.hardware import (
    DataflowAccelerator,
    DataflowOptions,
    LayerSparsity,
    SparsityProfile,
    Structure,
    Workload,
    load_device,
)
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.profile import DENSITIES
from hass_train.hardware.trace import trace


@pytest.fixture(scope="module")
def workload() -> Workload:
    return trace(timm.create_model("test_resnet.r160_in1k"), (3, 32, 32))


def profile(workload: Workload, weight: float, activation: float, bank: bool = False) -> SparsityProfile:
    """A little different in every layer."""
    layers = {}
    for k, layer in enumerate(workload.compute_layers):
        size = layer.window * min(layer.channels_per_group, 16 if layer.window == 1 else 1)
        kept = max(round(size * weight * (0.9 + 0.2 * (k * 0.618 % 1))), 1)
        structure = Structure(bank=(kept, size // layer.window)) if bank else None
        density = kept / size if bank else weight * (0.9 + 0.2 * (k * 0.618 % 1))
        layers[layer.name] = LayerSparsity(density, activation, density * activation, structure=structure)
    return SparsityProfile(layers)


@pytest.mark.parametrize("bank", [False, True])
def test_a_moved_profile_is_worth_what_the_whole_design_space_says(workload: Workload, bank: bool) -> None:
    accelerator = DataflowAccelerator(load_device("zcu104"), DataflowOptions(weight_bits=8, activation_bits=8))
    steering = accelerator.steering()
    whole = DataflowAccelerator(accelerator.device, steering.options)  # type: ignore[attr-defined]
    ratios = []
    for weight, activation in ((0.5, 0.8), (0.45, 0.75), (0.4, 0.7), (0.36, 0.7)):
        asked = profile(workload, weight, activation, bank)
        ratios.append(
            steering.estimate(workload, asked).throughput_ips / whole.estimate(workload, asked).throughput_ips
        )
    assert ratios[0] == pytest.approx(1)
    assert min(ratios) > 0.97  # both are rough: now and then one finds what the other does not


def test_steering_sees_what_weights_take_where_memories_bind() -> None:
    """ResNet-18's weights do not fit a ZCU104: the fewer there are, the fewer are fetched from outside."""
    network = trace(timm.create_model("resnet18"), (3, 32, 32))
    accelerator = DataflowAccelerator(load_device("zcu104"), DataflowOptions(weight_bits=8, activation_bits=8))
    steering, rates = accelerator.steering(), []
    for weight in (0.5, 0.45):
        asked = profile(network, weight, 0.6)
        rates.append(steering.estimate(network, asked).throughput_ips)
    assert rates[1] > 0.93 * accelerator.unpriced(network, asked).throughput_ips
    assert rates[1] > 1.05 * rates[0]
    assert steering.anchors()["memories"]


def test_a_search_that_goes_on_from_a_checkpoint_gets_the_same_answers(workload: Workload) -> None:
    accelerator = DataflowAccelerator(load_device("zcu104"), DataflowOptions(weight_bits=8, activation_bits=8))
    steering = accelerator.steering()
    for weight in (0.6, 0.55, 0.3):  # the last is too far from the first for its designs
        steering.estimate(workload, profile(workload, weight, 0.8))
    resumed = accelerator.steering()
    resumed.anchor(workload, steering.anchors())
    assert resumed.anchors() == steering.anchors()
    for weight in (0.28, 0.25):
        asked = profile(workload, weight, 0.75)
        ours, theirs = (one.estimate(workload, asked) for one in (steering, resumed))
        assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)


def test_designs_that_are_kept_know_how_long_they_take_at_half_of_a_density(workload: Workload) -> None:
    accelerator = DataflowAccelerator(load_device("zcu104"), DataflowOptions(weight_bits=8, activation_bits=8))
    counted = dict(profile(workload, 0.5, 0.8).layers)
    for layer in workload.compute_layers:  # filters of unlike sizes, so that lists wait for the fullest
        dot = layer.window * layer.channels_per_group
        counts = tuple(round(dot * (0.2 + 0.6 * (k * 0.618 % 1))) for k in range(layer.result.channels))
        counted[layer.name] = dataclasses.replace(counted[layer.name], filter_nonzeros=counts)
    for table in accelerator.network(workload, SparsityProfile(counted)).tables:
        if isinstance(table, ComputeDesigns):
            kept = table.candidates(int(table.interval[len(table) // 4]))
            counts = tuple(round(0.9 * count) for count in kept.sparsity.filter_nonzeros)
            density = 0.9 * kept.sparsity.weight_density
            near = dataclasses.replace(kept.sparsity, weight_density=density, filter_nonzeros=counts)
            for moved, off in ((kept, 1e-9), (kept.moved(near), 0.02)):
                fresh = copy(moved)
                fresh._halved = {}
                rows = np.arange(len(moved))
                for name in DENSITIES:
                    exact = fresh.at_half(rows, name, exactly=True)
                    errors = np.abs(moved.at_half(rows, name) / exact - 1)
                    assert errors.mean() <= off


def test_proofs_of_a_profile_nearby_bound_what_is_asked_next(workload: Workload) -> None:
    """From the start they bound the interval better, and rule out nothing that fits."""
    accelerator = DataflowAccelerator(load_device("zcu104"), DataflowOptions(weight_bits=8, activation_bits=8))
    before, after = (accelerator.network(workload, profile(workload, weight, 0.8)) for weight in (0.5, 0.48))
    count = len(workload.operations)
    first = before.explorer(0, count, 0.005, True)
    proofs = first.best_proofs(first.fastest_design().replicas, 2)
    assert proofs
    found = [after.explorer(0, count, 0.005, True, known).fastest_design() for known in ((), proofs)]
    rates = [one.replicas / one.interval for one in found]
    assert rates[1] == pytest.approx(rates[0], rel=0.011)
    blank, taught = (after.explorer(0, count, 0.005, True, known).bound(found[0].replicas) for known in ((), proofs))
    assert blank < taught <= found[0].interval


def test_layers_that_lost_channels_are_no_anchors(workload: Workload) -> None:
    steering = DataflowAccelerator(load_device("zcu104")).steering()
    name = workload.compute_layers[0].name
    layers = dict(profile(workload, 0.5, 0.8).layers)
    layers[name] = dataclasses.replace(layers[name], structure=Structure(filters=True, dead_filters=(0, 3)))
    steering.estimate(workload, SparsityProfile(layers))
    assert steering.anchors()["designs"] == {}
