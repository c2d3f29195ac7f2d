"""Sweeps: launchers, failures, GPUs in turn, the summary."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from hass_train.report.sweep import jobs_of
from hass_train.training import run
from hass_train.training.run import handed_out
from tests.chaos.kills import NETWORK
from tests.conftest import ROOT


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep as a user starts it."""
    command = [sys.executable, "search.py", "-m", *NETWORK, "logger=csv", *overrides, f"hydra.sweep.dir={folder}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_one_failed_job_of_three_leaves_two_results_and_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    done = sweep(folder, "search.target_speedup=2.8,500,5", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert done.returncode == 1, done.stderr
    assert len(list(folder.glob("*/result.json"))) == 2
    found = rows(folder)
    assert [row["search.target_speedup"] for row in found] == ["2.8", "500", "5"]
    assert [row["status"] for row in found] == ["ended", "failed", "ended"]
    assert "beyond the roof" in found[1]["error"]
    assert "Traceback" in (folder / "1-timm-zedboard" / "error.log").read_text()
    ended = [row for row in found if row["status"] == "ended"]
    assert all(row["goal_met"] == "True" and float(row["speedup"]) > 2.7 for row in ended)
    for row in found:  # the front, by its definition
        better = [
            one for one in ended
            if row in ended and one is not row and float(one["throughput_ips"]) >= float(row["throughput_ips"])
            and float(one["test_acc"]) >= float(row["test_acc"])
        ]  # fmt: skip
        assert (row["pareto"] == "True") == (row in ended and not better)
    assert "2 of 3 jobs ended well" in done.stdout
    with (folder / "compare.csv").open() as stream:
        compared = {Path(row["run"]).name: row for row in csv.DictReader(stream)}
    assert list(compared) == [row["job"] for row in ended]
    assert {row["job"]: row["pareto"] == "True" for row in ended} == {
        name: row["pareto_throughput_ips"] == "True" for name, row in compared.items()
    }
    assert str(folder / "compare.html") in done.stdout
    assert "failed: 1-timm-zedboard: target_speedup is 500" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.nightly
def test_submitit_runs_jobs_in_processes_of_their_own(tmp_path: Path) -> None:
    done = sweep(tmp_path / "sweep", "search.penalty=0.1", "search.target_speedup=null", "seed=0,1",
                 "hydra/launcher=submitit_local", "debug=fdr")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in rows(tmp_path / "sweep")] == ["ended", "ended"]


def test_a_killed_job_counts_as_failed(tmp_path: Path) -> None:
    for number in (10, 9):
        (tmp_path / f"{number}-a-b" / ".hydra").mkdir(parents=True)
        (tmp_path / f"{number}-a-b" / ".hydra" / "overrides.yaml").write_text("- hw=u250\n- +search.penalty=0.1\n")
    jobs = jobs_of(tmp_path)
    assert [job.folder.name for job in jobs] == ["9-a-b", "10-a-b"]
    assert all(job.error == "it ended without a result; its process was killed" for job in jobs)
    assert jobs[0].overrides == {"hw": "u250", "search.penalty": "0.1"}


@pytest.mark.parametrize(
    ("options", "gpus", "expected"),
    [
        ({"accelerator": "gpu", "devices": 1}, 4, [2]),
        ({"accelerator": "auto", "devices": 1}, 2, [0]),
        ({"accelerator": "gpu", "devices": 2}, 4, 2),
        ({"accelerator": "cpu", "devices": 1}, 4, 1),
        ({"accelerator": "gpu", "devices": 1}, 1, 1),
        ({"accelerator": "gpu"}, 4, "auto"),
    ],
)
def test_gpus_are_handed_out_in_turn(options: dict[str, object], gpus: int, expected: object) -> None:
    assert handed_out(options, 6, gpus) == expected


def test_jobs_of_a_sweep_spawn_their_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run._launchable("ddp_find_unused_parameters_true") == "ddp_find_unused_parameters_true"
    monkeypatch.setattr(run, "_in_sweep", lambda: True)
    assert run._launchable("ddp_find_unused_parameters_true") == "ddp_spawn_find_unused_parameters_true"
    assert run._launchable("ddp_spawn") == "ddp_spawn"
    assert run._launchable("auto") == "auto"
