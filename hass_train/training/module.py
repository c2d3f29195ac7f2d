"""The LightningModule: a timm model with sparse layers, trained through the three phases."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from hass_train.data.order import mixed
from hass_train.hardware import Estimate
from hass_train.hardware.arithmetic import ceil_div
from hass_train.runtime import ranks
from hass_train.runtime.errors import UserError
from hass_train.search.engine import Choice, Learned, SearchEngine
from hass_train.search.goal import HardwareQuestion
from hass_train.search.penalty import PenaltyController, PricedPenalty
from hass_train.search.phases import Phase, PhasePlan
from hass_train.sparsity import Mode, SearchStep, apply_masks, sparse_layers, watching

WATCH = 8
"""Outside the search one step in so many follows the statistics of the layers' inputs."""
SPARED = 4
"""Where a search has steps to spare, thresholds learn in one of at most so many."""
TEMPERATURE = 2.0
"""Of the answers that are compared in distillation."""
_MODES = {Phase.WARMUP: Mode.DENSE, Phase.SEARCH: Mode.SEARCH, Phase.RECOVER: Mode.FROZEN}


class SparseClassifier(pl.LightningModule):
    """An image classifier that learns where to be sparse.

    Args:
        model: with sparse layers for a search, or without for plain training.
        classes: number of labels.
        plan: phases and learning rates.
        weight_decay, label_smoothing: of the weights' training.
        threshold_travel: how far a raw threshold may move in the search phase; sets the thresholds' learning rate.
        settings: the resolved configuration as plain data, for the checkpoint.
        learning_steps: of the search, that thresholds learn in at least.
        distill: weight of the dense network's answers against the labels in the recover phase, in [0, 1].
        compiled: train through `torch.compile`.

    Attributes:
        phase: present phase; callbacks change it.
        question: network and hardware model that the penalty is asked of; None in plain training.
        engine, choice: who decides on the thresholds to freeze, and what was decided.
        penalty, controller: the hardware penalty and its λ; callbacks fill them.
        answer: the hardware model's last one, in the process that asked.
        dense_val_acc: validation accuracy when the search begins.
        wall_s: seconds spent in each phase, and in the hardware model during the search.
        searched_images: that search steps have learned from, in all processes.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        plan: PhasePlan,
        weight_decay: float,
        label_smoothing: float,
        threshold_travel: float,
        settings: dict[str, Any],
        learning_steps: int = 150,
        distill: float = 0.0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"settings": settings}, logger=False)  # `callbacks.Board` logs them
        self.model, self.plan = model, plan
        self.weight_decay, self.label_smoothing, self.threshold_travel = weight_decay, label_smoothing, threshold_travel
        self.phase = Phase.WARMUP
        self.question: HardwareQuestion | None = None
        self.engine: SearchEngine = Learned()
        self.choice: Choice | None = None
        self.penalty = PricedPenalty()
        self.answer: Estimate | None = None
        self.controller: PenaltyController | None = None
        self.dense_val_acc: float | None = None
        self.wall_s = {**{str(each): 0.0 for each in Phase}, "hardware": 0.0}
        self.searched_images = 0
        self.learning_steps, self.distill, self.compiled = learning_steps, distill, compiled
        self._teacher: list[nn.Module] = []  # in a list, so that it is no part of this module
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._search_step = SearchStep(model)
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.contiguous(memory_format=torch.channels_last))
        return logits

    def enter(self, phase: Phase) -> None:
        """Begin a phase: every sparse layer changes its mode."""
        self.phase = phase
        for _, layer in sparse_layers(self.model):
            layer.set_mode(_MODES[phase])

    def begin_search_epoch(self, epoch: int) -> None:
        """Let the engine set thresholds, where it is not for gradients to do."""
        self.engine.begin_epoch(self.model, epoch)
        self._search_step.known = []  # as they were before

    def _observed(self, batch_index: int, learns: bool) -> AbstractContextManager[None]:
        """What sparse layers measure of a training step."""
        if self.phase is Phase.SEARCH:
            return self._search_step(learns)
        return watching(self.model) if self.compiled or batch_index % WATCH == 0 else nullcontext()

    def _train_forward(self, images: Tensor) -> Tensor:
        """The forward pass of training; evaluation, which reads values, is never compiled."""
        if not self.compiled:
            return self(images)  # type: ignore[no-any-return]
        if self._compiled is None:  # not before: a compiled model can be neither copied nor sent to other processes
            self._compiled = torch.compile(self.model)
        logits: Tensor = self._compiled(images.contiguous(memory_format=torch.channels_last))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        learns = self.engine.learns and batch_index % self.thresholds_every == 0
        if self.phase is Phase.SEARCH:
            self.searched_images += len(labels) * ranks.processes()
        with self._observed(batch_index, learns):
            logits = self._train_forward(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if self._teacher and self.phase is Phase.RECOVER:
            loss = (1 - self.distill) * loss + self.distill * self._imitation(images, logits)
        self.log("loss/task", loss, on_step=False, on_epoch=True)
        if self.phase is Phase.SEARCH and learns and self.controller is not None:
            cost = self.penalty(sparse_layers(self.model))
            right = (logits.detach().argmax(1) == labels).float().mean()
            accuracy, present = (float(one) for one in ranks.averaged([right, cost.detach()]))
            self.controller.follow(accuracy, len(labels) * ranks.processes())
            _, done = self.plan.progress(self.global_step, self.steps_per_epoch)
            weight = self.controller.update(self.penalty.speedup_at(present), done, self.threshold_steps)
            self.log_dict({"loss/penalty": cost.detach(), "loss/lambda": weight}, on_step=False, on_epoch=True)
            loss = loss + weight * cost
        (finite,) = ranks.averaged([torch.isfinite(loss.detach()).float()])
        if finite < 1:  # of any process: all end together
            slower = self.plan.rates[list(Phase).index(self.phase)] / 3
            when = f"in epoch {self.current_epoch + 1} ({self.phase} phase)"
            raise UserError(
                f"the loss became {float(loss.detach())} {when}; the last good checkpoint "
                f"is kept in {self.trainer.default_root_dir}; try search.{self.phase}.lr={slower:.1g}"
            )
        return loss

    @property
    def taught(self) -> bool:
        """Whether the recover phase has all the teacher it needs."""
        return bool(self._teacher) or self.distill == 0

    def learn_from(self, dense: Mapping[str, Tensor]) -> None:
        """Take a dense network as the teacher of the recover phase.

        Args:
            dense: its state, with timm's keys.
        """
        teacher = copy.deepcopy(self.model)
        teacher.load_state_dict(dense, strict=False)
        for _, layer in sparse_layers(teacher):
            layer.set_mode(Mode.DENSE)
        self._teacher = [teacher.eval().requires_grad_(False)]

    def _imitation(self, images: Tensor, logits: Tensor) -> Tensor:
        """Distance to the teacher's answers, softened (Hinton et al., 2015, section 2)."""
        with torch.no_grad():
            answers = self._teacher[0](images.contiguous(memory_format=torch.channels_last))
        found, wanted = F.log_softmax(logits / TEMPERATURE, 1), F.log_softmax(answers / TEMPERATURE, 1)
        return TEMPERATURE**2 * F.kl_div(found, wanted, log_target=True, reduction="batchmean")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        images, labels = batch
        logits = self(images)
        self.accuracy(logits, labels)
        self.log("val/acc", self.accuracy, on_epoch=True)
        self.log("val/loss", F.cross_entropy(logits, labels), on_epoch=True, sync_dist=True)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.phase is Phase.RECOVER:
            apply_masks(self.model)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return max(int(self.trainer.estimated_stepping_batches) // max(self.trainer.max_epochs or 1, 1), 1)

    @property
    def thresholds_every(self) -> int:
        """Steps of the search to one in which thresholds learn: a step that only gates is nearly as quick as a dense
        one, and a long search has steps to spare. Compilers fuse the difference away."""
        return (
            1
            if self.compiled
            else min(max(self.plan.epochs[1] * self.steps_per_epoch // self.learning_steps, 1), SPARED)
        )

    @property
    def threshold_steps(self) -> int:
        """Steps of the whole search phase in which thresholds learn."""
        return max(self.plan.epochs[1] * ceil_div(self.steps_per_epoch, self.thresholds_every), 1)

    @property
    def batches_per_epoch(self) -> int:
        """Training batches in one epoch, within the trainer's limits."""
        return int(self.trainer.num_training_batches)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; thresholds in a group of their own, without decay. Rates follow the phases, step by step.

        Adam moves a raw threshold by about its rate every step whatever the gradient, so the rate is the allowed travel
        over the number of search steps.
        """
        thresholds = [p for name, p in self.model.named_parameters() if name.endswith("_threshold")]
        weights = [p for name, p in self.model.named_parameters() if not name.endswith("_threshold")]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in weights if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in weights if p.dim() <= 1], "weight_decay": 0.0},
        ]
        per_epoch = self.steps_per_epoch
        rates = [lambda step: self.plan.learning_rate(step, per_epoch)] * 2
        if thresholds:
            speed = self.threshold_travel / self.threshold_steps
            groups.append({"params": thresholds, "weight_decay": 0.0})
            rates.append(lambda step: speed)
        # one call for all parameters: the thresholds are many, and each is but one number
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=1.0, fused=True)
        rates = [rate for rate, group in zip(rates, groups, strict=True) if group["params"]]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: object, batch_index: int) -> None:
        """Chance, such as dropout's, is a function of seed, step and process: nothing that a resumed run could lack."""
        self.seed_chance(self.global_step)

    def seed_chance(self, *where: int) -> None:
        """Seed torch for what comes next, by the run's seed, this process and where the run is."""
        torch.manual_seed(mixed(int(self.hparams["settings"]["seed"]), ranks.rank(), *where))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["hass_train"] = {
            "phase": str(self.phase),
            "wall_s": dict(self.wall_s),
            "dense_val_acc": self.dense_val_acc,
            "penalty": self.penalty.state_dict(),
            "controller": self.controller.state_dict() if self.controller else None,
            "choice": self.choice.to_dict() if self.choice else None,
            "searched_images": self.searched_images,
            "epochs": list(self.plan.epochs),
            "known": self._search_step.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["hass_train"]
        self.phase = Phase(state["phase"])
        self.wall_s.update(state["wall_s"])
        self.dense_val_acc = state["dense_val_acc"]
        self.searched_images = int(state["searched_images"])
        self.penalty = PricedPenalty(**state["penalty"])
        self.choice = Choice.from_dict(state["choice"]) if state["choice"] else None
        if self.controller and state["controller"]:
            self.controller.load_state_dict(state["controller"])
        self._search_step.load_state_dict(state["known"])

    def on_fit_start(self) -> None:
        for _, layer in sparse_layers(self.model):
            layer.synchronize()
