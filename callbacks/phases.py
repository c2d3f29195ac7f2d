"""Moves a run from warm-up to search to recover, and settles the thresholds when they freeze."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch

from hass_train.data import ImageData
from hass_train.export.weights import DENSE_WEIGHTS, save_dense
from hass_train.hardware import SparsityProfile
from hass_train.module import SparseClassifier
from hass_train.search.phases import Phase
from hass_train.search.settle import settle
from hass_train.sparsity import calibrate

_NORM_BATCHES = 50


class Phases(pl.Callback):
    """Owns the transitions between phases.

    Args:
        output: run directory; the dense network is kept there at the end of warm-up.
        margin: how far beyond a throughput target the thresholds settle, as a fraction.
        calibration_images: validation images that exact histograms are measured on.
    """

    def __init__(self, output: str, margin: float = 0.03, calibration_images: int = 256) -> None:
        self.output, self.margin, self.calibration_images = Path(output), margin, calibration_images
        self._since = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        self.reach(trainer, pl_module, pl_module.plan.phase_at(trainer.current_epoch))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        self._charge(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        self.reach(trainer, pl_module, Phase.RECOVER)  # where recover has no epochs, freeze all the same

    def _charge(self, module: SparseClassifier) -> None:
        now = time.monotonic()
        module.wall_s[module.phase] += now - self._since
        self._since = now

    def reach(self, trainer: pl.Trainer, module: SparseClassifier, phase: Phase) -> None:
        """Make all transitions up to a phase."""
        order = list(Phase)
        while order.index(module.phase) < order.index(phase):
            if module.phase is Phase.WARMUP:
                self._begin_search(trainer, module)
            else:
                self._begin_recover(trainer, module)
            self._charge(module)

    def _begin_search(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        if trainer.is_global_zero:
            save_dense(module.model, self.output / DENSE_WEIGHTS)
        with _gathering_statistics(module):  # without a warm-up the layers have not yet seen an input
            for images in _data(trainer).images("train", module.device, batches=2):
                module(images)
        module.enter(Phase.SEARCH)

    def _begin_recover(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        question = module.question
        assert question is not None
        if question.target_ips is not None:
            accelerator, workload = question.quick, question.workload
            settle(
                module.model,
                lambda: accelerator.estimate(workload, self.profile(trainer, module)).throughput_ips,
                question.target_ips * (1 + self.margin),
            )
        module.enter(Phase.RECOVER)
        self._renew_batch_norm(trainer, module)

    def profile(self, trainer: pl.Trainer, module: SparseClassifier) -> SparsityProfile:
        """Exact sparsity on the first validation images."""
        images = _data(trainer).images("val", module.device, images=self.calibration_images)
        return calibrate(module.model, images)

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
