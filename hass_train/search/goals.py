"""The goals of a search. A goal is a class that `search.goals` names by `_target_`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from hass_train.runtime.errors import UserError
from hass_train.search.penalty import PenaltyController
from hass_train.search.trials.trial import Trial
from hass_train.sparsity import sparsity_of

SHORT_BY = 0.01
"""How far below a sparsity goal a network may end, as a fraction: small layers cannot be pruned so finely."""
_HOPELESS = 0.3  # a walk without a target ends once it has lost more validation accuracy than this fraction


@dataclass(frozen=True, slots=True)
class Reached:
    """What a finished network has reached, which a goal compares with what was asked for.

    Args:
        model: the frozen network, with sparse layers.
        dense_val_acc, val_acc: validation accuracy of the dense network and of this one, as fractions.
        dense_ips, throughput_ips: images/s of the dense network and of this one.
    """

    model: nn.Module
    dense_val_acc: float
    val_acc: float
    dense_ips: float
    throughput_ips: float


class Goal(ABC):
    """What a user wants of a search. Subclasses are frozen dataclasses whose fields are arguments in the configuration.

    For goals that are a throughput it is enough to define `value`, `words` and `target_ips`; other goals override more.

    Attributes:
        name: key of the goal under `search.goals`, for results and messages.
        of_recipe: whether only recipes serve the goal, that is, engines that prune a given fraction of every layer;
            all other goals are served by all other engines.
    """

    name: ClassVar[str] = "goal"
    of_recipe: ClassVar[bool] = False

    @property
    @abstractmethod
    def value(self) -> float:
        """The number that the user gave."""

    @abstractmethod
    def words(self) -> str:
        """Return the goal in words, such as `3× throughput`."""

    def target_ips(self, dense_ips: float) -> float | None:
        """Return the images/s to reach, given the dense network's; None if the goal is not a throughput."""
        return None

    def met(self, reached: Reached) -> bool | None:
        """Return whether a finished network meets the goal; None if the goal cannot be missed."""
        target = self.target_ips(reached.dense_ips)
        return None if target is None else reached.throughput_ips >= target

    def controller(self, dense_ips: float, roof_ips: float, margin: float, cap: float) -> PenaltyController:
        """Return the controller that sets the weight λ of the hardware penalty on the way to this goal.

        Args:
            dense_ips, roof_ips: images/s of the dense network, and of one at the density floor.
            margin: how far beyond a throughput to aim, as a fraction.
            cap: the largest λ.
        """
        target = self.target_ips(dense_ips)
        if target is None:
            return PenaltyController(None, math.log(roof_ips / dense_ips), cap)
        return PenaltyController(None, math.log(target * (1 + margin) / dense_ips), cap)

    def check_reachable(self, dense_ips: float, roof_ips: float, device: str, binds: str) -> None:
        """Raise UserError, naming the roof, if the goal is beyond it.

        Args:
            dense_ips, roof_ips: images/s of the dense network, and of one at the density floor.
            device: name of the accelerator.
            binds: the resource that binds at the density floor.
        """
        target = self.target_ips(dense_ips)
        if target is not None and target > roof_ips:
            roof = self.value * roof_ips / target
            shown = f"{roof:,.0f}" if roof >= 1000 else f"{roof:.4g}"
            raise UserError(
                f"{self.name} is {self.value:g}, beyond the roof of {device}: at the density floor it reaches "
                f"{shown} ({binds} binds); ask for at most that"
            )

    def best(self, front: Sequence[Trial], dense: Trial, dense_ips: float) -> Trial:
        """Return the trial that is best for the goal.

        Args:
            front: at least one trial, the fastest first, each more accurate than those before it.
            dense: the trial of the network without thresholds.
            dense_ips: images/s of the dense network on dense compute engines.
        """
        target = self.target_ips(dense_ips)
        reached = [trial for trial in front if target is None or trial.throughput_ips >= target]
        # if none reaches the target, the thresholds of the fastest are scaled up afterwards
        return max(reached, key=lambda trial: trial.val_acc) if reached else front[0]

    def enough(self, trial: Trial, dense: Trial, dense_ips: float) -> bool:
        """Return whether a walk towards ever higher throughput may end at a trial; other arguments as in `best`."""
        target = self.target_ips(dense_ips)
        return trial.val_acc < dense.val_acc - _HOPELESS if target is None else trial.throughput_ips >= target


