"""Tells the loggers what run this is, and W&B what it shows of every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl

from hass_train.results.record import flat
from hass_train.sparsity import running_profile
from hass_train.tracking import board
from hass_train.tracking.loggers import WandbLog
from hass_train.training.module import SparseClassifier


class Board(pl.Callback):
    """Logs the configuration as one level of keys, and on W&B a table of all layers after every epoch."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        settings = pl_module.hparams["settings"]
        for logger in trainer.loggers:
            logger.log_hyperparams(flat(settings, "/"))  # W&B advises against dots
        for log in _boards(trainer):
            log.define(board.SUMMARIES)
            begun = settings["init_from"]
            if begun and not begun.endswith(".ckpt"):
                board.use_dense(log, settings["model"]["name"], Path(begun))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        question = pl_module.question
        if question is None or not trainer.is_global_zero:
            return
        for log in _boards(trainer):
            rows = board.layer_rows(
                question.workload, running_profile(pl_module.model), pl_module.penalty.prices, pl_module.answer
            )
            log.log_rows(board.LAYERS, board.HEADS, rows, trainer.global_step)


def _boards(trainer: pl.Trainer) -> Iterator[WandbLog]:
    return (logger for logger in trainer.loggers if isinstance(logger, WandbLog))
