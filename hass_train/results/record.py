"""A finished run as its report needs it, read back from the run's own files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hass_train.hardware.dataflow.options import LIMITS, DataflowOptions
from hass_train.results.history import History, rows_of
from hass_train.runtime.errors import UserError

_OLDER: Mapping[str, Any] = {"engine": "learned", "spent": {}, "simulation": None}
"""What results that older versions wrote do not say."""


@dataclass(frozen=True)
class Layer:
    """One compute layer of the searched network beside the dense one.

    Args:
        name: of the operation.
        weight_density, activation_density, pair_density: fractions that are not zero.
        cycles, dense_cycles: that it needs for an image of the whole device: divided by the number of replicas, and
            times `urgency` where whole maps wait for it, so that it can be compared with the pipeline's interval.
        share: of the interval of its pipeline: the whole one, or the part that it belongs to.
        urgency: how many times faster than the pipeline it has to be.
        bound: what its cycles are made of.
    """

    name: str
    weight_density: float
    activation_density: float
    pair_density: float
    cycles: float
    dense_cycles: float
    share: float
    urgency: int
    bound: str


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
            result = {**_OLDER, **json.loads(path.read_text())}
            found = cls(folder, result, list(rows_of(folder / "layers.csv")), History.read(folder))
            found.layers  # noqa: B018 - what is missing is told here
        except (ValueError, KeyError, TypeError) as error:
            written = (
                "" if not isinstance(error, KeyError) else "; it was written by an older version, or is no search's"
            )
            raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}){written}") from error
        return found

    @property
    def charts(self) -> list[str]:
        """What the run has something to show in, in the order of its report."""
        there = {
            "resources": not self.sequential,  # an array is taken whole
            "history": bool(self.history.epochs), "trials": bool(self.result["spent"].get("front")),
            "prices": bool(self.history.layers("price/")),
        }  # fmt: skip
        every = ("history", "trials", "pipeline", "layers", "resources", "prices")
        return [name for name in every if there.get(name, True)]

    @property
    def curves(self) -> list[tuple[str, str, str]]:
        """What is drawn by epoch: key of the log, title, and what colour it has. Without a λ, pair sparsity."""
        steered = bool(self.history.series("loss/lambda")[0])
        last = ("loss/lambda", "λ", "pairs") if steered else ("sparsity/pair", "pair sparsity", "pairs")
        return [("val/acc", "validation accuracy", "weights"), ("hw/speedup", "speed-up", "searched"), last]

    @property
    def sequential(self) -> bool:
        """Whether layers run one after another, as on an array of cores, and not all at once."""
        return bool(self.result["sparse"]["estimate"]["sequential"])

    @property
    def folds(self) -> list[str]:
        """What a design's folds (of an array, its tiles) are called."""
        rows = self.result["sparse"]["estimate"]["layers"]
        return list(dict.fromkeys(name for row in rows for name in row["folds"]))

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
        if "limits" not in hw:
            return {}
        options = DataflowOptions(**{key: value for key, value in hw.items() if key.endswith("_utilization")})
        return {name: 1.0 if name == "bandwidth" else options.usable(name) for name in LIMITS if name in hw["limits"]}

    @cached_property
    def layers(self) -> list[Layer]:
        """The compute layers, in the order of the network."""
        searched, dense = (
            {row["name"]: row for row in self.result[name]["estimate"]["layers"]} for name in ("sparse", "dense")
        )

        def part(column: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
            return self.result[column]["estimate"]["parts"][row["part"]]  # type: ignore[no-any-return]

        def needed(column: str, row: Mapping[str, Any]) -> float:
            return float(row["interval_cycles"] * row["urgency"] / part(column, row)["replicas"])

        def share(row: Mapping[str, Any]) -> float:
            return float(row["interval_cycles"] * row["urgency"] / part("sparse", row)["interval_cycles"])

        return [
            Layer(
                row["layer"], float(row["weight_density"]),
                float(row["activation_density"]), float(row["pair_density"]), needed("sparse", searched[row["layer"]]),
                needed("dense", dense[row["layer"]]), share(searched[row["layer"]]),
                searched[row["layer"]]["urgency"], row["bound"],
            )
            for row in self.rows if row["pair_density"]
        ]  # fmt: skip

    @property
    def prices(self) -> tuple[list[int], list[list[float]], float]:
        """Epochs in which the hardware named prices, for every layer its prices in them, and the price that a
        logarithmic scale begins with: a thousandth of the highest."""
        log, names = self.history.epochs, [layer.name for layer in self.layers]
        epochs = [epoch for epoch in sorted(log) if any(key.startswith("price/") for key in log[epoch])]
        grid = [[log[epoch].get(f"price/{name}", 0.0) for epoch in epochs] for name in names]
        return epochs, grid, 1e-3 * max(max(map(max, grid)), 1e-9)  # where nothing was worth anything, too

    def parts(self, column: str) -> int:
        """Into how many configurations, one after another, a design is cut; 1 = it is whole."""
        return len(self.result[column]["estimate"]["parts"])

    @property
    def beyond(self) -> dict[str, float]:
        """Resources that the searched design has more of than the device, because they were not to count."""
        used = self.result["sparse"]["estimate"]["utilization"]
        return {name: share for name, share in used.items() if share > 1.005}

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
        "sparsity": f"{100 * value:g} % of the weights zero",
    }[goal["kind"]]


def flat(settings: Mapping[str, Any], between: str = ".", before: str = "") -> dict[str, Any]:
    """Nested settings as one level, their keys joined; lists stay as they are."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{before}{key}"
        found.update(flat(value, between, f"{name}{between}") if isinstance(value, Mapping) else {name: value})
    return found
