"""Meet a throughput goal exactly: scale all thresholds by one factor, found by interpolation on the hardware model."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware import Accelerator, SparsityProfile
from hass_train.search.question import HardwareQuestion
from hass_train.sparsity import Mode, sparse_layers
from hass_train.sparsity.thresholds import inverse_softplus

BEYOND = 0.01
"""How much faster than its target a settled network may be, as a fraction."""
_LARGEST = math.log(16.0)
_FIRST_STEP = 0.04


def settle(model: nn.Module, reaches: Callable[[], float], target: float, resolution: float = 0.004) -> float:
    """Scale the thresholds of all layers so that the throughput just reaches the target.

    In the search mode weight and activation thresholds are scaled, so that the relative sparsity of the layers stays as
    it was learned. In the frozen mode activation thresholds are, and with a factor f > 1 all layers also lose the same
    fraction 1 − 1/f of their remaining weights, the smallest: where memories or the bus bind, activations gain nothing.
    Groups of several weights stay as they are.

    Args:
        model: with sparse layers in the search or frozen mode.
        reaches: measures the throughput at the present thresholds.
        target: throughput to reach.
        resolution: how far beyond the target the throughput may be, or how much larger than necessary the factor, as a
            fraction.

    Returns:
        The factor, between 1/16 and 16 (in the frozen mode 1/2 and 2). If the target cannot be reached, the largest.
    """
    saved = state_of(model)
    frozen = any(int(state["mode"]) == Mode.FROZEN for state in saved)
    scale = _Frozen(model, saved) if frozen else partial(_scale_thresholds, model, saved)

    def apply(log_factor: float) -> None:
        scale(math.exp(log_factor))

    def excess(log_factor: float) -> float:
        apply(log_factor)
        return math.log(max(reaches(), 1e-300) / target)

    # the thresholds as they are meet the target or miss it; walk to the other side in growing steps, then close in
    # a frozen network is only put right: it is not changed beyond recognition for the sake of a percent
    most = math.log(2.0) if frozen else _LARGEST
    low, high, step, least = 0.0, 0.0, _FIRST_STEP, -most
    over = under = excess(0.0)
    while over >= 0 and under >= 0 and low > least:
        low = max(low - step, least)
        under = excess(low)
        if under >= 0:
            high, over, step = low, under, 2 * step
    while over < 0 and high < most:
        high = min(high + step, most)
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


def meet(
    model: nn.Module, question: HardwareQuestion, profile: Callable[[], SparsityProfile], target: float, tries: int = 2
) -> None:
    """Scale thresholds so that a throughput is reached, and hardly exceeded, on the exact hardware model.

    The quick model is asked while thresholds move, since the exact one takes many times as long; it finds slower
    designs, and the aim of the next try is corrected for that. What is missed after all is met on the exact model; what
    is exceeded stays.

    Args:
        model: with sparse layers in the search or frozen mode.
        question: what the hardware is asked.
        profile: measures the present sparsity.
        target: images/s.
        tries: times that thresholds may settle on the quick model.
    """

    def reached(hardware: Accelerator) -> float:
        return hardware.estimate(question.workload, profile()).throughput_ips

    aim, exact = target, reached(question.accelerator)
    for _ in range(tries):
        if target <= exact <= target * (1 + BEYOND):
            return
        settle(model, partial(reached, question.quick), aim)
        exact = reached(question.accelerator)
        aim *= target * (1 + BEYOND / 2) / exact
    if exact < target:
        settle(model, partial(reached, question.accelerator), target, BEYOND)


def state_of(model: nn.Module) -> list[dict[str, Tensor]]:
    """A copy of all sparse layers' weights, thresholds, masks and statistics."""
    return [{key: value.clone() for key, value in layer.state_dict().items()} for _, layer in sparse_layers(model)]


def restore(model: nn.Module, states: list[dict[str, Tensor]]) -> None:
    """Put back what `state_of` copied."""
    for (_, layer), state in zip(sparse_layers(model), states, strict=True):
        layer.load_state_dict(state)
        layer.synchronize()


def _scale_thresholds(model: nn.Module, saved: list[dict[str, Tensor]], factor: float) -> None:
    """Set the thresholds of searching layers to a multiple of what they were."""
    for (_, layer), state in zip(sparse_layers(model), saved, strict=True):
        for name in ("weight_threshold", "activation_threshold"):
            with torch.no_grad():
                getattr(layer, name).copy_(inverse_softplus(F.softplus(state[name]) * factor))


class _Frozen:
    """Sets activation thresholds of frozen layers to a multiple of what they were, and prunes with them.

    Args:
        model, saved: the layers and their state before.
    """

    def __init__(self, model: nn.Module, saved: list[dict[str, Tensor]]) -> None:
        self.model, self.saved = model, saved
        self.sizes = [state["weight"].abs()[state["mask"]].sort().values for state in saved]

    def __call__(self, factor: float) -> None:
        share = max(1 - 1 / factor, 0.0)
        for (_, layer), state, sizes in zip(sparse_layers(self.model), self.saved, self.sizes, strict=True):
            layer.frozen_threshold.copy_(state["frozen_threshold"] * factor)
            layer.mask.copy_(state["mask"])
            pruned = int(len(sizes) * share) if layer.prune_weights and layer.pattern.refinable else 0
            if pruned:
                layer.mask.logical_and_(state["weight"].abs() > sizes[pruned - 1])
            layer.weight.detach().copy_(state["weight"] * layer.mask)
            layer.synchronize()
