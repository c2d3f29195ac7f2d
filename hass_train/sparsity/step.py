"""What a training step does for all sparse layers at once, and when layers look at their inputs."""

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
    """What surrounds the forward passes of search steps: all thresholds are read before, statistics follow after.

    A forward pass without it does the same, only slower; a compiled one needs it.

    Args:
        model: with sparse layers in the search mode.
        known: thresholds as the last step read them.
    """

    model: nn.Module
    known: list[Levels] = field(default_factory=list)

    @contextmanager
    def __call__(self, learns: bool = True) -> Iterator[None]:
        """Around one forward pass.

        Args:
            learns: whether thresholds learn in this step; else the gates act as they were read last.
        """
        layers = [layer for _, layer in sparse_layers(self.model) if layer.mode_now is Mode.SEARCH]
        lent = levels_of(layers) if learns or not self.known else self.known
        self.known = [levels.detached() for levels in lent]
        lent = lent if learns else self.known
        for layer, levels in zip(layers, lent, strict=True):
            layer.step_state = StepState(levels, learns)
        try:
            yield
            seen = [(layer, layer.step_state.stats) for layer in layers if layer.step_state and layer.step_state.stats]
            if seen:
                follow([layer for layer, _ in seen], _of_all([stats for _, stats in seen]))
        finally:
            for layer in layers:
                layer.step_state = None

    def state_dict(self) -> list[tuple[float | None, float | None]]:
        """The thresholds that gates act by between learning steps, as plain numbers."""
        return [tuple(None if one is None else one.value for one in levels) for levels in self.known]  # type: ignore[misc]

    def load_state_dict(self, state: list[tuple[float | None, float | None]]) -> None:
        """The inverse of `state_dict`."""

        def level(value: float | None) -> Level | None:
            return None if value is None else Level(torch.tensor(value), torch.tensor(1.0), value, 0.0)

        self.known = [Levels(level(weight), level(activation)) for weight, activation in state]


def _of_all(stats: list[InputStats]) -> list[InputStats]:
    """What the layers of all processes that train together saw, on average."""
    if not ranks.together():
        return stats
    means = ranks.averaged([one.scale for one in stats] + [one.density for one in stats])
    return [InputStats(*one) for one in zip(means[: len(stats)], means[len(stats) :], strict=True)]


@torch.no_grad()
def apply_masks(model: nn.Module) -> None:
    """Zero the masked weights of all frozen layers in place: exact, whatever the optimizer's momentum did.

    One call for all layers, since an optimizer's step is followed by one.
    """
    layers = [layer for _, layer in sparse_layers(model) if layer.mode_now is Mode.FROZEN and layer.prune_weights]
    if layers:
        torch._foreach_mul_([layer.weight for layer in layers], [layer.live for layer in layers])
    for layer in layers:
        if layer.pattern.prunes_norm:
            layer.prune_norm()


@contextmanager
def watching(model: nn.Module) -> Iterator[None]:
    """Let layers outside the search follow their inputs' statistics too, in training and evaluation."""
    layers = [layer for _, layer in sparse_layers(model)]
    for layer in layers:
        layer.watched = True
    try:
        yield
    finally:
        for layer in layers:
            layer.watched = False
