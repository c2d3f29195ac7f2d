"""Checkpoints: the latest at every epoch's end, and the best among networks that have their final sparsity."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from hass_train.module import SparseClassifier
from hass_train.search.phases import Phase


class Latest(ModelCheckpoint):
    """`last.ckpt`, written at every epoch's end.

    Args:
        dirpath: folder.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(
            dirpath, filename="last", save_top_k=1, monitor=None, save_on_train_epoch_end=True,
            enable_version_counter=False,
        )  # fmt: skip


class BestSparse(ModelCheckpoint):
    """`best.ckpt`: the best validation accuracy of the recover phase.

    "Best" must not mean a network that was not sparse yet (nncf#38, model-optimization#206).

    Args:
        dirpath: folder.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(
            dirpath, filename="best", save_top_k=1, monitor="val/acc", mode="max", save_on_train_epoch_end=False,
            enable_version_counter=False,
        )  # fmt: skip

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        if pl_module.phase is Phase.RECOVER:
            super().on_validation_end(trainer, pl_module)
