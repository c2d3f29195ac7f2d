"""Answers that steer a search: near those of the whole design space, and the same again from a checkpoint."""

from __future__ import annotations

import dataclasses

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


def test_layers_that_lost_channels_are_no_anchors(workload: Workload) -> None:
    steering = DataflowAccelerator(load_device("zcu104")).steering()
    name = workload.compute_layers[0].name
    layers = dict(profile(workload, 0.5, 0.8).layers)
    layers[name] = dataclasses.replace(layers[name], structure=Structure(filters=True, dead_filters=(0, 3)))
    steering.estimate(workload, SparsityProfile(layers))
    assert steering.anchors()["designs"] == {}
