"""Saves checkpoints: the latest one, and the best one among networks that have their final sparsity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping

from hass_train.runtime import ranks, stopping
from hass_train.runtime.files import BEST, LAST
from hass_train.search.phases import Phase
from hass_train.training.module import search_state
from hass_train.training.steps import Steps, batches_done, ended_well, out_of_time

_EVERY = 8  # optimizer steps between two checks for a signal, where several processes train together


class Checkpoints(Checkpoint):
    """Saves `last.ckpt` when training begins, at the end of every epoch and when the run is to stop, and `best.ckpt` at
    the best validation accuracy of the recover phase.

    Other phases do not count, since "best" must not be a network that is not sparse yet (nncf#38,
    model-optimization#206), nor do epochs without validation.

    Lightning ends a run at once where a limit of time or a callback sets `trainer.should_stop`, and counts the epoch as
    done. Here such a run stops after the step, as on a signal, so that it can go on.

    Args:
        dirpath: folder of the checkpoints.

    Raises:
        Stopped: a signal asked for a stop, or (`CutShort`) Lightning was to end before the last epoch, and everything
            is saved; raised by the hooks that end a step or an epoch.
    """

    def __init__(self, dirpath: str) -> None:
        self.folder, self.best = Path(dirpath), -math.inf
        self._better = self._ending = False  # whether this epoch ends as the best one; whether the run is to end early

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = float(state_dict["best"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take_over(trainer)  # else Lightning would not begin, or count an epoch without any step as done

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take_over(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take_over(trainer)
        if not (self.folder / LAST).exists():
            trainer.save_checkpoint(self.folder / LAST)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self._take_over(trainer)
        steps = Steps.of(trainer)
        if not steps.ends(batch_idx):
            return  # a checkpoint does not hold accumulated gradients
        asks = not ranks.together() or steps.at(batch_idx) % _EVERY == 0  # agreeing on a stop takes a broadcast
        stop = self._stop(trainer, pl_module, ranks.from_first(stopping.requested) if asks else None)
        if stop is not None and batch_idx + 1 < steps.batches:  # else `on_train_epoch_end` stops
            trainer.save_checkpoint(self.folder / LAST)
            raise stop

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take_over(trainer)
        state = search_state(pl_module)
        # of equals the later one, which was trained at lower rates; few validation images have many equals
        if state.phase is Phase.RECOVER and not trainer.sanity_checking and (state.val_acc or 0.0) >= self.best:
            self.best = state.val_acc or 0.0
            if batches_done(trainer):  # in the middle of an epoch, whose end has other weights
                trainer.save_checkpoint(self.folder / BEST)
            else:
                self._better = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take_over(trainer)
        if self._better:
            trainer.save_checkpoint(self.folder / BEST)
            self._better = False
        if trainer.current_epoch + 1 == trainer.max_epochs:
            self._ending = False  # it ends anyway
        # the latest one is saved after the best one, so that it contains the new best accuracy
        trainer.save_checkpoint(self.folder / LAST)
        stop = self._stop(trainer, pl_module, ranks.from_first(stopping.requested))
        if stop is not None:
            raise stop

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / LAST)  # `Phases` has frozen the network, even without recover epochs

    def _take_over(self, trainer: pl.Trainer) -> None:
        """Take a wish to end the run from Lightning, once it would fulfil it."""
        if ended_well(trainer):
            return
        loop: Any = trainer.fit_loop
        over = loop.epoch_progress.current.processed >= (trainer.min_epochs or 0)
        if trainer.should_stop and over and trainer.global_step >= (trainer.min_steps or 0):
            self._ending, trainer.should_stop = True, False

    def _stop(self, trainer: pl.Trainer, module: pl.LightningModule, signum: int | None) -> stopping.Stopped | None:
        """What to raise if the run is to stop now, by a signal or by a wish that was taken over; else None."""
        if signum is not None:
            return stopping.Stopped(signum)
        if not self._ending:
            return None
        where = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs} ({search_state(module).phase} phase)"
        return stopping.CutShort(f"ended early by {_who(trainer)} in {where}")


def _who(trainer: pl.Trainer) -> str:
    """What has ended a run early, in words."""
    if out_of_time(trainer):
        return "its limit of time (trainer.max_time)"
    named = [type(one).__name__ for one in trainer.callbacks if isinstance(one, EarlyStopping)]  # type: ignore[attr-defined]
    return named[0] if named else "a callback"
