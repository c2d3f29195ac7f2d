"""The goals of a search that the project brings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from hass_train.hardware import Estimate
from hass_train.runtime.errors import UserError
from hass_train.search.goal import Goal as Goal
from hass_train.search.goal import Measured, Reached
from hass_train.search.penalty import PenaltyController
from hass_train.search.trials.trial import Trial
from hass_train.sparsity import sparsity_of

SHORT_BY = 0.01
"""How far below a sparsity goal a network may end, as a fraction: small layers cannot be pruned so finely."""


class _OfOneNumber(Goal):
    """A goal whose only field is its value, a positive number.

    Raises:
        ValueError: it is not, or it is 0 where it may not be.
    """

    may_be_zero: ClassVar[bool] = False

    def __post_init__(self) -> None:
        (field,) = fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        if not math.isfinite(self.value) or self.value < 0 or (self.value == 0 and not self.may_be_zero):
            raise ValueError(f"{field.name} is {self.value}; it must be a positive number")

    @property
    def value(self) -> float:
        (field,) = fields(self)  # type: ignore[arg-type]
        return float(getattr(self, field.name))


@dataclass(frozen=True)
class TargetSpeedup(_OfOneNumber):
    """A throughput, as a multiple of the dense network's on the same device.

    Raises:
        ValueError: the speed-up is not positive.
    """

    speedup: float
    name = "target_speedup"

    def words(self) -> str:
        """See `Goal`."""
        return f"{self.speedup:g}× throughput"

    def target_ips(self, dense_ips: float) -> float:
        """See `Goal`."""
        return self.speedup * dense_ips


@dataclass(frozen=True)
class TargetThroughput(_OfOneNumber):
    """A throughput in images/s.

    Raises:
        ValueError: the throughput is not positive.
    """

    images_per_second: float
    name = "target_throughput"

    def words(self) -> str:
        """See `Goal`."""
        return f"{self.images_per_second:,.0f} images/s"

    def target_ips(self, dense_ips: float) -> float:
        """See `Goal`."""
        return self.images_per_second


class _AtMost(_OfOneNumber):
    """A property of the hardware of which less is better; its rate is the inverse."""

    def target_rate(self, dense_rate: float) -> float:
        """See `Goal`."""
        return 1 / self.value

    def check_reachable(self, dense: Estimate, roof: Estimate, device: str, binds: str) -> None:
        """See `Goal`."""
        if 1 / self.value > (reached := self.rate(roof)):
            self._refuse(1 / reached, device, binds, "least")


@dataclass(frozen=True)
class TargetLatency(_AtMost):
    """A time from an image's first pixel to its result, ms. Designs must be chosen for latency (`hw.objective`).

    Raises:
        ValueError: the time is not positive.
    """

    milliseconds: float
    name = "target_latency_ms"
    counted = "speed of a single image"

    def words(self) -> str:
        """See `Goal`."""
        return f"a latency of {self.milliseconds:g} ms"

    def rate(self, measured: Measured) -> float:
        """See `Goal`: images/ms, one after another."""
        return 1 / measured.latency_ms

    def shown(self, rate: float) -> str:
        """See `Goal`."""
        return f"{1 / rate:.4g} ms"

    def check_reachable(self, dense: Estimate, roof: Estimate, device: str, binds: str) -> None:
        """See `Goal`; and designs must be chosen for latency where there is a choice."""
        if dense.objective != "latency" and not dense.sequential:
            raise UserError(
                f"{self.name} is {self.value:g}, but designs are chosen for {dense.objective}; add hw.objective=latency"
            )
        super().check_reachable(dense, roof, device, binds)


@dataclass(frozen=True)
class MaxEnergy(_AtMost):
    """An energy per image, mJ.

    Raises:
        ValueError: the energy is not positive.
    """

    millijoules: float
    name = "max_energy_mj"
    counted = "number of images per joule"

    def words(self) -> str:
        """See `Goal`."""
        return f"at most {self.millijoules:g} mJ an image"

    def rate(self, measured: Measured) -> float:
        """See `Goal`: images/mJ."""
        return 1e-3 / measured.energy_j

    def shown(self, rate: float) -> str:
        """See `Goal`."""
        return f"{1 / rate:.4g} mJ an image"


@dataclass(frozen=True)
class MaxAccuracyDrop(_OfOneNumber):
    """The highest throughput with a limited loss of validation accuracy.

    Args:
        drop: the accuracy that may be lost, as a fraction of the validation images.

    Raises:
        ValueError: the drop is negative.
    """

    drop: float
    name = "max_accuracy_drop"
    may_be_zero = True

    def words(self) -> str:
        """See `Goal`."""
        return f"at most {100 * self.drop:g} points of validation accuracy lost"

    def met(self, reached: Reached) -> bool:
        """See `Goal`."""
        return reached.dense_val_acc - reached.val_acc <= self.drop

    def controller(self, dense_rate: float, roof_rate: float, margin: float, cap: float) -> PenaltyController:
        """See `Goal`: it aims at the roof, and holds back where accuracy is lost."""
        return PenaltyController(None, math.log(roof_rate / dense_rate), cap, allowance=2 * self.drop)

    def best(self, front: Sequence[Trial], dense: Trial, dense_rate: float) -> Trial:
        """See `Goal`: the fastest trial that is accurate enough, or if there is none the most accurate one."""
        return next((trial for trial in front if trial.val_acc >= dense.val_acc - self.drop), front[-1])

    def enough(self, trial: Trial, dense: Trial, dense_rate: float) -> bool:
        """See `Goal`."""
        return trial.val_acc < dense.val_acc - self.drop


@dataclass(frozen=True)
class FixedPenalty(_OfOneNumber):
    """A fixed weight λ of the hardware penalty, in cross-entropy per e-fold of throughput.

    Raises:
        ValueError: the weight is negative.
    """

    weight: float
    name = "penalty"
    may_be_zero = True

    def words(self) -> str:
        """See `Goal`."""
        return f"penalty λ = {self.weight:g}"

    def controller(self, dense_rate: float, roof_rate: float, margin: float, cap: float) -> PenaltyController:
        """See `Goal`."""
        return PenaltyController(self.weight, 0.0, cap)

    def best(self, front: Sequence[Trial], dense: Trial, dense_rate: float) -> Trial:
        """See `Goal`: the trial with the largest val_acc + λ · log(throughput)."""
        return max(front, key=lambda trial: trial.val_acc + self.weight * math.log(self.rate(trial) / dense_rate))


@dataclass(frozen=True)
class Sparsity(_OfOneNumber):
    """A fraction of zeros among the weights of every layer that may be pruned, for recipes.

    Raises:
        ValueError: the fraction is negative.
    """

    sparsity: float
    name = "sparsity"
    may_be_zero = True
    of_recipe = True

    def words(self) -> str:
        """See `Goal`."""
        return f"{100 * self.sparsity:g} % of the weights zero"

    def met(self, reached: Reached) -> bool:
        """See `Goal`."""
        return sparsity_of(reached.model) >= self.sparsity - SHORT_BY

    def controller(self, dense_rate: float, roof_rate: float, margin: float, cap: float) -> PenaltyController:
        """See `Goal`: recipes train without a hardware penalty."""
        return PenaltyController(0.0, 0.0, cap)
