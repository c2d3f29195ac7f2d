"""The base class of all search engines, and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from hass_train.search.subject import Subject

_RENAMED = {"settled_ips": "settled_rate"}  # keys of checkpoints of earlier versions


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search engine reports when it has chosen thresholds: what it spent, and what it found.

    Args:
        trials: number of trials.
        images: number of images that the engine itself used: those that trials were evaluated on, and any that it
            trained on.
        front: the trials that no other one beats in both validation accuracy and throughput, each with its `number`,
            `val_acc`, `throughput_ips` and `pair_sparsity`; empty for engines without trials.
        chosen: number of the trial whose thresholds were chosen; None if there are no trials.
        settled_rate: the rate, as the goal has it, that was reached instead of the goal's, if the goal's would have
            destroyed the network; otherwise None.
    """

    trials: int = 0
    images: int = 0
    front: tuple[Mapping[str, float], ...] = ()
    chosen: int | None = None
    settled_rate: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as plain data."""
        return {**asdict(self), "front": [dict(point) for point in self.front]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Choice:
        """Return the choice from what `to_dict` returned."""
        known = {_RENAMED.get(key, key): value for key, value in data.items()}
        return cls(**{**known, "front": tuple(data["front"])})


@dataclass(frozen=True)
class Context:
    """What a search engine needs to know of the experiment in order to work in several processes.

    Args:
        settings: the whole configuration, resolved, as plain data.
        rebuild: function that builds the experiment again in another process, from these settings, the goal, the dense
            network's rate and the number of the worker; it returns the worker's engine and subject. It must be
            importable by name.
    """

    settings: Mapping[str, Any]
    rebuild: Callable[..., tuple[SearchEngine, Subject]]


class SearchEngine(ABC):
    """Decides how sparse a network becomes, during the search epochs or at their end, before the network recovers.

    A configuration names a subclass by `search.engine._target_`, with its arguments beside it.
    `hass_train.testing.EngineContract` tests an engine of your own.

    Attributes:
        name: name of the engine in results and messages.
        trains: whether the search epochs train thresholds by gradient descent, under the hardware penalty.
        recipe: whether the engine prunes a given fraction of every layer (`search.sparsity`) and serves no other goal.
        single_process: whether it cannot run with the several processes of `trainer.strategy=ddp`.
        context: the experiment that the engine belongs to, which sets this; None without an experiment.
        worker: the number of this process among those that share a search; 0 is the first.
    """

    name: ClassVar[str] = "engine"
    trains: ClassVar[bool] = False
    recipe: ClassVar[bool] = False
    single_process: ClassVar[bool] = False
    context: Context | None = None
    worker: int = 0

    def epochs(self, planned: int) -> int:
        """Return the number of search epochs; 0 for engines that do not train while they search.

        Args:
            planned: the number that the configuration asks for (`search.search.epochs`).
        """
        return 0

    def dense_weights(self) -> Path | None:
        """Return the dense network's weights of an earlier search that this one continues, a file; None if there is
        none. With such weights the warm-up is skipped."""
        return None

    def prepare(self, model: nn.Module) -> None:
        """Check before training for whatever would make the search fail after it.

        Args:
            model: the network, with sparse layers.

        Raises:
            UserError: a problem that the user can solve.
        """
        return

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """Set thresholds at the beginning of a search epoch; called if the engine does not train them.

        Args:
            model: the network, with sparse layers in the search mode.
            epoch: number of the epoch within the search phase, from 0.
        """
        return

    @abstractmethod
    def choose(self, subject: Subject) -> Choice:
        """Set the final thresholds of the subject's layers, which are frozen afterwards.

        Raises:
            UserError: a problem that the user can solve, such as a study of another network.
        """
