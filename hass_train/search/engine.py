"""What every search engine is asked to do, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from hass_train.data import ImageData
from hass_train.data.evaluate import accuracy
from hass_train.hardware import HardwareModel, SparsityProfile
from hass_train.search.goal import Goal, HardwareQuestion
from hass_train.search.settle import restore, settle, state_of
from hass_train.sparsity import calibrate

BEYOND = 0.01
"""Of a throughput target, that a settled network may be faster than it."""
ALIVE = 0.5
"""Of the accuracy beyond chance, that settling must leave: what is gone then does not come back in recovery."""
_LEARNED = 0.25  # of the accuracy beyond chance: a network that has less has nothing to lose
_HALVINGS = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search spent, and what it found on the way.

    Args:
        trials: networks that were looked at.
        images: validation images that they were evaluated on, and training images that the engine itself used.
        front: trials that no other beats in both validation accuracy and throughput: `number`, `val_acc`,
            `throughput_ips`, `pair_sparsity` each; empty for engines that have but one network.
        chosen: number of the trial whose thresholds were taken; None where there are no trials.
        settled_ips: images/s that thresholds settled on, where the goal would have destroyed the network; else None.
    """

    trials: int = 0
    images: int = 0
    front: tuple[Mapping[str, float], ...] = ()
    chosen: int | None = None
    settled_ips: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "front": [dict(point) for point in self.front]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Choice:
        """The inverse of `to_dict`."""
        return cls(**{**data, "front": tuple(data["front"])})


@dataclass
class Subject:
    """The network that an engine chooses thresholds for, in its search mode.

    Args:
        model: with sparse layers.
        question: what the hardware is asked, and the goal.
        data: its validation split is all that engines look at.
        calibration_images: of the validation split, that sparsity is measured on exactly.
        margin: how far beyond a throughput target to aim, as a fraction.
        output: run directory.
    """

    model: nn.Module
    question: HardwareQuestion
    data: ImageData
    calibration_images: int
    margin: float
    output: Path

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def goal(self) -> Goal:
        """What the user wants."""
        return self.question.goal

    def profile(self, images: int = 0) -> SparsityProfile:
        """Exact sparsity at the present thresholds, on the first validation images."""
        chosen = self.data.images("val", self.device, images=images or self.calibration_images)
        return calibrate(self.model, chosen, closely=self.question.closely)

    def settle(self, target: float | None = None) -> None:
        """Scale all thresholds so that a throughput is just met, by default the goal's; nothing if it has none."""
        target = self.question.target_ips if target is None else target
        if target is not None:
            meet(self.model, self.question, self.profile, target * (1 + self.margin))

    def accuracy(self) -> float:
        """Validation accuracy at the present thresholds."""
        return accuracy(self.model, self.data, "val")[0]


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

    def reached(hardware: HardwareModel) -> float:
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


class SearchEngine(Protocol):
    """Decides how sparse a network becomes, after its search epochs (if any) and before it recovers."""

    @property
    def name(self) -> str:
        """As in `search=`."""
        ...

    @property
    def learns(self) -> bool:
        """Whether thresholds learn by gradient in the search epochs, under the hardware penalty."""
        ...

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """Set thresholds where a search epoch begins, if it is not for gradients to do.

        Args:
            model: with sparse layers in the search mode.
            epoch: of the search phase, from 0.
        """
        ...

    def choose(self, subject: Subject) -> Choice:
        """Leave the subject's layers with the thresholds to freeze.

        Raises:
            UserError: what the user can mend, such as a study of another network.
        """
        ...


class Learned:
    """Thresholds learned in the search epochs, scaled to meet the goal."""

    name = "learned"
    learns = True

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """Gradients move thresholds."""

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`.

        Where accuracy held the search back, the goal may still be far, and scaling thresholds to it would destroy the
        network; then it settles for less.
        """
        return Choice(settled_ips=survive(subject))


def survive(subject: Subject) -> float | None:
    """Settle on the goal's throughput as far as the network survives it; the throughput it settled on instead, if
    that destroyed it."""
    target = subject.question.target_ips
    if target is None:
        return None
    settled = reach(subject, target, subject.settle)
    return None if settled == target else settled


def reach(subject: Subject, target: float, move: Callable[[float], None]) -> float:
    """Move towards a throughput as far as the network survives it.

    Args:
        subject: with layers in the search or frozen mode.
        target: images/s.
        move: changes the network so that it reaches the target.

    Returns:
        The target, or the throughput that it was given up for; a line says so.
    """
    question, learned = subject.question, state_of(subject.model)
    chance, before = 1 / subject.data.classes, subject.accuracy()
    least = chance + ALIVE * (before - chance)

    def quickly() -> float:
        return question.quick.estimate(question.workload, subject.profile()).throughput_ips

    start = quickly()
    move(target)
    found = subject.accuracy()
    if found >= least or before < chance + _LEARNED * (1 - chance):
        return target
    print(
        f"{target:,.0f} images/s, from {start:,.0f}, would leave a validation accuracy of {found:.4f} instead of "
        f"{before:.4f}: the goal is given up for what the network survives (more search epochs or a smaller goal helps)"
    )
    alive, dead, kept = start, target, learned
    for _ in range(_HALVINGS):
        middle = math.sqrt(alive * dead)
        restore(subject.model, learned)
        settle(subject.model, quickly, middle, BEYOND)  # the goal is missed anyhow: no exact model
        if subject.accuracy() >= least:
            alive, kept = min(middle, quickly()), state_of(subject.model)
        else:
            dead = middle
    restore(subject.model, kept)
    return alive
