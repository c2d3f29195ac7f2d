"""Moves a run from warm-up to search to recover; between the last two, the search engine chooses the thresholds."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from hass_train.data import ImageData
from hass_train.data.evaluate import accuracy
from hass_train.export.initial import read_tensors
from hass_train.export.weights import DENSE_WEIGHTS, save_dense
from hass_train.runtime import ranks
from hass_train.search.engine import Choice
from hass_train.search.phases import Phase
from hass_train.search.settle import BEYOND
from hass_train.search.subject import Subject
from hass_train.search.widths import chosen_widths
from hass_train.sparsity import sparse_layers, watching
from hass_train.training.module import SparseClassifier, classifier, search_state
from hass_train.training.quantisation import BATCHES, calibrate_precision, renew_batch_norm, set_layer_bits
from hass_train.training.state import SearchState
from hass_train.training.steps import completed

_NORM_BATCHES = 50  # number of batches for batch-norm statistics
_ROUNDS = 2  # most times that thresholds are settled again for renewed statistics


class Phases(pl.Callback):
    """Makes the transitions between the phases.

    Args:
        output: the run's directory, in which the dense network is saved at the end of warm-up.
        margin: how far beyond a throughput target the thresholds settle, as a fraction.
        calibration_images: number of validation images on which exact histograms are measured.
    """

    def __init__(self, output: str, margin: float = 0.01, calibration_images: int = 256) -> None:
        self.output, self.margin, self.calibration_images = Path(output), margin, calibration_images
        self._since = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module, state = classifier(pl_module), search_state(pl_module)
        self.reach(trainer, module, state.plan.phase_at(trainer.current_epoch))
        if state.phase is Phase.SEARCH and not state.engine.trains:
            module.begin_search_epoch(trainer.current_epoch - state.plan.epochs[0])
        self._teach(module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        self._teach(classifier(pl_module))  # when a run resumes within an epoch, `on_train_epoch_start` is not called

    def _teach(self, module: SparseClassifier) -> None:
        if module.state.phase is Phase.RECOVER and not module.taught:
            module.learn_from(read_tensors(self.output / DENSE_WEIGHTS, "ckpt_path"))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = search_state(pl_module)
        self._charge(state)
        before = list(Phase).index(state.phase)
        values = {"phase/index": before, "phase/epoch": trainer.current_epoch + 1 - sum(state.plan.epochs[:before])}
        pl_module.log_dict({key: float(value) for key, value in values.items()}, rank_zero_only=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if completed(trainer):  # a run that is cut short keeps its phase
            self.reach(trainer, classifier(pl_module), Phase.RECOVER)  # freezes it even without recover epochs

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # without any epoch to train, neither `on_train_start` nor `on_train_end` is called
        self.on_train_end(trainer, pl_module)

    def _charge(self, state: SearchState) -> None:
        now = time.monotonic()
        state.wall_s[state.phase] += now - self._since
        self._since = now

    def reach(self, trainer: pl.Trainer, module: SparseClassifier, phase: Phase) -> None:
        """Make all transitions from the present phase up to a given one."""
        order, state = list(Phase), module.state
        while order.index(state.phase) < order.index(phase):
            module.seed_chance(trainer.global_step, order.index(state.phase))
            if state.phase is Phase.WARMUP:
                self._begin_search(trainer, module)
            else:
                self._begin_recover(trainer, module)
            self._charge(state)

    def _begin_search(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        if trainer.is_global_zero:
            save_dense(module.model, self.output / DENSE_WEIGHTS)
        training = module.training
        with watching(module.eval()), torch.no_grad():  # without a warm-up, layers have no input statistics yet
            for images in _data(trainer).images("train", module, batches=2):
                module(images)
        module.train(training)
        module.state.dense_val_acc, _ = accuracy(module.model, _data(trainer), "val")
        # as from `init_from`: moments of gradients that have become small would make the first steps too long
        for optimizer in trainer.optimizers:
            optimizer.state.clear()
        module.enter(Phase.SEARCH)
        if not module.state.engine.trains:  # else thresholds are learned with floating-point numbers
            self._calibrate(trainer, module)

    def _begin_recover(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        state = module.state
        if state.plan.epochs[1]:  # without any, numbers are still as the search began with them, in all its workers
            self._renew(trainer, module)
            self._calibrate(trainer, module)
        subject = Subject(module.model, state.asked, _data(trainer), self.calibration_images, self.margin, self.output)
        # the first process chooses for all
        state.choice, bits = ranks.from_first(lambda: self._choose(state, subject, module))
        set_layer_bits(module.model, bits)
        state.widen(bits)
        self._share(trainer, module)
        self._hold(trainer, module, replace(subject, question=state.asked))
        self._charge(state)
        module.enter(Phase.RECOVER)
        ranks.check_same([layer.mask for _, layer in sparse_layers(module.model)], "masks")

    def _share(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        """Give all processes the first one's thresholds, and the batch-norm statistics that belong to them."""
        layers = [layer for _, layer in sparse_layers(module.model)]
        ranks.shared([one for layer in layers for one in (*layer.thresholds, layer.activation_scale)])
        self._renew(trainer, module)

    def _hold(self, trainer: pl.Trainer, module: SparseClassifier, subject: Subject) -> None:
        """Settle thresholds again where renewed batch-norm statistics have taken back much of the rate."""
        choice = module.state.choice
        rate = choice.settled_rate if choice is not None else None
        rate = subject.question.target_rate if rate is None else rate
        for _ in range(_ROUNDS):
            if rate is None or ranks.from_first(subject.rate) >= rate * (1 - BEYOND):
                return
            ranks.from_first(partial(subject.meet, rate, 1))
            self._share(trainer, module)

    def _choose(self, state: SearchState, subject: Subject, module: SparseClassifier) -> tuple[Choice, dict[str, int]]:
        """Let the search engine choose thresholds; then choose the bits of weights that the precision leaves free, by
        layer, and scale thresholds back to the goal, which fewer bits exceed."""
        choice = state.engine.choose(subject)
        images = next(iter(subject.data.images("train", module, batches=1)))
        bits = chosen_widths(subject, images)
        if bits:
            set_layer_bits(module.model, bits)
            faster = replace(subject, question=subject.question.with_weight_bits(bits))
            if faster.question.target_rate is not None:
                choice = replace(choice, settled_rate=faster.survive())
        return choice, bits

    def _renew(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        """Measure batch-norm statistics at the present thresholds, behind which the running means lag."""
        renew_batch_norm(module.model, _data(trainer).images("train", module, batches=_NORM_BATCHES))

    def _calibrate(self, trainer: pl.Trainer, module: SparseClassifier) -> None:
        """Choose the exponents of integers by training images."""
        calibrate_precision(module.model, _data(trainer).images("train", module, batches=BATCHES))


def _data(trainer: pl.Trainer) -> ImageData:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ImageData)
    return data
