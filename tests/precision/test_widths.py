"""Hardware's words are as wide as the numbers of the network, layer by layer, unless the accelerator states a width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm

from hass_train.estimate import main
from hass_train.experiment import Experiment
from hass_train.hardware import DataflowAccelerator, trace
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision import Float, Precision, PrecisionRule, integer_graph, resolved, with_widths
from hass_train.precision.values import Values
from tests.conftest import SMALL, Compose, composed
from tests.precision.networks import TOYS

OPEN = {"weight_bits": None, "activation_bits": None, "accumulator_bits": None, "name": "x"}
RULES = {
    "first": PrecisionRule("@first", weight_bits=6, activation_bits=7),
    "some": PrecisionRule("*e*", activation_bits=10),
    "last": PrecisionRule("@last", weight_bits=3, activation_bits=5),
}


def test_widths_that_are_null_follow_the_network() -> None:
    assert resolved(OPEN, Precision(4, 6, accumulator_bits=20)) == {
        "weight_bits": 4, "activation_bits": 6, "accumulator_bits": 20, "name": "x",
    }  # fmt: skip
    assert resolved(OPEN, Float()) == OPEN
    assert resolved({"weight_bits": 5, "name": "x"}, Precision()) == {"weight_bits": 5, "name": "x"}


@pytest.mark.parametrize("name", ["convolutions", "pools", "sums", "gates", "hardswish", "relu"])
def test_operations_read_what_the_integer_network_has_there(name: str) -> None:
    model = TOYS[name]()
    precision = Precision(8, 9, rules=RULES)
    graph = integer_graph(model, (3, 14, 14))
    workload, values = with_widths(graph.workload, model, precision, OPEN), Values.of(graph, precision, model)
    formats = values.formats(dict.fromkeys(values.bits, 0), input_signed=True)
    checked = 0
    for node in graph.nodes:
        if node.name in workload._by_name:
            one = workload[node.name]
            widest = max(formats[name].bits for name in node.inputs if name != graph.output)
            # a ReLU that something else reads past clips to one bit less, which hardware does not make use of
            assert (one.activation_bits or 9) in (widest, widest + 1), node.name
            assert (one.weight_bits or 8) == values.weight_bits.get(node.name, 8)
            checked += 1
    assert checked > 2
    assert any(one.weight_bits for one in workload)
    assert any(one.activation_bits for one in workload)
    assert NETWORK_INPUT in values.bits


def test_a_width_that_the_accelerator_states_holds_for_all_layers() -> None:
    model, precision = TOYS["convolutions"](), Precision(8, 9, rules=RULES)
    workload = integer_graph(model, (3, 14, 14)).workload
    stated = with_widths(workload, model, precision, {**OPEN, "weight_bits": 8})
    assert not any(one.weight_bits for one in stated)
    assert any(one.activation_bits for one in stated)
    assert with_widths(workload, model, precision, {**OPEN, "weight_bits": 8, "activation_bits": 8}) == workload
    assert with_widths(workload, model, Float(), OPEN) is workload


@pytest.mark.parametrize(
    ("overrides", "bits"),
    [
        (("precision=float",), (16, 16, 30)),
        (("precision=int8",), (8, 8, 32)),
        (("precision=int4", "hw.activation_bits=6"), (4, 6, 32)),
        (("precision=int8", "hw.weight_bits=5", "hw.accumulator_bits=24"), (5, 8, 24)),
    ],
)
def test_experiments_have_an_accelerator_of_the_networks_widths(
    overrides: tuple[str, ...], bits: tuple[int, int, int], tmp_path: Path
) -> None:
    accelerator = Experiment.of(composed(*SMALL, *overrides, output=tmp_path)).accelerator
    assert isinstance(accelerator, DataflowAccelerator)
    options = accelerator.options
    assert (options.weight_bits, options.activation_bits, options.accumulator_bits) == bits


def test_rules_reach_the_workload_of_a_search(tmp_path: Path) -> None:
    experiment = Experiment.of(composed(*SMALL, "precision=int4", output=tmp_path))
    bits = {one.name: one.weight_bits for one in experiment.workload.compute_layers}
    ends = experiment.workload.first_layers | experiment.workload.last_layers
    assert {name for name, own in bits.items() if own == 8} == ends
    assert {own for name, own in bits.items() if name not in ends} == {0}


def test_depthwise_convolutions_keep_8_bits_in_int4(tmp_path: Path) -> None:
    precision = Experiment.of(composed("precision=int4", output=tmp_path)).precision
    assert isinstance(precision, Precision)
    model = timm.create_model("mobilenetv3_small_050", in_chans=1, num_classes=10)
    layers = precision.of_layers(model, trace(model, (1, 32, 32), "mobilenetv3"))
    depthwise = {name for name in layers if getattr(model.get_submodule(name), "groups", 1) > 1}
    assert {name for name, bits in layers.items() if bits.weight == 8} == {"conv_stem", *depthwise, "classifier"}


def test_estimates_know_precision(compose: Compose, tmp_path: Path) -> None:
    def asked(*overrides: str) -> dict[str, Any]:
        tiny = ("model=timm", "model.name=test_resnet.r160_in1k", "model.input_size=[3,32,32]", "hw=zcu104")
        return main(
            compose(*tiny, "hw.tolerance=0.02", *overrides, config_name="estimate", output=tmp_path, logger=False)
        )

    plain, int4 = asked(), asked("precision=int4")
    assert (plain["hw"]["weight_bits"], int4["hw"]["weight_bits"]) == (None, 4)
    rows = [row for row in int4["estimate"]["layers"] if row["macs"]]
    assert [row["weight_bits"] for row in rows] == [8, *[4] * (len(rows) - 2), 8]
    assert {row["activation_bits"] for row in rows} == {8}
    assert {row["weight_bits"] for row in plain["estimate"]["layers"] if row["macs"]} == {16}
    assert int4["estimate"]["throughput_ips"] > plain["estimate"]["throughput_ips"]
    assert (
        asked("hw.weight_bits=8", "hw.activation_bits=8", "hw.accumulator_bits=32")["estimate"]
        == (asked("precision=int8")["estimate"])
    )
