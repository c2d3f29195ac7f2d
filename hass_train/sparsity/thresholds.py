"""Thresholds and running statistics of many layers in a few operations.

Each layer has four of these scalars; handled one by one, they would take more time than the arithmetic on activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.sparsity.gate import WINDOW

MOMENTUM = 0.1
"""Weight of a new value in the running statistics."""


_CLOSED = -30.0
"""The raw threshold that represents 0: softplus(−30) = 1e-13 typical magnitudes."""


def inverse_softplus(value: Tensor) -> Tensor:
    """The x with softplus(x) = value, for value > 0, without overflow."""
    return value + torch.log(-torch.expm1(-value))


def raw_threshold(value: float) -> Tensor:
    """The raw threshold (scalar) of a threshold ≥ 0 that is given in typical magnitudes."""
    raw = inverse_softplus(torch.tensor(float(value))) if value > 0 else torch.tensor(_CLOSED)
    return raw.clamp_min(_CLOSED)


@dataclass(frozen=True, slots=True)
class Level:
    """A threshold as a training step uses it.

    Args:
        threshold: differentiable scalar, in the units of the tensor that is gated.
        half_width: scalar, half-width of the surrogate window in the same units; for compiled steps.
        value: the threshold as a plain number.
        scale: typical magnitude of the tensor that is gated, or typical score of the pattern.
    """

    threshold: Tensor
    half_width: Tensor
    value: float
    scale: float

    def detached(self) -> Level:
        """The same level without a gradient to the threshold."""
        return Level(self.threshold.detach(), self.half_width, self.value, self.scale)


class Levels(NamedTuple):
    """The thresholds of a layer's weights and of its input; None where the rules allow no sparsity."""

    weight: Level | None
    activation: Level | None

    def detached(self) -> Levels:
        """The same levels without a gradient to the thresholds."""
        return Levels(self.weight and self.weight.detached(), self.activation and self.activation.detached())


class InputStats(NamedTuple):
    """Statistics of a layer's input in one step, scalars: mean magnitude, and density after the gate."""

    scale: Tensor
    density: Tensor


@dataclass(slots=True)
class StepState:
    """The state of a sparse layer during one search step.

    Args:
        levels: the present thresholds.
        learns: whether thresholds are trained in this step; otherwise they are only applied.
        ranks: whether patterns that rank weights find anew which are kept.
        stats: statistics of the layer's input in each of its calls, which the forward pass appends.
    """

    levels: Levels
    learns: bool = True
    ranks: bool = True
    stats: list[InputStats] = field(default_factory=list)


class Thresholded(Protocol):
    """The attributes of a sparse layer that this module uses; see `hass_train.sparsity.layers.SparseLayer`."""

    weight_threshold: nn.Parameter
    activation_threshold: nn.Parameter
    activation_scale: Tensor
    activation_density: Tensor
    prune_weights: bool
    gate_activations: bool

    def weight_scale(self) -> Tensor: ...


def levels_of(layers: Sequence[Thresholded]) -> list[Levels]:
    """The present thresholds of some layers, computed in a few operations for all instead of a dozen for each."""
    pruned = [layer for layer in layers if layer.prune_weights]
    gated = [layer for layer in layers if layer.gate_activations]
    if not pruned and not gated:
        return [Levels(None, None)] * len(layers)
    raw: list[Tensor] = [layer.weight_threshold for layer in pruned]
    raw += [layer.activation_threshold for layer in gated]
    scales = [layer.weight_scale() for layer in pruned] + [layer.activation_scale for layer in gated]
    scale = torch.stack(scales)
    thresholds = F.softplus(torch.stack(raw)) * scale
    values, sizes = torch.stack([thresholds.detach(), scale]).tolist()
    widths = (WINDOW * scale).clamp_min(1e-12)
    made = iter([Level(*one) for one in zip(thresholds.unbind(), widths.unbind(), values, sizes, strict=True)])
    weights = {layer: next(made) for layer in pruned}
    activations = {layer: next(made) for layer in gated}
    return [Levels(weights.get(layer), activations.get(layer)) for layer in layers]


@torch.no_grad()
def follow(layers: Sequence[Thresholded], stats: Sequence[InputStats]) -> None:
    """Move the running statistics of layers towards those of one step, by `MOMENTUM`."""
    running = [layer.activation_scale for layer in layers] + [layer.activation_density for layer in layers]
    seen = [one.scale for one in stats] + [one.density for one in stats]
    same = [value.to(average.dtype) for value, average in zip(seen, running, strict=True)]
    torch._foreach_lerp_(running, same, MOMENTUM)
