"""Meet a throughput goal exactly: scale all thresholds by one factor, found by interpolation on the hardware model."""

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
        resolution: how far beyond the target the throughput may be, or how much larger than necessary the factor, as a
            fraction.

    Returns:
        The factor, between 1/16 (1/2 in the frozen mode) and 16. If the target cannot be reached, the largest.
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

    def excess(log_factor: float) -> float:
        apply(log_factor)
        return math.log(max(reaches(), 1e-300) / target)

    # the thresholds as they are meet the target or miss it; walk to the other side in growing steps, then close in
    # frozen weights may leave activations little to say: they are not lowered to nothing for the sake of a percent
    low, high, step, least = 0.0, 0.0, _FIRST_STEP, -math.log(2.0) if frozen else -_LARGEST
    over = under = excess(0.0)
    while over >= 0 and under >= 0 and low > least:
        low = max(low - step, least)
        under = excess(low)
        if under >= 0:
            high, over, step = low, under, 2 * step
    while over < 0 and high < _LARGEST:
        high = min(high + step, _LARGEST)
        over = excess(high)
        if over < 0:
            low, under, step = high, over, 2 * step
    if over >= 0 > under:
        while over > resolution and high - low > resolution:
            # throughput is nearly a power of the factor: interpolate, but no nearer to an end than three tenths
            share = min(max((0.5 * resolution - under) / (over - under), 0.3), 0.7)
            middle = low + share * (high - low)
            found = excess(middle)
            low, under, high, over = (low, under, middle, found) if found >= 0 else (middle, found, high, over)
    apply(high)
    return math.exp(high)


def inverse_softplus(value: Tensor) -> Tensor:
    """x with softplus(x) = value > 0, without overflow."""
    return value + torch.log(-torch.expm1(-value))
