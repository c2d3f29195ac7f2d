"""What building an accelerator found: build.json, a part for each stage that has ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hass_train.hardware.estimate import Resources
from hass_train.rtl.slow_path import SlowPath
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath, write_text
from hass_train.runtime.plain import from_plain, layout, to_plain

BUILD = "build.json"
RTL = "rtl"
"""The folder of a run's directory that holds its accelerator."""
SCHEMA = 1
STAGES = ("generate", "verify", "synthesise", "place")
"""The stages in their order, by the names that `--stages` and build.json have for them."""


@dataclass(frozen=True)
class BuiltLayer:
    """One layer of the generated accelerator.

    Args:
        name: as in design.json.
        engine: kind of its compute engines; `stream` without any.
        folds: parallelism by name.
        instances: names of its instances in top.sv.
        estimated: what the design says that it takes.
    """

    name: str
    engine: str
    folds: Mapping[str, int]
    instances: tuple[str, ...]
    estimated: Resources


@dataclass(frozen=True)
class Generation:
    """The generated accelerator.

    Args:
        fingerprint: of what it was made from.
        seconds: how long it took.
        digest: of all files that were written.
        instances: number of modules in it.
        layers: layers of the design, in order, each with its folds, its kind of compute engine and the names of its
            instances in top.sv.
        replicas: how many of it the design puts on the device; top.sv is one.
        estimated_cycles, estimated_latency: cycles between two images, and of one image, of one replica, by the
            analytical model.
        simulated_cycles, simulated_latency: likewise by the simulator; None where the run was not simulated.
    """

    fingerprint: str
    seconds: float
    digest: str
    instances: int
    layers: tuple[BuiltLayer, ...]
    replicas: int
    estimated_cycles: int
    estimated_latency: int
    simulated_cycles: float | None = None
    simulated_latency: int | None = None


@dataclass(frozen=True)
class Verification:
    """The accelerator played by Verilator on validation images.

    Args:
        fingerprint, seconds: see `Generation`.
        images: number of images.
        probed: whether the streams between layers were compared too.
        words: output words that were compared, over all plays.
        mismatch: what differed first, with the layer's name; empty if nothing did.
        interval_cycles: measured cycles between two images where nobody stalls.
        latency_cycles: measured cycles from an image's first word to its last answer, in an empty accelerator.
        fifo_peaks: most words that were in each FIFO, by name.
    """

    fingerprint: str
    seconds: float
    images: int
    probed: bool
    words: int
    mismatch: str
    interval_cycles: float
    latency_cycles: int
    fifo_peaks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Synthesis:
    """The accelerator synthesised by Yosys.

    Args:
        fingerprint, seconds: see `Generation`.
        tool: the synthesiser's version.
        family: what it was synthesised for, `xc7` or `ecp5`.
        layers: what each layer takes, by name.
        total: what the accelerator takes.
    """

    fingerprint: str
    seconds: float
    tool: str
    family: str
    layers: Mapping[str, Resources]
    total: Resources


@dataclass(frozen=True)
class Placement:
    """The accelerator placed and routed by nextpnr.

    Args:
        fingerprint, seconds: see `Generation`.
        chip, package: as nextpnr names them.
        mhz: the clock that it reaches.
        used, available: cells by nextpnr's names, such as TRELLIS_COMB (LUT4), TRELLIS_FF, MULT18X18D and DP16KD.
        pins: pins of the ports.
        throughput_ips: images/s at that clock, with the measured interval where it was verified.
        bitstream: path of the bitstream, from the run's directory.
        slowest: what limits the clock; None in files of before it was kept.
    """

    fingerprint: str
    seconds: float
    chip: str
    package: str
    mhz: float
    used: Mapping[str, int]
    available: Mapping[str, int]
    pins: int
    throughput_ips: float
    bitstream: str
    slowest: SlowPath | None = None


def total(several: Iterable[Resources]) -> Resources:
    """The sum of some resources."""
    rows = list(several)
    return Resources(*(sum(getattr(row, one.name) for row in rows) for one in fields(Resources)))


@layout(also=("schema",))
@dataclass(frozen=True)
class Build:
    """What is known of a run's accelerator; a stage that has not ended is None.

    Args:
        network, device: their names.
        clock_mhz: the clock that the design was made for.
        generate, verify, synthesise, place: what the stages found.
    """

    network: str
    device: str
    clock_mhz: float
    generate: Generation | None = None
    verify: Verification | None = None
    synthesise: Synthesis | None = None
    place: Placement | None = None

    @property
    def schema(self) -> int:
        """The version of build.json."""
        return SCHEMA

    @property
    def interval_cycles(self) -> float | None:
        """The best known cycles between two images: measured, or else estimated; None before anything was built."""
        if self.verify is not None and not self.verify.mismatch:
            return self.verify.interval_cycles
        return None if self.generate is None else float(self.generate.estimated_cycles)

    @property
    def estimated(self) -> Resources:
        """What the design says that the accelerator takes."""
        return total(layer.estimated for layer in self.generate.layers) if self.generate else Resources()

    def throughput_ips(self, cycles: float, mhz: float | None = None) -> float:
        """Images/s at an interval of some cycles, at the design's clock or another one."""
        return (self.clock_mhz if mhz is None else mhz) * 1e6 / cycles

    def save(self, folder: AnyPath) -> None:
        """Write build.json into a run's directory, whole or not at all."""
        write_text(Path(folder) / BUILD, json.dumps(to_plain(self), indent=1))

    @classmethod
    def load(cls, folder: AnyPath) -> Build | None:
        """Read the build.json of a run; None if it has none.

        Raises:
            UserError: it cannot be read, or another version wrote it; one line.
        """
        path = Path(folder) / BUILD
        if not path.is_file():
            return None
        again = "delete it to build again"
        try:
            data: Any = json.loads(path.read_text())
            if not isinstance(data, dict) or data.get("schema") != SCHEMA:
                schema = data.get("schema") if isinstance(data, dict) else None
                raise UserError(f"{path} has schema {schema!r}; this version reads {SCHEMA}: {again}")
            return from_plain(data, cls)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read: {error}; {again}") from error
