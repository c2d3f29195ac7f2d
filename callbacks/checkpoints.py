"""Checkpoints: the latest, and the best among networks that have their final sparsity."""

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

_EVERY = 8  # steps of several processes between two looks for a signal


class Checkpoints(Checkpoint):
    """`last.ckpt` when training begins, at every epoch's end and when a signal asks for a stop; `best.ckpt` at the
    best validation accuracy of the recover phase.

    "Best" must not mean a network that was not sparse yet (nncf#38, model-optimization#206).

    Args:
        dirpath: folder.

    Raises:
        Stopped: training ends here because a signal asked for it, and all is saved.
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
            return  # asking each other costs an exchange
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # gradients that wait for their step are in no checkpoint
        signum = ranks.from_first(stopping.requested)
        if signum is not None and batch_idx + 1 < trainer.num_training_batches:  # else the epoch's end does it
            trainer.save_checkpoint(self.folder / LAST)
            raise stopping.Stopped(signum)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = trainer.callback_metrics.get("val/acc")
        # the latest after the best: it knows that it was saved
        if search_state(pl_module).phase is Phase.RECOVER and found is not None and float(found) > self.best:
            self.best = float(found)
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)
        signum = ranks.from_first(stopping.requested)
        if signum is not None:
            raise stopping.Stopped(signum)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / LAST)  # frozen, even where recovery has no epochs
