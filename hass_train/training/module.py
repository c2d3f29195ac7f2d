"""The LightningModule: a timm model with sparse layers, trained through the three phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from hass_train.config.schema import SearchConfig
from hass_train.data.order import mixed
from hass_train.hardware.arithmetic import ceil_div
from hass_train.runtime import ranks
from hass_train.runtime.errors import UserError
from hass_train.search.phases import Phase
from hass_train.sparsity import Mode, SearchStep, apply_masks, sparse_layers, watching
from hass_train.training.quantisation import (
    BATCHES,
    calibrate_precision,
    choose_exponents,
    fixed,
    follow_weights,
    layer_bits,
    observing,
    synchronize,
)
from hass_train.training.state import SearchState
from hass_train.training.steps import Steps, batches_done
from hass_train.training.teacher import Teacher

WATCH = 8
"""Outside the search phase, one training step in `WATCH` updates the input statistics of the layers."""
SPARED = 4
"""In a long search phase thresholds are trained in some steps only, but at least in one of `SPARED`."""
_MODES = {Phase.WARMUP: Mode.DENSE, Phase.SEARCH: Mode.SEARCH, Phase.RECOVER: Mode.FROZEN}


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Args:
        weight_decay, label_smoothing: regularisation of the weights, in all phases.
        threshold_travel: how far a raw threshold can move in the search phase, which determines its learning rate.
        learning_steps: least number of search steps that train thresholds.
        distill: weight of the dense network's answers against the labels in the recover phase, in [0, 1].
        compiled: whether to train through `torch.compile`.
    """

    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    threshold_travel: float = 12.0
    learning_steps: int = 120
    distill: float = 0.0
    compiled: bool = False

    @classmethod
    def of(cls, search: SearchConfig, compiled: bool) -> TrainingOptions:
        """Return the options of a configuration."""
        return cls(
            search.weight_decay, search.label_smoothing, search.threshold_travel, search.learning_steps,
            search.distill, compiled,
        )  # fmt: skip


