"""What a search ends with: one dataclass, one result.json, the same for every engine."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hass_train.hardware import Estimate, SparsityProfile
from hass_train.runtime.files import write_text

SCHEMA = 1


@dataclass(frozen=True)
class DenseNetwork:
    """The network at the end of warm-up on dense engines. Accuracies are fractions."""

    val_acc: float
    test_acc: float
    estimate: Estimate


@dataclass(frozen=True)
class NaturalNetwork:
    """The dense network on sparse engines, which profit from the zeros it has anyway."""

    pair_sparsity: float
    profile: SparsityProfile
    estimate: Estimate


@dataclass(frozen=True)
class SparseNetwork:
    """The searched and recovered network on sparse engines. Pair sparsity is weighted by MACs."""

    val_acc: float
    test_acc: float
    weight_sparsity: float
    activation_sparsity: float
    pair_sparsity: float
    profile: SparsityProfile
    estimate: Estimate


@dataclass(frozen=True)
class Outcome:
    """The goal, whether it was met, and what binds the design."""

    kind: str
    value: float
    met: bool
    binding: str


@dataclass(frozen=True)
class Result:
    """A finished search.

    Args:
        engine: that searched.
        model: name, params, macs, input_size.
        hw: name, kind.
        data: name.
        dense, natural, sparse: the three columns.
        goal: met or not.
        spent: by the search itself: `trials`, `images` (evaluated on or learned from), `seconds`; the `front` of its
            trials, and which was `chosen`.
        wall_s: seconds of warmup, search, recover, hardware, total.
        seed, config, command: to repeat it.
        simulation: what `simulation.DesignSimulation` measured, if it was asked for.
    """

    engine: str
    model: dict[str, Any]
    hw: dict[str, Any]
    data: dict[str, Any]
    dense: DenseNetwork
    natural: NaturalNetwork
    sparse: SparseNetwork
    goal: Outcome
    spent: dict[str, Any]
    wall_s: dict[str, float]
    seed: int
    config: dict[str, Any] = field(repr=False)
    command: str = ""
    simulation: dict[str, Any] | None = None

    @property
    def gain(self) -> dict[str, float]:
        """Throughput and efficiency over dense, and the test accuracy that was lost."""
        dense, sparse = self.dense.estimate, self.sparse.estimate
        return {
            "throughput": sparse.throughput_ips / dense.throughput_ips,
            "efficiency": sparse.efficiency / dense.efficiency,
            "accuracy_drop": self.dense.test_acc - self.sparse.test_acc,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the content of result.json."""
        packages = ("torch", "pytorch-lightning", "timm", "hydra-core", "numpy", "scipy", "optuna")
        sparse = self.sparse
        return {
            "schema": SCHEMA,
            "engine": self.engine,
            "model": self.model,
            "hw": self.hw,
            "data": self.data,
            "dense": {
                "val_acc": self.dense.val_acc,
                "test_acc": self.dense.test_acc,
                "estimate": self.dense.estimate.to_dict(),
            },
            "natural": {
                "pair_sparsity": self.natural.pair_sparsity,
                "estimate": self.natural.estimate.to_dict(),
            },
            "sparse": {
                "val_acc": sparse.val_acc,
                "test_acc": sparse.test_acc,
                "weight_sparsity": sparse.weight_sparsity,
                "activation_sparsity": sparse.activation_sparsity,
                "pair_sparsity": sparse.pair_sparsity,
                "estimate": sparse.estimate.to_dict(),
            },
            "gain": self.gain,
            "goal": asdict(self.goal),
            "spent": self.spent,
            "simulation": self.simulation,
            "wall_s": self.wall_s,
            "seed": self.seed,
            "versions": {
                "hass-train": version("hass-train"),
                "python": platform.python_version(),
                **{name: version(name) for name in packages},
            },
            "command": self.command,
            "config": self.config,
        }

    def save(self, path: Path) -> None:
        """Write result.json."""
        write_text(path, json.dumps(self.to_dict(), indent=1))
