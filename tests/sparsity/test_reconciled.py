"""Layers of a network and operations of the hardware are the same, whatever the network does with its modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.export.weights import save_dense, save_sparse
from hass_train.hardware import SparsityProfile, trace
from hass_train.hardware.tracer import UnsupportedOperation
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.runtime.errors import UserError
from hass_train.search.penalty import PricedPenalty
from hass_train.search.question import floor_profile
from hass_train.sparsity import (
    Channel,
    LayerRule,
    Mode,
    SearchStep,
    SparseLayer,
    calibrate,
    link_norms,
    running_profile,
    sparse_layers,
    sparsify,
)
from hass_train.sparsity.nonzeros import observe_nonzeros

ALL = {"all": LayerRule("*")}
SHAPE = (3, 12, 12)


class Twice(nn.Module):
    """A convolution that is called twice, the second time under another name, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)
        self.n1, self.n2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.again = nn.Sequential(self.b, self.n2, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(F.relu(self.n1(self.b(F.relu(self.a(x))))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def searching() -> tuple[Twice, list[tuple[str, SparseLayer]]]:
    """The network in the search mode, and its sparse layers."""
    torch.manual_seed(0)
    model = Twice()
    sparsify(model, ALL, workload=trace(model, SHAPE))
    layers = list(sparse_layers(model))
    for _, layer in layers:
        layer.set_mode(Mode.SEARCH)
    return model, layers


class Odd(nn.Module):
    """A fixed filter, a layer that only constants reach, one whose weights another module reads, one never called, and
    two classifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.register_buffer("filt", torch.ones(8, 1, 3, 3))
        self.register_buffer("places", torch.arange(8.0)[None])
        self.bias, self.read, self.never = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.one, self.two = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(F.relu(self.a(x)), self.filt, padding=1, groups=8).mean((2, 3))
        x = F.relu(F.linear(x, self.read.weight)) + self.bias(self.places)
        return (self.one(x) + self.two(x)) / 2  # type: ignore[no-any-return]


def test_a_layer_that_is_called_twice_is_one_set_of_weights_and_two_operations() -> None:
    torch.manual_seed(0)
    model = Twice().eval()
    workload = trace(model, SHAPE)
    assert [layer.name for layer in workload.compute_layers] == ["a", "b", "b#2", "head"]
    assert workload.uses == {"a": ("a",), "b": ("b", "b#2"), "head": ("head",)}
    assert workload.weights == sum(m.weight.numel() for m in (model.a, model.b, model.head))
    assert workload.macs == 144 * (3 * 8 * 9 + 2 * 8 * 8 * 9) + 32
    sparsify(model, ALL, workload=workload)
    assert [name for name, _ in sparse_layers(model)] == ["a", "b", "head"]
    images = torch.randn(3, *SHAPE)
    profile = calibrate(model, [images[:2], images[2:]])
    profile.check_covers(workload)
    running_profile(model).check_covers(workload)
    first = F.relu(model.a(images))
    second = F.relu(model.n1(model.b(first)))
    for name, x in (("b", first), ("b#2", second)):
        assert profile.layers[name].activation_density == pytest.approx(float((x != 0).float().mean()))
        pairs = F.conv2d((x != 0).float(), (model.b.weight != 0).float(), padding=1).mean() / 72
        assert profile.layers[name].pair_density == pytest.approx(float(pairs))
    found = observe_nonzeros(model, workload, ["b#2"], images)
    assert [*found] == ["b#2"]
    assert (found["b#2"].activations[:, 1:-1, 1:-1] == (second != 0).permute(0, 2, 3, 1).numpy()).all()


def test_both_calls_pay_their_price() -> None:
    """The penalty's gradient is that of Σ price · density over operations, by finite differences of its definition."""
    model, layers = searching()
    images = torch.randn(4, *SHAPE)
    with SearchStep(model)():
        model(images)
    before = dict(layers)["b"].activation_density.clone()
    with SearchStep(model)():
        model(images)
    calls = dict(layers)["b"].penalty_densities
    assert len(calls) == 2
    assert float(calls[0][1]) != float(calls[1][1])
    seen = (float(calls[0][1]) + float(calls[1][1])) / 2  # running statistics follow the mean of the calls
    moved = float(dict(layers)["b"].activation_density)
    assert moved == pytest.approx(float(before) + 0.1 * (seen - float(before)), abs=1e-6)
    names = ("a", "b", "b#2", "head")
    pair = {name: 0.1 + k for k, name in enumerate(names)}
    weight = {name: 0.01 * k for k, name in enumerate(names)}
    read = {"b#2": 0.3}  # layers without an activation price have one of 0
    cost = PricedPenalty(pair, weight, activation_prices=read)(layers)
    by_name = {n: d for _, layer in layers for n, d in zip(layer.operations, layer.penalty_densities, strict=True)}
    wanted = sum(
        float(w) * (pair[n] * float(a) + weight[n]) + read.get(n, 0.0) * float(a) for n, (w, a) in by_name.items()
    )
    assert float(cost) == pytest.approx(wanted)
    (slope,) = torch.autograd.grad(cost, dict(layers)["b"].activation_threshold)
    assert slope < 0


def test_a_layer_that_training_calls_more_often_pays_the_mean_of_its_calls() -> None:
    model, layers = searching()
    with SearchStep(model)():
        model(torch.randn(2, *SHAPE))
        model.b(torch.randn(2, 8, 4, 4))  # a third time, as a branch that only training has would
    calls = model.b.penalty_densities
    assert len(calls) == 3
    prices = {"a": 0.0, "b": 1.0, "b#2": 2.0, "head": 0.0}
    cost = PricedPenalty(prices, dict.fromkeys(prices, 0.0))(layers)
    mean = [float(sum(one[k] for one in calls)) / 3 for k in (0, 1)]
    assert float(cost) == pytest.approx(3.0 * mean[0] * mean[1])


def test_dead_filters_of_a_shared_layer_are_dead_behind_both_norms() -> None:
    torch.manual_seed(0)
    model = Twice()
    sparsify(model, ALL, Channel(), trace(model, SHAPE))
    link_norms(model, torch.zeros(1, *SHAPE))
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(0.5, 0.0)
        layer.set_mode(Mode.FROZEN)
    dead = ~model.b.mask.flatten(1).any(1)
    assert int(dead.sum()) == 4
    for norm in (model.n1, model.n2):
        assert torch.equal(norm.bias == 0, dead | (norm.bias == 0))
        assert (norm.weight[dead] == 0).all()


def test_what_the_search_cannot_own_stays_dense_and_is_still_costed() -> None:
    torch.manual_seed(0)
    model = Odd()
    workload = trace(model, SHAPE)
    assert {o.name for o in workload if o.fixed} == {"filt", "read"}
    assert [o.name for o in workload.compute_layers] == ["a", "one", "two"]
    assert workload["filt"].macs == 144 * 8 * 9
    assert workload["read"].weights == 64
    assert workload.first_layers == {"a"}
    assert workload.last_layers == {"one", "two"}
    assert workload["a"].inputs == (NETWORK_INPUT,)
    rules = {**ALL, "last": LayerRule("@last", weight=False), "first": LayerRule("@first", False, False)}
    sparsify(model, rules, Channel(), workload)
    layers = dict(sparse_layers(model))
    assert [*layers] == ["a", "one", "two"]
    assert not any(layer.prune_weights for layer in layers.values())
    assert not layers["a"].gate_activations
    calibrate(model, [torch.randn(2, *SHAPE)]).check_covers(workload)
    floor_profile(workload, dict.fromkeys(layers, (True, True)), 0.1).check_covers(workload)
    SparsityProfile.uniform(workload, 0.3).check_covers(workload)
    with pytest.raises(UserError, match=r"sparsity.rules.one matches no layer \('read'\)"):
        sparsify(Odd(), {**ALL, "one": LayerRule("read")}, workload=workload)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 12)
        self.register_buffer("places", torch.ones(12, 12))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x + self.fc(self.places))  # type: ignore[no-any-return]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x)))  # type: ignore[no-any-return]


def test_what_cannot_be_followed_is_refused() -> None:
    with pytest.raises(UnsupportedOperation, match="layer fc is called with images and with constants"):
        trace(Mixed(), SHAPE)
    with pytest.raises(UserError, match="layers a and b share their weights"):
        sparsify(Tied(), ALL, workload=trace(Tied(), SHAPE))


def test_a_network_that_runs_otherwise_than_it_was_traced_is_noticed() -> None:
    model = Twice()
    sparsify(model, ALL, workload=trace(model, SHAPE))
    model.b.operations = ("b", "b#2", "b#3")
    with pytest.raises(RuntimeError, match=r"b#?\d? ran \d times in 1 passes"):
        calibrate(model, [torch.randn(1, *SHAPE)])


def test_a_shared_layer_is_saved_under_all_its_names(tmp_path: Path) -> None:
    model = Twice()
    keys = set(model.state_dict())
    sparsify(model, ALL, workload=trace(model, SHAPE))
    save_dense(model, tmp_path / "dense.safetensors")
    assert set(load_file(tmp_path / "dense.safetensors")) == keys
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.FROZEN)
    save_sparse(model, str(tmp_path), {})
    Twice().load_state_dict(load_file(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    ("name", "arguments", "fixed", "last"),
    [
        ("resnetblur18", {}, "maxpool.1.filt", {"fc"}),
        ("beit_base_patch16_224", {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 2},
         "blocks.0.attn.qkv", {"head"}),
        ("deit_tiny_distilled_patch16_224", {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 2}, None,
         {"head", "head_dist"}),
        ("test_vit_relpos", {"img_size": 32}, None, {"head"}),
    ],
)  # fmt: skip
def test_networks_of_timm(name: str, arguments: dict[str, int], fixed: str | None, last: set[str]) -> None:
    model = timm.create_model(name, num_classes=4, **arguments)
    workload = trace(model, (3, 32, 32))
    assert fixed in {operation.name for operation in workload if operation.fixed} | {None}
    assert workload.last_layers == last
    sparsify(model, ALL, workload=workload)
    calibrate(model, [torch.randn(1, 3, 32, 32)]).check_covers(workload)
