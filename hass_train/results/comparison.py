"""Many runs side by side: which are on the Pareto front, how much each engine gained, and what made them differ."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hass_train.hardware.resources import LIMITS
from hass_train.results.record import flat
from hass_train.results.result import RESULT, Result
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath
from hass_train.search.front import front, hypervolume

_LOST = 0.05
"""Hyper-volumes count from this much test accuracy, as a fraction, below the dense network's."""
_APART = ("paths.", "callbacks.", "logger.")  # where things lie
_OWN = {"hw.": "hw.name", "model.": "model.name", "data.": "data._target_"}
"""Sections whose settings differ anyhow from device to device and so on, by the setting that names the device."""


@dataclass(frozen=True)
class Run:
    """One search that has ended.

    Args:
        folder: the run's directory.
        result: what its result.json says.
    """

    folder: Path
    result: Result

    @classmethod
    def read(cls, folder: AnyPath) -> Run:
        """Read a run's directory.

        Raises:
            UserError: its result.json cannot be read.
        """
        return cls(Path(folder), Result.load(folder))

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The numbers that runs are compared by, under the names of the columns of compare.csv. Accuracies and their
        losses are fractions of the test split; `seconds` is the whole run's time."""
        result, gain = self.result, self.result.gain
        estimate = result.sparse.estimate
        return {
            "test_acc": result.sparse.test_acc, "accuracy_drop": gain.accuracy_drop,
            "throughput_ips": estimate.throughput_ips, "speedup": gain.throughput, "efficiency": estimate.efficiency,
            "pair_sparsity": result.sparse.pair_sparsity, "dense_test_acc": result.dense.test_acc,
            "dense_throughput_ips": result.dense.estimate.throughput_ips, "seconds": result.wall_s["total"],
        }  # fmt: skip

    @property
    def network(self) -> str:
        """The network, as timm names it."""
        return self.result.model.name

    @property
    def device(self) -> str:
        """The device as `hw=` names it, and which of its resources do not count: others make another problem."""
        name, limits = self.result.hw.name, self.result.sparse.estimate.limits
        if not limits:
            return name
        free = [one for one in LIMITS if one not in limits]
        if len(free) > len(LIMITS) / 2:
            return f"{name}, {', '.join(one for one in LIMITS if one in limits)} only"
        return name + (f" without {', '.join(free)}" if free else "")

    @property
    def engine(self) -> str:
        """The search engine, as `search=` names it."""
        return self.result.engine

    @property
    def data(self) -> str:
        """The data set, as its module names it."""
        return self.result.data.name

    @property
    def settings(self) -> dict[str, Any]:
        """The run's configuration with dotted keys, without what only says where files lie."""
        found = flat(self.result.config)
        return {key: value for key, value in found.items() if not key.startswith(_APART)}


@dataclass(frozen=True)
class Comparison:
    """Several runs, and what tells them apart.

    Args:
        runs: the runs, at least one.
    """

    runs: Sequence[Run]

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Comparison:
        """Find and read all runs in some directories, which may be runs, sweeps, or anything that holds such.

        Raises:
            UserError: there is none, or one cannot be read.
        """
        found: dict[Path, Run] = {}
        for folder in folders:
            if not folder.is_dir():
                raise UserError(f"{folder} is no directory; name runs, or a directory that holds some, such as runs/")
            inside = sorted(path.parent for path in folder.glob(f"**/{RESULT}"))
            if not inside:
                raise UserError(f"{folder} holds no {RESULT}: no search in it has ended")
            for run in inside:
                found.setdefault(run.resolve(), Run.read(run))
        return cls(list(found.values()))

    @cached_property
    def differing(self) -> list[str]:
        """Dotted keys of the settings that are not the same in all runs."""
        every = [run.settings for run in self.runs]
        keys = dict.fromkeys(key for settings in every for key in settings)

        def differs(key: str) -> bool:
            kind = next((name for section, name in _OWN.items() if key.startswith(section)), None)
            alike = {settings.get(kind) for settings in every} if kind else {None}
            return any(
                len({str(settings.get(key)) for settings in every if not kind or settings.get(kind) == one}) > 1
                for one in alike
            )

        return [key for key in keys if key not in _OWN.values() and differs(key)]

    @cached_property
    def names(self) -> dict[Path, str]:
        """What each run is called: its path below the directory that holds all of them."""
        if len(self.runs) == 1:
            return {run.folder: run.folder.name for run in self.runs}
        whole = {run.folder: run.folder.resolve() for run in self.runs}
        above = os.path.commonpath(list(map(str, whole.values())))
        return {folder: str(path.relative_to(above)) for folder, path in whole.items()}

    def front(self, data: str, by: str) -> list[Run]:
        """The runs on a data set that no other one beats in both test accuracy and `by`, the fastest first."""
        alike = [run for run in self.runs if run.data == data]
        return front(alike, lambda run: run.numbers[by], lambda run: run.numbers["test_acc"])

    @cached_property
    def data(self) -> list[str]:
        """The data sets that the runs were trained on."""
        return list(dict.fromkeys(run.data for run in self.runs))

    @cached_property
    def volumes(self) -> dict[tuple[str, str, str, str], float]:
        """Hyper-volume of each engine, by data, network, device and engine: the area of speed-up beyond 1 times test
        accuracy beyond five points below the dense network's, in points."""
        found = {}
        for key in dict.fromkeys((run.data, run.network, run.device, run.engine) for run in self.runs):
            alike = [run for run in self.runs if (run.data, run.network, run.device, run.engine) == key]
            points = [(run.numbers["speedup"], -100 * run.numbers["accuracy_drop"]) for run in alike]
            found[key] = hypervolume(points, (1.0, -100 * _LOST))
        return found

    @cached_property
    def best(self) -> dict[tuple[str, str, str], Run]:
        """For each data set, device and network, the fastest run that lost at most one point of test accuracy, or else
        the one that lost least."""
        found = {}
        for key in dict.fromkeys((run.data, run.device, run.network) for run in self.runs):
            alike = [run for run in self.runs if (run.data, run.device, run.network) == key]
            good = [run for run in alike if run.numbers["accuracy_drop"] <= 0.01]
            found[key] = (
                max(good, key=lambda run: run.numbers["throughput_ips"]) if good
                else min(alike, key=lambda run: run.numbers["accuracy_drop"])
            )  # fmt: skip
        return found
