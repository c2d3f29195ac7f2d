"""The integer network equals the fake-quantised one, every element of every value."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision import IntegerNetwork, Precision, PrecisionRule, Stage, quantisers_of
from hass_train.precision.graph import LAYERS, Kind
from hass_train.runtime.errors import UserError
from hass_train.sparsity import sparse_layers
from tests.precision.networks import PRESETS, TOYS, Convolutions, images, quantised

SIZE = 14
NETWORKS = {"mobilenetv3_small_100": 8, "resnet18": 4, "efficientnet_b0": 4}
"""timm networks, and how many images of 32 px to compare on."""


def values_of(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """All values of the fake-quantised network."""
    quantisers = quantisers_of(model)
    assert quantisers is not None
    found: dict[str, Tensor] = {}
    rounded = quantisers._rounded

    def note(name: str, x: Tensor, fresh: bool = False) -> Tensor:
        found[name] = rounded(name, x, fresh)
        return found[name]

    quantisers._rounded = note  # type: ignore[method-assign]
    with torch.no_grad():
        model(batch)
    del quantisers._rounded
    return found


def check_equal(model: nn.Module, batch: Tensor) -> IntegerNetwork:
    """Assert that all values are equal, and return the integer network."""
    network = IntegerNetwork.of(model)
    real, integers = values_of(model, batch), network.values(batch)
    formats = {NETWORK_INPUT: network.input, **{one.name: one.output for one in network.operations}}
    assert {*integers} <= {*real}
    for name, value in integers.items():
        assert value.dtype == torch.int64
        assert torch.equal(value.double() * formats[name].scale, real[name].double()), name
        assert formats[name].low <= int(value.min()) <= int(value.max()) <= formats[name].high, name
    with torch.no_grad():
        assert torch.equal(network(batch).double() * network.output_format.scale, model(batch).double())
    return network


@pytest.mark.parametrize("name", TOYS)
def test_toy_networks_are_equal(name: str) -> None:
    torch.manual_seed(0)
    network = check_equal(quantised(TOYS[name](), SIZE), images(16, SIZE, 3))
    assert len(torch.unique(network(images(16, SIZE, 3)))) > 10


@pytest.mark.parametrize("preset", ["fixed16", "int4"])
@pytest.mark.parametrize("name", ["convolutions", "pools", "sums", "gates", "silu"])
def test_toy_networks_are_equal_at_other_bits(name: str, preset: str) -> None:
    torch.manual_seed(1)
    check_equal(quantised(TOYS[name](), SIZE, PRESETS[preset]), images(8, SIZE, 3))


@pytest.mark.parametrize("bits", [2, 3, 5, 7])
def test_any_bits_are_equal(bits: int) -> None:
    torch.manual_seed(2)
    network = check_equal(quantised(Convolutions(), SIZE, Precision(bits, bits)), images(8, SIZE, 3))
    largest = max(int(one.abs().max()) for name, one in network.tensors.items() if name.endswith(".weight"))
    assert 2 ** (bits - 2) <= largest <= 2 ** (bits - 1) - 1


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_equal(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = quantised(timm.create_model(name, num_classes=10), 32)
    batch = images(NETWORKS[name], 32, 3)
    network = check_equal(model, batch)
    assert {one.name for one in quantisers_of(model).graph.workload} <= {one.name for one in network.operations}  # type: ignore[union-attr]
    network.save(tmp_path)
    again = IntegerNetwork.load(tmp_path)
    assert again.operations == network.operations
    assert torch.equal(again(batch), network(batch))


def test_zeros_stay_zeros_and_thresholds_are_compared_as_integers() -> None:
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE, weights=0.6, level=0.8)
    network = IntegerNetwork.of(model)
    compared = 0
    for name, layer in sparse_layers(model):
        assert not bool(network.tensors[f"{name}.weight"][~layer.mask].any())
        operation = next(one for one in network.operations if one.name == name)
        scale = operation.sources[0].scale
        assert operation.threshold * scale <= layer.activation_level()
        if operation.threshold < operation.sources[0].largest:
            assert layer.activation_level() < (operation.threshold + 1) * scale
        compared += operation.threshold > 0
    assert compared > 3


def test_accumulators_are_as_wide_as_the_real_weights_need() -> None:
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE)
    network = IntegerNetwork.of(model)
    for one in network.operations:
        if one.kind in (Kind.CONV, Kind.LINEAR):
            weight, bias = network.tensors[f"{one.name}.weight"].long(), network.tensors[f"{one.name}.bias"].long()
            most = int((weight.flatten(1).abs().sum(1) * one.sources[0].largest + bias.abs()).max())
            assert 2 ** (one.accumulator_bits - 2) <= most < 2 ** (one.accumulator_bits - 1)
    with pytest.raises(UserError, match=r"layer \w+ needs accumulators of \d+ bits, and .* is 16"):
        IntegerNetwork.of(quantised(Convolutions(), SIZE, Precision(accumulator_bits=16)))


def test_rules_give_layers_their_bits() -> None:
    torch.manual_seed(0)
    rules = {
        "most": PrecisionRule("*", weight_bits=4),
        "first": PrecisionRule("@first", weight_bits=6, activation_bits=5),
        "grouped": PrecisionRule("grouped", activation_bits=3),
        "last": PrecisionRule("@last", weight_bits=2),
    }
    network = check_equal(quantised(Convolutions(), SIZE, Precision(rules=rules)), images(4, SIZE, 3))
    largest = {name: int(network.tensors[f"{name}.weight"].abs().max()) for name in ("stem", "depthwise", "last")}
    assert 16 <= largest.pop("stem") <= 31  # of more than 4 bits none saturates
    assert largest == {"depthwise": 7, "last": 1}
    assert network.input.bits == 5
    formats = {one.name: one.sources[0] for one in network.operations}
    assert formats["grouped"].bits == 3 - (not formats["grouped"].signed)
    assert formats["even"].bits == 8
    assert network.output_format.bits == 16


def test_integers_hold_no_floats(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IntegerNetwork.of(quantised(TOYS["hardswish"](), SIZE))
    assert not any(one.is_floating_point() for one in network.tensors.values())
    network.save(tmp_path)
    (tmp_path / "integers.json").write_text("{}")
    with pytest.raises(UserError, match="holds no integer network"):
        IntegerNetwork.load(tmp_path)


def test_networks_of_floats_have_no_integers() -> None:
    with pytest.raises(UserError, match="precision=int8"):
        IntegerNetwork.of(Convolutions())
    model = quantised(Convolutions(), SIZE)
    quantisers_of(model).set_stage(Stage.FLOAT)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="precision=int8"):
        IntegerNetwork.of(model)


def test_values_that_are_never_negative_fit_into_signed_words() -> None:
    """Engines multiply signed words: whatever a layer reads lies within them."""
    torch.manual_seed(0)
    network = IntegerNetwork.of(quantised(Convolutions(), SIZE))
    read = [one.sources[0] for one in network.operations if one.kind in LAYERS]
    assert {one.signed for one in read} == {True, False}
    assert all(one.low >= -128 and one.high <= 127 for one in read)
