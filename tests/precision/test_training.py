"""Training with fake quantisers: gradients, zeros, the network's own state, and what is chosen when."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from hass_train.precision import IntegerNetwork, Precision, Stage, formats, integer_graph, quantise, quantisers_of
from hass_train.precision.floating import fake_weight
from hass_train.precision.folding import norm_scales
from hass_train.precision.formats import largest_weight
from hass_train.precision.graph import LAYERS
from hass_train.search.phases import Phase, PhasePlan
from hass_train.sparsity import LayerRule, Mode, SearchStep, apply_masks, sparse_layers, sparsify
from hass_train.sparsity.layers import SparseLayer
from hass_train.training.module import SparseClassifier
from hass_train.training.quantisation import as_floats, calibrate_precision, follow_weights, renew_batch_norm
from tests.precision.networks import FUNCTIONS, TOYS, Convolutions, Pointwise, Sums, images, quantised, settled

SIZE = 14


def step(model: nn.Module, seed: int = 0) -> torch.Tensor:
    """The loss of a step."""
    logits = model(images(8, SIZE, seed))
    return F.cross_entropy(logits, torch.arange(8) % logits.shape[1])


@pytest.mark.parametrize("name", ["convolutions", "pools", "sums", "gates", *FUNCTIONS])
def test_gradients_pass_to_all_weights(name: str) -> None:
    torch.manual_seed(0)
    model = quantised(TOYS[name](), SIZE, level=0.0).train()
    step(model).backward()
    for key, parameter in model.named_parameters():
        if not key.endswith("_threshold"):
            assert parameter.grad is not None, key
            assert bool(parameter.grad.any()), key


@pytest.mark.parametrize("large", [1, 2**30])
@pytest.mark.parametrize("name", ["convolutions", "pools", "sums", "gates", "hardswish", "sigmoid", "relu"])
def test_gating_while_rounding_is_gating_behind_it(name: str, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = quantised(TOYS[name](), SIZE, level=0.6).train()
    other = copy.deepcopy(model)
    monkeypatch.setattr(formats, "_LARGE", large)
    losses = []
    for one in (model, other):
        torch.manual_seed(0)  # of dropout
        losses.append(step(one))
        losses[-1].backward()
        monkeypatch.setattr(SparseLayer, "fixed_level", lambda self: 0.0)
    assert float(losses[0].detach()) == float(losses[1].detach())
    for (key, own), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        if own.grad is not None and expected.grad is not None:
            assert torch.allclose(own.grad, expected.grad, rtol=1e-3, atol=1e-6), key


def test_weights_are_rounded_as_folded_and_their_gradient_passes() -> None:
    weight = torch.tensor([[0.3, -0.26, 5.0, 0.0], [0.3, 0.1, -1.9, 0.0]], requires_grad=True)
    norm = nn.BatchNorm1d(2, eps=0.0).requires_grad_(False)
    norm.weight.copy_(torch.tensor([2.0, -0.5]))
    (scale,) = norm_scales([norm], torch.float32)
    up = scale * torch.tensor([16.0, 32.0])
    rounded = fake_weight(weight, up, 1 / up, 4)
    assert (rounded.detach() * up[:, None]).tolist() == [[7, -7, 7, 0], [-5, -2, 7, 0]]
    rounded.backward(torch.arange(8.0).reshape(2, 4))
    assert weight.grad is not None
    # of those that saturate 5.0 can return; descent would carry −0.26 and −1.9 farther away
    assert weight.grad.tolist() == [[0, 0, 2, 3], [4, 5, 0, 7]]


@pytest.mark.parametrize(("search", "following"), [(0, []), (1, []), (2, [3]), (3, [3, 4]), (8, [3, 4, 5, 6, 7, 8])])
def test_exponents_of_values_stay_in_the_last_epochs_of_a_search(search: int, following: list[int]) -> None:
    plan = PhasePlan((3, search, 2), (1.0, 1.0, 1.0))

    def follows(epoch: int, question: object) -> bool:
        state = SimpleNamespace(question=question, plan=plan, phase=plan.phase_at(epoch))
        return bool(SparseClassifier.follows.fget(SimpleNamespace(state=state, current_epoch=epoch)))  # type: ignore[attr-defined]

    assert [epoch for epoch in range(plan.total) if follows(epoch, "a search")] == following
    assert plan.phase_at(3 + search) is Phase.RECOVER
    plain = [follows(epoch, None) for epoch in range(plan.total)]
    assert plain == sorted(plain, reverse=True)
    assert not plain[-1]


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (8, 4, 1, 1), (8, 1, 3, 3)])
def test_rounding_keeps_the_layout_of_weights(shape: tuple[int, ...]) -> None:
    weight, up = torch.randn(shape).to(memory_format=torch.channels_last), torch.full((8,), 64.0)
    assert fake_weight(weight, up, 1 / up, 8).stride() == weight.stride()


def far_from_normal(model: nn.Module) -> nn.Module:
    """The network with weights so small that variances are far from 1, and statistics that fit."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "head" not in name:
                parameter.mul_(0.01)
    return settled(model, SIZE)


