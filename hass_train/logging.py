"""Loggers of a run."""

from __future__ import annotations

import os
from typing import Any

import requests
import wandb
from pytorch_lightning.loggers import WandbLogger


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
    return WandbLogger(project=project, save_dir=save_dir, offline=offline, **options)
