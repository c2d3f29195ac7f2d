"""What every search engine is asked to do, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from hass_train.data import ImageData
from hass_train.hardware import SparsityProfile
from hass_train.search.goal import Goal, HardwareQuestion
from hass_train.search.settle import settle
from hass_train.sparsity import calibrate


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search spent, and what it found on the way.

    Args:
        trials: networks that were looked at.
        images: validation images that they were evaluated on, and training images that the engine itself used.
        front: trials that no other beats in both validation accuracy and throughput: `number`, `val_acc`,
            `throughput_ips`, `pair_sparsity` each; empty for engines that have but one network.
        chosen: number of the trial whose thresholds were taken; None where there are no trials.
    """

    trials: int = 0
    images: int = 0
    front: tuple[Mapping[str, float], ...] = ()
    chosen: int | None = None

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
        return calibrate(self.model, self.data.images("val", self.device, images=images or self.calibration_images))

    def settle(self) -> None:
        """Scale all thresholds so that a throughput target is just met; nothing without a target."""
        target, question = self.question.target_ips, self.question
        if target is None:
            return
        settle(
            self.model,
            lambda: question.quick.estimate(question.workload, self.profile()).throughput_ips,
            target * (1 + self.margin),
        )


class SearchEngine(Protocol):
    """Decides how sparse a network becomes, after its search epochs (if any) and before it recovers."""

    @property
    def name(self) -> str:
        """As in `search=`."""
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

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`."""
        subject.settle()
        return Choice()
