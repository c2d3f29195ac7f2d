"""Meets a throughput goal exactly: scales all thresholds by a factor, found by interpolation on the hardware model."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware import SparsityProfile
from hass_train.search.question import HardwareQuestion
from hass_train.sparsity import Mode, sparse_layers
from hass_train.sparsity.thresholds import inverse_softplus

Floats = NDArray[np.float64]

BEYOND = 0.01
"""How much faster than what it aims at a settled network may be, as a fraction."""
_LARGEST = math.log(16.0)  # limit on the log of the factor
_FIRST_STEP, _LONGEST_STEP = 0.04, 0.2  # first steps of the log of the factor
_BEYOND_JUMPS = 4  # how often thresholds may be held beyond a jump: each time costs some ten questions


def settle(
    model: nn.Module,
    reaches: Callable[[], float],
    target: float,
    resolution: float = 0.004,
    step: float = _FIRST_STEP,
    now: float | None = None,
    beyond_jumps: int = 0,
    order: Callable[[], Sequence[int]] | None = None,
    enough: float = BEYOND,
) -> float:
    """Scale the thresholds of all layers so that the throughput just reaches the target.

    In the search mode weight and activation thresholds are scaled by the same factor, so the layers keep the relative
    sparsity that was learned. In the frozen mode only activation thresholds are scaled. With a factor f > 1 the
    fraction 1 − 1/f of the remaining weights is pruned too, the smallest of every layer, since activations gain nothing
    where memories or the bus bind; groups of several weights are left as they are.

    Densities jump where thresholds of integers reach another integer, and where banks lose a weight in all of a layer's
    filters. Where this takes the throughput too far beyond the target, as few thresholds as reach it stay beyond their
    jumps, and the others go back.

    Args:
        model: a network with sparse layers, all in the search or all in the frozen mode.
        reaches: function that measures the throughput at the present thresholds.
        target: the throughput to reach, in the units of `reaches`.
        resolution: how far beyond the target the throughput may be, or how much larger than necessary the factor, as a
            fraction.
        step: first step of the log of the factor.
        now: the throughput at the present thresholds; None = it is measured.
        beyond_jumps: how often thresholds may be held beyond a jump; each time costs questions.
        order: function that gives the layers' numbers in the order in which weights are held beyond jumps, those that
            gain most first; None = as the network has them.
        enough: how far beyond the target the throughput may be where thresholds jump, as a fraction.

    Returns:
        The factor, between 1/16 and 16 (in the frozen mode between 1/2 and 2); the largest one if the target cannot be
        reached.
    """
    factors = _Factors(model)

    def excess(log_factor: float) -> float:
        factors.apply(log_factor)
        return math.log(max(reaches(), 1e-300) / target)

    start = excess(0.0) if now is None else math.log(max(now, 1e-300) / target)
    low, high, over = _crossing(excess, (0.0, start), factors.most, step, resolution)
    best = over, high, factors.least.copy()
    for _ in range(beyond_jumps):
        if low == high or over <= max(resolution, enough):
            break
        factors.least[_jumping(excess, factors.least, order, low, high)] = high
        low, high, over = _crossing(excess, (low, excess(low)), factors.most, step, resolution)
        if 0 <= over < best[0]:
            best = over, high, factors.least.copy()
    _, high, factors.least = best
    factors.apply(high)
    return math.exp(high)


def _jumping(
    excess: Callable[[float], float],
    least: Floats,
    order: Callable[[], Sequence[int]] | None,
    low: float,
    high: float,
) -> tuple[list[int], list[int]]:
    """Few thresholds that make a function positive if they alone are scaled to `high` instead of `low`: activation
    thresholds if these suffice, else weight thresholds of the first layers of an order too.

    Args:
        excess: the function of the log of the factor, negative at `low` and positive at `high`.
        least: that of `_Factors`; what this changes is restored.
        order: see `settle`.
        low, high: logs of factors.

    Returns:
        Where the thresholds lie in `least`: rows, and layers.
    """

    def reach(chosen: Sequence[tuple[int, int]]) -> bool:
        before, places = least.copy(), tuple(map(list, zip(*chosen, strict=True)))
        least[places] = np.maximum(least[places], high)
        found = excess(low) >= 0
        least[:] = before
        return found

    layers = range(least.shape[1])
    inputs = [(1, layer) for layer in layers]
    every = inputs if reach(inputs) else [*inputs, *((0, layer) for layer in (order() if order else layers))]
    last = bisect_left(range(1, len(every)), True, key=lambda count: reach(every[:count])) + 1
    first = last - 1
    if not reach(every[first:last]):
        first = bisect_left(range(1, first), True, key=lambda start: not reach(every[start:last]))
    rows, chosen = zip(*every[first:last], strict=True)
    return list(rows), list(chosen)


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
    try still misses the target, the factor is found on exact ones; if it exceeds what is accepted, or no factor would
    bring the rate down to the target, it is taken.

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

    def order() -> list[int]:
        found = nearby(known)
        estimate = question.steering.estimate(question.workload, found)
        gains = {
            name: one.weight_density * (estimate.prices[name] * one.activation_density + estimate.weight_prices[name])
            for name, one in found.layers.items()
        }
        each = [sum(gains[operation] for operation in layer.operations) for _, layer in sparse_layers(model)]
        return sorted(range(len(each)), key=each.__getitem__, reverse=True)

    most = accepted(target, margin)
    middle, width = math.sqrt(target * most), min(math.log(most / target) / 2, BEYOND)
    enough = max(math.log(most / middle), BEYOND)  # beyond what a try aims at
    known = profile()
    exact = question.rate(question.accelerator, known)
    for _ in range(tries):
        if target <= exact <= most:
            return
        rough, step = roughly(), min(max(abs(math.log(exact / middle)), width / 2), _LONGEST_STEP)
        aim = middle * math.exp(-width / 2) * rough / exact
        factor = settle(model, roughly, aim, width, step, rough, _BEYOND_JUMPS, order, enough)
        known = profile()
        exact = question.rate(question.accelerator, known)
        if exact > most and factor <= math.exp(-_LARGEST):
            return  # zeros that no threshold makes are too many already
    if exact < target:
        settle(
            model, lambda: question.rate(question.accelerator, profile()), target, BEYOND, BEYOND, exact,
            _BEYOND_JUMPS, order, math.log(most / target),
        )  # fmt: skip


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


class _Factors:
    """Scales all thresholds of a network by a common factor, and those that are to stay beyond it by one of their own.

    Args:
        model: a network with sparse layers, all in the search or all in the frozen mode.

    Attributes:
        least: (2, layers) the least logs of the factors of weight thresholds, and of activation thresholds.
        most: limit on the log of the common factor.
    """

    def __init__(self, model: nn.Module) -> None:
        saved = state_of(model)
        frozen = any(int(state["mode"]) == Mode.FROZEN for state in saved)
        self._scale = _Frozen(model, saved) if frozen else partial(_scale_thresholds, model, saved)
        # a frozen network is only corrected, since a small gain in throughput does not justify large changes
        self.most = math.log(2.0) if frozen else _LARGEST
        self.least = np.full((2, len(saved)), -math.inf)

    def apply(self, log_factor: float) -> None:
        self._scale(*np.exp(np.maximum(self.least, log_factor)).tolist())


def _scale_thresholds(
    model: nn.Module, saved: list[dict[str, Tensor]], weights: list[float], inputs: list[float]
) -> None:
    """Set the thresholds of layers in the search mode to multiples of the saved ones.

    Args:
        model, saved: see `_Frozen`.
        weights, inputs: factors of each layer's weight and activation threshold.
    """
    for (_, layer), state, *factors in zip(sparse_layers(model), saved, weights, inputs, strict=True):
        for name, times in zip(("weight_threshold", "activation_threshold"), factors, strict=True):
            with torch.no_grad():
                getattr(layer, name).copy_(inverse_softplus(F.softplus(state[name]) * times))


class _Frozen:
    """Scales the activation thresholds of frozen layers by factors, and prunes weights by those larger than 1.

    Args:
        model: a network with frozen sparse layers.
        saved: the state to which factors are applied, from `state_of`.
    """

    def __init__(self, model: nn.Module, saved: list[dict[str, Tensor]]) -> None:
        self.model, self.saved = model, saved
        self.sizes = [state["weight"].abs()[state["mask"]].sort().values for state in saved]

    def __call__(self, weights: list[float], inputs: list[float]) -> None:
        each = zip(sparse_layers(self.model), self.saved, self.sizes, weights, inputs, strict=True)
        for (_, layer), state, sizes, pruning, own in each:
            layer.frozen_threshold.copy_(state["frozen_threshold"] * own)
            layer.mask.copy_(state["mask"])
            share = max(1 - 1 / pruning, 0.0)
            pruned = int(len(sizes) * share) if layer.prune_weights and layer.pattern.refinable else 0
            if pruned:
                layer.mask.logical_and_(state["weight"].abs() > sizes[pruned - 1])
            layer.weight.detach().copy_(state["weight"] * layer.mask)
            layer.synchronize()