def test_renewed_statistics_are_those_of_the_network_of_floats() -> None:
    torch.manual_seed(0)
    model = quantised(far_from_normal(Convolutions()), SIZE, level=0.0)
    floats, seen = copy.deepcopy(model), [images(16, SIZE, seed) for seed in range(8)]
    quantisers_of(floats).set_stage(Stage.FLOAT)  # type: ignore[union-attr]
    update_bn(seen, floats)
    renew_batch_norm(model, seen)
    assert not model.training
    for (path, own), other in zip(model.named_modules(), floats.modules(), strict=True):
        if isinstance(own, nn.modules.batchnorm._BatchNorm):
            assert torch.equal(own.running_var, other.running_var), path
    calibrate_precision(model, seen)
    with torch.no_grad():
        exact, real = model(seen[0]), floats(seen[0])
    assert not torch.equal(exact, real)
    assert float((exact - real).abs().mean()) <= 0.1 * float(real.std())


def test_renewed_statistics_keep_the_exponents_of_values_and_choose_those_of_filters() -> None:
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE, level=0.0)
    quantisers, seen = quantisers_of(model), [images(16, SIZE, seed) for seed in range(8)]
    assert quantisers is not None
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_var.mul_(100)  # type: ignore[union-attr]
    follow_weights(model)
    values, filters = quantisers.exponents.clone(), quantisers.weight_exponents.clone()
    renew_batch_norm(model, seen)
    assert quantisers.stage_now is Stage.QUANTISED
    assert torch.equal(quantisers.exponents, values)
    assert bool((quantisers.weight_exponents > filters).any())
    renewed = quantisers.weight_exponents.clone()
    quantisers.choose_weights()
    assert torch.equal(quantisers.weight_exponents, renewed)


def test_renewed_statistics_are_measured_at_thresholds_that_stay() -> None:
    torch.manual_seed(0)
    model, seen = quantised(Convolutions(), SIZE), [5 * images(16, SIZE, seed) for seed in range(4)]
    layers = [layer for _, layer in sparse_layers(model)]
    for layer in layers:
        layer.set_mode(Mode.SEARCH)
    before = [layer.activation_level() for layer in layers]
    open_norms = copy.deepcopy(model)
    for _, layer in sparse_layers(open_norms):
        layer.set_sparsity(0.0, 0.0)
    for one in (model, open_norms):
        renew_batch_norm(one, seen)
    assert max(before) > 0
    assert [layer.activation_level() for layer in layers] == before
    norms = [
        [module.running_mean for module in one.modules() if isinstance(module, nn.BatchNorm2d)]
        for one in (model, open_norms)
    ]
    assert not all(torch.equal(one, other) for one, other in zip(*norms, strict=True))  # type: ignore[arg-type]


def test_a_network_that_never_saw_an_image_gets_statistics_before_exponents() -> None:
    torch.manual_seed(0)
    model, seen = Convolutions(), [images(16, SIZE, seed) for seed in range(4)]
    with torch.no_grad():
        model.stem.weight.mul_(0.01)
    quantise(model, integer_graph(model, (3, SIZE, SIZE)), Precision())
    calibrate_precision(model, seen)
    with torch.no_grad():
        exact, trained = model.eval()(torch.cat(seen)), model.train()(torch.cat(seen))
    assert float((exact - trained).abs().mean()) <= 0.1 * float(exact.std())


