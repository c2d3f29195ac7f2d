"""Sparse layers: conversion by rules, the life cycle of a layer, and exact measurement."""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from hass_train.runtime.errors import UserError
from hass_train.sparsity import (
    Balanced,
    LayerRule,
    Mode,
    Pattern,
    SparseConv2d,
    Unstructured,
    apply_masks,
    calibrate,
    counting,
    running_profile,
    sparse_layers,
    sparsify,
    watching,
)

ALL = {"all": LayerRule("*")}


def tiny(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.ReLU(),
        nn.Conv2d(8, 6, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def set_thresholds(model: nn.Module, weight: float, activation: float) -> None:
    for _, layer in sparse_layers(model):
        with torch.no_grad():
            layer.weight_threshold.fill_(weight)
            layer.activation_threshold.fill_(activation)


def test_swapping_keeps_keys_outputs_and_parameters() -> None:
    for name in (
        "mobilenetv3_small_100",
        "resnet18",
        "tf_mobilenetv3_small_100",
        "efficientnet_b0",
        "vit_tiny_patch16_224",
    ):
        kwargs = {"img_size": 32} if name.startswith("vit") else {}
        model = timm.create_model(name, num_classes=5, **kwargs).eval()
        images = torch.randn(2, 3, 32, 32)
        before, keys = model(images), set(model.state_dict())
        parameters = dict(model.named_parameters())
        sparsify(model, ALL)
        torch.testing.assert_close(model(images), before)  # convolutions of single pixels are rounded otherwise
        assert keys <= set(model.state_dict())
        assert all(dict(model.named_parameters())[key] is value for key, value in parameters.items())


def test_sparse_models_pickle_and_copy() -> None:
    model = sparsify(tiny(), ALL)
    images = torch.randn(2, 2, 8, 8)
    assert torch.equal(copy.deepcopy(model)(images), model(images))
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    model.train()(images)  # in the middle of a training step
    copy.deepcopy(model)
    model.eval()
    assert torch.equal(pickle.loads(pickle.dumps(model))(images), model(images))


def test_rules_the_last_match_holds() -> None:
    model = sparsify(
        timm.create_model("mobilenetv3_small_100", num_classes=5),
        {
            "all": LayerRule("*"),
            "gates": LayerRule("*.se.*", activation=False),
            "first": LayerRule("@first", weight=False, activation=False),
            "linear": LayerRule("Linear", weight=False),
        },
    )
    layers = dict(sparse_layers(model))
    assert (layers["conv_stem"].prune_weights, layers["conv_stem"].gate_activations) == (False, False)
    assert not layers["blocks.0.0.se.conv_expand"].gate_activations
    assert layers["blocks.0.0.se.conv_expand"].prune_weights
    assert not layers["classifier"].prune_weights
    assert layers["blocks.0.0.conv_pw"].gate_activations


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"all": LayerRule("*"), "mine": LayerRule("layer9.*")}, "sparsity.rules.mine matches no layer"),
        ({"all": LayerRule("*", weight=False, activation=False)}, "leave no layer"),
    ],
)
def test_rules_that_do_nothing_are_refused(rules: dict[str, LayerRule], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sparsify(tiny(), rules)


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(UserError, match="no convolution or linear"):
        sparsify(nn.Sequential(nn.ReLU()), ALL)


def test_a_layer_class_without_a_sparse_version_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), type("OddConv", (nn.Conv2d,), {})(2, 2, 1))
    with pytest.raises(UserError, match="layer 1 is a OddConv, which has no sparse version"):
        sparsify(model, ALL)


