"""What a sweep ends with: every job's outcome in one table, and which jobs failed."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console
from rich.table import Table

from hass_train.config.commands import module_command
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import ERROR_LOG, replacing
from hass_train.search.front import front

if TYPE_CHECKING:
    from hass_train.results.result import Result

SUMMARY = "sweep.csv"
_NUMBERS = (
    "dense_test_acc", "test_acc", "accuracy_drop", "speedup", "throughput_ips", "efficiency", "pair_sparsity",
    "seconds",
)  # fmt: skip


@dataclass
class Job:
    """One job of a sweep.

    Args:
        folder: the job's directory.
        overrides: the overrides that the sweep gave it, value by key.
        error: why it failed, in one line; empty if it ended well.
        data: the data set that its accuracy is measured on.
        engine: the search engine; empty for plain training and for estimates.
        goal_met: whether the search met its goal; None where there is nothing to meet.
        numbers: what it reached, by the names of the summary's columns.
        best: whether no other job on the same data is as accurate and as fast.
    """

    folder: Path
    overrides: dict[str, str]
    error: str = ""
    data: str = ""
    engine: str = ""
    goal_met: bool | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    best: bool = False

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read a job from what lies in its directory."""
        given = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text()) or []
        job = cls(folder, {key.lstrip("+"): value for key, _, value in (one.partition("=") for one in given)})
        try:
            job._read_outcome()
        except UserError as error:
            job.error = str(error)
        return job

    def _read_outcome(self) -> None:
        """Fill in what the job ended with: a search, an estimate, plain training, or an error.

        Raises:
            UserError: a file cannot be read.
        """
        from hass_train.results.estimation import ESTIMATE, Estimation  # late: command lines are read without torch
        from hass_train.results.result import RESULT, Result, read_object

        log, trained = self.folder / ERROR_LOG, self.folder / "accuracy.json"
        if (self.folder / RESULT).is_file():
            self._take(Result.load(self.folder))
        elif trained.is_file():
            self.numbers = {"test_acc": read_object(trained)["test_acc"]}
        elif (self.folder / ESTIMATE).is_file():
            found = Estimation.load(self.folder)
            self.numbers = {"throughput_ips": found.estimate.throughput_ips, "seconds": found.wall_s["total"]}
        elif log.is_file():
            self.error = log.read_text().splitlines()[0]
        else:
            self.error = "it ended without a result; its process was killed"

    def _take(self, result: Result) -> None:
        gain, sparse = result.gain, result.sparse
        self.data, self.engine, self.goal_met = result.data.name, result.engine, result.goal.met
        values = (
            result.dense.test_acc, sparse.test_acc, gain.accuracy_drop, gain.throughput, sparse.estimate.throughput_ips,
            sparse.estimate.efficiency, sparse.pair_sparsity, result.wall_s["total"],
        )  # fmt: skip
        self.numbers = dict(zip(_NUMBERS, values, strict=True))


def jobs_of(sweep: Path) -> list[Job]:
    """Read all jobs of a sweep's directory, in the order of their numbers."""
    folders = [path.parent.parent for path in sweep.glob("*/.hydra/overrides.yaml")]

    def number(folder: Path) -> tuple[int, str]:
        first = folder.name.partition("-")[0]
        return (int(first) if first.isdigit() else 0), folder.name

    jobs = [Job.read(folder) for folder in sorted(folders, key=number)]
    for data in {job.data for job in jobs if job.engine}:
        alike = [job for job in jobs if job.engine and job.data == data]
        for job in front(alike, lambda one: one.numbers["throughput_ips"], lambda one: one.numbers["test_acc"]):
            job.best = True
    return jobs


def save_summary(path: Path, jobs: list[Job]) -> None:
    """Write sweep.csv, a row for each job."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.overrides))
    with replacing(path) as partly, partly.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["job", "status", *keys, "data", "engine", *_NUMBERS, "goal_met", "pareto", "error"])
        for job in jobs:
            given = [job.overrides.get(key, "") for key in keys]
            numbers = [job.numbers.get(key, "") for key in _NUMBERS]
            status = "failed" if job.error else "ended"
            met = "" if job.goal_met is None else job.goal_met
            writer.writerow(
                [job.folder.name, status, *given, job.data, job.engine, *numbers, met, job.best or "", job.error]
            )


def print_summary(sweep: Path, jobs: list[Job], console: Console) -> None:
    """Print the table of all jobs with the overrides in which they differ, and every failure in a line."""
    keys = [
        key for key in dict.fromkeys(key for job in jobs for key in job.overrides)
        if len({job.overrides.get(key) for job in jobs}) > 1
    ]  # fmt: skip
    table = Table(title="All jobs; ● no other on the same data is as accurate and as fast", title_justify="left")
    for name in ("job", *keys, "test acc", "lost, points", "speed-up", "images/s", "goal", ""):
        left = name in ("job", "goal", *keys)
        table.add_column(name.rpartition(".")[2], justify="left" if left else "right", no_wrap=name == "job")
    for job in jobs:
        given = [job.overrides.get(key, "") for key in keys]
        if job.error:
            table.add_row(job.folder.name, *given, "[red]failed[/]", "", "", "", "", "")
            continue
        table.add_row(job.folder.name, *given, *_cells(job), "[bold]●[/]" if job.best else "")
    console.print()
    console.print(table)
    failed = [job for job in jobs if job.error]
    for job in failed:
        console.print(f"[red]failed[/]: {job.folder.name}: {job.error} (all of it: {job.folder / ERROR_LOG})")
    console.print(f"{len(jobs) - len(failed)} of {len(jobs)} jobs ended well. Written: {sweep / SUMMARY}")


def _cells(job: Job) -> list[str]:
    """A job's numbers as the table shows them, empty where it has none."""
    shown = (("test_acc", "{:.4f}", 1), ("accuracy_drop", "{:.2f}", 100), ("speedup", "{:.2f}×", 1),
             ("throughput_ips", "{:,.0f}", 1))  # fmt: skip
    cells = [form.format(scale * job.numbers[key]) if key in job.numbers else "" for key, form, scale in shown]
    return [*cells, {True: "met", False: "[red]not met[/]", None: ""}[job.goal_met]]


def summarise(sweep: Path) -> int:
    """Write and print the summary of a sweep, and compare its searches.

    Returns:
        How many jobs failed.
    """
    from hass_train.report.console import (
        print_files,
        report_console,
    )  # late: a command line that fails needs none of it

    jobs = jobs_of(sweep)
    save_summary(sweep / SUMMARY, jobs)
    print_summary(sweep, jobs, report_console())
    ended = [job.folder for job in jobs if not job.error and job.engine]
    if ended:
        from hass_train.report.comparison_page import save_comparison
        from hass_train.results.comparison import Comparison

        try:
            print_files(save_comparison(sweep, Comparison.of(ended)), report_console())
        except (UserError, OSError) as error:  # what days have found is in the summary already
            print(
                f"warning: the jobs are not compared ({error}); try {module_command('compare', sweep)}",
                file=sys.stderr,
            )
    return sum(bool(job.error) for job in jobs)
