"""What a training step does for all sparse layers at once, and when layers measure their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from hass_train.runtime import ranks
from hass_train.sparsity.convert import sparse_layers
from hass_train.sparsity.mode import Mode
from hass_train.sparsity.thresholds import InputStats, Level, Levels, StepState, follow, levels_of


@dataclass
class SearchStep:
    """Context manager around the forward pass of a search step.

    Before the pass it computes the thresholds of all layers at once, and after it updates their running statistics at
    once. Without it a forward pass does the same, only slower; a compiled model needs it.

    Args:
        model: a network with sparse layers in the search mode.
        known: the thresholds that the last step computed.
    """

    model: nn.Module
    known: list[Levels] = field(default_factory=list)

    @contextmanager
    def __call__(self, learns: bool = True, ranks: bool = True) -> Iterator[None]:
        """Enter one forward pass.

        Args:
            learns: whether thresholds are trained in this step; otherwise the last ones are applied.
            ranks: whether patterns that rank weights find anew which are kept; they do where thresholds are trained.
        """
        layers = [layer for _, layer in sparse_layers(self.model) if layer.mode_now is Mode.SEARCH]
        ranks = ranks or learns or not self.known
        present = levels_of(layers) if learns or not self.known else self.known
        self.known = [levels.detached() for levels in present]
        present = present if learns else self.known
        for layer, levels in zip(layers, present, strict=True):
            layer.step_state, layer.penalty_densities = StepState(levels, learns, ranks), ()
        try:
            yield
            stats = [layer.step_state.stats if layer.step_state else [] for layer in layers]
            if seen := [(layer, _mean(calls)) for layer, calls in zip(layers, stats, strict=True) if calls]:
                follow([layer for layer, _ in seen], _of_all([mean for _, mean in seen]))
        finally:
            for layer in layers:
                layer.step_state = None

    def state_dict(self) -> list[tuple[float | None, float | None]]:
        """The thresholds that are applied between learning steps, as plain numbers."""
        return [tuple(None if one is None else one.value for one in levels) for levels in self.known]  # type: ignore[misc]

    def load_state_dict(self, state: list[tuple[float | None, float | None]]) -> None:
        """Restore what `state_dict` returned."""

        def level(value: float | None) -> Level | None:
            return None if value is None else Level(torch.tensor(value), torch.tensor(1.0), value, 0.0)

        self.known = [Levels(level(weight), level(activation)) for weight, activation in state]


def _mean(calls: list[InputStats]) -> InputStats:
    """The mean statistics of a layer's calls in one step."""
    if len(calls) == 1:
        return calls[0]
    return InputStats(*(torch.stack(one).mean() for one in zip(*calls, strict=True)))


def _of_all(stats: list[InputStats]) -> list[InputStats]:
    """The mean of the input statistics over all processes that train together, for each layer."""
    if not ranks.together():
        return stats
    means = ranks.averaged([one.scale for one in stats] + [one.density for one in stats])
    return [InputStats(*one) for one in zip(means[: len(stats)], means[len(stats) :], strict=True)]


@torch.no_grad()
def apply_masks(model: nn.Module) -> None:
    """Zero the masked weights of all frozen layers in place, which the optimizer's momentum may have moved.

    All layers are masked in one operation, since this follows every step of the optimizer.
    """
    layers = [layer for _, layer in sparse_layers(model) if layer.mode_now is Mode.FROZEN and layer.prune_weights]
    if layers:
        torch._foreach_mul_([layer.weight for layer in layers], [layer.live for layer in layers])
    for layer in layers:
        if layer.pattern.prunes_norm:
            layer.prune_norm()


def masks_hold(model: nn.Module) -> bool:
    """Whether the masked weights of all frozen layers are zero."""
    layers = [layer for _, layer in sparse_layers(model) if layer.mode_now is Mode.FROZEN]
    return not any(bool(layer.weight.detach()[~layer.mask].any()) for layer in layers)


@contextmanager
def watching(model: nn.Module) -> Iterator[None]:
    """Let dense and frozen layers update their input statistics too, in training and evaluation."""
    layers = [layer for _, layer in sparse_layers(model)]
    for layer in layers:
        layer.watched = True
    try:
        yield
    finally:
        for layer in layers:
            layer.watched = False
