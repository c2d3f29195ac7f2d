"""Asks the hardware model what the present sparsity is worth, and hands its prices to the loss."""

from __future__ import annotations

import math
import time

import pytorch_lightning as pl

from hass_train.data import ImageData
from hass_train.hardware import CannotFit, Estimate, SparsityProfile
from hass_train.hardware.arithmetic import ceil_div
from hass_train.runtime import ranks
from hass_train.search import penalty
from hass_train.search.phases import Phase
from hass_train.sparsity import calibrate, running_profile
from hass_train.training.module import SparseClassifier


class HardwarePenalty(pl.Callback):
    """Queries the model before the first search step, after every search epoch, and within epochs where they are few.

    Args:
        margin: how far beyond a throughput target the controller aims.
        max_penalty: cap of λ.
        prices: `hardware`, or as a control `macs` (a layer's multiply-accumulates) or `ones` (all layers alike).
        queries: least number in a search; a network that changes fast outruns the prices it is steered by.
        images: validation images on which sparsity is measured for a query.
    """

    def __init__(
        self,
        margin: float = 0.01,
        max_penalty: float = 30.0,
        prices: str = "hardware",
        queries: int = 1,
        images: int = 64,
    ) -> None:
        self.margin, self.max_penalty, self.prices = margin, max_penalty, prices
        self.queries, self.images = queries, images

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # before a checkpoint is restored, which fills in the controller's state
        assert isinstance(pl_module, SparseClassifier)
        assert pl_module.question is not None
        if pl_module.controller is None:
            pl_module.controller = penalty.PenaltyController.towards(pl_module.question, self.margin, self.max_penalty)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        if pl_module.phase is Phase.SEARCH and not pl_module.penalty.pair_prices:
            self._ask(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, SparseClassifier)
        if pl_module.phase is not Phase.SEARCH:
            return
        parts = ceil_div(self.queries, pl_module.plan.epochs[1])  # of an epoch; its end is the last one's
        batches = pl_module.batches_per_epoch
        if any(batch_idx + 1 == part * batches // parts for part in range(1, parts)):
            self._ask(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        if pl_module.phase is Phase.SEARCH:
            found = self._ask(pl_module)
            assert pl_module.controller is not None
            assert pl_module.dense_val_acc is not None
            if "val/acc" in trainer.callback_metrics:  # not where validation is rarer than every epoch
                drop = pl_module.dense_val_acc - float(trainer.callback_metrics["val/acc"])
                pl_module.controller.observe(drop, pl_module.penalty.log_speedup, pl_module.plan.epochs[1])
            pl_module.log_dict(found, rank_zero_only=True)

    def _measured(self, module: SparseClassifier) -> SparsityProfile:
        """Exact sparsity on a few validation images: histograms, and how alike engines are, decide what zeros gain."""
        data = module.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ImageData)
        share = ranks.rank(), ranks.processes()
        images = data.images("val", module.device, images=max(self.images, share[1]), share=share)
        assert module.question is not None
        return calibrate(module.model, images, together=True, closely=module.question.closely)

    def _ask(self, module: SparseClassifier) -> dict[str, float]:
        """Query, set the prices, and return what to log."""
        question = module.question
        assert question is not None
        started = time.monotonic()
        profile = self._measured(module)  # of all processes
        # the point where the prices hold is what the training step sees; what it is worth is measured
        running = running_profile(module.model)
        layers = question.workload.compute_layers
        weights = None
        if self.prices != "hardware":
            weights = {layer.name: float(layer.macs) if self.prices == "macs" else 1.0 for layer in layers}

        def ask() -> tuple[penalty.PricedPenalty, dict[str, float]]:
            try:
                estimate = question.quick.estimate(question.workload, profile)
            except CannotFit as error:  # the dense network fitted, so a sparser one does
                raise RuntimeError(f"a sparser network no longer fits: {error}") from error
            module.answer = estimate
            found = penalty.PricedPenalty.at(estimate, running, question.dense_ips, weights)
            return found, _scalars(estimate, found)

        module.penalty, scalars = ranks.from_first(ask)
        module.wall_s["hardware"] += time.monotonic() - started
        assert module.controller is not None
        return {**scalars, "hw/goal_ceiling": min(module.controller.ceiling, module.controller.log_target)}


def _scalars(estimate: Estimate, found: penalty.PricedPenalty) -> dict[str, float]:
    """What to log of an answer."""
    return {
        "hw/throughput_ips": estimate.throughput_ips,
        "hw/speedup": math.exp(found.log_speedup),
        "hw/interval_cycles": float(estimate.interval_cycles),
        "hw/replicas": float(estimate.replicas),
        **{f"hw/utilization_{name}": share for name, share in estimate.utilization.items()},
        **{f"price/{name}": price for name, price in found.prices.items()},
    }
