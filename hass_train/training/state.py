"""The state of a search within training: where it is, what the hardware said, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hass_train.hardware import Estimate
from hass_train.search.engines import Choice, Learned, SearchEngine
from hass_train.search.penalty import PenaltyController, PricedPenalty
from hass_train.search.phases import Phase, PhasePlan
from hass_train.search.question import HardwareQuestion


@dataclass
class SearchState:
    """What callbacks and the training step share of a search; plain training has one too, without a question.

    Args:
        plan: the phases, their epochs and learning rates.
        question: what the hardware is asked; None in plain training.
        engine: decides on the thresholds to freeze.
        phase: the present phase.
        penalty: the hardware penalty at the last prices.
        controller: sets the weight of the penalty; None until the search is set up.
        answer: the accelerator's last answer, in the process that asked.
        choice: what the engine has decided; None before.
        dense_val_acc: validation accuracy of the dense network, a fraction; None before the search begins.
        wall_s: seconds spent in each phase, and in asking the hardware during the search.
        searched_images: number of images that search steps have learned from, in all processes.
    """

    plan: PhasePlan
    question: HardwareQuestion | None = None
    engine: SearchEngine = field(default_factory=Learned)
    phase: Phase = Phase.WARMUP
    penalty: PricedPenalty = field(default_factory=PricedPenalty)
    controller: PenaltyController | None = None
    answer: Estimate | None = None
    choice: Choice | None = None
    dense_val_acc: float | None = None
    wall_s: dict[str, float] = field(default_factory=lambda: {**{str(each): 0.0 for each in Phase}, "hardware": 0.0})
    searched_images: int = 0

    @property
    def asked(self) -> HardwareQuestion:
        """What the hardware is asked, for those who only exist in a search.

        Raises:
            RuntimeError: this is plain training.
        """
        if self.question is None:
            raise RuntimeError("plain training asks no hardware; use search.py's callbacks in searches alone")
        return self.question

    @property
    def steering(self) -> PenaltyController:
        """The controller, for those who only exist once there is one.

        Raises:
            RuntimeError: there is none yet.
        """
        if self.controller is None:
            raise RuntimeError("the hardware penalty has no controller; callbacks.HardwarePenalty sets it up")
        return self.controller

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as plain data."""
        return {
            "phase": str(self.phase),
            "wall_s": dict(self.wall_s),
            "dense_val_acc": self.dense_val_acc,
            "penalty": self.penalty.state_dict(),
            "controller": self.controller.state_dict() if self.controller else None,
            "choice": self.choice.to_dict() if self.choice else None,
            "searched_images": self.searched_images,
            "epochs": list(self.plan.epochs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.phase = Phase(state["phase"])
        self.wall_s.update(state["wall_s"])
        self.dense_val_acc = state["dense_val_acc"]
        self.searched_images = int(state["searched_images"])
        self.penalty = PricedPenalty(**state["penalty"])
        self.choice = Choice.from_dict(state["choice"]) if state["choice"] else None
        if self.controller and state["controller"]:
            self.controller.load_state_dict(state["controller"])
