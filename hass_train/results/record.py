"""A finished run as its report needs it, read back from the run's own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hass_train.hardware.estimate import Estimate, LayerEstimate
from hass_train.results.history import History, rows_of
from hass_train.results.result import Result
from hass_train.runtime.errors import UserError

Column = Literal["dense", "sparse"]


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
        result: what its result.json says.
        rows: layers.csv, a row per operation.
        history: of its training.
    """

    folder: Path
    result: Result
    rows: list[dict[str, str]]
    history: History

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read a run's directory.

        Raises:
            UserError: it holds no result of a search, or one that cannot be read.
        """
        result = Result.load(folder)
        try:
            found = cls(folder, result, list(rows_of(folder / "layers.csv")), History.read(folder))
            found.layers  # noqa: B018 - what is missing is told here
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"the logs and layers.csv of {folder} do not go with its result.json ({type(error).__name__}: {error})"
            ) from error
        return found

    @property
    def charts(self) -> list[str]:
        """What the run has something to show in, in the order of its report."""
        there = {
            "resources": not self.sequential,  # an array is taken whole
            "history": bool(self.history.epochs), "trials": bool(self.result.spent.front),
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
        return self.result.sparse.estimate.sequential

    @property
    def folds(self) -> list[str]:
        """What a design's folds (of an array, its tiles) are called."""
        return list(dict.fromkeys(name for row in self.result.sparse.estimate.layers for name in row.folds))

    @property
    def title(self) -> str:
        """Network, data and device."""
        return self.result.title

    @property
    def goal(self) -> str:
        """The goal in words."""
        return self.result.goal.words

    @property
    def wanted_speedup(self) -> float | None:
        """The goal as a multiple of the dense throughput; None where it asks for something else."""
        target = self.result.goal.target_ips
        return None if target is None else target / self.result.dense.estimate.throughput_ips

    @property
    def limits(self) -> Mapping[str, float]:
        """Resources that count, and how much of them may be used, as a fraction of the device's."""
        return self.result.sparse.estimate.limits

    def estimate(self, column: Column) -> Estimate:
        """The estimate of the dense or of the searched network."""
        return (self.result.dense if column == "dense" else self.result.sparse).estimate

    @cached_property
    def layers(self) -> list[Layer]:
        """The compute layers, in the order of the network."""
        sparse, dense = self.estimate("sparse"), self.estimate("dense")
        searched, before = ({row.name: row for row in one.layers} for one in (sparse, dense))

        def needed(estimate: Estimate, row: LayerEstimate) -> float:
            return row.interval_cycles * row.urgency / estimate.parts[row.part].replicas

        found = []
        for row in self.rows:
            if not row["pair_density"]:
                continue
            layer = searched[row["layer"]]
            found.append(Layer(
                layer.name, float(row["weight_density"]), float(row["activation_density"]), float(row["pair_density"]),
                needed(sparse, layer), needed(dense, before[layer.name]),
                layer.interval_cycles * layer.urgency / sparse.parts[layer.part].interval_cycles,
                layer.urgency, layer.bound,
            ))  # fmt: skip
        return found

    @property
    def prices(self) -> tuple[list[int], list[list[float]], float]:
        """Epochs in which the hardware named prices, for every layer its prices in them, and the price that a
        logarithmic scale begins with: a thousandth of the highest."""
        log, names = self.history.epochs, [layer.name for layer in self.layers]
        epochs = [epoch for epoch in sorted(log) if any(key.startswith("price/") for key in log[epoch])]
        grid = [[log[epoch].get(f"price/{name}", 0.0) for epoch in epochs] for name in names]
        return epochs, grid, 1e-3 * max(max(map(max, grid)), 1e-9)  # where nothing was worth anything, too

    def parts(self, column: Column) -> int:
        """Into how many configurations, one after another, a design is cut; 1 = it is whole."""
        return len(self.estimate(column).parts)

    @property
    def beyond(self) -> dict[str, float]:
        """Resources that the searched design has more of than the device, because they were not to count."""
        used = self.result.sparse.estimate.utilization
        return {name: share for name, share in used.items() if share > 1.005}

    def interval(self, column: Column) -> float:
        """Cycles between two images of the whole device, of the dense or of the searched design."""
        estimate = self.estimate(column)
        return estimate.interval_cycles / estimate.replicas


def flat(settings: Mapping[str, Any], between: str = ".", before: str = "") -> dict[str, Any]:
    """Nested settings as one level, their keys joined; lists stay as they are."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{before}{key}"
        found.update(flat(value, between, f"{name}{between}") if isinstance(value, Mapping) else {name: value})
    return found
