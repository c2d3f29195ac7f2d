"""Lets SIGTERM and SIGINT ask for a clean stop during training."""

from __future__ import annotations

from contextlib import ExitStack

import pytorch_lightning as pl

from hass_train.runtime import stopping


class Signals(pl.Callback):
    """Listens for signals from the beginning to the end of training, in every process that trains.

    It replaces Lightning's own handlers, which lose the epoch and, with several processes, communicate with the others
    from within a signal handler.
    """

    def __init__(self) -> None:
        self._listening = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # not earlier: Lightning registers its handlers after `on_fit_start`
        launcher = trainer.strategy.launcher
        self._listening.enter_context(stopping.listening(launcher.kill if launcher is not None else None))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._listening.close()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listening.close()
