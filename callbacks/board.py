"""Logs the configuration of a run, and on W&B the layer table of every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl

from hass_train.results.record import flat
from hass_train.sparsity import running_profile
from hass_train.tracking import board
from hass_train.tracking.loggers import WandbLog
from hass_train.training.module import classifier, search_state


class Board(pl.Callback):
    """Logs the configuration as a flat dictionary when training starts; on W&B also the dense network that a run starts
    from, and a table of all layers after every epoch."""

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
        state = search_state(pl_module)
        if state.question is None or not trainer.is_global_zero:
            return
        workload, model = state.question.workload, classifier(pl_module).model
        for log in _boards(trainer):
            rows = board.layer_rows(workload, running_profile(model), state.penalty.prices, state.answer)
            log.log_rows(board.LAYERS, board.HEADS, rows, trainer.global_step)


def _boards(trainer: pl.Trainer) -> Iterator[WandbLog]:
    return (logger for logger in trainer.loggers if isinstance(logger, WandbLog))
