"""The hardware penalty, prices times densities, and the controller of its weight λ (sparsity-and-search, section 4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from hass_train.hardware import Estimate, SparsityProfile
from hass_train.search.phases import RAMP
from hass_train.sparsity import SparseLayer


@dataclass
class PricedPenalty:
    """The hardware penalty: prices, which are constant between two queries, and the point at which they were computed.

    Args:
        pair_prices, weight_prices, activation_prices: −∂ log(throughput) / ∂ pair density, / ∂ weight density and
            / ∂ activation density, by layer; a layer without an activation price has one of 0.
        cost: value of the penalty, Σ price · density, at that point.
        log_speedup: log of the speed-up that was estimated for that point.
    """

    pair_prices: Mapping[str, float] = field(default_factory=dict)
    weight_prices: Mapping[str, float] = field(default_factory=dict)
    cost: float = 0.0
    log_speedup: float = 0.0
    activation_prices: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def at(
        cls,
        estimate: Estimate,
        profile: SparsityProfile,
        log_speedup: float,
        weights: Mapping[str, float] | None = None,
    ) -> PricedPenalty:
        """Make the penalty from the prices of an estimate.

        Args:
            estimate: the estimate of the present network.
            profile: the densities at which the prices hold.
            log_speedup: log of its rate over the dense network's, as the goal has it.
            weights: prices by layer that replace the estimate's, for control experiments; scaled to the same sum.
        """
        three = [dict(each) for each in (estimate.prices, estimate.weight_prices, estimate.activation_prices)]
        if weights is not None:
            scale = sum(sum(prices.values()) for prices in three) / sum(weights[name] for name in three[0])
            three = [{name: weights[name] * scale for name in three[0]}, dict.fromkeys(three[0], 0.0), {}]
        pairs, kept, read = three
        cost = sum(
            pairs[name] * layer.weight_density * layer.activation_density
            + kept[name] * layer.weight_density
            + read.get(name, 0.0) * layer.activation_density
            for name, layer in profile.layers.items()
        )
        return cls(pairs, kept, cost, log_speedup, activation_prices=read)

    def __call__(self, layers: Iterable[tuple[str, SparseLayer]]) -> Tensor:
        """The penalty of the densities in the last step, a differentiable scalar.

        It is Σ pair price · weight density · activation density + Σ weight price · weight density + Σ activation price
        · activation density, over the operations of the layers.
        """
        seen = [
            one for _, layer in layers if layer.penalty_densities
            for one in zip(layer.operations, _by_operation(layer), strict=True)
        ]  # fmt: skip
        weight = torch.stack([densities[0] for _, densities in seen])
        activation = torch.stack([densities[1] for _, densities in seen])
        three = [
            (self.pair_prices[name], self.weight_prices[name], self.activation_prices.get(name, 0.0))
            for name, _ in seen
        ]  # fmt: skip
        pair, kept, read = weight.new_tensor(three).unbind(1)
        return (weight * torch.addcmul(kept, pair, activation)).sum() + (read * activation).sum()

    @property
    def prices(self) -> dict[str, float]:
        """The price of each layer's densities, by layer: the sum of its three prices."""
        return {
            name: price + self.weight_prices[name] + self.activation_prices.get(name, 0.0)
            for name, price in self.pair_prices.items()
        }

    def speedup_at(self, cost: float) -> float:
        """Extrapolate the log of the speed-up to where the penalty is `cost`.

        Prices are ∂ log(interval)/∂ density, and an interval is about linear in the densities: where the cost falls by
        Δ, the interval becomes 1 − Δ of what it was. The extrapolation ends at a twentieth of the interval.
        """
        return self.log_speedup - math.log(max(1.0 - (self.cost - cost), 0.05))

    def state_dict(self) -> dict[str, Any]:
        """The fields as plain data, for a checkpoint."""
        return asdict(self)


def _by_operation(layer: SparseLayer) -> Sequence[tuple[Tensor, Tensor]]:
    """The (weight density, activation density) of each operation of a layer in the last step; where training calls it
    more or less often than evaluation, which the hardware does, the mean over its calls."""
    calls = layer.penalty_densities
    if len(calls) == len(layer.operations):
        return calls
    weights, activations = (torch.stack(one).mean() for one in zip(*calls, strict=True))
    return [(weights, activations)] * len(layer.operations)


