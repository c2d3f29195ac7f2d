"""Bits of weights by layer: what they cost in error, what they gain, which are taken, and what keeps them."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from hass_train.experiment import Experiment
from hass_train.hardware import (
    AieAccelerator,
    AieArray,
    DataflowAccelerator,
    DataflowOptions,
    SparsityProfile,
    Workload,
    load_device,
    trace,
)
from hass_train.precision import (
    IntegerNetwork,
    Mixed,
    PrecisionRule,
    Quantisers,
    integer_graph,
    quantise,
    quantisers_of,
    state_keys,
)
from hass_train.precision.formats import largest_weight
from hass_train.precision.mixed import choose_bits, output_errors
from hass_train.runtime.errors import UserError
from hass_train.search.widths import words
from hass_train.sparsity import LayerRule, sparsify
from hass_train.training.quantisation import layer_bits, set_layer_bits
from tests.conftest import SMALL, composed
from tests.precision.networks import TOYS, Convolutions, images, quantised

SIZE = 14
KEPT = Mixed(rules={"last": PrecisionRule("@last", weight_bits=8)})


def quantisers_in(model: torch.nn.Module) -> Quantisers:
    found = quantisers_of(model)
    assert found is not None
    return found


@given(st.data())
def test_the_best_bits_are_chosen(data: st.DataObject) -> None:
    numbers = st.floats(0, 1, width=16)
    layers, choices = [f"l{k}" for k in range(data.draw(st.integers(1, 4)))], (8, 4, 2)
    gains = {one: {8: 0.0, 4: data.draw(numbers), 2: data.draw(numbers)} for one in layers}
    errors = {one: {8: 0.0, 4: data.draw(numbers), 2: data.draw(numbers)} for one in layers}
    most = data.draw(st.floats(0, 2, width=16))
    chosen = choose_bits(gains, errors, most)
    assert [*chosen] == layers

    def total(of: dict[str, dict[int, float]], bits: dict[str, int]) -> float:
        return sum(of[layer][own] for layer, own in bits.items())

    assert total(errors, chosen) <= most + 1e-6
    every = [dict(zip(layers, bits, strict=True)) for bits in itertools.product(choices, repeat=len(layers))]
    best = max(total(gains, one) for one in every if total(errors, one) <= most)
    assert total(gains, chosen) >= best - 1e-5


def test_bits_that_gain_nothing_are_kept() -> None:
    assert choose_bits({"a": {8: 0.0, 4: 0.0}}, {"a": {8: 0.0, 4: 0.01}}, 1.0) == {"a": 8}
    assert choose_bits({"a": {8: 0.0, 4: -math.inf}}, {"a": {8: 0.0, 4: 0.0}}, 1.0) == {"a": 8}
    assert choose_bits({}, {}, 1.0) == {}


def test_errors_are_those_of_one_layer_with_fewer_bits_and_leave_no_trace() -> None:
    torch.manual_seed(0)
    model, batch = quantised(Convolutions(), SIZE, KEPT), images(6, SIZE, 4)
    quantisers, before = quantisers_in(model), copy.deepcopy(model.state_dict())
    assert "last" not in quantisers.free_layers
    errors = output_errors(quantisers, batch, KEPT.choices)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [*errors] == quantisers.free_layers
    other = copy.deepcopy(model)
    with torch.no_grad():
        exact = model(batch)
        for layer, bits in (("stem", 2), ("even", 4)):
            quantisers_in(other).set_layer_bits({layer: bits})
            found = (other(batch) - exact).double()
            found, whole = found - found.mean(1, keepdim=True), (exact - exact.mean(1, keepdim=True)).double()
            assert errors[layer][bits] == pytest.approx(float(found.square().sum() / whole.square().sum()), rel=1e-4)
            quantisers_in(other).set_layer_bits({layer: 8})
    assert all(one[8] == 0.0 for one in errors.values())
    assert sum(one[2] for one in errors.values()) > 3 * sum(one[4] for one in errors.values()) > 0


def test_integers_have_the_bits_of_their_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, batch = quantised(TOYS["sums"](), SIZE, Mixed()), images(6, SIZE, 4)
    set_layer_bits(model, {"shared": 2, "stem": 4})
    network = IntegerNetwork.of(model)
    with torch.no_grad():
        assert torch.equal(network(batch) * network.output_format.scale, model(batch).double())
    for name, value in network.tensors.items():
        if name.endswith(".weight"):
            bits = {"shared": 2, "stem": 4}.get(name.split(".")[0].split("#")[0], 8)
            assert int(value.abs().max()) <= largest_weight(bits)
            assert int(value.abs().max()) > largest_weight(bits) // 2
    assert [name for name in network.tensors if name.startswith("shared") and name.endswith(".weight")] != []
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime, which is among `dev`, is not installed")
    from hass_train.export.onnx import MODEL, save_onnx

    save_onnx(network, tmp_path)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(tmp_path / MODEL, options, providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {"input": batch.numpy()})
    assert torch.equal(torch.from_numpy(answers).double(), network(batch) * network.output_format.scale)


def test_state_dicts_hold_the_choice() -> None:
    torch.manual_seed(0)
    model, batch = quantised(Convolutions(), SIZE, KEPT), images(4, SIZE, 7)
    quantisers_in(model).set_layer_bits({"stem": 4, "grouped": 2})
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    other = Convolutions()
    graph = integer_graph(other, (3, SIZE, SIZE))
    sparsify(other, {"all": LayerRule("*")}, None, graph.workload)
    quantise(other, graph, KEPT)
    assert set(layer_bits(other).values()) == {8}
    assert layer_bits(other, state) == layer_bits(model)
    assert layer_bits(model)["stem"] == 4
    assert "quantisers.chosen_bits" in state_keys(model)
    other.load_state_dict(model.state_dict())
    for module in other.modules():
        if hasattr(module, "synchronize"):
            module.synchronize()  # type: ignore[operator]
    with torch.no_grad():
        assert torch.equal(other.eval()(batch), model(batch))
    assert layer_bits(quantised(Convolutions(), SIZE)) == {}


@pytest.fixture(scope="module")
def workload() -> Workload:
    return trace(timm.create_model("test_resnet.r160_in1k"), (3, 32, 32))


def test_gains_on_the_dataflow_accelerator_tell_what_fewer_bits_do(workload: Workload) -> None:
    options = DataflowOptions(weight_bits=8, activation_bits=8, tolerance=0.02)
    accelerator = DataflowAccelerator(load_device("zcu104"), options)
    profile, layers = SparsityProfile.uniform(workload, 0.5, weight_density=0.7), [*workload.uses]
    gains = accelerator.width_gains(workload, profile, dict.fromkeys(layers, (8, 4, 2)))
    assert [*gains] == layers
    for one in gains.values():
        assert one[8] == 0.0
        assert one[2] >= one[4] - 0.01  # memories alone are smaller; the smallest are LUTs rather than block RAMs
    present = accelerator.estimate(workload, profile).throughput_ips
    best = sorted(layers, key=lambda layer: gains[layer][4])[len(layers) // 2 :]
    narrow = workload.with_bits({name: 4 for layer in best for name in workload.uses[layer]}, {})
    promised = sum(gains[layer][4] for layer in best)
    real = math.log(accelerator.estimate(narrow, profile).throughput_ips / present)
    assert real > 0.3 * promised > 0


def test_gains_elsewhere_are_differences_of_estimates(workload: Workload) -> None:
    accelerator, profile = AieAccelerator(AieArray("aie", 4, 4)), SparsityProfile.dense(workload)
    layer = workload.compute_layers[3].owner
    gains = accelerator.width_gains(workload, profile, {layer: (8, 4)})
    narrow = workload.with_bits(dict.fromkeys(workload.uses[layer], 4), {})
    rates = [accelerator.estimate(one, profile).throughput_ips for one in (workload, narrow)]
    assert gains == {layer: {8: 0.0, 4: pytest.approx(math.log(rates[1] / rates[0]))}}
    assert gains[layer][4] > 0


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"choices": (4, 2)}, r"precision.choices is \[4, 2\]; the most must be precision.weight_bits, which is 8"),
        ({"choices": ()}, r"precision.choices is \[\]; the most must be"),
        ({"choices": (8, 1)}, r"precision.choices is 1; it must be a whole number from 2 to 16"),
        ({"output_error": 0.0}, r"precision.output_error is 0.0; it must be above 0"),
        ({"output_error": math.nan}, r"precision.output_error is nan; it must be above 0"),
    ],
)
def test_mistakes_are_told_in_a_line(given_: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        Mixed(**given_)
    assert "\n" not in str(error.value)
    assert Mixed(choices=(2, 8, 4, 8)).choices == (8, 4, 2)


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hw.weight_bits is 8 for all layers, so precision=mixed"):
        Experiment.of(composed(*SMALL, "precision=mixed", "hw.weight_bits=8", output=tmp_path))
    experiment = Experiment.of(composed(*SMALL, "precision=mixed", output=tmp_path, config_name="train"))
    with pytest.raises(UserError, match=r"train.py has none; take precision=int8"):
        experiment.quantised(experiment.dense_network())


def test_bits_are_counted_in_words() -> None:
    assert words({"a": 8, "b": 4, "c": 4}) == "8 bits in 1 layer, 4 bits in 2 layers"
