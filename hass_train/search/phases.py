"""The three phases of a run and their learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from hass_train.config.schema import SearchConfig


class Phase(StrEnum):
    """The phases of a run: warm-up trains the dense network, search finds thresholds, and recover trains the weights
    that are left after freezing them."""

    WARMUP = "warmup"
    SEARCH = "search"
    RECOVER = "recover"


RAMP = 0.7
"""Fraction of the search phase over which the goal rises; in the rest of it thresholds settle."""
_LAST_PACE = 0.1


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """The number of epochs of each phase, and its learning rate.

    Args:
        epochs: numbers of epochs of warm-up, search and recover.
        rates: their peak learning rates.
    """

    epochs: tuple[int, int, int]
    rates: tuple[float, float, float]

    @classmethod
    def of(cls, config: SearchConfig, search_epochs: int) -> PhasePlan:
        """Make the plan of a configuration.

        Args:
            config: the configuration of the search, with epochs and learning rates.
            search_epochs: number of search epochs, which the search engine decides.
        """
        warmup, search, recover = config.warmup, config.search, config.recover
        return cls((warmup.epochs, search_epochs, recover.epochs), (warmup.lr, search.lr, recover.lr))

    @property
    def total(self) -> int:
        """The number of epochs of all phases together."""
        return sum(self.epochs)

    def phase_at(self, epoch: int) -> Phase:
        """The phase of an epoch, counted from 0; past the last epoch, the last phase that has any, or else recover."""
        left = epoch
        for phase, count in zip(Phase, self.epochs, strict=True):
            if left < count:
                return phase
            left -= count
        return next((phase for phase in reversed(Phase) if self.epochs[list(Phase).index(phase)]), Phase.RECOVER)

    def progress(self, step: int, steps_per_epoch: int) -> tuple[Phase, float]:
        """The phase of a step, and the fraction of the phase that is done, in [0, 1]."""
        phase = self.phase_at(step // steps_per_epoch)
        index = list(Phase).index(phase)
        before = sum(self.epochs[:index]) * steps_per_epoch
        steps = self.epochs[index] * steps_per_epoch
        return phase, min((step - before) / steps, 1.0) if steps else 1.0

    def threshold_pace(self, step: int, steps_per_epoch: int) -> float:
        """The share of the thresholds' learning rate at a step of the search phase: all of it while the goal rises, and
        then ever less, since thresholds that went on at full pace would swing around the goal until the end."""
        phase, done = self.progress(step, steps_per_epoch)
        if phase is not Phase.SEARCH or done <= RAMP:
            return 1.0
        return 1.0 - (1.0 - _LAST_PACE) * (done - RAMP) / (1.0 - RAMP)

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate at a step: a linear rise over the first tenth of a phase, then a cosine, which falls to
        zero, or in the search phase to a third of the peak."""
        phase, done = self.progress(step, steps_per_epoch)
        floor = 1 / 3 if phase is Phase.SEARCH else 0.0
        peak = self.rates[list(Phase).index(phase)]
        if done < 0.1:
            return peak * max(done / 0.1, 0.02)
        return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9)))
