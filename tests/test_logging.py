"""Logs that fail are told once, and training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wandb
from pytorch_lightning.loggers import CSVLogger
from wandb.errors import CommError

from hass_train import pipeline
from hass_train.tracking.loggers import CsvLog, wandb_logger
from tests.conftest import SMALL, Compose


def test_a_full_disk_does_not_end_a_search(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CSVLogger, "save", full)
    result, objects = pipeline.search(compose(*SMALL, "debug=fdr", "search.target_speedup=null", "search.penalty=0.1"))
    assert result.sparse.pair_sparsity > 0
    assert objects["trainer"].loggers[0].failed
    told = capsys.readouterr().err
    assert told.count("CsvLog failed (OSError: [Errno 28] No space left on device); training goes on without it") == 1


def test_an_unreachable_server_leaves_an_offline_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = wandb.init

    def init(**options: Any) -> Any:
        if options.get("mode") != "offline":
            raise CommError("failed to reach the server")
        return real(**options)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    log = wandb_logger("hass-train-test", str(tmp_path))
    log.log_metrics({"a": 1.0}, step=0)
    log.log_metrics({"a": 2.0}, step=1)
    log.finalize("success")
    wandb.finish()
    assert capsys.readouterr().err.count("W&B does not answer (failed to reach the server)") == 1
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_a_log_that_never_works_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def init(**_: Any) -> Any:
        raise CommError("nothing works")

    monkeypatch.setattr(wandb, "init", init)
    log = wandb_logger("hass-train-test", str(tmp_path))
    for step in range(3):
        log.log_metrics({"a": 1.0}, step=step)
    log.finalize("success")
    assert capsys.readouterr().err.count("training goes on without it") == 1
    csv = CsvLog(str(tmp_path))
    csv.log_metrics({"a": 1.0}, step=0)
    csv.save()
    assert (Path(csv.log_dir) / "metrics.csv").is_file()


def test_a_folder_that_cannot_be_made_and_a_run_that_cannot_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    csv = CsvLog(str(tmp_path / "taken"))
    assert csv.experiment is not None  # as Lightning asks before training
    csv.log_metrics({"a": 1.0}, step=0)

    def finish(**_: Any) -> None:
        raise CommError("gone")

    monkeypatch.setattr(wandb, "finish", finish)
    wandb_logger("hass-train-test", str(tmp_path)).finish(0)
    told = capsys.readouterr().err
    assert told.count("CsvLog failed") == 1
    assert "WandbLog failed (CommError: gone)" in told
