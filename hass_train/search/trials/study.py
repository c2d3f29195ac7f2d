"""The trials of a search in an Optuna study: stored as they end, shared by workers, continued after a kill."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
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
"""A trial of another machine that has run for so long is taken for dead."""


def fingerprint(model: nn.Module) -> str:
    """Hash of a network's weights: trials of another network say nothing about this one."""
    digest = hashlib.sha256()
    for key, value in sorted(plain_state(model).items()):
        digest.update(key.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """A database, or a journal file in a folder.

    Raises:
        UserError: the database cannot be reached.
    """
    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    try:
        # named, since which driver "postgresql" means depends on SQLAlchemy's version
        return RDBStorage(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url))
    except Exception as error:  # SQLAlchemy's errors and those of the drivers have no common class
        reason = without_password(str(error.__cause__ or error).strip().splitlines()[0])
        raise UserError(f"search.storage is {without_password(url)!r}, which cannot be opened: {reason}") from error


class TrialStudy:
    """Trials of one search.

    Args:
        name: of the study.
        storage: where it is kept.
        directions: of the objectives, `maximize` or `minimize`.
        about: what the trials are of; the same for every worker and every continuation.
        sampler: of the thresholds; None for engines that choose themselves.

    Raises:
        UserError: the study holds trials of something else.
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

    # ---- what there is -----------------------------------------------------------------------------------------

    def finished(self) -> list[Trial]:
        """Trials that ended well, by number."""
        return [_trial_of(one) for one in self._frozen(TrialState.COMPLETE)]

    def parameters(self, number: int) -> dict[str, float]:
        """Thresholds of a trial."""
        return dict(self.study.trials[number].params)

    def find(self, thresholds: Mapping[str, float]) -> Trial | None:
        """A finished trial with exactly these thresholds."""
        for one in self._frozen(TrialState.COMPLETE):
            if one.params == dict(thresholds):
                return _trial_of(one)
        return None

    def _frozen(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    # ---- what comes ----------------------------------------------------------------------------------------------

    def adopt(self, queue: bool) -> int:
        """Give up trials whose process is gone; how many there were.

        Args:
            queue: whether to try their thresholds anew; engines that choose for themselves come to them again anyway.
        """
        gone = [one for one in self._frozen(TrialState.RUNNING) if _abandoned(one)]
        for one in gone:
            self.study.tell(one.number, state=TrialState.FAIL)
            if one.params and queue:
                self.study.enqueue_trial(one.params, user_attrs={"again": one.number})
        return len(gone)

    def asked(self, most: int) -> Iterator[optuna.Trial]:
        """New trials until so many are finished or under way, by whichever worker."""
        while True:
            if len(self._frozen(TrialState.COMPLETE, TrialState.RUNNING)) >= most:
                return
            trial = self.study.ask()
            rank = [one.number for one in self._frozen(TrialState.COMPLETE, TrialState.RUNNING)].index(trial.number)
            if rank >= most:  # another worker was quicker
                self.study.tell(trial.number, state=TrialState.FAIL)
                return
            trial.set_user_attr(_OWNER, _me())
            yield trial

    def fixed(self, thresholds: Mapping[str, float], most: float) -> optuna.Trial:
        """A trial with given thresholds, each between 0 and `most`."""
        self.study.enqueue_trial(dict(thresholds))
        trial = self.study.ask()
        trial.set_user_attr(_OWNER, _me())
        for name in thresholds:
            trial.suggest_float(name, 0.0, most)
        return trial

    def tell(self, trial: optuna.Trial, measured: Trial, values: list[float]) -> None:
        """Store what a trial is worth."""
        for key, value in measured.to_dict().items():
            if key != "number":
                trial.set_user_attr(key, value)
        self.study.tell(trial.number, values)


def _trial_of(one: FrozenTrial) -> Trial:
    return Trial(number=one.number, **{name: one.user_attrs[name] for name in _MEASURED})


_MEASURED = ("val_acc", "throughput_ips", "dsp", "pair_sparsity", "seconds", "images")


def _me() -> dict[str, Any]:
    return {"node": platform.node(), "pid": os.getpid(), "since": time.time()}


def _abandoned(one: FrozenTrial) -> bool:
    owner = one.user_attrs.get(_OWNER)
    if owner is None:  # killed before it could say whose it is
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
