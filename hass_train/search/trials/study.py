"""The trials of a search in an Optuna study: stored when they end, shared by workers, and continued after a kill."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from hass_train.config.values import without_password
from hass_train.export.weights import plain_state
from hass_train.runtime.errors import UserError
from hass_train.search.trials.trial import Trial

Direction = Literal["maximize", "minimize"]
STUDY_FILE = "study.log"
_OWNER = "owner"
_ABANDONED_S = 3600.0
"""Seconds after which a trial of another machine that has not ended is considered abandoned."""


def fingerprint(model: nn.Module) -> str:
    """A hash of a network's weights, by which a study recognises that its trials are of the same network."""
    digest = hashlib.sha256()
    for key, value in sorted(plain_state(model).items()):
        digest.update(key.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open the storage of a study.

    Args:
        url: URL of a database; None for a journal file.
        folder: folder of the journal file, which is created.

    Raises:
        UserError: the database cannot be opened.
    """
    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    try:
        # the driver is named, since the default for "postgresql" depends on SQLAlchemy's version
        return RDBStorage(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url))
    except Exception as error:  # errors of SQLAlchemy and of the drivers have no common base class
        reason = without_password(str(error.__cause__ or error).strip().splitlines()[0])
        raise UserError(f"search.storage is {without_password(url)!r}, which cannot be opened: {reason}") from error


class TrialStudy:
    """An Optuna study that holds the trials of one search; it is created, or continued if it exists.

    Args:
        name: name of the study.
        storage: the storage of the study.
        directions: direction of each objective, `maximize` or `minimize`.
        about: the settings that all trials must share, the same for every worker and every continuation.
        sampler: draws the thresholds; None for engines that choose them themselves.

    Raises:
        UserError: the study cannot be opened, or its trials have other settings.
    """

    def __init__(
        self,
        name: str,
        storage: BaseStorage,
        directions: Sequence[Direction],
        about: Mapping[str, Any],
        sampler: BaseSampler | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # our own lines say what matters
        try:
            self.study = optuna.create_study(
                study_name=name,
                storage=storage,
                directions=directions,
                load_if_exists=True,
                sampler=sampler,  # type: ignore[arg-type]
            )
            known = self.study.user_attrs.get("about")
        except (ValueError, KeyError) as error:
            raise UserError(f"search.study {name!r} cannot be opened: {str(error).splitlines()[0]}") from error
        if known is None:
            self.study.set_user_attr("about", dict(about))
        else:
            _check_same(name, known, about)

    # ---- trials that are stored --------------------------------------------------------------------------------

    def finished(self) -> list[Trial]:
        """The trials that were completed, in the order of their numbers."""
        return [_trial_of(one) for one in self._frozen(TrialState.COMPLETE)]

    def parameters(self, number: int) -> dict[str, float]:
        """The thresholds of a trial, by name."""
        return dict(self.study.trials[number].params)

    def find(self, thresholds: Mapping[str, float]) -> Trial | None:
        """The first completed trial with exactly these thresholds; None if there is none."""
        for one in self._frozen(TrialState.COMPLETE):
            if one.params == dict(thresholds):
                return _trial_of(one)
        return None

    def _frozen(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    # ---- new trials ----------------------------------------------------------------------------------------------

    @property
    def new(self) -> bool:
        """Whether no trial of it was ever begun or queued."""
        return not self.study.get_trials(deepcopy=False)

    def queue(self, thresholds: Iterable[Mapping[str, float]]) -> None:
        """Have these thresholds tried before any are drawn."""
        for one in thresholds:
            self.study.enqueue_trial(dict(one))

    def adopt(self, queue: bool) -> int:
        """Mark trials as failed whose process has ended without finishing them, and return their number.

        Args:
            queue: whether to try their thresholds again; engines that choose thresholds themselves do so anyway.
        """
        gone = [one for one in self._frozen(TrialState.RUNNING) if _abandoned(one)]
        for one in gone:
            self.study.tell(one.number, state=TrialState.FAIL)
            if one.params and queue:
                self.study.enqueue_trial(one.params, user_attrs={"again": one.number})
        return len(gone)

    def asked(self, most: int) -> Iterator[optuna.Trial]:
        """Yield new trials until `most` trials of all workers together are finished or running."""
        while True:
            if len(self._frozen(TrialState.COMPLETE, TrialState.RUNNING)) >= most:
                return
            trial = self.study.ask()
            rank = [one.number for one in self._frozen(TrialState.COMPLETE, TrialState.RUNNING)].index(trial.number)
            if rank >= most:  # another worker has begun the last one in the meantime
                self.study.tell(trial.number, state=TrialState.FAIL)
                return
            trial.set_user_attr(_OWNER, _me())
            yield trial

    def fixed(self, thresholds: Mapping[str, float], most: float) -> optuna.Trial:
        """Begin a new trial with given thresholds, each between 0 and `most`."""
        self.study.enqueue_trial(dict(thresholds))
        trial = self.study.ask()
        trial.set_user_attr(_OWNER, _me())
        for name in thresholds:
            trial.suggest_float(name, 0.0, most)
        return trial

    def tell(self, trial: optuna.Trial, measured: Trial, values: list[float]) -> None:
        """Store the results of a trial.

        Args:
            trial: the trial of the study.
            measured: its results.
            values: its objectives.
        """
        for key, value in measured.to_dict().items():
            if key != "number":
                trial.set_user_attr(key, value)
        self.study.tell(trial.number, values)


def _trial_of(one: FrozenTrial) -> Trial:
    known = {field.name: one.user_attrs[field.name] for field in fields(Trial) if field.name in one.user_attrs}
    return Trial(number=one.number, **known)


def _me() -> dict[str, Any]:
    return {"node": platform.node(), "pid": os.getpid(), "since": time.time()}


def _abandoned(one: FrozenTrial) -> bool:
    owner = one.user_attrs.get(_OWNER)
    if owner is None:  # killed before its owner was stored
        return one.datetime_start is None or time.time() - one.datetime_start.timestamp() > 5.0
    if owner["node"] != platform.node():
        return time.time() - float(owner["since"]) > _ABANDONED_S
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(owner["pid"]) == os.getpid()


def _check_same(name: str, known: Mapping[str, Any], about: Mapping[str, Any], path: str = "") -> None:
    for key, value in about.items():
        other = known.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            _check_same(name, other, value, f"{path}{key}.")
        elif other != value:
            raise UserError(
                f"search.study {name!r} holds trials of {path}{key} {other}, not {value}; choose another search.study, "
                "or leave it out"
            )
