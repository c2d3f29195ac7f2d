"""The loggers of a run. A failure of a logger never ends the training: it is reported once, and training goes on."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.loggers.logger import _DummyExperiment
from pytorch_lightning.loggers import CSVLogger, WandbLogger

BY_LAYER = ("density/", "price/")
"""Prefixes of the scalars that every layer has."""
STEP = "trainer/global_step"
"""The metric that is the x-axis of Lightning's W&B logger."""


class Careful:
    """Mixin for a Lightning logger: its first failure is reported, and nothing more is logged there."""

    failed: bool = False

    @property
    def experiment(self) -> Any:
        """The object that the logger writes to; a dummy once it has failed."""
        if not self.failed:
            try:
                return super().experiment  # type: ignore[misc]
            except Exception as error:
                self.fail(error)
        return _DummyExperiment()

    def _try(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        if self.failed:
            return
        try:
            action(*arguments, **options)
        except Exception as error:  # a full disk, a server that does not answer, …
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Report a failure, and log nothing more."""
        self.failed = True
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"warning: {type(self).__name__} failed ({reason}); training goes on without it", file=sys.stderr)

    def log_metrics(self, *arguments: Any, **options: Any) -> None:
        self._try(super().log_metrics, *arguments, **options)  # type: ignore[misc]

    def log_hyperparams(self, *arguments: Any, **options: Any) -> None:
        self._try(super().log_hyperparams, *arguments, **options)  # type: ignore[misc]

    def save(self) -> None:
        self._try(super().save)  # type: ignore[misc]

    def finalize(self, status: str) -> None:
        self._try(super().finalize, status)  # type: ignore[misc]


class CsvLog(Careful, CSVLogger):  # type: ignore[misc]
    """Lightning's CSV logger, whose failures do not end the training."""


class WandbLog(Careful, WandbLogger):  # type: ignore[misc]
    """Lightning's W&B logger, whose failures do not end the training.

    If the server does not answer, the run is kept offline, to be uploaded by `wandb sync`.

    Attributes:
        artifacts: whether weights, designs and checkpoints are logged as artifacts.
    """

    @property
    def experiment(self) -> Any:
        """The W&B run."""
        if self.failed or self._offline:
            return super().experiment
        try:
            return super(Careful, self).experiment  # type: ignore[misc]  # not `Careful`'s: there is another try
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"warning: W&B does not answer ({reason}); the run is kept offline", file=sys.stderr)
            self._offline = True
            self._wandb_init["mode"] = "offline"
            os.environ["WANDB_MODE"] = "offline"
            return super().experiment

    artifacts: bool = True

    def log_hyperparams(self, params: Any = None, *_: Any) -> None:
        """Log the settings, a flat dictionary, so that the table of a sweep can be sorted by them."""
        self._try(lambda: self.experiment.config.update(params, allow_val_change=True))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars, except those of single layers, which are in the layer table and in the CSV log."""
        super().log_metrics({key: value for key, value in metrics.items() if not key.startswith(BY_LAYER)}, step)

    def _attempt(self, action: Callable[[], Any]) -> None:
        """Do what a run can do without: other than with `_try`, logging goes on after a failure."""
        try:
            if not self.failed:
                action()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"warning: W&B did not take a file ({reason}); the rest is logged", file=sys.stderr)

    def define(self, summaries: Mapping[str, str]) -> None:
        """Define what the run's summary keeps of metrics: `max`, `min` or `last`, by metric."""
        for key, summary in summaries.items():
            self._try(
                lambda key=key, summary=summary: self.experiment.define_metric(key, step_metric=STEP, summary=summary)
            )

    def log_rows(self, key: str, heads: list[str], rows: list[list[Any]], step: int) -> None:
        """Log a table.

        Args:
            key: name of the table.
            heads: names of the columns.
            rows: cells, row by row.
            step: the trainer's global step.
        """
        self._try(lambda: self.experiment.log(
            {key: wandb.Table(columns=heads, data=rows, allow_mixed_types=True), STEP: step}
        ))  # fmt: skip

    def log_pictures(self, pictures: Mapping[str, Path], page: Path | None, step: int) -> None:
        """Log PNG files by name, and an HTML page as `report`, at a global step of the trainer."""

        def log() -> None:
            media: dict[str, Any] = {key: wandb.Image(str(path)) for key, path in pictures.items()}
            if page is not None:
                media["report"] = wandb.Html(page.read_text(), inject=False)
            self.experiment.log({**media, STEP: step})

        self._attempt(log)

    def log_artifact(self, name: str, kind: str, files: Mapping[str, Path], about: Mapping[str, Any]) -> None:
        """Log files as an artifact, as an output of this run.

        Args:
            name, kind: name and type of the artifact.
            files: the files by the names of their entries in the artifact.
            about: metadata of the artifact.
        """
        if self.artifacts:
            self._attempt(lambda: self.experiment.log_artifact(_artifact(name, kind, files, about)))

    def use_file(self, name: str, kind: str, entry: str, file: Path) -> None:
        """Log a file as an input of this run in W&B's lineage, which an offline run cannot have.

        W&B recognises the version of the artifact by the file's content and the name of its entry.

        Args:
            name, kind: name and type of the artifact.
            entry: name of the file in the artifact.
            file: the file.
        """
        if self.artifacts and not self._offline:
            self._attempt(lambda: self.experiment.use_artifact(_artifact(name, kind, {entry: file}, {})))

    def finish(self, status: int) -> None:
        """End the W&B run with an exit status."""
        self._try(wandb.finish, exit_code=status)


def _artifact(name: str, kind: str, files: Mapping[str, Path], about: Mapping[str, Any]) -> wandb.Artifact:
    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", name), kind, metadata=dict(about))
    for entry, file in files.items():
        artifact.add_file(str(file), name=entry, policy="immutable")  # otherwise it is copied first
    return artifact


def has_wandb_key() -> bool:
    """Whether there is a key to log in to W&B with, in the environment or from `wandb login`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = wandb.Settings().base_url
    return requests.utils.get_netrc_auth(host) is not None


def wandb_logger(
    project: str, save_dir: str, group: str | None = None, tags: list[str] | None = None, artifacts: bool = True
) -> WandbLog:
    """Make a W&B logger with a new run: online if a key is configured, offline otherwise.

    Args:
        project: name of the project on W&B.
        save_dir: directory in which an offline run is kept; `wandb sync` uploads it from there.
        group: group of runs that belong together; by default the sweep, for its jobs.
        tags: tags of this run.
        artifacts: whether weights, designs and checkpoints are logged too.
    """
    offline = os.environ.get("WANDB_MODE", "online") == "offline" or not has_wandb_key()
    if offline:
        os.environ.setdefault("WANDB_SILENT", "true")  # an offline run has no address to print
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    sweep, script = _job()
    options: dict[str, Any] = {
        "id": uuid.uuid4().hex[:8], "group": group or sweep, "job_type": script, "name": Path(save_dir).name,
        "tags": tags or [], "settings": settings, "reinit": "finish_previous",
    }  # fmt: skip
    log = WandbLog(project=project, save_dir=save_dir, offline=offline, **options)
    log.artifacts = artifacts
    return log


def _job() -> tuple[str | None, str | None]:
    """The sweep that this job belongs to, named by its directory, and the kind of the job: `search` or `train`."""
    if not HydraConfig.initialized():
        return None, None
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir)
    return f"{folder.parent.name}-{folder.name}" if hydra.mode is RunMode.MULTIRUN else None, hydra.job.config_name
