"""What every search engine is asked to do, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from hass_train.search.subject import Subject


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search spent, and what it found on the way.

    Args:
        trials: number of networks that were looked at.
        images: validation images that they were evaluated on, and training images that the engine itself used.
        front: the trials that no other one beats in both validation accuracy and throughput, each with its `number`,
            `val_acc`, `throughput_ips` and `pair_sparsity`; empty for engines that have but one network.
        chosen: number of the trial whose thresholds were taken; None where there are no trials.
        settled_ips: images/s that the thresholds settled on, where the goal would have destroyed the network.
    """

    trials: int = 0
    images: int = 0
    front: tuple[Mapping[str, float], ...] = ()
    chosen: int | None = None
    settled_ips: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as plain data."""
        return {**asdict(self), "front": [dict(point) for point in self.front]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Choice:
        """Return the choice that `to_dict` made the data of."""
        return cls(**{**data, "front": tuple(data["front"])})


@dataclass(frozen=True)
class Context:
    """The experiment around an engine, for engines that work in several processes.

    Args:
        settings: the whole configuration, resolved, as plain data.
        rebuild: builds the experiment anew in another process, from these settings, the goal, the dense network's
            images/s and the number of the worker; returns the worker's engine and subject. Importable by name.
    """

    settings: Mapping[str, Any]
    rebuild: Callable[..., tuple[SearchEngine, Subject]]


class SearchEngine(ABC):
    """Decides how sparse a network becomes: in its search epochs, if it has any, and before it recovers.

    A configuration names a subclass by `search.engine._target_`, with its arguments beside it.
    `hass_train.testing.EngineContract` tests an engine of your own.

    Attributes:
        name: what results call it.
        trains: whether thresholds learn by gradient in the search epochs, under the hardware penalty.
        recipe: whether it takes a fraction of every layer (`search.sparsity`) instead of aiming at another goal.
        single_process: whether it cannot share its work with the processes of `trainer.strategy=ddp`.
        context: the experiment around it, which whoever makes the engine fills in.
    """

    name: ClassVar[str] = "engine"
    trains: ClassVar[bool] = False
    recipe: ClassVar[bool] = False
    single_process: ClassVar[bool] = False
    context: Context | None = None

    def epochs(self, planned: int) -> int:
        """Return the number of search epochs, given what `search.search.epochs` plans; 0 for engines that do not train
        while they search."""
        return 0

    def dense_weights(self) -> Path | None:
        """Return the file of a dense network from an earlier search that this one goes on with; None if there is none.
        The warm-up is then left out."""
        return None

    def prepare(self, model: nn.Module) -> None:
        """Look for whatever would fail after training: asked before it, with the model whose layers are to be sparse.

        Raises:
            UserError: what the user can mend.
        """
        return

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """Set thresholds where a search epoch begins, if gradients do not.

        Args:
            model: the network in its search mode, with sparse layers.
            epoch: number of the epoch within the search phase, from 0.
        """
        return

    @abstractmethod
    def choose(self, subject: Subject) -> Choice:
        """Leave the subject's layers with the thresholds to freeze.

        Raises:
            UserError: what the user can mend, such as a study of another network.
        """
