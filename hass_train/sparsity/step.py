"""What a training step does for all sparse layers at once, and when layers look at their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from hass_train.sparsity.convert import sparse_layers
from hass_train.sparsity.layers import Mode
from hass_train.sparsity.thresholds import follow, levels_of


@contextmanager
def search_step(model: nn.Module, compiled: bool = False) -> Iterator[None]:
    """Around the forward pass of a search step: one reading of all thresholds before, one update of statistics after.

    A forward pass without it does the same, only slower; a compiled one needs it.

    Args:
        compiled: the forward pass reads the thresholds itself.
    """
    layers = [layer for _, layer in sparse_layers(model) if layer.mode_now is Mode.SEARCH]
    for layer, levels in zip(layers, [None] * len(layers) if compiled else levels_of(layers), strict=True):
        layer.levels, layer.deferred = levels, True
    try:
        yield
        seen = [(layer, layer.sight) for layer in layers if layer.sight is not None]
        if seen:
            follow([layer for layer, _ in seen], [sight for _, sight in seen])
    finally:
        for layer in layers:
            layer.levels, layer.sight, layer.deferred = None, None, False


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
