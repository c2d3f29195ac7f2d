"""The network whose thresholds a search engine chooses, and how far it can be moved towards a goal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from hass_train.data import ImageData
from hass_train.data.evaluate import accuracy
from hass_train.hardware import SparsityProfile
from hass_train.search.goal import Goal
from hass_train.search.question import HardwareQuestion
from hass_train.search.settle import BEYOND, accepted, meet, restore, settle, state_of
from hass_train.sparsity import calibrate

ALIVE = 0.5
"""The fraction of the accuracy above chance that settling must preserve; a network that loses more does not recover."""
_KEPT = 0.95  # that of a correction behind recovery, which no training follows
_LEARNED = 0.25  # fraction of the possible accuracy above chance below which a network has nothing to lose
_FEW_IMAGES = 64  # on which sparsity is measured where an exact measurement follows and corrects it
_HALVINGS = 3  # steps of the bisection for the throughput that a network survives


@dataclass
class Subject:
    """A network in the search mode, with everything that a search engine may use.

    Args:
        model: the network, with sparse layers.
        question: the network on its accelerator, and the goal.
        data: the data module, of which search engines use only the validation split.
        calibration_images: number of validation images on which sparsity is measured exactly.
        margin: how far beyond a throughput target to aim, as a fraction.
        output: the run's directory.
    """

    model: nn.Module
    question: HardwareQuestion
    data: ImageData
    calibration_images: int
    margin: float
    output: Path
    _measured: tuple[tuple[tuple[int, int], ...], SparsityProfile] | None = field(default=None, init=False, repr=False)
    """Memory and versions of all tensors of the network, and what was measured of them. No optimizer steps while there
    is a subject; fused ones do not count up versions."""

    @property
    def goal(self) -> Goal:
        """The goal of the search."""
        return self.question.goal

    def profile(self, images: int = 0) -> SparsityProfile:
        """Measure the exact sparsity at the present thresholds.

        Args:
            images: number of validation images to use, the first ones; 0 = `calibration_images`, on which a network is
                measured again only if it has changed.
        """
        if images:
            return self._calibrated(images)
        tensors = (*self.model.parameters(), *self.model.buffers())
        key = tuple((one.data_ptr(), one._version) for one in tensors)
        if self._measured is None or self._measured[0] != key:
            self._measured = key, self._calibrated(self.calibration_images)
        return self._measured[1]

    def _nearby(self, known: SparsityProfile) -> SparsityProfile:
        """Measure densities at thresholds near those of a known profile, on a few images; the shapes of its histograms
        and the independence of compute engines are taken over."""
        return self._calibrated(min(_FEW_IMAGES, self.calibration_images), known)

    def _calibrated(self, images: int, like: SparsityProfile | None = None) -> SparsityProfile:
        chosen = self.data.images("val", self.model, images=images)
        return calibrate(self.model, chosen, closely=self.question.accelerator.uses_activations, like=like)

    def settle(self, target: float | None = None) -> None:
        """Scale all thresholds so that a rate of the goal's kind is just reached.

        Args:
            target: the rate; by default the goal's. Nothing happens if the goal does not ask for one.
        """
        target = self.question.target_rate if target is None else target
        if target is not None:
            self.meet(target)

    def meet(self, target: float, tries: int = 4) -> None:
        """Scale all thresholds so that a rate is reached on the exact hardware model; see `settle.meet`."""
        meet(self.model, self.question, self.profile, self._nearby, target, self.margin, tries)

    def correct(self, target: float) -> None:
        """Meet a rate that a recovered network no longer has, by its thresholds, if they can and it keeps its accuracy.

        No training follows that would heal it. So what misses the rate all the same, or costs more than a twentieth of
        the accuracy above chance, is undone, and a line says so. One that is faster than the target, and would not
        survive the way back, stays as it is.

        Args:
            target: the rate, as the goal has it.
        """
        start = self.rate()
        if target <= start <= accepted(target, self.margin):
            return
        before, accuracy = state_of(self.model), self.accuracy()
        self.meet(target, tries=1)
        found, left = self.rate(), self.accuracy()
        chance = 1 / self.data.classes
        if found >= target and left >= chance + _KEPT * (accuracy - chance):
            return
        restore(self.model, before)
        if start < target:
            print(
                f"{self.goal.shown(target)} cannot be met again: thresholds that give {self.goal.shown(found)} leave a "
                f"validation accuracy of {left:.4f} instead of {accuracy:.4f}, so it stays at {self.goal.shown(start)}"
            )

    def rate(self) -> float:
        """Measure the rate at the present thresholds, on the exact hardware model."""
        return self.question.rate(self.question.accelerator, self.profile())

    def accuracy(self) -> float:
        """Measure the validation accuracy at the present thresholds, as a fraction."""
        return accuracy(self.model, self.data, "val")[0]

    def survive(self) -> float | None:
        """Scale all thresholds so that the goal's throughput is reached, or a lower one, which a printed line says.

        A network survives if it keeps the fraction `ALIVE` of its accuracy above chance. One that is faster than the
        goal, and would not survive the way back, stays as it is.

        Returns:
            The rate of the lower one, if the goal would have destroyed the network; otherwise None.
        """
        target = self.question.target_rate
        if target is None:
            return None
        learned = state_of(self.model)
        chance, before = 1 / self.data.classes, self.accuracy()
        least = chance + ALIVE * (before - chance)
        self.settle()
        found = self.accuracy()
        if found >= least or before < chance + _LEARNED * (1 - chance):
            return None
        restore(self.model, learned)
        start = self._quick_rate()
        if start >= target:  # fewer zeros than it was trained with, for which its batch norms do not hold
            return None
        print(
            f"{self.goal.shown(target)}, from {self.goal.shown(start)}, would leave a validation accuracy of "
            f"{found:.4f} instead of {before:.4f}: the goal is given up for what the network survives (more search "
            "epochs or a smaller goal helps)"
        )
        survived, destroyed, kept = start, target, learned
        for _ in range(_HALVINGS):
            middle = math.sqrt(survived * destroyed)
            restore(self.model, learned)
            settle(self.model, self._quick_rate, middle, BEYOND)  # the goal is missed anyway: the quick model will do
            if self.accuracy() >= least:
                survived, kept = min(middle, self._quick_rate()), state_of(self.model)
            else:
                destroyed = middle
        restore(self.model, kept)
        return survived

    def _quick_rate(self) -> float:
        return self.question.rate(self.question.quick, self.profile())
