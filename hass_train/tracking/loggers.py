"""Loggers of a run. What goes wrong in them never ends the training: it is said once, and training goes on."""

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
"""Scalars of single layers."""
STEP = "trainer/global_step"
"""What Lightning's W&B logger counts by."""


class Careful:
    """Stands before a logger class: the first failure is told, and nothing more is logged there."""

    failed: bool = False

    @property
    def experiment(self) -> Any:
        """What the logger writes into; nothing once it has failed."""
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
        """Tell it and give up."""
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
    """Lightning's CSV log."""


class WandbLog(Careful, WandbLogger):  # type: ignore[misc]
    """W&B's; where its server does not answer, the run is kept offline, to be uploaded by `wandb sync`."""

    @property
    def experiment(self) -> Any:
        """The W&B run."""
        if self.failed or self._offline:
            return super().experiment
        try:
            return super(Careful, self).experiment  # type: ignore[misc]  # whose failure is not the last word
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"warning: W&B does not answer ({reason}); the run is kept offline", file=sys.stderr)
            self._offline = True
            self._wandb_init["mode"] = "offline"
            os.environ["WANDB_MODE"] = "offline"
            return super().experiment

    artifacts: bool = True

    def log_hyperparams(self, params: Any = None, *_: Any) -> None:
        """Settings, in one level, so that a sweep's table sorts by them."""
        self._try(lambda: self.experiment.config.update(params, allow_val_change=True))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """All but what is told of every layer: that is in the layer table, and in the CSV log."""
        super().log_metrics({key: value for key, value in metrics.items() if not key.startswith(BY_LAYER)}, step)

    def _attempt(self, action: Callable[[], Any]) -> None:
        """As `_try`, for what a run can do without: the log goes on after a failure."""
        try:
            if not self.failed:
                action()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"warning: W&B did not take a file ({reason}); the rest is logged", file=sys.stderr)

    def define(self, summaries: Mapping[str, str]) -> None:
        """Say what to keep of a metric in the run's summary: `max`, `min` or `last`."""
        for key, summary in summaries.items():
            self._try(
                lambda key=key, summary=summary: self.experiment.define_metric(key, step_metric=STEP, summary=summary)
            )

    def log_rows(self, key: str, heads: list[str], rows: list[list[Any]], step: int) -> None:
        """A table, at a step of the trainer."""
        self._try(lambda: self.experiment.log(
            {key: wandb.Table(columns=heads, data=rows, allow_mixed_types=True), STEP: step}
        ))  # fmt: skip

    def log_pictures(self, pictures: Mapping[str, Path], page: Path | None, step: int) -> None:
        """PNG files, and an HTML page as `report`."""

        def log() -> None:
            media: dict[str, Any] = {key: wandb.Image(str(path)) for key, path in pictures.items()}
            if page is not None:
                media["report"] = wandb.Html(page.read_text(), inject=False)
            self.experiment.log({**media, STEP: step})

        self._attempt(log)

    def log_artifact(self, name: str, kind: str, files: Mapping[str, Path], about: Mapping[str, Any]) -> None:
        """Files that belong together, by the names of their entries, as something that this run made."""
        if self.artifacts:
            self._attempt(lambda: self.experiment.log_artifact(_artifact(name, kind, files, about)))

    def use_file(self, name: str, kind: str, entry: str, file: Path) -> None:
        """Say that this run began from a file: it becomes this run's input in W&B's lineage, which an offline run
        cannot have. W&B finds the version that made it by its content and the name of its entry."""
        if self.artifacts and not self._offline:
            self._attempt(lambda: self.experiment.use_artifact(_artifact(name, kind, {entry: file}, {})))

    def finish(self, status: int) -> None:
        """End the W&B run, with an exit status."""
        self._try(wandb.finish, exit_code=status)


def _artifact(name: str, kind: str, files: Mapping[str, Path], about: Mapping[str, Any]) -> wandb.Artifact:
    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", name), kind, metadata=dict(about))
    for entry, file in files.items():
        artifact.add_file(str(file), name=entry, policy="immutable")  # else it is copied first
    return artifact


def has_wandb_key() -> bool:
    """Whether W&B could log in: a key in the environment or from `wandb login`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = wandb.Settings().base_url
    return requests.utils.get_netrc_auth(host) is not None


def wandb_logger(
    project: str, save_dir: str, group: str | None = None, tags: list[str] | None = None, artifacts: bool = True
) -> WandbLog:
    """A W&B logger with a run of its own: online if a key is configured, offline otherwise.

    Args:
        project: on W&B.
        save_dir: where an offline run is kept; `wandb sync` uploads it from there.
        group: of runs that belong together; by default the sweep, for its jobs.
        tags: of this run.
        artifacts: whether weights, designs and checkpoints are logged too.
    """
    offline = os.environ.get("WANDB_MODE", "online") == "offline" or not has_wandb_key()
    if offline:
        os.environ.setdefault("WANDB_SILENT", "true")  # nothing to tell: no address, no sync
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
    """The sweep that this process runs a job of, by its directory, and the kind of the job: `search` or `train`."""
    if not HydraConfig.initialized():
        return None, None
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir)
    return f"{folder.parent.name}-{folder.name}" if hydra.mode is RunMode.MULTIRUN else None, hydra.job.config_name