@dataclass(frozen=True)
class TargetSpeedup(Goal):
    """A throughput, as a multiple of the dense network's on the same device.

    Raises:
        ValueError: the speed-up is not positive.
    """

    speedup: float
    name = "target_speedup"

    def __post_init__(self) -> None:
        _check_positive("speedup", self.speedup)

    @property
    def value(self) -> float:
        return self.speedup

    def words(self) -> str:
        """See `Goal`."""
        return f"{self.speedup:g}× throughput"

    def target_ips(self, dense_ips: float) -> float:
        """See `Goal`."""
        return self.speedup * dense_ips


@dataclass(frozen=True)
class TargetThroughput(Goal):
    """A throughput in images/s.

    Raises:
        ValueError: the throughput is not positive.
    """

    images_per_second: float
    name = "target_throughput"

    def __post_init__(self) -> None:
        _check_positive("images_per_second", self.images_per_second)

    @property
    def value(self) -> float:
        return self.images_per_second

    def words(self) -> str:
        """See `Goal`."""
        return f"{self.images_per_second:,.0f} images/s"

    def target_ips(self, dense_ips: float) -> float:
        """See `Goal`."""
        return self.images_per_second


@dataclass(frozen=True)
class MaxAccuracyDrop(Goal):
    """The highest throughput with a limited loss of validation accuracy.

    Args:
        drop: the accuracy that may be lost, as a fraction of the validation images.

    Raises:
        ValueError: the drop is negative.
    """

    drop: float
    name = "max_accuracy_drop"

    def __post_init__(self) -> None:
        _check_positive("drop", self.drop, or_zero=True)

    @property
    def value(self) -> float:
        return self.drop

    def words(self) -> str:
        """See `Goal`."""
        return f"at most {100 * self.drop:g} points of validation accuracy lost"

    def met(self, reached: Reached) -> bool:
        """See `Goal`."""
        return reached.dense_val_acc - reached.val_acc <= self.drop

    def controller(self, dense_ips: float, roof_ips: float, margin: float, cap: float) -> PenaltyController:
        """See `Goal`: it aims at the roof, and holds back where accuracy is lost."""
        return PenaltyController(None, math.log(roof_ips / dense_ips), cap, allowance=2 * self.drop)

    def best(self, front: Sequence[Trial], dense: Trial, dense_ips: float) -> Trial:
        """See `Goal`: the fastest trial that is accurate enough, or if there is none the most accurate one."""
        return next((trial for trial in front if trial.val_acc >= dense.val_acc - self.drop), front[-1])

    def enough(self, trial: Trial, dense: Trial, dense_ips: float) -> bool:
        """See `Goal`."""
        return trial.val_acc < dense.val_acc - self.drop


@dataclass(frozen=True)
class FixedPenalty(Goal):
    """A fixed weight λ of the hardware penalty, in cross-entropy per e-fold of throughput.

    Raises:
        ValueError: the weight is negative.
    """

    weight: float
    name = "penalty"

    def __post_init__(self) -> None:
        _check_positive("weight", self.weight, or_zero=True)

    @property
    def value(self) -> float:
        return self.weight

    def words(self) -> str:
        """See `Goal`."""
        return f"penalty λ = {self.weight:g}"

    def controller(self, dense_ips: float, roof_ips: float, margin: float, cap: float) -> PenaltyController:
        """See `Goal`."""
        return PenaltyController(self.weight, 0.0, cap)

    def best(self, front: Sequence[Trial], dense: Trial, dense_ips: float) -> Trial:
        """See `Goal`: the trial with the largest val_acc + λ · log(throughput)."""
        return max(front, key=lambda trial: trial.val_acc + self.weight * math.log(trial.throughput_ips / dense_ips))


@dataclass(frozen=True)
class Sparsity(Goal):
    """A fraction of zeros among the weights of every layer that may be pruned, for recipes.

    Raises:
        ValueError: the fraction is negative.
    """

    sparsity: float
    name = "sparsity"
    of_recipe = True

    def __post_init__(self) -> None:
        _check_positive("sparsity", self.sparsity, or_zero=True)

    @property
    def value(self) -> float:
        return self.sparsity

    def words(self) -> str:
        """See `Goal`."""
        return f"{100 * self.sparsity:g} % of the weights zero"

    def met(self, reached: Reached) -> bool:
        """See `Goal`."""
        return sparsity_of(reached.model) >= self.sparsity - SHORT_BY

    def controller(self, dense_ips: float, roof_ips: float, margin: float, cap: float) -> PenaltyController:
        """See `Goal`: recipes train without a hardware penalty."""
        return PenaltyController(0.0, 0.0, cap)


def _check_positive(name: str, value: float, or_zero: bool = False) -> None:
    if not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        raise ValueError(f"{name} is {value}; it must be a positive number")
