"""Meet a throughput goal exactly: scale all thresholds by one factor, found by bisection on the exact model."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.sparsity import Mode, sparse_layers

_LARGEST = math.log(16.0)
_FIRST_STEP = 0.04


def settle(model: nn.Module, reaches: Callable[[], float], target: float, resolution: float = 0.004) -> float:
    """Scale the thresholds of all layers so that the throughput just reaches the target.

    In the search mode weight and activation thresholds are scaled, in the frozen mode activation thresholds alone, so
    that the relative sparsity of the layers stays as it was learned.

    Args:
        model: with sparse layers in the search or frozen mode.
        reaches: measures the throughput at the present thresholds.
        target: throughput to reach.
        resolution: how much larger than necessary the factor may be, as a fraction.

    Returns:
        The factor, between 1/16 and 16. If the target cannot be reached, the largest.
    """
    before = [layer.state_dict() for _, layer in sparse_layers(model)]
    frozen = any(int(state["mode"]) == Mode.FROZEN for state in before)
    saved = [{key: value.clone() for key, value in state.items()} for state in before]

    def apply(log_factor: float) -> None:
        factor = math.exp(log_factor)
        for (_, layer), state in zip(sparse_layers(model), saved, strict=True):
            if frozen:
                layer.frozen_threshold.copy_(state["frozen_threshold"] * factor)
                layer.synchronize()
                continue
            for name in ("weight_threshold", "activation_threshold"):
                with torch.no_grad():
                    getattr(layer, name).copy_(inverse_softplus(F.softplus(state[name]) * factor))

    def meets(log_factor: float) -> bool:
        apply(log_factor)
        return reaches() >= target

    # the thresholds as they are meet the target or miss it; walk to the other side in growing steps, then bisect
    low, high, step = -_LARGEST, _LARGEST, _FIRST_STEP
    if meets(0.0):
        high = 0.0
        while high > -_LARGEST and meets(max(high - step, -_LARGEST)):
            high, step = max(high - step, -_LARGEST), 2 * step
        low = max(high - step, -_LARGEST)
    else:
        low = 0.0
        while low < _LARGEST and not meets(min(low + step, _LARGEST)):
            low, step = min(low + step, _LARGEST), 2 * step
        high = min(low + step, _LARGEST)
    while high - low > resolution:
        middle = (low + high) / 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    apply(high)
    return math.exp(high)


def inverse_softplus(value: Tensor) -> Tensor:
    """x with softplus(x) = value > 0, without overflow."""
    return value + torch.log(-torch.expm1(-value))
