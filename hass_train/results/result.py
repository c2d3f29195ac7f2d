"""What a search ends with: one dataclass, one result.json, the same for every engine, read back as it was written."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hass_train.hardware.estimate import Estimate
from hass_train.hardware.profile import SparsityProfile
from hass_train.results.legacy import COLUMNS, upgraded, with_present_engines
from hass_train.results.simulation import DesignSimulation
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath, write_text
from hass_train.runtime.plain import from_plain, layout, to_plain

SCHEMA = 2
RESULT = "result.json"
_PACKAGES = ("torch", "pytorch-lightning", "timm", "hydra-core", "numpy", "scipy", "optuna")


@dataclass(frozen=True)
class NetworkInfo:
    """The network that was searched.

    Args:
        name: as timm names it.
        params: number of its parameters.
        macs: multiply-accumulates of one image.
        input_size: channels, height and width of an image.
        arguments: the arguments that timm was called with, beside the name.
    """

    name: str
    params: int
    macs: int
    input_size: tuple[int, int, int]
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HardwareInfo:
    """The accelerator.

    Args:
        name: the device's name, as in `hw=`.
    """

    name: str


@dataclass(frozen=True)
class DataInfo:
    """The data set.

    Args:
        name: its name, as in `data=`.
    """

    name: str


@dataclass(frozen=True)
class DenseNetwork:
    """The network at the end of warm-up, on dense compute engines. Accuracies are fractions."""

    val_acc: float
    test_acc: float
    estimate: Estimate


@layout(without=("profile",))
@dataclass(frozen=True)
class NaturalNetwork:
    """The dense network on sparse compute engines, which profit from the zeros that it has anyway.

    Args:
        pair_sparsity: fraction of weight–activation pairs with a zero, weighted by multiply-accumulates.
        estimate: what the accelerator makes of it.
        profile: the measured sparsity of every layer; None in a result that was read back.
    """

    pair_sparsity: float
    estimate: Estimate
    profile: SparsityProfile | None = None


@layout(without=("profile",))
@dataclass(frozen=True)
class SparseNetwork:
    """The searched and recovered network on sparse compute engines.

    Args:
        val_acc, test_acc: accuracies on the validation and the test images, fractions.
        weight_sparsity, activation_sparsity: fractions of weights, and of words of input maps, that are zero.
        pair_sparsity: fraction of weight–activation pairs with a zero, weighted by multiply-accumulates.
        estimate: what the accelerator makes of it.
        profile: the measured sparsity of every layer; None in a result that was read back, since profile.json holds it.
        float_test_acc: test accuracy of the float twin, the same network without rounding, where `test_acc` is that of
            the integers; None where the network computes with floating-point numbers.
    """

    val_acc: float
    test_acc: float
    weight_sparsity: float
    activation_sparsity: float
    pair_sparsity: float
    estimate: Estimate
    profile: SparsityProfile | None = None
    float_test_acc: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The goal, whether it was met, and what binds the design.

    Args:
        name: the goal's name, such as `target_speedup`.
        value: the value that was asked for.
        words: the goal as people say it, such as "3× throughput".
        target_ips: the throughput that it asks for, images/s; None where it asks for something else.
        met: whether it was met; None where a goal cannot be missed, such as a fixed penalty.
        binding: the resource that binds the searched design.
    """

    name: str
    value: float
    words: str
    target_ips: float | None
    met: bool | None
    binding: str


@dataclass(frozen=True)
class TrialPoint:
    """One trial of a search by trials, before any recovery."""

    number: int
    val_acc: float
    throughput_ips: float
    pair_sparsity: float


@dataclass(frozen=True)
class Spent:
    """What the search itself cost, whichever engine it used.

    Args:
        trials: the number of networks that were tried.
        images: the number of images that they were evaluated on, or that the engine learned from.
        front: the trials that no other beats in both validation accuracy and throughput.
        chosen: number of the trial whose thresholds were taken; None where there are no trials.
        settled_ips: the throughput, images/s, that was taken instead where the goal would have destroyed the network;
            else None.
        seconds: how long the search phase took.
    """

    trials: int = 0
    images: int = 0
    front: tuple[TrialPoint, ...] = ()
    chosen: int | None = None
    settled_ips: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Gain:
    """The searched network against the dense one.

    Args:
        throughput, efficiency: the searched network's, as multiples of the dense one's.
        accuracy_drop: test accuracy that was lost, as a fraction of the test images.
    """

    throughput: float
    efficiency: float
    accuracy_drop: float


def _versions() -> dict[str, str]:
    installed = {name: version(name) for name in _PACKAGES}
    return {"hass-train": version("hass-train"), "python": platform.python_version(), **installed}


@layout(also=("gain",))
@dataclass(frozen=True)
class Result:
    """A finished search.

    Args:
        engine: the search engine's name, as in `search=`.
        model, hw, data: the network, the accelerator and the data.
        dense, natural, sparse: the three columns of the comparison.
        goal: what was asked for, and whether it was met.
        spent: what the search itself cost.
        wall_s: the seconds that each phase, the questions to the hardware, and the whole run took.
        seed, config, command: what it takes to repeat the run; `config` is the whole configuration as plain data.
        simulation: the simulation of the searched design on real images, if it was asked for.
        versions: the versions of Python and of the packages that decide the numbers.
    """

    engine: str
    model: NetworkInfo
    hw: HardwareInfo
    data: DataInfo
    dense: DenseNetwork
    natural: NaturalNetwork
    sparse: SparseNetwork
    goal: Outcome
    spent: Spent
    wall_s: Mapping[str, float]
    seed: int
    config: Mapping[str, Any] = field(repr=False)
    command: str = ""
    simulation: DesignSimulation | None = field(default=None, repr=False)
    versions: Mapping[str, str] = field(default_factory=_versions, repr=False)

    @property
    def gain(self) -> Gain:
        """The searched network against the dense one."""
        dense, sparse = self.dense.estimate, self.sparse.estimate
        return Gain(
            sparse.throughput_ips / dense.throughput_ips, sparse.efficiency / dense.efficiency,
            self.dense.test_acc - self.sparse.test_acc,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """Network, data and device."""
        return f"{self.model.name} · {self.data.name} · {self.hw.name}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the content of result.json."""
        return {"schema": SCHEMA, **to_plain(self)}

    def save(self, path: AnyPath) -> None:
        """Write the file."""
        write_text(path, json.dumps(self.to_dict(), indent=1))

    @classmethod
    def load(cls, folder: AnyPath) -> Result:
        """Read the result.json of a run, also one that an older version wrote (schema 1).

        Args:
            folder: directory of a search that has ended.

        Raises:
            UserError: there is no result.json, or it cannot be read; one line.
        """
        path = Path(folder) / RESULT
        if not path.is_file():
            raise UserError(f"{folder} has no {RESULT}: is it the directory of a search that has ended?")
        data = read_object(path)
        if data.get("schema") not in (1, SCHEMA):
            raise UserError(
                f"{path} has schema {data.get('schema')!r}; this version reads 1 and {SCHEMA}: take a newer "
                "HASS-Train, or run the search again"
            )
        try:
            present = upgraded(data) if data["schema"] == 1 else data
            named = {name: with_present_engines(present[name]) for name in COLUMNS if name in present}
            return from_plain({**present, **named}, cls)
        except ValueError as error:
            raise UserError(
                f"{path} cannot be read: {error}; it was written by a much older version, or is no search's"
            ) from error


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        UserError: the file cannot be read, or holds something else; one line.
    """
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: it is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} cannot be read: it holds a {type(data).__name__} where keys are expected")
    return data
