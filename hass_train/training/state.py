"""The state of a search during training: its phase, the last answer of the hardware model, and the final choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hass_train.hardware import Estimate, SparsityProfile
from hass_train.search.engines import Choice, Learned, SearchEngine
from hass_train.search.penalty import PenaltyController, PricedPenalty
from hass_train.search.phases import Phase, PhasePlan
from hass_train.search.question import HardwareQuestion


@dataclass
class SearchState:
    """The state of a search that callbacks and training steps share. Plain training has one too, without a question.

    Args:
        plan: the phases, with their epochs and learning rates.
        question: the network on its accelerator, and the goal; None in plain training.
        engine: the search engine, which decides on the thresholds.
        phase: the present phase.
        penalty: the hardware penalty with the last prices.
        controller: sets the weight of the penalty; None until the search is set up.
        closely: the sparsity that was measured closely last, and how many questions it has served since; None before.
        answer: the last estimate of the accelerator, in the process that made it; None in others, and before the first.
        choice: what the search engine has reported; None before it has chosen.
        dense_val_acc: validation accuracy of the dense network, a fraction; None before the search begins.
        val_acc: validation accuracy that was measured last in the present epoch, a fraction; None before it was. Unlike
            Lightning's `callback_metrics` it is never one of an earlier epoch.
        wall_s: seconds spent in each phase, and in estimating the hardware (`hardware`).
        searched_images: number of images in the steps of the search phase, over all processes.
    """

    plan: PhasePlan
    question: HardwareQuestion | None = None
    engine: SearchEngine = field(default_factory=Learned)
    phase: Phase = Phase.WARMUP
    penalty: PricedPenalty = field(default_factory=PricedPenalty)
    controller: PenaltyController | None = None
    closely: tuple[SparsityProfile, int] | None = None
    answer: Estimate | None = None
    choice: Choice | None = None
    dense_val_acc: float | None = None
    val_acc: float | None = None
    wall_s: dict[str, float] = field(default_factory=lambda: {**{str(each): 0.0 for each in Phase}, "hardware": 0.0})
    searched_images: int = 0

    @property
    def asked(self) -> HardwareQuestion:
        """The question, for callers that exist only in a search.

        Raises:
            RuntimeError: this is plain training, which has no question.
        """
        if self.question is None:
            raise RuntimeError("plain training asks no hardware; use search.py's callbacks in searches alone")
        return self.question

    @property
    def steering(self) -> PenaltyController:
        """The controller, for callers that exist only once there is one.

        Raises:
            RuntimeError: there is no controller yet.
        """
        if self.controller is None:
            raise RuntimeError("the hardware penalty has no controller; callbacks.HardwarePenalty sets it up")
        return self.controller

    def widen(self, layers: Mapping[str, int]) -> None:
        """Ask from now on about the network with other widths of weights.

        Args:
            layers: bits of weights, by the path of a layer's module; none = nothing changes.
        """
        if self.question is not None:
            self.question = self.question.with_weight_bits(layers)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        return {
            "phase": str(self.phase),
            "wall_s": dict(self.wall_s),
            "dense_val_acc": self.dense_val_acc,
            "val_acc": self.val_acc,
            "penalty": self.penalty.state_dict(),
            "controller": self.controller.state_dict() if self.controller else None,
            "choice": self.choice.to_dict() if self.choice else None,
            "searched_images": self.searched_images,
            "epochs": list(self.plan.epochs),
            "closely": [self.closely[0].to_dict(), self.closely[1]] if self.closely else None,
            "anchors": self.question.steering.anchors() if self.question else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.phase = Phase(state["phase"])
        self.wall_s.update(state["wall_s"])
        self.dense_val_acc = state["dense_val_acc"]
        self.val_acc = state.get("val_acc")  # earlier versions had none
        self.searched_images = int(state["searched_images"])
        self.penalty = PricedPenalty(**state["penalty"])
        self.choice = Choice.from_dict(state["choice"]) if state["choice"] else None
        if self.controller and state["controller"]:
            self.controller.load_state_dict(state["controller"])
        if state.get("closely"):  # earlier versions had none
            known, served = state["closely"]
            self.closely = SparsityProfile.from_dict(known), int(served)
        if self.question and state.get("anchors"):  # earlier versions had none
            self.question.steering.anchor(self.question.workload, state["anchors"])
