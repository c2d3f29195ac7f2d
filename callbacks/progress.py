"""One line an epoch: where the run is and what it has reached."""

from __future__ import annotations

import time

import pytorch_lightning as pl
from rich.console import Console

from hass_train.module import SparseClassifier

_SHOWN = (
    ("val/acc", "val acc", "{:.4f}"),
    ("hw/speedup", "speed-up", "{:.2f}×"),
    ("sparsity/pair", "pair sparsity", "{:.3f}"),
    ("loss/lambda", "λ", "{:.2f}"),
)


class Progress(pl.Callback):
    """Prints phase, epoch, loss, accuracy, speed-up, pair sparsity and λ at each epoch's end, and the time left."""

    def __init__(self) -> None:
        self._started, self._first = time.monotonic(), 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started, self._first = time.monotonic(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, SparseClassifier)
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        left = (time.monotonic() - self._started) / (epoch - self._first) * (total - epoch)
        logged = trainer.callback_metrics
        parts = [f"loss {float(logged['loss/task']):.3f}"] if "loss/task" in logged else []
        for key, label, form in _SHOWN:
            own = key in logged and (not key.startswith(("hw/", "loss/lambda")) or pl_module.phase == "search")
            if own:
                parts.append(f"{label} {form.format(float(logged[key]))}")
        Console(highlight=False, soft_wrap=True).print(
            f"[dim]{epoch:>4}/{total}[/] [bold]{pl_module.phase:<7}[/] {'  '.join(parts)}  [dim]{left:,.0f} s left[/]"
        )