def test_life_cycle() -> None:
    """Inactive before its phase, learning in it, exact at the end, constant after, whatever the optimizer does."""
    model = sparsify(tiny(), ALL).train()
    images, labels = torch.randn(16, 2, 8, 8), torch.randint(4, (16,))
    optimizer = torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0.1)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        apply_masks(model)

    set_thresholds(model, 0.0, 0.0)
    step()
    assert all(layer.weight_threshold.grad is None for _, layer in sparse_layers(model))  # dense: untouched
    assert all(layer.weight_density() == 1.0 for _, layer in sparse_layers(model))

    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    step()
    for _, layer in sparse_layers(model):
        assert layer.weight_threshold.grad is not None
        assert layer.activation_threshold.grad is not None
        assert 0.0 < layer.weight_density() < 1.0
        assert torch.count_nonzero(layer.weight) == layer.weight.numel()  # pruned weights may still return

    in_search = model.eval()(images)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.FROZEN)
    assert torch.allclose(model(images), in_search, atol=1e-6)  # freezing changes nothing
    masks = {name: layer.mask.clone() for name, layer in sparse_layers(model)}
    levels = {name: layer.activation_level() for name, layer in sparse_layers(model)}
    model.train()
    for _ in range(5):
        step()
    for name, layer in sparse_layers(model):
        assert torch.equal(layer.mask, masks[name])
        assert torch.equal(layer.weight != 0, masks[name])
        assert layer.activation_level() == levels[name] > 0


def test_masks_that_change_are_applied_anew() -> None:
    model = sparsify(tiny(), ALL).to(memory_format=torch.channels_last)  # which leaves boolean masks as they are
    set_thresholds(model, -4.0, -4.0)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.FROZEN)
    apply_masks(model)
    for _, layer in sparse_layers(model):
        assert layer.live.stride() == layer.weight.stride()
        layer.mask.copy_(torch.rand(layer.mask.shape) < 0.5)
        layer.synchronize()
    with torch.no_grad():
        for _, layer in sparse_layers(model):
            layer.weight.fill_(1.0)
    apply_masks(model)
    for _, layer in sparse_layers(model):
        assert torch.equal(layer.weight, layer.mask.float())
    assert copy.deepcopy(model).state_dict().keys() == model.state_dict().keys()


def test_a_frozen_model_survives_its_state_dict() -> None:
    model = sparsify(tiny(), ALL).train()
    model(torch.randn(4, 2, 8, 8))
    set_thresholds(model, 0.5, 0.5)
    for mode in (Mode.SEARCH, Mode.FROZEN):
        for _, layer in sparse_layers(model):
            layer.set_mode(mode)
    other = sparsify(tiny(seed=1), ALL)
    other.load_state_dict(model.state_dict())
    for _, layer in sparse_layers(other):
        layer.synchronize()
    images = torch.randn(3, 2, 8, 8)
    assert torch.equal(other.eval()(images), model.eval()(images))


@pytest.mark.parametrize("frozen", [False, True])
def test_calibration_counts_pairs_exactly(frozen: bool) -> None:
    model = sparsify(tiny(), ALL).train()
    images = torch.randn(5, 2, 8, 8)
    model(images)
    set_thresholds(model, 0.3, 0.2)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
        if frozen:
            layer.set_mode(Mode.FROZEN)
    profile = calibrate(model, [images[:3], images[3:]])
    assert model.training

    model.eval()
    for name, layer in sparse_layers(model):
        seen: list[torch.Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            model(images)
        hook.remove()
        x = layer.gated_input(seen[0])
        weight = layer.gated_weight()
        if isinstance(layer, SparseConv2d):  # every window product, formed one by one
            patches = F.unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride)
            per_group = patches.reshape(len(x), layer.groups, -1, patches.shape[-1])
            kernels = weight.reshape(layer.groups, -1, per_group.shape[2])
            products = torch.einsum("bgkp,gfk->bgfkp", per_group, kernels) != 0
            counts, reads = products.sum(dim=3).flatten(), (per_group != 0).sum(2).flatten()
        else:
            counts, reads = ((x[:, None] * weight[None]) != 0).sum(dim=2).flatten(), (x != 0).sum(1)
        pairs = weight[0].numel()
        measured = profile.layers[name]
        expected = torch.bincount(counts, minlength=pairs + 1).double() / counts.numel()
        assert measured.histograms[weight.shape[1]] == pytest.approx(expected.tolist())
        expected = torch.bincount(reads, minlength=pairs + 1).double() / reads.numel()
        assert measured.activation_histograms[weight.shape[1]] == pytest.approx(expected.tolist())
        assert measured.activation_histograms.keys() == measured.histograms.keys()
        assert measured.pair_density == pytest.approx(counts.double().mean().item() / pairs)
        assert measured.weight_density == pytest.approx((weight != 0).float().mean().item())
        assert measured.activation_density == pytest.approx((x != 0).float().mean().item())
        assert measured.filter_nonzeros == tuple((weight != 0).flatten(1).sum(1).tolist())
    windows = profile.layers["0"].histograms[1]
    assert len(windows) == 10
    assert sum(k * p for k, p in enumerate(windows)) / 9 == pytest.approx(profile.layers["0"].pair_density)


