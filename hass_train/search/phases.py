"""The three phases of a run and their learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from hass_train.config.schema import SearchConfig


class Phase(StrEnum):
    """Warm-up trains dense, search learns thresholds, recover trains what is frozen."""

    WARMUP = "warmup"
    SEARCH = "search"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """How many epochs each phase has, and at which peak learning rate.

    Args:
        epochs, rates: of warm-up, search and recover.
    """

    epochs: tuple[int, int, int]
    rates: tuple[float, float, float]

    @classmethod
    def of(cls, config: SearchConfig, search_epochs: int) -> PhasePlan:
        """The plan of a configuration.

        Args:
            config: epochs and learning rates.
            search_epochs: epochs in which the engine trains while it searches.
        """
        warmup, search, recover = config.warmup, config.search, config.recover
        return cls((warmup.epochs, search_epochs, recover.epochs), (warmup.lr, search.lr, recover.lr))

    @property
    def total(self) -> int:
        return sum(self.epochs)

    def phase_at(self, epoch: int) -> Phase:
        """The phase that an epoch (from 0) belongs to; past the end, the last one that has epochs, or recover."""
        left = epoch
        for phase, count in zip(Phase, self.epochs, strict=True):
            if left < count:
                return phase
            left -= count
        return next((phase for phase in reversed(Phase) if self.epochs[list(Phase).index(phase)]), Phase.RECOVER)

    def progress(self, step: int, steps_per_epoch: int) -> tuple[Phase, float]:
        """Phase of a step and how much of the phase is done, in [0, 1)."""
        phase = self.phase_at(step // steps_per_epoch)
        index = list(Phase).index(phase)
        before = sum(self.epochs[:index]) * steps_per_epoch
        return phase, min((step - before) / (self.epochs[index] * steps_per_epoch), 1.0)

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Linear rise over the first tenth of a phase, then a cosine; the search ends at a third of its peak."""
        if not self.total:
            return 0.0  # nothing is trained
        phase, done = self.progress(step, steps_per_epoch)
        floor = 1 / 3 if phase is Phase.SEARCH else 0.0
        peak = self.rates[list(Phase).index(phase)]
        if done < 0.1:
            return peak * max(done / 0.1, 0.02)
        return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9)))