def test_steps_in_all_modes_keep_zeros_and_learn() -> None:
    torch.manual_seed(0)
    model = settled(Convolutions(), SIZE)
    graph = integer_graph(model, (3, SIZE, SIZE))
    sparsify(model, {"all": LayerRule("*")}, None, graph.workload)
    quantisers = quantise(model, graph, Precision())
    before = copy.deepcopy(model)
    quantisers.calibrate([images(16, SIZE)])
    assert not model.training
    optimizer, search = torch.optim.SGD(model.parameters(), 0.05), SearchStep(model)
    layers = [layer for _, layer in sparse_layers(model)]
    for mode in Mode:
        for layer in layers:
            layer.set_mode(mode)
        losses = []
        for seed in range(12):
            model.train()
            if mode is Mode.SEARCH:
                with search():
                    loss = step(model, seed % 2)
            else:
                loss = step(model, seed % 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if mode is Mode.FROZEN:
                apply_masks(model)
            losses.append(float(loss))
        assert losses[-1] < losses[0]
        quantisers.choose()
        if mode is Mode.SEARCH:
            assert all(layer.weight_threshold.grad is not None for layer in layers)
            for layer in layers:
                layer.set_sparsity(0.5, 0.1)
    model.eval()
    network = IntegerNetwork.of(model)
    for name, layer in sparse_layers(model):
        assert not bool(network.tensors[f"{name}.weight"][~layer.mask].any())
    with torch.no_grad():
        assert torch.equal(
            network(images(4, SIZE, 9)) * network.output_format.scale, model(images(4, SIZE, 9)).double()
        )
        assert not torch.equal(model(images(4, SIZE)), before(images(4, SIZE)))


def test_training_normalises_by_the_batch_and_evaluation_by_running_statistics() -> None:
    torch.manual_seed(0)
    model = quantised(Sums(), SIZE)
    mean = model.own.running_mean.clone()  # type: ignore[union-attr,operator]
    model.train()
    step(model)
    assert not torch.equal(model.own.running_mean, mean)  # type: ignore[union-attr,arg-type]


def test_a_step_of_training_is_near_evaluation_where_batches_are_the_statistics() -> None:
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE, level=0.0)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
            norm.train = lambda mode=True, norm=norm: norm  # type: ignore[method-assign,misc,assignment]
    batch = images(8, SIZE, 5)
    with torch.no_grad():
        exact, trained = model.eval()(batch), model.train()(batch)
    assert float((exact - trained).abs().max()) <= 0.03 * float(exact.abs().max())


def test_what_drops_values_does_so_in_training_alone() -> None:
    torch.manual_seed(0)
    model = quantised(Sums(), SIZE)
    kinds = [str(node.kind) for node in quantisers_of(model).graph.nodes]  # type: ignore[union-attr]
    assert kinds.count("drop") == 2
    batch = images(4, SIZE)
    with torch.no_grad():
        assert torch.equal(model(batch), model(batch))
        model.train()
        assert not torch.equal(model(batch), model(batch))


def test_before_calibration_nothing_changes() -> None:
    torch.manual_seed(0)
    model = settled(timm.create_model("mobilenetv3_small_050", num_classes=10), 32)
    batch = images(2, 32)
    with torch.no_grad():
        before, keys = model(batch), [*model.state_dict()]
        quantise(model, integer_graph(model, (3, 32, 32)), Precision())
        assert torch.equal(model(batch), before)
    added = {*model.state_dict()} - {*keys}
    assert [key for key in model.state_dict() if key not in added] == keys
    assert all(key.startswith("quantisers.") for key in added)