def test_activations_are_counted_in_the_bundles_of_the_pairs() -> None:
    """With dense weights an engine's pairs are its activations, in windows, bundles of channels and tokens alike."""
    torch.manual_seed(0)
    windows = nn.Sequential(nn.Conv2d(3, 5, (3, 2), stride=2, padding=1, dilation=2, padding_mode="reflect"))
    pixels, tokens = nn.Sequential(nn.Conv2d(20, 5, 1, stride=2)), nn.Sequential(nn.Linear(20, 5))
    grouped = nn.Sequential(nn.Conv2d(40, 6, 1, groups=2))
    cases = ((windows, (18, 3, 9, 9)), (pixels, (3, 20, 5, 5)), (tokens, (2, 7, 20)), (grouped, (3, 40, 5, 5)))
    for model, shape in cases:
        x = torch.randn(shape) * (torch.rand(shape) < torch.rand(shape[1]).reshape(-1, *[1] * (len(shape) - 2)))
        sparsify(model, ALL)
        measured = calibrate(model, [x[:1], x[1:]]).layers["0"]
        assert len(measured.activation_histograms) > 1
        for bundle, histogram in measured.histograms.items():
            assert measured.activation_histograms[bundle] == pytest.approx(histogram, abs=1e-12)
        whole = calibrate(model, [x], closely=False).layers["0"]
        assert list(whole.activation_histograms) == list(whole.histograms)


