"""Saves checkpoints: the latest one, and the best one among networks that have their final sparsity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from hass_train.runtime import ranks, stopping
from hass_train.runtime.files import BEST, LAST
from hass_train.search.phases import Phase
from hass_train.training.module import search_state

_EVERY = 8  # optimizer steps between two checks for a signal, where several processes train together


class Checkpoints(Checkpoint):
    """Saves `last.ckpt` when training begins, at the end of every epoch and when a signal asks for a stop, and
    `best.ckpt` at the best validation accuracy of the recover phase.

    Other phases do not count, since "best" must not be a network that is not sparse yet (nncf#38,
    model-optimization#206).

    Args:
        dirpath: folder of the checkpoints.

    Raises:
        Stopped: a signal asked for a stop, and everything is saved; raised by the hooks that end a step or an epoch.
    """

    def __init__(self, dirpath: str) -> None:
        self.folder, self.best = Path(dirpath), -math.inf

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = float(state_dict["best"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (self.folder / LAST).exists():
            trainer.save_checkpoint(self.folder / LAST)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if ranks.together() and batch_idx // trainer.accumulate_grad_batches % _EVERY:
            return  # agreeing on a stop takes a broadcast
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # a checkpoint does not hold accumulated gradients
        signum = ranks.from_first(stopping.requested)
        if signum is not None and batch_idx + 1 < trainer.num_training_batches:  # else `on_train_epoch_end` stops
            trainer.save_checkpoint(self.folder / LAST)
            raise stopping.Stopped(signum)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = trainer.callback_metrics.get("val/acc")
        # the latest one is saved after the best one, so that it contains the new best accuracy
        if search_state(pl_module).phase is Phase.RECOVER and found is not None and float(found) > self.best:
            self.best = float(found)
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)
        signum = ranks.from_first(stopping.requested)
        if signum is not None:
            raise stopping.Stopped(signum)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / LAST)  # `Phases` has frozen the network, even without recover epochs
