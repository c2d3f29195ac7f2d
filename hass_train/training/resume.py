"""Checkpoints of runs: how they are written safely, found again, and checked before a run resumes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.plugins.io import TorchCheckpointIO

from hass_train.config.checks import made
from hass_train.config.commands import override
from hass_train.config.schema import RunConfig, SearchConfig
from hass_train.export.initial import plain_content
from hass_train.export.weights import DENSE_WEIGHTS
from hass_train.results.history import carry_over
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import BEST, FOLDER, LAST, ORIGIN, PREVIOUS, replacing, write_text
from hass_train.search.engines import SearchEngine
from hass_train.search.phases import Phase, PhasePlan

_FOUND = "HASS_TRAIN_CHECKPOINT"
"""The environment variable by which the first process of a run tells the others which checkpoint is resumed."""
_TAKEN = (DENSE_WEIGHTS, "study.log", f"{FOLDER}/{BEST}")
"""The files that a resumed run copies from the run that it continues, beside the checkpoint."""
_DECIDE = ("model", "data", "sparsity", "precision", "seed")
"""The groups of settings that must be the same when a run is resumed."""
_FREE = ("data.workers", "data.root")
_APART = (
    "paths",
    "callbacks",
    "logger",
    "ckpt_path",
    "init_from",
    "init_strict",
    "init_head",
    "init_prefix",
    "simulate",
    "report",
    "export",
    "summary_depth",
)
"""The settings and groups of settings that may differ without mention when a run is resumed."""


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint writer, but a checkpoint is written completely or not at all, and the one before
    `last.ckpt` is kept as `previous.ckpt`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, which is on the disk when this returns."""
        target = Path(path)
        with replacing(target) as partly:
            torch.save(checkpoint, partly)
            if target.name == LAST and target.exists():
                kept = target.with_name(f"{PREVIOUS}.part")
                kept.unlink(missing_ok=True)
                os.link(target, kept)
                kept.replace(target.with_name(PREVIOUS))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint from which a run resumes.

    Args:
        path: the file.
        epochs: numbers of epochs of the three phases in the run that made it.
        phase: the phase in which it was made.
        settings: the configuration of the run that made it, as plain data.
    """

    path: Path
    epochs: tuple[int, int, int]
    phase: Phase
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, config: RunConfig) -> Checkpoint | None:
        """Read the checkpoint that a configuration names; None if it names none.

        Args:
            config: the configuration, with `ckpt_path`: a file, a run's directory, or `last` or `best` for those of the
                newest unfinished run.

        Raises:
            UserError: there is no such checkpoint, or it cannot be read; then the message names the previous one.
        """
        if not config.ckpt_path:
            return None
        if int(os.environ.get("LOCAL_RANK", "0")):
            path = Path(os.environ[_FOUND])  # the one that the first process has found
        else:
            path = _find(config.ckpt_path, Path(config.paths.runs), Path(config.paths.output))
            os.environ[_FOUND] = str(path)
        try:
            content = plain_content(path, "ckpt_path")
            if not {"hass_train", "hyper_parameters"} <= {*content} or "epochs" not in content["hass_train"]:
                raise UserError(f"ckpt_path: {path} is no checkpoint of a run; {_alone(path)}")
        except UserError as error:
            before = path.with_name(PREVIOUS)
            there = before.is_file() and before != path
            hint = f"; the one before it is there: {override('ckpt_path', before)}" if there else ""
            raise UserError(f"{error}{hint}") from error
        warmup, search, recover = (int(count) for count in content["hass_train"]["epochs"])
        phase, settings = Phase(content["hass_train"]["phase"]), content["hyper_parameters"]["settings"]
        return cls(path, (warmup, search, recover), phase, settings)

    def plan(self, plan: PhasePlan) -> PhasePlan:
        """The phases of the run that resumes from this checkpoint.

        They are those of the run that made it, which may have skipped the warm-up for a study, except where the
        configuration has changed since.

        Args:
            plan: the phases of the present configuration.

        Raises:
            UserError: the epochs of a phase that is over have changed.
        """
        own = self._planned()
        kept = zip(self.epochs, own.epochs, plan.epochs, strict=True)
        warmup, search, recover = (now if now != before else planned for planned, before, now in kept)
        over = list(Phase).index(self.phase)
        if (warmup, search, recover)[:over] != self.epochs[:over]:
            raise UserError(
                f"ckpt_path: {self.path} is in its {self.phase} phase; the epochs of phases that are over cannot change"
            )
        return PhasePlan((warmup, search, recover), plan.rates)

    def _planned(self) -> PhasePlan:
        """The phases in the configuration of the run that made this checkpoint.

        Raises:
            UserError: the configuration is of an earlier version.
        """
        try:
            search = OmegaConf.to_object(OmegaConf.merge(SearchConfig, self.settings["search"]))
        except OmegaConfBaseException as error:
            raise UserError(f"ckpt_path: {self.path} was made by an earlier version; {_alone(self.path)}") from error
        assert isinstance(search, SearchConfig)
        engine = made(search.engine, "search.engine", SearchEngine)  # type: ignore[type-abstract]
        return PhasePlan.of(search, engine.epochs(search.search.epochs))

    def check_settings(self, settings: Mapping[str, Any]) -> list[str]:
        """Compare the settings of this checkpoint with those of the run that resumes from it.

        Args:
            settings: the configuration of that run, as plain data.

        Returns:
            The differences that are allowed, each as `key: before → now`.

        Raises:
            UserError: the script, the network, the data, the sparsity or the seed differs.
        """
        if bool(self.settings.get("hw")) != bool(settings.get("hw")):
            script = "search.py" if self.settings.get("hw") else "train.py"
            raise UserError(f"ckpt_path: {self.path} is of {script}; {_alone(self.path)}")
        found = []
        for key, before, now in _differences(self.settings, settings):
            group = key.partition(".")[0]
            if group in _APART or key in _FREE:
                continue
            if group in _DECIDE:
                raise UserError(
                    f"ckpt_path: {self.path} was made with {key}={before}, not {now}; say {key}={before}, or start "
                    f"from its weights alone with {override('init_from', self.path)}"
                )
            found.append(f"{key}: {before} → {now}")
        return found

    def bring_along(self, output: Path) -> None:
        """Copy the checkpoint, and the files that belong to it, into the directory of the run that resumes from it.

        The files are the history, the dense network, the study, and the best network so far.
        """
        run = self.path.absolute().parent.parent
        if run == output.absolute() or int(os.environ.get("LOCAL_RANK", "0")):
            return
        write_text(output / ORIGIN, str(run))
        with replacing(output / FOLDER / LAST) as partly:  # in case this run is killed before its first checkpoint
            shutil.copy2(self.path, partly)
        carry_over(run, output)
        for name in _TAKEN:
            if (run / name).is_file():
                with replacing(output / name) as partly:
                    shutil.copy2(run / name, partly)


def _find(named: str, runs: Path, output: Path) -> Path:
    """Find the file of a checkpoint.

    Args:
        named: a file, a run's directory, `last` or `best`.
        runs: folder of all runs, in which `last` and `best` are looked for.
        output: directory of the present run, which is ignored.

    Raises:
        UserError: there is no such file.
    """
    path = Path(named)
    if named in ("last", "best"):
        name = LAST if named == "last" else BEST
        # runs that were resumed: their last checkpoint is not the newest of its search
        continued = {Path(one.read_text()).absolute() for one in runs.glob(f"**/{ORIGIN}")}
        found = [
            one for one in runs.glob(f"**/{FOLDER}/{name}")
            if not any((one.parent.parent / end).exists() for end in ("result.json", "accuracy.json"))
            and one.parent.parent.absolute() not in (output.absolute(), *continued)
        ]  # fmt: skip
        if not found:
            raise UserError(
                f"ckpt_path is {named}, but no unfinished run in {runs} has a {FOLDER}/{name}; say ckpt_path=FILE"
            )
        return max(found, key=lambda one: one.stat().st_mtime)
    if path.is_dir():
        path = path / FOLDER / LAST
    if not path.is_file():
        raise UserError(f"ckpt_path: there is no file {path}; say a checkpoint's path, a run's directory, last or best")
    return path


def _alone(path: Path) -> str:
    """What can be done with a checkpoint that cannot be resumed from."""
    return f"{override('init_from', path)} takes its weights alone"


def _differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the keys of nested mappings whose values differ, with both values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted({*before, *now}):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
    elif before != now:
        yield key, before, now
