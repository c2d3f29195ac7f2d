"""Meets a throughput goal exactly: scales all thresholds by a factor, found by interpolation on the hardware model."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware import SparsityProfile
from hass_train.precision import quantisers_of
from hass_train.search.question import HardwareQuestion
from hass_train.sparsity import Mode, sparse_layers
from hass_train.sparsity.thresholds import inverse_softplus

BEYOND = 0.01
"""How much faster than what it aims at a settled network may be, as a fraction."""
_LARGEST = math.log(16.0)  # limit on the log of the factor
_FIRST_STEP, _LONGEST_STEP = 0.04, 0.2  # first steps of the log of the factor
_BEYOND_JUMPS = 2  # most layers of integers whose thresholds are scaled further than the others: each costs questions


def settle(
    model: nn.Module,
    reaches: Callable[[], float],
    target: float,
    resolution: float = 0.004,
    step: float = _FIRST_STEP,
    now: float | None = None,
    beyond_jumps: int = 0,
) -> float:
    """Scale the thresholds of all layers so that the throughput just reaches the target.

    In the search mode weight and activation thresholds are scaled by the same factor, so the layers keep the relative
    sparsity that was learned. In the frozen mode only activation thresholds are scaled. With a factor f > 1 the
    fraction 1 − 1/f of the remaining weights is pruned too, the smallest of every layer, since activations gain nothing
    where memories or the bus bind; groups of several weights are left as they are.

    Thresholds of integers act only where they reach another integer, and a layer's density then jumps. Where such a
    jump exceeds the target by more than `BEYOND`, its activation threshold stays beyond it, and others go back.

    Args:
        model: a network with sparse layers, all in the search or all in the frozen mode.
        reaches: function that measures the throughput at the present thresholds.
        target: the throughput to reach, in the units of `reaches`.
        resolution: how far beyond the target the throughput may be, or how much larger than necessary the factor, as a
            fraction.
        step: first step of the log of the factor.
        now: the throughput at the present thresholds; None = it is measured.
        beyond_jumps: most layers that may stay beyond a jump.

    Returns:
        The factor, between 1/16 and 16 (in the frozen mode between 1/2 and 2); the largest one if the target cannot be
        reached.
    """
    saved = state_of(model)
    frozen = any(int(state["mode"]) == Mode.FROZEN for state in saved)
    scale = _Frozen(model, saved) if frozen else partial(_scale_thresholds, model, saved)
    ahead = [-math.inf] * len(saved)  # the least log of each layer's factor of activation thresholds

    def apply(log_factor: float) -> None:
        scale(math.exp(log_factor), [math.exp(max(log_factor, least)) for least in ahead])

    def excess(log_factor: float) -> float:
        apply(log_factor)
        return math.log(max(reaches(), 1e-300) / target)

    # a frozen network is only corrected, since a small gain in throughput does not justify large changes
    most = math.log(2.0) if frozen else _LARGEST
    start = excess(0.0) if now is None else math.log(max(now, 1e-300) / target)
    low, high, over = _crossing(excess, (0.0, start), most, step, resolution)
    best, enough = (over, high, list(ahead)), max(resolution, BEYOND)
    for _ in range(beyond_jumps):
        if low == high or over <= enough or (jumps := _jumping(excess, ahead, low, high)) is None:
            break
        ahead[jumps] = high
        low, high, over = _crossing(excess, (low, excess(low)), most, step, resolution)
        if 0 <= over < best[0]:
            best = over, high, list(ahead)
    _, high, ahead[:] = best
    apply(high)
    return math.exp(high)


def _jumping(excess: Callable[[float], float], ahead: list[float], low: float, high: float) -> int | None:
    """The layer whose activation threshold alone makes a function positive, if it and the ones before it are scaled to
    `high` instead of `low`; None if weights are to be scaled too.

    Args:
        excess: the function of the log of the factor, negative at `low` and positive at `high`.
        ahead: the least log of each layer's factor; what this changes is restored.
        low, high: logs of factors.
    """
    before = list(ahead)

    def reaches(count: int) -> bool:
        ahead[:count] = [max(one, high) for one in before[:count]]
        found = excess(low) >= 0
        ahead[:] = before
        return found

    least, enough = 0, len(ahead)
    if not reaches(enough):
        return None
    while enough - least > 1:
        middle = (least + enough) // 2
        least, enough = (least, middle) if reaches(middle) else (middle, enough)
    return enough - 1


def _crossing(
    excess: Callable[[float], float], start: tuple[float, float], most: float, step: float, resolution: float
) -> tuple[float, float, float]:
    """Where a rising function crosses zero: walk in growing steps until it does between two places, then interpolate.

    Args:
        excess: the function, on [−most, most].
        start: where the walk begins, and the function's value there.
        most: how far to walk.
        step: the first step.
        resolution: what it may be there, or how far from the crossing the place may be.

    Returns:
        A place where the function is negative and one where it is not, with its value there; both places are `most` or
        −`most` if it crosses nowhere.
    """
    (low, under), (high, over) = start, start
    while over >= 0 and under >= 0 and low > -most:
        low = max(low - step, -most)
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
            # throughput is nearly a power of the factor; the interval shrinks by three tenths at least
            share = min(max((0.5 * resolution - under) / (over - under), 0.3), 0.7)
            middle = low + share * (high - low)
            found = excess(middle)
            low, under, high, over = (low, under, middle, found) if found >= 0 else (middle, found, high, over)
    return low, high, over


def meet(
    model: nn.Module,
    question: HardwareQuestion,
    profile: Callable[[], SparsityProfile],
    nearby: Callable[[SparsityProfile], SparsityProfile],
    target: float,
    margin: float = 0.0,
    tries: int = 4,
) -> None:
    """Scale thresholds so that a rate of the goal's kind is reached, and hardly exceeded, on the exact hardware model.

    The factor is found on the steering model and rough measurements, since exact ones take many times as long. A try
    aims at the middle of what is accepted, corrected by how far these are off at the present thresholds. If the last
    try still misses the target, the factor is found on exact ones; if it exceeds what is accepted, it is taken.

    Args:
        model: a network with sparse layers, all in the search or all in the frozen mode.
        question: the network's workload, and the accelerator.
        profile: function that measures the present sparsity.
        nearby: function that does so roughly, by what was measured at thresholds nearby.
        target: the rate to reach.
        margin: how far beyond it to aim, as a fraction; `BEYOND` that is accepted.
        tries: number of times that a factor is sought on the steering model.
    """

    def roughly() -> float:
        return question.rate(question.steering, nearby(known))

    most = accepted(target, margin)
    middle, width = math.sqrt(target * most), min(math.log(most / target) / 2, BEYOND)
    jumps = _BEYOND_JUMPS if quantisers_of(model) else 0  # of floats only quick answers jump, by a per cent or two
    known = profile()
    exact = question.rate(question.accelerator, known)
    for _ in range(tries):
        if target <= exact <= most:
            return
        rough, step = roughly(), min(max(abs(math.log(exact / middle)), width / 2), _LONGEST_STEP)
        settle(model, roughly, middle * math.exp(-width / 2) * rough / exact, width, step, rough, jumps)
        known = profile()
        exact = question.rate(question.accelerator, known)
    if exact < target:
        settle(model, lambda: question.rate(question.accelerator, profile()), target, BEYOND, BEYOND, exact, jumps)


def accepted(target: float, margin: float) -> float:
    """The highest rate that is accepted of a network that aims beyond a target by a fraction."""
    return target * (1 + margin) * (1 + BEYOND)


def state_of(model: nn.Module) -> list[dict[str, Tensor]]:
    """Copy the weights, thresholds, masks and statistics of all sparse layers."""
    return [{key: value.clone() for key, value in layer.state_dict().items()} for _, layer in sparse_layers(model)]


def restore(model: nn.Module, states: list[dict[str, Tensor]]) -> None:
    """Restore what `state_of` copied."""
    for (_, layer), state in zip(sparse_layers(model), states, strict=True):
        layer.load_state_dict(state)
        layer.synchronize()


def _scale_thresholds(model: nn.Module, saved: list[dict[str, Tensor]], factor: float, inputs: list[float]) -> None:
    """Set the thresholds of layers in the search mode to multiples of the saved ones.

    Args:
        model, saved: see `_Frozen`.
        factor: that of weight thresholds.
        inputs: that of each layer's activation threshold.
    """
    for (_, layer), state, own in zip(sparse_layers(model), saved, inputs, strict=True):
        for name, times in (("weight_threshold", factor), ("activation_threshold", own)):
            with torch.no_grad():
                getattr(layer, name).copy_(inverse_softplus(F.softplus(state[name]) * times))


class _Frozen:
    """Scales the activation thresholds of frozen layers by a factor, and prunes weights if it is larger than 1.

    Args:
        model: a network with frozen sparse layers.
        saved: the state to which the factor is applied, from `state_of`.
    """

    def __init__(self, model: nn.Module, saved: list[dict[str, Tensor]]) -> None:
        self.model, self.saved = model, saved
        self.sizes = [state["weight"].abs()[state["mask"]].sort().values for state in saved]

    def __call__(self, factor: float, inputs: list[float]) -> None:
        share = max(1 - 1 / factor, 0.0)
        each = zip(sparse_layers(self.model), self.saved, self.sizes, inputs, strict=True)
        for (_, layer), state, sizes, own in each:
            layer.frozen_threshold.copy_(state["frozen_threshold"] * own)
            layer.mask.copy_(state["mask"])
            pruned = int(len(sizes) * share) if layer.prune_weights and layer.pattern.refinable else 0
            if pruned:
                layer.mask.logical_and_(state["weight"].abs() > sizes[pruned - 1])
            layer.weight.detach().copy_(state["weight"] * layer.mask)
            layer.synchronize()
