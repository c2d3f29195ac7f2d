"""Moves a run from warm-up to search to recover; when thresholds freeze, the engine has its say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch

from hass_train.data import ImageData
from hass_train.data.evaluate import accuracy
from hass_train.export.weights import DENSE_WEIGHTS, load_weights, save_dense
from hass_train.runtime import ranks
from hass_train.search.engine import Subject
from hass_train.search.phases import Phase
from hass_train.sparsity import sparse_layers, watching
from hass_train.training.module import SparseClassifier

_NORM_BATCHES = 50


class Phases(pl.Callback):
    """Owns the transitions between phases.

    Args:
        output: run directory; the dense network is kept there at the end of warm-up.
        margin: how far beyond a throughput target the thresholds settle, as a fraction.
        calibration_images: validation images that exact histograms are measured on.
    """

    def __init__(self, output: str, margin: float = 0.01, calibration_images: int = 256) -> None:
        self.output, self.margin, self.calibration_images = Path(output), margin, calibration_images
        self._since = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        self.reach(trainer, pl_module, pl_module.plan.phase_at(trainer.current_epoch))
        if pl_module.phase is Phase.SEARCH and not pl_module.engine.learns:
            pl_module.begin_search_epoch(trainer.current_epoch - pl_module.plan.epochs[0])
        self._teach(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        self._since = time.monotonic()
        self._teach(pl_module)  # an epoch that is resumed in its middle has begun already

    def _teach(self, module: SparseClassifier) -> None:
        if module.phase is Phase.RECOVER and not module.taught:
            module.learn_from(load_weights(self.output / DENSE_WEIGHTS, "ckpt_path"))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        self._charge(pl_module)
        before = list(Phase).index(pl_module.phase)
        values = {"phase/index": before, "phase/epoch": trainer.current_epoch + 1 - sum(pl_module.plan.epochs[:before])}
        pl_module.log_dict({key: float(value) for key, value in values.items()}, rank_zero_only=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        self.reach(trainer, pl_module, Phase.RECOVER)  # where recover has no epochs, freeze all the same

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        # where nothing is left to train, training neither starts nor ends
        self.reach(trainer, pl_module, Phase.RECOVER)

    def _charge(self, module: SparseClassifier) -> None:
        now = time.monotonic()
        module.wall_s[module.phase] += now - self._since
        self._since = now

    def reach(self, trainer: pl.Trainer, module: SparseClassifier, phase: Phase) -> None:
        """Make all transitions up to a phase."""
        order = list(Phase)
        while order.index(module.phase) < order.index(phase):
            module.seed_chance(trainer.global_step, order.index(module.phase))
            if module.phase is Phase.WARMUP:
                self._begin_search(trainer, module)
            else:
                self._begin_recover(trainer, module)
            self._charge(module)

    def _begin_search(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        if trainer.is_global_zero:
            save_dense(module.model, self.output / DENSE_WEIGHTS)
        training = module.training
        with watching(module.eval()), torch.no_grad():  # without a warm-up the layers have not yet seen an input
            for images in _data(trainer).images("train", module.device, batches=2):
                module(images)
        module.train(training)
        module.dense_val_acc, _ = accuracy(module.model, _data(trainer), "val")
        module.enter(Phase.SEARCH)

    def _begin_recover(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        assert module.question is not None
        subject = Subject(
            module.model, module.question, _data(trainer), self.calibration_images, self.margin, self.output
        )
        # the first process decides for all
        module.choice = ranks.from_first(lambda: module.engine.choose(subject))
        layers = [layer for _, layer in sparse_layers(module.model)]
        ranks.shared([one for layer in layers for one in (*layer.thresholds, layer.activation_scale)])
        self._charge(module)
        module.enter(Phase.RECOVER)
        ranks.check_same([layer.mask for _, layer in sparse_layers(module.model)], "masks")
        self._renew_batch_norm(trainer, module)

    def _renew_batch_norm(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        """Measure batch-norm statistics anew: those of the search lag behind the thresholds."""
        norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over all batches
        with _gathering_statistics(module):
            for images in _data(trainer).images("train", module.device, batches=_NORM_BATCHES):
                module(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _data(trainer: pl.Trainer) -> ImageData:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ImageData)
    return data


@contextmanager
def _gathering_statistics(module: SparseClassifier) -> Iterator[None]:
    """Training mode without gradients."""
    training = module.training
    module.train()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)
