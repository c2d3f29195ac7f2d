"""Training steps: all layers at once, gates that only act, compiled graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hass_train.sparsity import (
    NM,
    Balanced,
    Block,
    LayerRule,
    Mode,
    Pattern,
    SearchStep,
    SparseConv2d,
    sparse_layers,
    sparsify,
    watching,
)
from tests.sparsity.test_layers import ALL, set_thresholds, tiny


def _searching(images: torch.Tensor) -> nn.Module:
    model = sparsify(tiny(), {**ALL, "first": LayerRule("@first", activation=False)}).train().double()
    with watching(model), torch.no_grad():
        model(images)
    set_thresholds(model, -1.0, -0.5)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    return model


def _step(
    model: nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    around: AbstractContextManager[None] | None = None,
) -> torch.Tensor:
    """A step's loss, with densities in it; its gradients are left in the model."""
    model.zero_grad()
    with around or nullcontext():
        logits = forward(images)
    loss = logits.square().sum()
    densities = [one for _, layer in sparse_layers(model) for call in layer.penalty_densities for one in call]
    if densities:
        loss = loss + 0.3 * torch.stack(densities).sum()
    loss.backward()
    return loss.detach()


def _compare(mine: nn.Module, other: nn.Module) -> None:
    for (name, parameter), same in zip(mine.named_parameters(), other.parameters(), strict=True):
        if parameter.grad is None:
            assert (name, same.grad) == ("0.activation_threshold", None)  # as its rule says
            continue
        assert torch.allclose(parameter.grad, same.grad, rtol=1e-9), name
    for (name, buffer), same in zip(mine.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(buffer, same), name


def test_a_search_step_does_for_all_layers_what_each_does_alone() -> None:
    images = torch.randn(8, 2, 8, 8, dtype=torch.float64)
    alone, together = _searching(images), _searching(images)
    for _ in range(3):
        loss = _step(alone, alone, images)
        assert torch.allclose(_step(together, together, images, SearchStep(together)()), loss)
        _compare(alone, together)


def test_between_learning_steps_the_gates_only_act() -> None:
    images = torch.randn(8, 2, 8, 8, dtype=torch.float64)
    model = _searching(images)
    steps = SearchStep(model)
    learned = _step(model, model, images, steps())
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if "activation" in name}
    for _, layer in sparse_layers(model):
        layer.penalty_densities = ()
    with steps(learns=False):
        logits = model(images)
    model.zero_grad()
    logits.square().sum().backward()
    assert float(logits.detach().square().sum()) < float(learned)  # the same gates; the penalty is what is left out
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.endswith("_threshold"), name
    pruned = model[4].weight.abs() <= model[4].weight_level()
    assert pruned.any()
    assert model[4].weight.grad[pruned].abs().sum() > 0  # what is pruned can still return
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers() if name in before)


def test_a_compiled_step_is_the_same_and_has_no_graph_break() -> None:
    images = torch.randn(
        8, 2, 8, 8, dtype=torch.float64
    )  # no more than the statistics' sample, so that both look at all of them
    eager, compiled = _searching(images), _searching(images)
    torch.compiler.reset()
    forward = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for mode in (Mode.SEARCH, Mode.FROZEN, Mode.DENSE):
        for model in (eager, compiled):
            for _, layer in sparse_layers(model):
                layer.set_mode(mode)
        for _ in range(2):
            with watching(eager), watching(compiled):
                loss = _step(compiled, forward, images, SearchStep(compiled)())
                assert torch.allclose(_step(eager, eager, images), loss)
            if mode is Mode.SEARCH:
                _compare(eager, compiled)


def test_large_maps_in_half_precision_keep_finite_statistics() -> None:
    layer = sparsify(nn.Sequential(nn.Linear(640, 4)), {"all": LayerRule("*")}).half()
    images = torch.full((64, 640), 60.0, dtype=torch.half)  # the sum of magnitudes is beyond 65,504
    with watching(layer), torch.no_grad():
        layer(images)
    assert (float(layer[0].activation_scale), float(layer[0].activation_density)) == (60.0, 1.0)


@pytest.mark.parametrize("pattern", [Balanced(), NM(), Block((4, 4))], ids=str)
def test_steps_that_rank_nothing_use_the_weights_that_were_kept_last(pattern: Pattern) -> None:
    layer = SparseConv2d.from_dense(nn.Conv2d(16, 24, 3), True, False, pattern)
    layer.set_mode(Mode.SEARCH)
    layer.set_sparsity(0.5, 0.0)
    images, step = torch.randn(2, 16, 6, 6), SearchStep(layer.train())
    kept = torch.ones_like(layer.mask)
    for learns, ranks in ((True, True), (False, False), (False, True), (True, False)):
        with torch.no_grad():
            layer.weight.normal_()
        if learns or ranks:
            kept = pattern.keep_mask(layer.weight.detach(), 1, layer.weight_level())
        with step(learns, ranks):
            found = layer(images)
        assert torch.allclose(found, F.conv2d(images, layer.weight * kept, layer.bias), atol=1e-5)
        assert torch.equal(layer.mask, kept)
