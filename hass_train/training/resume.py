"""Checkpoints of runs: written whole, found again, checked before they are resumed."""

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
from hass_train.config.schema import RunConfig, SearchConfig
from hass_train.export.weights import DENSE_WEIGHTS, plain_content
from hass_train.results.history import carry_over
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import BEST, FOLDER, LAST, ORIGIN, PREVIOUS, replacing, write_text
from hass_train.search.engines import SearchEngine
from hass_train.search.phases import Phase, PhasePlan

_FOUND = "HASS_TRAIN_CHECKPOINT"
"""Environment variable: the checkpoint that the processes of a run resume."""
_TAKEN = (DENSE_WEIGHTS, "study.log", f"{FOLDER}/{BEST}")
"""What a resumed run needs of the one before, beside its checkpoint."""
_DECIDE = ("model", "data", "sparsity", "seed")
"""Groups of settings that a checkpoint is worth nothing without."""
_FREE = ("data.workers", "data.root")
_APART = ("paths", "callbacks", "logger", "ckpt_path", "init_from", "simulate", "report", "summary_depth")
"""Settings that a resumed run may have of its own."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and keeps the one before as `previous.ckpt`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a file that is on the disk when this returns."""
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
    """A checkpoint that can be resumed.

    Args:
        path: of the file.
        epochs: of the three phases, as its run had planned them.
        phase: that it was in.
        settings: of its run.
    """

    path: Path
    epochs: tuple[int, int, int]
    phase: Phase
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, config: RunConfig) -> Checkpoint | None:
        """The one that `ckpt_path` names; None if it names none.

        Args:
            config: with `ckpt_path`: a file, a run's directory, or `last` or `best` of the newest unfinished run.

        Raises:
            UserError: there is none, or it cannot be read; the one before it is offered.
        """
        if not config.ckpt_path:
            return None
        if int(os.environ.get("LOCAL_RANK", "0")):
            path = Path(os.environ[_FOUND])  # what the first process has found
        else:
            path = _find(config.ckpt_path, Path(config.paths.runs), Path(config.paths.output))
            os.environ[_FOUND] = str(path)
        try:
            content = plain_content(path, "ckpt_path")
            if not {"hass_train", "hyper_parameters"} <= {*content} or "epochs" not in content["hass_train"]:
                raise UserError(
                    f"ckpt_path: {path} is no checkpoint of a run; init_from={path} takes its weights alone"
                )
        except UserError as error:
            before = path.with_name(PREVIOUS)
            hint = f"; the one before it is there: ckpt_path={before}" if before.is_file() and before != path else ""
            raise UserError(f"{error}{hint}") from error
        warmup, search, recover = (int(count) for count in content["hass_train"]["epochs"])
        phase, settings = Phase(content["hass_train"]["phase"]), content["hyper_parameters"]["settings"]
        return cls(path, (warmup, search, recover), phase, settings)

    def plan(self, plan: PhasePlan) -> PhasePlan:
        """The phases of the run that resumes it: as this one's run had them (a study may have left out the warm-up),
        unless the configuration has changed them since."""
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
        """The phases as its run's configuration had them.

        Raises:
            UserError: a configuration of an earlier version.
        """
        try:
            search = OmegaConf.to_object(OmegaConf.merge(SearchConfig, self.settings["search"]))
        except OmegaConfBaseException as error:
            raise UserError(
                f"ckpt_path: {self.path} was made by an earlier version; init_from={self.path} takes its weights alone"
            ) from error
        assert isinstance(search, SearchConfig)
        engine = made(search.engine, "search.engine", SearchEngine)  # type: ignore[type-abstract]
        return PhasePlan.of(search, engine.epochs(search.search.epochs))

    def check_settings(self, settings: Mapping[str, Any]) -> list[str]:
        """Compare with the settings of the run that resumes it.

        Returns:
            What differs and may, as `key: before → now`.

        Raises:
            UserError: the network, the data or the seed differ.
        """
        if bool(self.settings.get("hw")) != bool(settings.get("hw")):
            script = "search.py" if self.settings.get("hw") else "train.py"
            raise UserError(f"ckpt_path: {self.path} is of {script}; init_from={self.path} takes its weights alone")
        found = []
        for key, before, now in _differences(self.settings, settings):
            group = key.partition(".")[0]
            if group in _APART or key in _FREE:
                continue
            if group in _DECIDE:
                raise UserError(
                    f"ckpt_path: {self.path} was made with {key}={before}, not {now}; say {key}={before}, or start "
                    f"from its weights alone with init_from={self.path}"
                )
            found.append(f"{key}: {before} → {now}")
        return found

    def bring_along(self, output: Path) -> None:
        """Copy what its run had beside it: the dense network, the study, the best network so far."""
        run = self.path.absolute().parent.parent
        if run == output.absolute() or int(os.environ.get("LOCAL_RANK", "0")):
            return
        write_text(output / ORIGIN, str(run))
        with replacing(output / FOLDER / LAST) as partly:  # should this one be killed at once
            shutil.copy2(self.path, partly)
        carry_over(run, output)
        for name in _TAKEN:
            if (run / name).is_file():
                with replacing(output / name) as partly:
                    shutil.copy2(run / name, partly)


def _find(named: str, runs: Path, output: Path) -> Path:
    path = Path(named)
    if named in ("last", "best"):
        name = LAST if named == "last" else BEST
        # runs that another one went on with
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


def _differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted({*before, *now}):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
    elif before != now:
        yield key, before, now
