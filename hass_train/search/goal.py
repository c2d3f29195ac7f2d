"""What a goal of a search is: a class that `search.goals` names by `_target_`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NoReturn, Protocol

from torch import nn

from hass_train.hardware import Estimate
from hass_train.runtime.errors import UserError
from hass_train.search.penalty import PenaltyController
from hass_train.search.trials.trial import Trial

_HOPELESS = 0.3  # a walk without a target ends once it has lost more validation accuracy than this fraction


class Measured(Protocol):
    """What goals know of the hardware: of an `Estimate`, and of a trial."""

    @property
    def throughput_ips(self) -> float:
        """Images/s."""

    @property
    def latency_ms(self) -> float:
        """Time from an image's first pixel to its result in an empty pipeline, ms."""

    @property
    def energy_j(self) -> float:
        """Energy of an image, J."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What a finished network has reached, which a goal compares with what was asked for.

    Args:
        model: the frozen network, with sparse layers.
        dense_val_acc, val_acc: validation accuracy of the dense network and of this one, as fractions.
        dense_rate, rate: of the dense network and of this one, as `Goal.rate` has it.
    """

    model: nn.Module
    dense_val_acc: float
    val_acc: float
    dense_rate: float
    rate: float


class Goal(ABC):
    """What a user wants of a search. Subclasses are frozen dataclasses whose fields are arguments in the configuration.

    For goals that are a throughput it is enough to define `value`, `words` and `target_ips`; other goals override more.
    Those that ask for another property of the hardware say how good it is by a rate, of which more is better, and the
    search steers by that.

    Attributes:
        name: key of the goal under `search.goals`, for results and messages.
        counted: what the rate is, in words.
        of_recipe: whether only recipes serve the goal, that is, engines that prune a given fraction of every layer;
            all other goals are served by all other engines.
    """

    name: ClassVar[str] = "goal"
    counted: ClassVar[str] = "throughput"
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

    def rate(self, measured: Measured) -> float:
        """Return how good a design is in what the goal asks for: images/s by default; more is better."""
        return measured.throughput_ips

    def target_rate(self, dense_rate: float) -> float | None:
        """Return the rate to reach, given the dense network's; None if the goal does not ask for one."""
        return self.target_ips(dense_rate)

    def shown(self, rate: float) -> str:
        """Return a rate with its unit, for people."""
        return f"{rate:,.0f} images/s"

    def met(self, reached: Reached) -> bool | None:
        """Return whether a finished network meets the goal; None if the goal cannot be missed."""
        target = self.target_rate(reached.dense_rate)
        return None if target is None else reached.rate >= target

    def controller(self, dense_rate: float, roof_rate: float, margin: float, cap: float) -> PenaltyController:
        """Return the controller that sets the weight λ of the hardware penalty on the way to this goal.

        Args:
            dense_rate, roof_rate: rates of the dense network, and of one at the density floor.
            margin: how far beyond a rate to aim, as a fraction.
            cap: the largest λ.
        """
        target = self.target_rate(dense_rate)
        if target is None:
            return PenaltyController(None, math.log(roof_rate / dense_rate), cap)
        return PenaltyController(None, math.log(target * (1 + margin) / dense_rate), cap)

    def check_reachable(self, dense: Estimate, roof: Estimate, device: str, binds: str) -> None:
        """Raise UserError, naming the roof, if the goal is beyond it.

        Args:
            dense, roof: the dense network, and the best one at the density floor.
            device: name of the accelerator.
            binds: the resource that binds at the density floor.
        """
        target, reached = self.target_rate(self.rate(dense)), self.rate(roof)
        if target is not None and target > reached:
            self._refuse(self.value * reached / target, device, binds, "most")

    def _refuse(self, roof: float, device: str, binds: str, extreme: str) -> NoReturn:
        shown = f"{roof:,.0f}" if roof >= 1000 else f"{roof:.4g}"
        raise UserError(
            f"{self.name} is {self.value:g}, beyond the roof of {device}: at the density floor it reaches "
            f"{shown} ({binds} binds); ask for at {extreme} that"
        )

    def best(self, front: Sequence[Trial], dense: Trial, dense_rate: float) -> Trial:
        """Return the trial that is best for the goal.

        Args:
            front: at least one trial, that of the highest rate first, each more accurate than those before it.
            dense: the trial of the network without thresholds.
            dense_rate: rate of the dense network on dense compute engines.
        """
        target = self.target_rate(dense_rate)
        reached = [trial for trial in front if target is None or self.rate(trial) >= target]
        # if none reaches the target, the thresholds of the best are scaled up afterwards
        return max(reached, key=lambda trial: trial.val_acc) if reached else front[0]

    def enough(self, trial: Trial, dense: Trial, dense_rate: float) -> bool:
        """Return whether a walk towards ever higher rates may end at a trial; other arguments as in `best`."""
        target = self.target_rate(dense_rate)
        return trial.val_acc < dense.val_acc - _HOPELESS if target is None else self.rate(trial) >= target
