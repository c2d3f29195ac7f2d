"""The hardware penalty, prices times densities, and what sets its weight λ (sparsity-and-search, section 4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from hass_train.hardware import Estimate, SparsityProfile
from hass_train.search.goal import HardwareQuestion
from hass_train.sparsity import SparseLayer


@dataclass
class HardwarePenalty:
    """Prices frozen within an epoch, and the point they were taken at.

    Args:
        pair_prices, weight_prices: −∂ log(throughput) / ∂ pair density and / ∂ weight density, by layer.
        cost: Σ price · density at that point.
        log_speedup: log of the exact speed-up there.
    """

    pair_prices: Mapping[str, float] = field(default_factory=dict)
    weight_prices: Mapping[str, float] = field(default_factory=dict)
    cost: float = 0.0
    log_speedup: float = 0.0

    @classmethod
    def at(cls, estimate: Estimate, profile: SparsityProfile, dense_ips: float) -> HardwarePenalty:
        """Take an estimate's prices."""
        cost = sum(
            estimate.prices[name] * layer.weight_density * layer.activation_density
            + estimate.weight_prices[name] * layer.weight_density
            for name, layer in profile.layers.items()
        )
        speedup = math.log(estimate.throughput_ips / dense_ips)
        return cls(dict(estimate.prices), dict(estimate.weight_prices), cost, speedup)

    def __call__(self, layers: Iterable[tuple[str, SparseLayer]]) -> Tensor:
        """Σ price·(weight density · activation density) + Σ weight price · weight density, differentiable."""
        terms = []
        for name, layer in layers:
            if layer.penalty_densities is None:
                continue
            weight, activation = layer.penalty_densities
            terms.append(self.pair_prices[name] * weight * activation + self.weight_prices[name] * weight)
        return torch.stack(terms).sum()

    def speedup_at(self, cost: float) -> float:
        """Log speed-up where the penalty is `cost`, by the prices."""
        return self.log_speedup + self.cost - cost

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class PenaltyController:
    """Sets λ: fixed, or by dual ascent on a goal that is ramped up over the search phase.

    Args:
        fixed: λ, if the user gave it.
        log_target: log speed-up to reach; ignored with a fixed λ.
        cap: largest λ.
        ramp: fraction of the search phase after which the full goal holds.

    λ is an integral term (dual ascent) plus a proportional one, so that it lets go as soon as the goal is met; the
    integral does not rise while λ is at its cap.
    """

    fixed: float | None
    log_target: float
    cap: float
    ramp: float = 0.7
    proportional: float = 4.0
    integral_per_phase: float = 25.0
    start: float | None = None
    integral: float = 0.0
    value: float = 0.0

    @classmethod
    def towards(cls, question: HardwareQuestion, margin: float, cap: float) -> PenaltyController:
        """The controller that a goal asks for, aiming `margin` beyond a target."""
        if question.target_ips is None:
            return cls(question.goal.value, 0.0, cap)
        return cls(None, math.log(question.target_ips * (1 + margin) / question.dense_ips), cap)

    def update(self, log_speedup: float, done: float, steps: int) -> float:
        """λ for the next step.

        Args:
            log_speedup: present log speed-up.
            done: fraction of the search phase that is over.
            steps: steps of the whole search phase.
        """
        if self.fixed is not None:
            self.value = self.fixed
            return self.value
        if self.start is None:
            self.start = min(log_speedup, self.log_target)
        wanted = self.start + (self.log_target - self.start) * min(1.0, done / self.ramp)
        error = wanted - log_speedup
        if error < 0 or self.value < self.cap:
            self.integral = max(0.0, self.integral + error * self.integral_per_phase / steps)
        self.value = min(max(self.integral + self.proportional * error, 0.0), self.cap)
        return self.value

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start, "integral": self.integral, "value": self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.start, self.integral, self.value = state["start"], state["integral"], state["value"]
