"""Loggers of a run. What goes wrong in them never ends the training: it is said once, and training goes on."""

from __future__ import annotations

import hass_train.torchvision_shim  # noqa: F401 - before anything imports torchvision

# isort: split
import os
import sys
from collections.abc import Callable
from typing import Any

import requests
import wandb
from lightning_fabric.loggers.logger import _DummyExperiment
from pytorch_lightning.loggers import CSVLogger, WandbLogger


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

    def finish(self, status: int) -> None:
        """End the W&B run, with an exit status."""
        self._try(wandb.finish, exit_code=status)


def has_wandb_key() -> bool:
    """Whether W&B could log in: a key in the environment or from `wandb login`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = wandb.Settings().base_url
    return requests.utils.get_netrc_auth(host) is not None


def wandb_logger(project: str, save_dir: str, group: str | None = None, tags: list[str] | None = None) -> WandbLogger:
    """A W&B logger with a run of its own: online if a key is configured, offline otherwise.

    Args:
        project: on W&B.
        save_dir: where an offline run is kept; `wandb sync` uploads it from there.
        group: of runs that belong together.
        tags: of this run.
    """
    offline = os.environ.get("WANDB_MODE", "online") == "offline" or not has_wandb_key()
    if offline:
        os.environ.setdefault("WANDB_SILENT", "true")  # nothing to tell: no address, no sync
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    options: dict[str, Any] = {"group": group, "tags": tags or [], "settings": settings, "reinit": "finish_previous"}
    return WandbLog(project=project, save_dir=save_dir, offline=offline, **options)