def test_state_dicts_and_copies_hold_the_exponents() -> None:
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE)
    copied, batch = copy.deepcopy(model), images(4, SIZE, 7)
    assert quantisers_of(copied).model is copied  # type: ignore[union-attr]
    other = Convolutions()
    graph = integer_graph(other, (3, SIZE, SIZE))
    sparsify(other, {"all": LayerRule("*")}, None, graph.workload)
    quantise(other, graph, Precision())
    other.load_state_dict(model.state_dict())
    quantisers_of(other).synchronize()  # type: ignore[union-attr]
    for _, layer in sparse_layers(other):
        layer.synchronize()
    with torch.no_grad():
        expected = model(batch)
        model.stem.weight.zero_()  # type: ignore[union-attr,operator]
        assert torch.equal(copied(batch), expected)
        assert torch.equal(other.eval()(batch), expected)


def test_exponents_follow_what_is_observed() -> None:
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE)
    quantisers = quantisers_of(model)
    assert quantisers is not None
    before = quantisers.formats["input"].exponent
    with torch.no_grad(), quantisers.observed():
        for _ in range(3):
            model(8 * images(16, SIZE))
    quantisers.choose()
    assert quantisers.formats["input"].exponent > before
    quantisers.set_stage(Stage.FLOAT)
    assert quantisers.formats["input"].exponent > before


def test_steps_leave_what_a_gate_makes_zero_at_zero() -> None:
    """Rounded to whole steps, values below a threshold of 0.78 steps would be 1, which it no longer gates."""
    torch.manual_seed(0)
    model, step, threshold = quantised(Pointwise(F.relu), SIZE, weights=0.0, level=0.0), 2.0**-4, 0.78 * 2.0**-4
    quantisers = quantisers_of(model)
    assert quantisers is not None
    with torch.no_grad():  # the values behind the ReLU are a channel of the image
        model.stem.weight.zero_()
        model.stem.weight[:, 0, 0, 0], model.stem.bias[:] = 1.0, 0.0
    seen = torch.rand(16, 3, SIZE, SIZE)
    seen = step * torch.where(torch.rand(seen.shape) < 0.8, 0.55 + 0.2 * seen, 1 + 126 * seen)

    def found(level: float) -> tuple[int, float]:
        """The exponent of what the head reads, and the fraction of it that is not zero."""
        model.head.frozen_threshold.fill_(level)
        model.head.synchronize()
        quantisers.calibrate([seen])
        read = quantisers.formats["relu"].quantise(seen[:, 0]) * quantisers.formats["relu"].scale
        return quantisers.formats["relu"].exponent, float((model.head.gated_input(read) != 0).float().mean())

    assert found(0.0) == (-4, 1.0)
    exponent, density = found(threshold)
    assert exponent == -3
    assert density == pytest.approx(0.2, abs=0.02)


def test_the_float_twin_does_not_round() -> None:
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE)
    quantisers, batch = quantisers_of(model), images(4, SIZE, 7)
    assert quantisers is not None
    plain = copy.deepcopy(model)
    quantisers_of(plain).set_stage(Stage.FLOAT)  # type: ignore[union-attr]
    with torch.no_grad():
        rounded = model(batch)
        with as_floats(model) as differs:
            assert differs
            assert torch.equal(model(batch), plain(batch))
        assert torch.equal(model(batch), rounded)
        assert not torch.equal(plain(batch), rounded)
    with as_floats(plain) as differs:
        assert not differs
    with as_floats(Convolutions()) as differs:
        assert not differs


def test_weights_use_their_range() -> None:
    torch.manual_seed(0)
    network = IntegerNetwork.of(quantised(Convolutions(), SIZE))
    for name, value in network.tensors.items():
        if name.endswith(".weight"):
            assert int(value.abs().max()) > largest_weight(8) // 2 - 1


def test_the_exponents_of_filters_follow_weights_that_grow() -> None:
    """Steps do so in all phases: weights that saturate get gradients as if they did not, and drift away."""
    torch.manual_seed(0)
    model = quantised(Convolutions(), SIZE)
    with torch.no_grad():
        for _, layer in sparse_layers(model):
            layer.weight.mul_(3)

    def saturated() -> bool:
        network = IntegerNetwork.of(model)
        return any(int((network.tensors[f"{one.name}.weight"].abs() == 127).sum()) > 2
                   for one in network.operations if one.kind in LAYERS)  # fmt: skip

    assert saturated()
    follow_weights(model)
    assert not saturated()