class SparseClassifier(pl.LightningModule):
    """An image classifier whose sparse layers go through the three phases of a search, or a dense one.

    Args:
        model: the network, with sparse layers for a search, or without for plain training.
        classes: number of labels.
        state: the state of the search, which is shared with the callbacks.
        options: how the network is trained.
        settings: the resolved configuration as plain data, for checkpoints.
    """

    def __init__(
        self, model: nn.Module, classes: int, state: SearchState, options: TrainingOptions, settings: dict[str, Any]
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"settings": settings}, logger=False)  # `callbacks.Board` logs them
        self.model, self.state, self.options = model, state, options
        self._teacher: list[Teacher] = []
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._search_step = SearchStep(model)
        self._measured: list[tuple[float, float]] = []  # accuracy and penalty of the present step's micro-batches
        self._shift = 0  # from the scheduler's count of steps to the plan's, which differ if a resumed run has others
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (n, channels, height, width).

        Returns:
            (n, classes) logits.
        """
        logits: Tensor = self.model(images.contiguous(memory_format=torch.channels_last))
        return logits

    # ---- phases ------------------------------------------------------------------------------------------------

    def enter(self, phase: Phase) -> None:
        """Begin a phase: all sparse layers change to its mode."""
        self.state.phase = phase
        for _, layer in sparse_layers(self.model):
            layer.set_mode(_MODES[phase])
        synchronize(self.model)

    def begin_search_epoch(self, epoch: int) -> None:
        """Let the search engine set the thresholds of an epoch, if it does not train them.

        Args:
            epoch: number of the epoch within the search phase, from 0.
        """
        self.state.engine.begin_epoch(self.model, epoch)
        self._search_step.known = []  # the thresholds of the last epoch

    @property
    def taught(self) -> bool:
        """Whether the module has a teacher, or does not need one."""
        return bool(self._teacher) or self.options.distill == 0

    def learn_from(self, dense: Mapping[str, Tensor]) -> None:
        """Make a dense network the teacher of the recover phase.

        Args:
            dense: its state dict, with timm's keys.
        """
        self._teacher = [Teacher(self.model, dense)]

    # ---- a training step ---------------------------------------------------------------------------------------

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of a micro-batch: the cross-entropy, in the recover phase mixed with the distance to the
        teacher, plus λ · Σ price · density where thresholds are trained."""
        images, labels = batch
        state, steps = self.state, Steps.of(self.trainer)
        step = steps.at(batch_index)
        anew = step % self.thresholds_every == 0
        learns = state.engine.trains and anew
        if state.phase is Phase.SEARCH:
            state.searched_images += len(labels) * ranks.processes()
        if step % WATCH == 0 and not self.options.compiled:
            follow_weights(self.model)
        with self._observed(step, learns, anew):
            logits = self._train_forward(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.options.label_smoothing)
        if self._teacher and state.phase is Phase.RECOVER:
            loss = (1 - self.options.distill) * loss + self.options.distill * self._teacher[0].distance(images, logits)
        self.log("loss/task", loss, on_step=False, on_epoch=True)
        if state.phase is Phase.SEARCH and learns and state.controller is not None:
            loss = loss + self._penalty(logits, labels, step, steps.ends(batch_index))
        self._check_finite(loss)
        return loss * steps.scale(batch_index)

    def _observed(self, step: int, learns: bool, ranks: bool) -> AbstractContextManager[object]:
        """The context of a forward pass, in which sparse layers get their thresholds and measure their inputs."""
        contexts, watches = ExitStack(), self.options.compiled or step % WATCH == 0
        if watches and self.follows:
            contexts.enter_context(observing(self.model))
        if self.state.phase is Phase.SEARCH:
            contexts.enter_context(self._search_step(learns, ranks))
        elif watches:
            contexts.enter_context(watching(self.model))
        return contexts

    @property
    def follows(self) -> bool:
        """Whether exponents follow the values in the present epoch; see `hass_train.training.quantisation`."""
        plan = self.state.plan
        if self.state.question is None:
            return not fixed(self.current_epoch, plan.total)
        return self.state.phase is Phase.SEARCH and not fixed(self.current_epoch - plan.epochs[0], plan.epochs[1])

    def _train_forward(self, images: Tensor) -> Tensor:
        """The forward pass of training, compiled if asked for; evaluation, which reads tensors, is never compiled."""
        if not self.options.compiled:
            return self(images)  # type: ignore[no-any-return]
        if self._compiled is None:  # late, since a compiled model can be neither copied nor sent to other processes
            self._compiled = torch.compile(self.model)
        logits: Tensor = self._compiled(images.contiguous(memory_format=torch.channels_last))
        return logits

    def _penalty(self, logits: Tensor, labels: Tensor, step: int, ends: bool) -> Tensor:
        """The hardware penalty times its weight λ.

        The controller updates λ in the last micro-batch of a step, by the means over all of them; those before it use
        the λ of the step before, since their graphs are gone by then.
        """
        state = self.state
        cost = state.penalty(sparse_layers(self.model))
        right = (logits.detach().argmax(1) == labels).float().mean()
        accuracy, present = (float(one) for one in ranks.averaged([right, cost.detach()]))
        self._measured.append((accuracy, present))
        if ends:
            accuracy, present = (fmean(values) for values in zip(*self._measured, strict=True))
            state.steering.follow(accuracy, len(labels) * len(self._measured) * ranks.processes())
            _, done = state.plan.progress(self.current_epoch * self.steps_per_epoch + step, self.steps_per_epoch)
            state.steering.update(state.penalty.speedup_at(present), done, self.threshold_steps)
            self._measured = []
            self.log("loss/lambda", state.steering.value, on_step=False, on_epoch=True)
        self.log("loss/penalty", cost.detach(), on_step=False, on_epoch=True)
        return state.steering.value * cost

    def _check_finite(self, loss: Tensor) -> None:
        """Raise UserError in all processes if the loss of any of them is infinite or NaN."""
        (finite,) = ranks.averaged([torch.isfinite(loss.detach()).float()])
        if finite < 1:
            phase = self.state.phase
            slower = self.state.plan.rates[list(Phase).index(phase)] / 3
            raise UserError(
                f"the loss became {float(loss.detach())} in epoch {self.current_epoch + 1} ({phase} phase); the last "
                f"good checkpoint is kept in {self.trainer.default_root_dir}; try search.{phase}.lr={slower:.1g}"
            )

    # ---- what Lightning asks -----------------------------------------------------------------------------------

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Log the accuracy and the loss of a validation batch."""
        images, labels = batch
        logits = self(images)
        self.accuracy(logits, labels)
        self.log("val/acc", self.accuracy, on_epoch=True)
        self.log("val/loss", F.cross_entropy(logits, labels), on_epoch=True, sync_dist=True)

    def on_train_epoch_start(self) -> None:
        """Forget the accuracy of the epoch before."""
        self.state.val_acc = None

    def on_validation_epoch_end(self) -> None:
        """Remember the accuracy."""
        if not self.trainer.sanity_checking:
            self.state.val_acc = float(self.accuracy.compute())

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Do an optimizer step; masked weights stay exactly zero."""
        super().optimizer_step(*args, **kwargs)
        if self.state.phase is Phase.RECOVER:
            apply_masks(self.model)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps in one epoch."""
        return max(int(self.trainer.estimated_stepping_batches) // max(self.trainer.max_epochs or 1, 1), 1)

    @property
    def thresholds_every(self) -> int:
        """The number of search steps of which one trains thresholds. Steps that only apply them are nearly as fast as
        dense ones, and a long search needs no more; with a compiler there is no difference, so all steps do."""
        if self.options.compiled:
            return 1
        steps = self.state.plan.epochs[1] * self.steps_per_epoch
        return min(max(steps // self.options.learning_steps, 1), SPARED)

    @property
    def threshold_steps(self) -> int:
        """Number of steps of the whole search phase that train thresholds."""
        return max(self.state.plan.epochs[1] * ceil_div(self.steps_per_epoch, self.thresholds_every), 1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with learning rates that follow the phases; thresholds are a parameter group without decay.

        Adam moves a raw threshold by about its learning rate in every step, whatever the gradient. The rate is
        therefore the allowed travel divided by the number of steps that train thresholds.
        """
        thresholds = [p for name, p in self.model.named_parameters() if name.endswith("_threshold")]
        weights = [p for name, p in self.model.named_parameters() if not name.endswith("_threshold")]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in weights if p.dim() > 1], "weight_decay": self.options.weight_decay},
            {"params": [p for p in weights if p.dim() <= 1], "weight_decay": 0.0},
        ]
        per_epoch = self.steps_per_epoch
        rates = [lambda step: self.state.plan.learning_rate(step + self._shift, per_epoch)] * 2
        if thresholds:
            speed = self.options.threshold_travel / self.threshold_steps
            groups.append({"params": thresholds, "weight_decay": 0.0})
            rates.append(lambda step: speed * self.state.plan.threshold_pace(step + self._shift, per_epoch))
        # fused, one call for all parameters: thresholds are many parameters of one number each. A fused optimizer may
        # scale gradients by itself, and Lightning cannot clip them then
        scaled = isinstance(self.trainer.precision_plugin, MixedPrecision)
        fused = not (scaled and self.trainer.gradient_clip_val)
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=1.0, fused=fused)
        rates = [rate for rate, group in zip(rates, groups, strict=True) if group["params"]]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Find the place of the scheduler's next step in the plan: a run may resume with other devices, limits or
        micro-batches per step, and therefore other numbers of steps."""
        if self.state.question is None and self.global_step == 0:
            images = self.trainer.datamodule.images("train", self, batches=BATCHES)  # type: ignore[attr-defined]
            calibrate_precision(self.model, images)
        at = self.current_epoch * self.steps_per_epoch + Steps.of(self.trainer).at(batches_done(self.trainer))
        self._shift = at - self.global_step

    def on_train_batch_start(self, batch: object, batch_index: int) -> None:
        """Seed randomness, such as dropout, by the micro-batch, so that a resumed run continues as if never
        interrupted."""
        self.seed_chance(self.current_epoch * Steps.of(self.trainer).batches + batch_index)

    def seed_chance(self, *where: int) -> None:
        """Seed torch by the seed of the run, the rank of this process, and numbers that say where the run is."""
        torch.manual_seed(mixed(int(self.hparams["settings"]["seed"]), ranks.rank(), *where))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the search, and the thresholds that are applied between learning steps, to a checkpoint."""
        checkpoint["hass_train"] = {**self.state.state_dict(), "known": self._search_step.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `on_save_checkpoint` added; limits of time count anew, else a resumed run would end at once."""
        for key in [key for key in checkpoint.get("callbacks", {}) if key.startswith(Timer.__name__)]:
            del checkpoint["callbacks"][key]
        self.state.widen(layer_bits(self.model, checkpoint["state_dict"]))  # before anchors, which belong to widths
        self.state.load_state_dict(checkpoint["hass_train"])
        self._search_step.load_state_dict(checkpoint["hass_train"]["known"])

    def on_fit_start(self) -> None:
        """Update what sparse layers know of their buffers, which a checkpoint may have changed."""
        for _, layer in sparse_layers(self.model):
            layer.synchronize()
        synchronize(self.model)

    def on_train_epoch_end(self) -> None:
        """Choose exponents anew."""
        follow_weights(self.model)
        if self.follows:
            choose_exponents(self.model)


def classifier(module: pl.LightningModule) -> SparseClassifier:
    """Return the module that Lightning hands to a callback, as a `SparseClassifier`.

    Raises:
        TypeError: it is another module, for which our callbacks are not made.
    """
    if not isinstance(module, SparseClassifier):
        raise TypeError(f"this callback serves SparseClassifier, and the module is a {type(module).__name__}")
    return module


def search_state(module: pl.LightningModule) -> SearchState:
    """Return the state of the search of the module that Lightning hands to a callback.

    Raises:
        TypeError: see `classifier`.
    """
    return classifier(module).state
