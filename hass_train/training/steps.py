"""How micro-batches make up optimizer steps: everything but chance is counted in steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from hass_train.hardware.arithmetic import ceil_div


@dataclass(frozen=True, slots=True)
class Steps:
    """The optimizer steps of an epoch.

    Args:
        batches: number of micro-batches in an epoch.
        every: number of micro-batches in a step (`trainer.accumulate_grad_batches`); the last step of an epoch takes
            those that are left.
    """

    batches: int
    every: int = 1

    @classmethod
    def of(cls, trainer: pl.Trainer) -> Steps:
        """The steps of an epoch of a trainer, whose data must be set up."""
        return cls(int(trainer.num_training_batches), trainer.accumulate_grad_batches)

    @property
    def count(self) -> int:
        """Number of steps in an epoch."""
        return ceil_div(self.batches, self.every)

    def at(self, batch: int) -> int:
        """The step of a micro-batch, both counted from 0 in the epoch."""
        return batch // self.every

    def ends(self, batch: int) -> bool:
        """Whether a micro-batch is the last one of its step."""
        return (batch + 1) % self.every == 0 or batch + 1 == self.batches

    def scale(self, batch: int) -> float:
        """What the loss of a micro-batch is multiplied by so that the gradient of its step is the mean over its
        micro-batches: Lightning divides by `every`, also where fewer are left."""
        left = self.batches % self.every
        return self.every / left if left and batch >= self.batches - left else 1.0


def batches_done(trainer: pl.Trainer) -> int:
    """Number of finished micro-batches of the epoch that a trainer is in; 0 between epochs."""
    loop: Any = trainer.fit_loop
    done = int(loop.epoch_loop.batch_progress.current.processed)
    return 0 if done >= trainer.num_training_batches else done


def ended_well(trainer: pl.Trainer) -> bool:
    """Whether an early end is the normal one: that by early stopping in plain training, which has no later phases."""
    module: Any = trainer.lightning_module
    early = any(isinstance(one, EarlyStopping) for one in trainer.callbacks)  # type: ignore[attr-defined]
    return early and module.state.question is None and not out_of_time(trainer)


def out_of_time(trainer: pl.Trainer) -> bool:
    """Whether a limit of time is over."""
    timers = (one for one in trainer.callbacks if isinstance(one, Timer))  # type: ignore[attr-defined]
    left = (one.time_remaining() for one in timers)
    return any(one is not None and one <= 0 for one in left)


def completed(trainer: pl.Trainer) -> bool:
    """Whether a trainer has trained all of its epochs to their ends."""
    return trainer.current_epoch >= (trainer.max_epochs or 0) and not batches_done(trainer)
