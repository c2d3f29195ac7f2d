"""A finished run as its report needs it, read back from the run's own files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hass_train.errors import UserError
from hass_train.files import ORIGIN
from hass_train.search.phases import Phase

METRICS = Path("csv") / "metrics.csv"
RESOURCES = ("dsp", "bram18", "uram", "lut", "ff")


@dataclass(frozen=True)
class Layer:
    """One compute layer of the searched network beside the dense one.

    Args:
        name, kind: of the operation.
        macs: multiply-accumulates of an image.
        weight_density, activation_density, pair_density: fractions that are not zero.
        cycles, dense_cycles: that it needs for an image of the whole device: divided by the number of replicas, and
            times `urgency` where whole maps wait for it, so that it can be compared with the pipeline's interval.
        urgency: how many times faster than the pipeline it has to be.
        bound: what its cycles are made of.
        engine: `dense` or `sparse`.
        price: −∂ log(throughput)/∂(pair density).
    """

    name: str
    kind: str
    macs: int
    weight_density: float
    activation_density: float
    pair_density: float
    cycles: float
    dense_cycles: float
    urgency: int
    bound: str
    engine: str
    price: float


@dataclass(frozen=True)
class Stretch:
    """Epochs of one phase, from `first` to `last`, counted from 1."""

    phase: Phase
    first: int
    last: int


@dataclass(frozen=True)
class History:
    """What the CSV log says of every epoch.

    Args:
        epochs: number of the epoch, from 1, to what was logged in it.
    """

    epochs: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, run: Path) -> History:
        """The history of a run, and before it of the run that it went on with, if that is still there."""
        epochs: dict[int, dict[str, float]] = {}
        for folder in reversed(list(_lineage(run))):
            rows = _rows(folder / METRICS)
            begun = {int(float(row["epoch"])) + 1 for row in rows if row.get("epoch")}
            epochs = {epoch: values for epoch, values in epochs.items() if epoch < min(begun, default=math.inf)}
            for row in rows:
                if row.get("epoch"):
                    at = epochs.setdefault(int(float(row["epoch"])) + 1, {})
                    at.update({key: float(value) for key, value in row.items() if value and key != "epoch"})
        return cls(epochs)

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Epochs that have a value of this name, and the values."""
        found = [(epoch, values[key]) for epoch, values in sorted(self.epochs.items()) if key in values]
        return [epoch for epoch, _ in found], [value for _, value in found]

    def layers(self, prefix: str) -> list[str]:
        """Names of the layers that have a series `PREFIX/LAYER`, in the order of the log."""
        keys = dict.fromkeys(key for values in self.epochs.values() for key in values)
        return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]

    @property
    def stretches(self) -> list[Stretch]:
        """The phases, in order."""
        found: list[Stretch] = []
        for epoch, index in zip(*self.series("phase/index"), strict=True):
            phase = list(Phase)[int(index)]
            if found and found[-1].phase is phase:
                found[-1] = Stretch(phase, found[-1].first, epoch)
            else:
                found.append(Stretch(phase, epoch, epoch))
        return found


@dataclass(frozen=True)
class Record:
    """A run's result, layers and history.

    Args:
        folder: of the run.
        result: result.json.
        rows: layers.csv, a row per operation.
        history: of its training.
    """

    folder: Path
    result: Mapping[str, Any]
    rows: list[dict[str, str]]
    history: History

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read a run's directory.

        Raises:
            UserError: it holds no result of a search, or one that cannot be read.
        """
        path = folder / "result.json"
        if not path.is_file():
            raise UserError(f"{folder} has no result.json: is it the directory of a search that has ended?")
        try:
            return cls(folder, json.loads(path.read_text()), _rows(folder / "layers.csv"), History.read(folder))
        except (ValueError, KeyError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error

    @property
    def title(self) -> str:
        """Network, data and device."""
        return f"{self.result['model']['name']} · {self.result['data']['name']} · {self.result['hw']['name']}"

    @property
    def goal(self) -> str:
        """The goal in words."""
        return goal_in_words(self.result["goal"])

    @property
    def wanted_speedup(self) -> float | None:
        """The goal as a multiple of the dense throughput; None where it is none."""
        goal, dense = self.result["goal"], self.result["dense"]["estimate"]["throughput_ips"]
        if goal["kind"] == "target_speedup":
            return float(goal["value"])
        return float(goal["value"]) / float(dense) if goal["kind"] == "target_throughput" else None

    @property
    def limits(self) -> Mapping[str, float]:
        """Resources that count, and how much of them may be used, as a fraction of the device's."""
        hw = self.result["config"]["hw"]
        return {name: usable(hw, name) for name in RESOURCES if name in hw["limits"]}

    @cached_property
    def layers(self) -> list[Layer]:
        """The compute layers, in the order of the network."""
        searched, dense = (
            {row["name"]: row for row in self.result[name]["estimate"]["layers"]} for name in ("sparse", "dense")
        )
        copies, before = (self.result[name]["estimate"]["replicas"] for name in ("sparse", "dense"))

        def needed(row: Mapping[str, Any], replicas: int) -> float:
            return float(row["interval_cycles"] * row["urgency"] / replicas)

        return [
            Layer(
                row["layer"], row["kind"], int(row["macs"]), float(row["weight_density"]),
                float(row["activation_density"]), float(row["pair_density"]), needed(searched[row["layer"]], copies),
                needed(dense[row["layer"]], before), searched[row["layer"]]["urgency"], row["bound"], row["engine"],
                float(row["price"] or 0),
            )
            for row in self.rows if row["pair_density"]
        ]  # fmt: skip

    @property
    def prices(self) -> tuple[list[int], list[list[float]]]:
        """Epochs in which the hardware named prices, and for every layer its prices in them."""
        log, names = self.history.epochs, [layer.name for layer in self.layers]
        epochs = [epoch for epoch in sorted(log) if any(key.startswith("price/") for key in log[epoch])]
        return epochs, [[log[epoch].get(f"price/{name}", 0.0) for epoch in epochs] for name in names]

    def interval(self, column: str) -> float:
        """Cycles between two images of the whole device, of `dense` or `sparse`."""
        estimate = self.result[column]["estimate"]
        return float(estimate["interval_cycles"]) / int(estimate["replicas"])


def goal_in_words(goal: Mapping[str, Any]) -> str:
    """A goal of result.json as people say it."""
    value = float(goal["value"])
    return {
        "target_speedup": f"{value:g}× throughput",
        "target_throughput": f"{value:,.0f} images/s",
        "max_accuracy_drop": f"at most {100 * value:g} points of validation accuracy lost",
        "penalty": f"penalty λ = {value:g}",
    }[goal["kind"]]


def usable(hw: Mapping[str, Any], resource: str) -> float:
    """The fraction of a resource that designs may use, by the settings of `hw`."""
    return float(hw.get(f"max_{resource.removesuffix('18')}_utilization", 1.0))


def flat(settings: Mapping[str, Any], between: str = ".", before: str = "") -> dict[str, Any]:
    """Nested settings as one level, their keys joined; lists stay as they are."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{before}{key}"
        found.update(flat(value, between, f"{name}{between}") if isinstance(value, Mapping) else {name: value})
    return found


def _lineage(run: Path) -> Iterable[Path]:
    """A run, the one it went on with, the one that went on with, …"""
    seen: set[Path] = set()
    while run not in seen and (run / METRICS).is_file():
        seen.add(run)
        yield run
        if not (run / ORIGIN).is_file():
            return
        run = Path((run / ORIGIN).read_text())


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
