"""What the sources of costs know, and what devices are made of."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from hass_train.hardware import DataflowAccelerator, DataflowOptions, SparsityProfile, load_device, trace
from hass_train.hardware.dataflow.costs.peer import PeerCosts
from hass_train.hardware.dataflow.costs.synthesised import SynthesisedCosts
from tests.hardware.peers import peers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"costs": "peer"},
            "costs=peer knows no activation engines; say compute_engines=[dense,crossbar], or costs=synthesis",
        ),
        (
            {"costs": "peer", "compute_engines": ["crossbar", "pair"]},
            "costs=peer knows no pair engines; say compute_engines=[dense,crossbar], or costs=synthesis",
        ),
        ({"costs": "paer"}, "costs is 'paer'; choose synthesis or peer"),
        *(
            (
                {name: bits},
                f"{name} is {bits}; modules are synthesised for at most 16 bits: choose such a width, or costs=peer",
            )
            for name in ("weight_bits", "activation_bits")
            for bits in (17, 32)
        ),
        (
            {"skip_all_zero": True},
            "skip_all_zero is true, but no module does that: a round takes a cycle; say costs=peer",
        ),
        *(
            (
                {"max_pixels": pixels},
                f"max_pixels is {pixels}; windows are synthesised for 1, 2 or 4, or say costs=peer",
            )
            for pixels in (3, 8)
        ),
    ],
)
def test_what_a_source_of_costs_does_not_know_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DataflowOptions(**options)


@pytest.mark.parametrize(
    "options", [{"weight_bits": 2}, {"activation_bits": 32}, {"skip_all_zero": True}, {"max_pixels": 3}]
)
def test_the_peer_knows_more_widths_and_pixels(options: dict[str, Any]) -> None:
    assert isinstance(peers(**options).cost_model("xc7"), PeerCosts)


def test_the_peer_knows_devices_of_one_maker() -> None:
    told = "^costs=peer knows Xilinx devices only; say costs=synthesis for ecp5_45k$"
    with pytest.raises(ValueError, match=told):
        DataflowAccelerator(load_device("ecp5_45k"), peers())


def test_each_family_has_costs_of_its_own() -> None:
    for bits in (4, 16):
        options = DataflowOptions(weight_bits=bits, activation_bits=bits)
        for family in ("xc7", "ecp5"):
            model = options.cost_model(family)
            assert isinstance(model, SynthesisedCosts)
            assert model.family == family


@pytest.mark.parametrize(("name", "dsp", "lut"), [("25k", 28, 24_288), ("45k", 72, 43_848), ("85k", 156, 83_640)])
def test_small_devices_are_of_their_family(name: str, dsp: int, lut: int) -> None:
    device = load_device(f"ecp5_{name}")
    assert (device.name, device.dsp, device.lut, device.uram) == (f"ecp5_{name}", dsp, lut, 0)
    assert (device.lut_inputs, device.multiplier, device.family) == (4, "mult18", "ecp5")
    assert load_device("u250").family == "xc7"


@pytest.mark.parametrize(("inputs", "multiplier"), [(4, "dsp48"), (6, "mult18"), (5, "dsp48"), (6, "dsp58"), (4, "")])
def test_devices_that_nothing_is_synthesised_for_are_refused(inputs: int, multiplier: str) -> None:
    told = (
        f"lut_inputs of device zedboard is {inputs} with multiplier {multiplier!r}; modules are synthesised for "
        "6 with dsp48 or 4 with mult18"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        load_device("zedboard", lut_inputs=inputs, multiplier=multiplier)


def test_networks_fit_small_devices() -> None:
    """Sixteen bits on LUTs of four inputs; more of everything, or fewer bits, is faster."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    workload = trace(net.eval(), (1, 16, 16), "small")
    profile = SparsityProfile.uniform(workload, 0.5)
    rates = {}
    for name in ("ecp5_25k", "ecp5_85k"):
        for bits in (8, 16):
            options = DataflowOptions(weight_bits=bits, activation_bits=bits, tolerance=0.02)
            found = DataflowAccelerator(load_device(name), options).estimate(workload, profile)
            assert all(used <= 1 for used in found.utilization.values())
            rates[name, bits] = found.throughput_ips
    assert rates["ecp5_25k", 16] < min(rates["ecp5_25k", 8], rates["ecp5_85k", 16])
    assert rates["ecp5_85k", 8] > max(rates["ecp5_25k", 8], rates["ecp5_85k", 16])
