"""Unstructured sparsity: weights are pruned one by one, by their magnitude (HASS)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hass_train.sparsity.gate import gate, straight_through, traceable_gate
from hass_train.sparsity.pattern import Pattern
from hass_train.sparsity.thresholds import Level

_MOST_VALUES = 2**18  # enough for a quantile


@dataclass(frozen=True)
class Unstructured(Pattern):
    """Groups of one weight, scored by |w|. Levels are in the units of the weights, thresholds in units of mean |w|."""

    refinable = True

    def scale(self, weight: Tensor) -> Tensor:
        """See `Pattern`: the mean |w|, in a single pass."""
        return torch.linalg.vector_norm(weight.detach(), 1) / weight.numel()

    def keep_mask(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """See `Pattern`."""
        return weight.abs() > level

    def level_at(self, weight: Tensor, groups: int, fraction: float) -> float:
        """See `Pattern`."""
        sizes = weight.detach().abs().flatten().float()
        pruned = int(fraction * len(sizes) + 1e-6)
        return float(sizes.kthvalue(pruned).values) if pruned else 0.0

    def apply(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """See `Pattern`."""
        return straight_through(weight, level)

    def apply_with_gradient(
        self, weight: Tensor, groups: int, level: Level, filters: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """See `Pattern`: the fused gate."""
        first, count = filters
        return gate(
            weight, level.threshold, level.scale, count, straight_through=True, first=first, level=level.value
        )  # fmt: skip

    def apply_traceable(self, weight: Tensor, groups: int, level: Level) -> tuple[Tensor, Tensor]:
        """See `Pattern`."""
        return traceable_gate(weight, level.threshold, level.half_width, straight_through=True)

    def __str__(self) -> str:
        return "unstructured"


def sample(values: Tensor) -> Tensor:
    """At most 2¹⁸ values of a tensor, evenly spaced, as (values,) on the CPU."""
    flat = values.reshape(-1).float().cpu()
    return flat[:: max(1, len(flat) // _MOST_VALUES)][:_MOST_VALUES]