def test_filters_of_large_layers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image counts some of the filters; with as many images as turns every filter is counted."""
    torch.manual_seed(0)
    model = sparsify(nn.Sequential(nn.Conv2d(4, 8, 3, padding=1)), ALL)
    with torch.no_grad():
        weight = model[0].weight
        weight.copy_(weight * (torch.rand(weight.shape) < torch.linspace(0.2, 0.9, 8).reshape(-1, 1, 1, 1)))
    images = F.relu(torch.randn(1, 4, 6, 6)).expand(8, -1, -1, -1)
    whole = calibrate(model, [images]).layers["0"].histograms
    monkeypatch.setattr(counting, "_PAIRS", 4 * 36)  # a filter an image
    in_turns = calibrate(model, [images[:3], images[3:]]).layers["0"].histograms
    for size, histogram in whole.items():
        assert in_turns[size] == pytest.approx(histogram, abs=1e-6)


def test_calibration_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        calibrate(sparsify(tiny(), ALL), [])


def test_running_profile_follows_the_gates() -> None:
    model = sparsify(tiny(), ALL).train()
    images = torch.randn(8, 2, 8, 8)
    with watching(model):
        for _ in range(3):
            model(images)
    relu_fed = running_profile(model).layers["2"]
    assert relu_fed.activation_density == pytest.approx(float((model[:2](images) > 0).float().mean()), abs=1e-3)
    set_thresholds(model, 0.5, 0.5)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    for _ in range(60):
        model(images)
    running, exact = running_profile(model), calibrate(model, [images])
    for name in running.layers:
        assert running.layers[name].weight_density == pytest.approx(exact.layers[name].weight_density)
        assert running.layers[name].activation_density == pytest.approx(exact.layers[name].activation_density, abs=0.02)


def test_weights_that_no_rule_prunes_are_never_masked() -> None:
    """A weight that happens to be 0 when a layer freezes must be free to learn if its layer is not pruned."""
    model = sparsify(tiny(), {"all": LayerRule("*"), "first": LayerRule("@first", weight=False)})
    with torch.no_grad():
        model[0].weight.zero_()
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.FROZEN)
    assert model[0].mask.all()


def test_evaluation_in_search_keeps_channels_last_strides() -> None:
    model = sparsify(tiny(), ALL).to(memory_format=torch.channels_last).eval()
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
        assert layer.gated_weight().stride() == layer.weight.stride()


def test_all_filters_take_their_turn() -> None:
    """The sample of weights moves on by itself in each step, and all filters are in it equally often but the last."""
    layer = SparseConv2d.from_dense(nn.Conv2d(64, 100, 3), True, True)  # type: ignore[arg-type]
    layer.set_mode(Mode.SEARCH)
    layer.train()
    seen: list[int] = []
    for _ in range(8):
        first = int(layer.turn)
        layer(torch.randn(2, 64, 3, 3))
        seen.append(first)
    count = -(-(2**14) // (64 * 9))
    assert seen == [0, count, 2 * count, 3 * count] * 2
    assert 4 * count >= 100
    assert "turn" in layer.state_dict()


def test_a_general_exception_hides_no_mistake_behind_it() -> None:
    rules = {**ALL, "general": LayerRule("*.nowhere.*"), "mistake": LayerRule("nowhere")}
    with pytest.raises(UserError, match=r"sparsity.rules.mistake matches no layer \('nowhere'\)"):
        sparsify(tiny(), rules)


@pytest.mark.parametrize("pattern", [Unstructured(), Balanced()])
def test_evaluation_uses_the_weight_as_it_is_now(pattern: Pattern) -> None:
    """The gated weight is kept between batches, but not when weight, threshold, type or mode change."""
    torch.manual_seed(0)
    layer = SparseConv2d.from_dense(torch.nn.Conv2d(8, 4, 3), True, False, pattern).eval()
    layer.set_mode(Mode.SEARCH)
    image = torch.randn(1, 8, 5, 5)

    def check() -> None:
        with torch.no_grad():
            mask = layer.pattern.keep_mask(layer.weight, 1, layer.weight_level())
            expected = F.conv2d(image.to(layer.weight.dtype), layer.weight * mask, layer.bias)
            for _ in range(2):
                assert torch.allclose(layer(image.to(layer.weight.dtype)), expected, atol=1e-5)

    check()
    layer.set_sparsity(0.5, 0.0)
    check()
    assert 0 < (layer.gated_weight() == 0).float().mean() < 1
    with torch.no_grad():
        layer.weight.copy_(layer.weight.flip(1))
    check()
    layer.load_state_dict({name: one * 0.5 if name == "weight" else one for name, one in layer.state_dict().items()})
    check()
    layer.train()
    layer(image).sum().backward()
    torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True).step()  # does not count up the weight's version
    layer.eval()
    check()
    other = torch.randn_like(layer.weight)
    level = float(F.softplus(layer.weight_threshold.detach()) * pattern.scale(other))
    expected = F.conv2d(image, pattern.apply(other, 1, level), layer.bias)
    assert torch.allclose(torch.func.functional_call(layer, {"weight": other}, image), expected, atol=1e-5)
    with torch.inference_mode():
        layer.set_sparsity(0.25, 0.0)
        layer(image)
    layer(image.clone().requires_grad_()).sum().backward()  # what inference has kept cannot be used
    layer.double()
    check()
    layer.set_mode(Mode.FROZEN)
    assert layer.gated_weight() is layer.weight
    assert copy.deepcopy(layer)._gated is None
