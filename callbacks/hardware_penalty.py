"""Estimates the hardware at the present sparsity, and passes the prices of densities to the loss."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl

from hass_train.hardware import CannotFit, Estimate, SparsityProfile
from hass_train.hardware.arithmetic import ceil_div
from hass_train.runtime import ranks
from hass_train.search.penalty import PricedPenalty
from hass_train.search.phases import Phase
from hass_train.sparsity import calibrate, running_profile
from hass_train.training.module import SparseClassifier, classifier, search_state
from hass_train.training.steps import Steps

CLOSELY = 4
"""Of so many questions, one is asked with histograms and the independence of compute engines measured anew."""


class HardwarePenalty(pl.Callback):
    """Queries the hardware model before the first search step and after every search epoch; if there are fewer epochs
    than `queries`, also within epochs.

    Args:
        margin: how far beyond a throughput target the controller aims, as a fraction.
        max_penalty: the largest weight λ of the penalty.
        prices: `hardware`, or for control experiments `macs` (a layer's multiply-accumulates) or `ones` (the same for
            all layers).
        queries: least number of queries in a search; with too few, prices become outdated while the network changes.
        images: number of validation images on which sparsity is measured for a query.
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
        state = search_state(pl_module)
        if state.controller is None:
            question = state.asked
            state.controller = question.goal.controller(
                question.dense_rate, question.roof_rate, self.margin, self.max_penalty
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = search_state(pl_module)
        if state.phase is Phase.SEARCH and not state.penalty.pair_prices:
            self._ask(trainer, classifier(pl_module))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        state = search_state(pl_module)
        if state.phase is not Phase.SEARCH:
            return
        parts = ceil_div(self.queries, state.plan.epochs[1])  # queries per epoch, the last one at its end
        steps = Steps.of(trainer)
        over = steps.at(batch_idx) + 1  # steps, once this micro-batch ends one
        if steps.ends(batch_idx) and any(over == part * steps.count // parts for part in range(1, parts)):
            self._ask(trainer, classifier(pl_module))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = search_state(pl_module)
        if state.phase is Phase.SEARCH:
            found = self._ask(trainer, classifier(pl_module))
            if state.dense_val_acc is not None and state.val_acc is not None:  # not in an epoch without validation
                drop = state.dense_val_acc - state.val_acc
                state.steering.observe(drop, state.penalty.log_speedup, state.plan.epochs[1])
            pl_module.log_dict(found, rank_zero_only=True)

    def _measured(self, data: Any, module: SparseClassifier) -> SparsityProfile:
        """Measure the sparsity on a few validation images. Densities alone would not do: how much zeros gain also
        depends on histograms, and on the independence of compute engines. These take most of the time: one question in
        `CLOSELY` measures them, and the others take them over. What is settled and reported is measured whole."""
        state, share = module.state, (ranks.rank(), ranks.processes())
        images = data.images("val", module, images=max(self.images, share[1]), share=share)
        if not state.asked.accelerator.uses_activations:
            return calibrate(module.model, images, together=True, closely=False)
        known, served = state.closely or (None, 0)
        like = known if served < CLOSELY else None
        profile = calibrate(module.model, images, together=True, like=like)
        state.closely = (profile, 1) if like is None else (like, served + 1)
        return profile

    def _ask(self, trainer: pl.Trainer, module: SparseClassifier) -> dict[str, float]:
        """Query the hardware model, update the penalty, and return the scalars to log."""
        state, question = module.state, module.state.asked
        started = time.monotonic()
        profile = self._measured(trainer.datamodule, module)  # type: ignore[attr-defined]  # by all processes together
        # prices are applied to running densities, as training steps compute them; the estimate is for exact sparsity
        running = running_profile(module.model)
        layers = question.workload.compute_layers
        weights = None
        if self.prices != "hardware":
            weights = {layer.name: float(layer.macs) if self.prices == "macs" else 1.0 for layer in layers}

        def ask() -> tuple[PricedPenalty, dict[str, float]]:
            try:
                estimate = question.steering.estimate(question.workload, profile)
            except CannotFit as error:  # must not happen, since the dense network has fitted
                raise RuntimeError(f"a sparser network no longer fits: {error}") from error
            state.answer = estimate
            found = PricedPenalty.at(estimate, running, math.log(question.gain(estimate)), weights)
            return found, _scalars(estimate, found, question.dense_estimate.throughput_ips)

        state.penalty, scalars = ranks.from_first(ask)
        state.wall_s["hardware"] += time.monotonic() - started
        return {**scalars, "hw/goal_ceiling": min(state.steering.ceiling, state.steering.log_target)}


def _scalars(estimate: Estimate, found: PricedPenalty, dense_ips: float) -> dict[str, float]:
    """The scalars to log of an estimate and its prices."""
    return {
        "hw/throughput_ips": estimate.throughput_ips,
        "hw/speedup": estimate.throughput_ips / dense_ips,
        "hw/interval_cycles": float(estimate.interval_cycles),
        "hw/replicas": float(estimate.replicas),
        **{f"hw/utilization_{name}": share for name, share in estimate.utilization.items()},
        **{f"price/{name}": price for name, price in found.prices.items()},
    }
