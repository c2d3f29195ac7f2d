"""A finished search as its report shows it, read back from the files in the run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hass_train.hardware.estimate import Estimate, LayerEstimate
from hass_train.results.build import Build
from hass_train.results.history import History, rows_of
from hass_train.results.legacy import with_present_engine
from hass_train.results.result import Result
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath

Column = Literal["dense", "sparse"]


@dataclass(frozen=True)
class Layer:
    """One compute layer of the searched network beside the same layer of the dense one.

    Args:
        name: the layer's module path.
        weight_density, activation_density, pair_density: the fractions of its weights, of the words of its input maps
            and of its weight–activation pairs that are not zero.
        cycles, dense_cycles: the cycles between two images that the layer alone would allow, searched and dense. They
            are divided by the number of replicas, and multiplied by `urgency` where whole maps wait for the layer, so
            that they can be compared with the pipeline's interval.
        share: the layer's part of the interval of its pipeline (of the part of the network that it belongs to).
        urgency: how many times faster than the pipeline the layer has to be.
        bound: what its cycles are made of, such as `compute` or `input`.
        engine, reason: its kind of compute engine, and why it is of that kind, in a few words.
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
    engine: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A run's result, its layers and its history.

    Args:
        folder: the run's directory.
        result: what its result.json says.
        rows: the rows of its layers.csv, one for each operation, by the names of the columns.
        history: what was logged of every epoch.
        build: what its build.json says; None before anything was built.
    """

    folder: Path
    result: Result
    rows: list[dict[str, str]]
    history: History
    build: Build | None = None

    @classmethod
    def read(cls, folder: AnyPath) -> Record:
        """Read what lies in a run's directory.

        Raises:
            UserError: it holds no result of a search, or one that cannot be read.
        """
        folder = Path(folder)
        result = Result.load(folder)
        try:
            rows = [with_present_engine(row) for row in rows_of(folder / "layers.csv")]
            found = cls(folder, result, rows, History.read(folder), Build.load(folder))
            found.layers  # noqa: B018 - what is missing is told here
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"the logs and layers.csv of {folder} do not go with its result.json ({type(error).__name__}: {error})"
            ) from error
        return found

    @property
    def charts(self) -> list[str]:
        """Names of the charts that the run has data for, in the order of its report."""
        there = {
            "resources": bool(self.result.sparse.estimate.available),  # an array is taken whole
            "history": bool(self.history.epochs), "trials": bool(self.result.spent.front),
            "prices": bool(self.history.layers("price/")), "built": bool(self.build and self.build.synthesise),
        }  # fmt: skip
        every = ("history", "trials", "pipeline", "layers", "resources", "prices", "built")
        return [name for name in every if there.get(name, True)]

    @property
    def curves(self) -> list[tuple[str, str, str]]:
        """The three curves by epoch: key in the log, title, and name of the colour. Where the search had no λ, the
        third is pair sparsity."""
        steered = bool(self.history.series("loss/lambda")[0])
        last = ("loss/lambda", "λ", "pairs") if steered else ("sparsity/pair", "pair sparsity", "pairs")
        return [("val/acc", "validation accuracy", "weights"), ("hw/speedup", "speed-up", "searched"), last]

    @property
    def sequential(self) -> bool:
        """Whether the accelerator runs one layer after another, as an array of cores does, and not all at once."""
        return self.result.sparse.estimate.sequential

    @property
    def folds(self) -> list[str]:
        """Names of the numbers that make a design: the folds of a pipeline, or the tiles of an array."""
        return list(dict.fromkeys(name for row in self.result.sparse.estimate.layers for name in row.folds))

    @property
    def title(self) -> str:
        """Network, data and device, for headings."""
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
        """The resources that count, and what fraction of the device's a design may use."""
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
                layer.urgency, layer.bound, layer.engine, layer.reason,
            ))  # fmt: skip
        return found

    @property
    def prices(self) -> tuple[list[int], list[list[float]], float]:
        """What the search paid for densities.

        Returns:
            The epochs in which the hardware named prices; for every layer a row with its price in each of them; and the
            price that a logarithmic scale begins with, a thousandth of the highest.
        """
        log, names = self.history.epochs, [layer.name for layer in self.layers]
        epochs = [epoch for epoch in sorted(log) if any(key.startswith("price/") for key in log[epoch])]
        grid = [[log[epoch].get(f"price/{name}", 0.0) for epoch in epochs] for name in names]
        return epochs, grid, 1e-3 * max(max(map(max, grid)), 1e-9)  # where nothing was worth anything, too

    def parts(self, column: Column) -> int:
        """How many configurations, one after another, a design is cut into; 1 for a design that fits whole."""
        return len(self.estimate(column).parts)

    @property
    def beyond(self) -> dict[str, float]:
        """What the searched design needs more of than the device has, since it was not to count: fractions of the
        device's, by resource."""
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