@dataclass
class PenaltyController:
    """Sets the weight λ of the hardware penalty: a fixed one, or by dual ascent towards a speed-up.

    The speed-up that is asked for rises over the search phase. λ is an integral term (dual ascent) plus a proportional
    term, so that it falls as soon as the goal is met; the integral does not rise while λ is at its cap. While too much
    accuracy is lost, λ may be negative, since the gradient of the task alone hardly brings thresholds back that have
    gone too far.

    Args:
        fixed: λ, if the user gave it.
        log_target: log of the speed-up to reach; ignored with a fixed λ.
        cap: the largest λ.
        ramp: fraction of the search phase after which the full speed-up is asked for.
        proportional: λ per unit of log speed-up that is missing.
        integral_per_phase: growth of λ's integral term over a search phase with one unit of log speed-up missing.
        allowance: accuracy that the search phase may lose, as a fraction: of validation images against the dense
            network, or of recent training images against the best so far. Beyond half of it the goal waits, and beyond
            all of it the goal retreats, since a network that has collapsed hardly recovers.
        release: the largest −λ while accuracy is lost.

    Attributes:
        start: log speed-up at the first step; None before it.
        integral: the integral term of λ.
        value: the present λ.
        ceiling: log speed-up that is not exceeded for the sake of accuracy; infinite if accuracy holds.
        seen: number of batches whose accuracy was followed.
        images: number of images of such a batch.
        recent, best: running accuracy of training batches as a fraction, and its best value so far.
    """

    fixed: float | None
    log_target: float
    cap: float
    ramp: float = RAMP
    proportional: float = 4.0
    integral_per_phase: float = 25.0
    allowance: float = 0.05
    release: float = 1.0
    start: float | None = None
    integral: float = 0.0
    value: float = 0.0
    ceiling: float = math.inf
    seen: int = 0
    images: int = 1
    recent: float = 0.0
    best: float = 0.0

    def update(self, log_speedup: float, done: float, steps: int) -> float:
        """Compute λ for the next step.

        Args:
            log_speedup: log of the present speed-up.
            done: fraction of the search phase that is over.
            steps: number of steps of the whole search phase that train thresholds.
        """
        if self.fixed is not None:
            self.value = self.fixed
            return self.value
        if self.start is None:
            self.start = min(log_speedup, self.log_target)
        wanted = self.start + (self.log_target - self.start) * min(1.0, done / self.ramp)
        error = min(wanted, self.ceiling) - log_speedup
        if self.lost > self.allowance / 2:  # at once: `observe` comes only at the end of the epoch
            self.integral *= 0.9
            self.value = 0.0 if self.lost < self.allowance else -self.release
            return self.value
        if error < 0 or self.value < self.cap:
            self.integral = max(0.0, self.integral + error * self.integral_per_phase / steps)
        least = -self.release if self.ceiling < self.log_target else 0.0
        self.value = min(max(self.integral + self.proportional * error, least), self.cap)
        return self.value

    def follow(self, accuracy: float, images: int) -> None:
        """Update the running accuracy of training batches.

        Args:
            accuracy: fraction of the images of one batch that is classified correctly.
            images: number of images in that batch.
        """
        self.seen, self.images = self.seen + 1, images
        weight = max(_RECENT, 1 / self.seen)  # the plain mean of the first batches
        self.recent += weight * (accuracy - self.recent)
        if self.seen >= 2 / _RECENT:
            self.best = max(self.best, self.recent)

    @property
    def lost(self) -> float:
        """The loss of training accuracy against the best so far, as a fraction, as far as it is significant: beyond two
        standard deviations of the difference of two running means."""
        if not self.best:
            return 0.0
        effective = self.images * (2 - _RECENT) / _RECENT
        return max(self.best - self.recent - 2 * math.sqrt(2 * self.best * (1 - self.best) / effective), 0.0)

    def observe(self, accuracy_drop: float, log_speedup: float, epochs: int) -> None:
        """Lower the ceiling of the speed-up if accuracy falls, and raise it if accuracy holds; called every epoch.

        Args:
            accuracy_drop: validation accuracy of the dense network minus the present one.
            log_speedup: log of the present speed-up.
            epochs: number of epochs of the whole search phase.
        """
        if self.fixed is not None or self.start is None:
            return
        pace = (self.log_target - self.start) / max(self.ramp * epochs, 1.0)  # rise of the ramp per epoch
        if accuracy_drop > self.allowance:
            self.ceiling = min(self.ceiling, log_speedup) - pace
            self.integral /= 2
        elif accuracy_drop > self.allowance / 2:
            self.ceiling = min(self.ceiling, log_speedup)
        elif self.ceiling < self.log_target:
            self.ceiling += 2 * pace
        else:
            self.ceiling = math.inf

    def state_dict(self) -> dict[str, Any]:
        """What changes during the search, as plain data, for a checkpoint."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("start", "integral", "value", "ceiling", "seen", "images", "recent", "best")
_RECENT = 0.15  # weight of a batch in the running accuracy
