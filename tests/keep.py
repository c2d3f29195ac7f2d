"""A callback for tests: every process keeps what it froze."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch

from hass_train.sparsity import sparse_layers
from hass_train.training.module import SparseClassifier


class Keep(pl.Callback):
    """Saves masks, thresholds and the controller of each rank at the end of training.

    Args:
        folder: to save into.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        layers = {
            name: (layer.mask, layer.frozen_threshold, layer.activation_scale, layer.weight.detach())
            for name, layer in sparse_layers(pl_module.model)
        }
        kept = {"layers": layers, "controller": pl_module.state.steering.state_dict()}
        torch.save(kept, self.folder / f"rank{trainer.global_rank}.pt")


class Unmask(pl.Callback):
    """Moves all weights after every epoch, as an average with those of earlier epochs would."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with torch.no_grad():
            for parameter in pl_module.parameters():
                parameter.add_(1e-3)


class Halt(pl.Callback):
    """Asks Lightning to end the run, as its limits do.

    Args:
        batch: number of the micro-batch after which it asks, counted over the whole run.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.current_epoch * trainer.num_training_batches + trainer.fit_loop.epoch_loop.batch_idx == self.batch:
            trainer.should_stop = True
