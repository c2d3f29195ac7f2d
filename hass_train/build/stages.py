"""The stages from a finished search to a bitstream: each is kept in build.json when it has ended, and not repeated."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from hass_train.build.fingerprints import code_digest, fingerprint, folder_digest, placing_digest
from hass_train.build.inputs import Inputs
from hass_train.build.plan import Plan, plan
from hass_train.build.sources import write
from hass_train.build.texts import write_texts
from hass_train.build.verify import Verified, verify
from hass_train.export.design import DESIGN
from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.estimate import Resources
from hass_train.precision.integer_network import INTEGERS, INTEGERS_JSON
from hass_train.results.build import (
    RTL,
    STAGES,
    Build,
    BuiltLayer,
    Generation,
    Placement,
    Synthesis,
    Verification,
    total,
)
from hass_train.rtl.board import CHIPS, place_board, require_ecppack
from hass_train.rtl.parts import Parts
from hass_train.rtl.place import require_nextpnr
from hass_train.rtl.simulate import require_verilator
from hass_train.rtl.synthesise import FLOWS, require_yosys, yosys_version
from hass_train.runtime.errors import UserError, unknown
from hass_train.runtime.files import AnyPath

Images = Callable[[int], Tensor]
"""Gives a number of a run's validation images, (n, channels, height, width)."""
NETLISTS, BITSTREAM = "netlists", "board.bit"
_TOOLS = {"verify": (require_verilator,), "synthesise": (require_yosys,), "place": (require_nextpnr, require_ecppack)}


@dataclass(frozen=True)
class Wanted:
    """What is to be done.

    Args:
        stages: names of stages, in any order; what they need is done before. None = all that the device allows.
        images: number of validation images for `verify`.
        probe: whether `verify` compares the streams between layers too.

    Raises:
        UserError: there is no such stage, or there are no images.
    """

    stages: tuple[str, ...] | None = None
    images: int = 32
    probe: bool = False

    def __post_init__(self) -> None:
        if self.stages == ():
            raise UserError(f"--stages names none; choose from {', '.join(STAGES)}")
        for stage in self.stages or ():
            if stage not in STAGES:
                raise unknown("stage", stage, STAGES)
        if self.images < 1:
            raise UserError(f"--images is {self.images}; it must be ≥ 1")


def build(folder: AnyPath, wanted: Wanted, images: Images, told: Callable[[str], None] = lambda message: None) -> Build:
    """Build the accelerator of a finished search, as far as it is not built.

    Args:
        folder: the run's directory, in which `rtl/` and build.json are written.
        wanted: what is to be done.
        images: where validation images come from; asked only if some are played.
        told: called with what is being done, a few words at a time.

    Returns:
        What is known of the accelerator then. Where words differed, later stages are left out.

    Raises:
        UserError: a file of the run is missing or contradicts another one, the design cannot be generated, or a tool is
            missing or fails; one line.
        OSError: a file cannot be written. What earlier stages found is kept.
    """
    builder = _Builder(Path(folder), wanted, images, told)
    builder.check_tools()
    for stage in builder.stages:
        if not builder.is_done(stage):
            told(stage)
            builder.do(stage)
        if stage == "verify" and builder.build.verify is not None and builder.build.verify.mismatch:
            break
    return builder.build


class _Builder:
    """The stages of one run.

    Attributes:
        build: what is known of its accelerator.
    """

    def __init__(self, folder: Path, wanted: Wanted, images: Images, told: Callable[[str], None]) -> None:
        self.folder, self.wanted, self.images, self.told = folder, wanted, images, told
        self.inputs = Inputs.read(folder)
        device = self.inputs.device
        if wanted.stages and "place" in wanted.stages and device.name not in CHIPS:
            raise UserError(
                f"{device.name} cannot be placed: nextpnr places {', '.join(CHIPS)}; leave place out, or search with "
                "hw=ecp5_85k"
            )
        known = Build.load(folder)
        self.build = known or Build(self.inputs.design.network, device.name, device.clock_mhz)

    @property
    def rtl(self) -> Path:
        """The folder of the accelerator."""
        return self.folder / RTL

    @property
    def parts(self) -> Parts:
        """The accelerator for the synthesiser; netlists outlive another design's generation."""
        family = self.inputs.device.family
        return Parts(self.rtl, self.rtl / "elaborated", self.folder / NETLISTS, family)

    @cached_property
    def stages(self) -> Sequence[str]:
        """The stages that are asked for, and those that these need, in order."""
        asked = self.wanted.stages
        if asked is None:
            asked = STAGES if self.inputs.device.name in CHIPS else STAGES[:-1]
        needed = {"generate", *asked, *(["synthesise"] if "place" in asked else [])}
        return [stage for stage in STAGES if stage in needed]

    @cached_property
    def plan(self) -> Plan:
        """The accelerator's instances and wires."""
        return plan(self.inputs.design, self.inputs.network, self.inputs.device.family)

    # ---- what is done ----------------------------------------------------------------------------------------------

    def check_tools(self) -> None:
        """Raise UserError for a tool that is missing and needed."""
        left = [stage for stage in self.stages if not self.is_done(stage)]
        for stage in left:
            for require in _TOOLS.get(stage, ()):
                require()

    def is_done(self, stage: str) -> bool:
        """Whether a stage has ended with what it would be made from now, and its files are as it left them."""
        known = getattr(self.build, stage)
        if known is None or known.fingerprint != self.fingerprint(stage):
            return False
        if stage == "generate":
            return bool(known.digest == folder_digest(self.rtl))
        return stage != "place" or (self.folder / known.bitstream).is_file()

    def fingerprint(self, stage: str) -> str:
        """Of all that decides what a stage finds."""
        if stage == "generate":
            files = (self.folder / name for name in (DESIGN, INTEGERS_JSON, INTEGERS))
            return fingerprint(code_digest(), *(file.read_bytes() for file in files))
        generated = self.build.generate.digest if self.build.generate else ""
        if stage == "verify":
            data = self.inputs.result.config.get("data")
            return fingerprint(generated, self.wanted.images, self.wanted.probe, data)
        device = self.inputs.device
        flows = {key: flow for key, flow in FLOWS.items() if key[0] == device.family}
        placing = [placing_digest()] if stage == "place" else []
        return fingerprint(generated, stage, device.family, device.name, flows, *placing)

    def do(self, stage: str) -> None:
        """Do a stage, and keep what it found."""
        self.build = getattr(self, f"_{stage}")(time.monotonic())
        self.build.save(self.folder)

    def _generate(self, started: float) -> Build:
        """Write `rtl/` beside what is there, and put it in its place; everything that was found of another is void."""
        partly = self.folder / f"{RTL}.part"
        shutil.rmtree(partly, ignore_errors=True)
        partly.mkdir()
        write(self.plan, partly)
        write_texts(partly, self.inputs.design, self.inputs.device)
        digest = folder_digest(partly)
        known = self.build
        if digest == folder_digest(self.rtl):
            shutil.rmtree(partly)
        else:
            device = self.inputs.device
            known = Build(known.network, device.name, device.clock_mhz)
            known.save(self.folder)  # before files change that it says something of
            shutil.rmtree(self.rtl, ignore_errors=True)
            partly.rename(self.rtl)
        estimated = self.inputs.estimated
        layers = tuple(
            BuiltLayer(
                one.name, one.engine, dict(one.folds), tuple(one.instances), estimated.get(one.name, Resources())
            )
            for one in self.plan.layers
        )
        (part,) = self.inputs.design.parts
        simulation = self.inputs.simulation
        found = Generation(
            self.fingerprint("generate"), time.monotonic() - started, digest, len(self.plan.instances), layers,
            part.replicas, part.interval_cycles, self.inputs.latency_cycles,
            simulation.interval_cycles if simulation else None, simulation.latency_cycles if simulation else None,
        )  # fmt: skip
        return replace(known, generate=found)

    def _verify(self, started: float) -> Build:
        images = self.images(self.wanted.images)
        self.told(f"verify: {len(images)} images")
        free = self._played(images, stalls=False)
        words, mismatch = free.words, free.mismatch
        if not mismatch:
            self.told(f"verify: {len(images)} images, with stalls")
            held = self._played(images, stalls=True)
            words, mismatch = words + held.words, f"with stalls, {held.mismatch}" if held.mismatch else ""
        found = replace(self.build, verify=Verification(
            self.fingerprint("verify"), time.monotonic() - started, len(images), self.wanted.probe, words, mismatch,
            free.interval_cycles, free.latency_cycles, dict(free.peaks),
        ))  # fmt: skip
        if found.place is None or found.interval_cycles is None:
            return found
        measured = found.throughput_ips(found.interval_cycles, found.place.mhz)
        return replace(found, place=replace(found.place, throughput_ips=measured))

    def _played(self, images: Tensor, stalls: bool) -> Verified:
        """Images played by Verilator."""
        held = int(ceil_div(self.inputs.latency_cycles, self.plan.interval))
        return verify(self.rtl, self.plan, self.inputs.network, images, stalls, self.wanted.probe, held=held)

    def _synthesise(self, started: float) -> Build:
        device = self.inputs.device
        parts = self.parts
        for done, count in parts.complete(os.cpu_count() or 1):
            self.told(f"synthesise: {done} of {count} parts")
        costs = {part: Resources(dsp=c.dsp, bram18=c.bram, lut=c.lut, ff=c.ff) for part, c in parts.costs().items()}
        owners = self.owners
        taken: dict[str, list[Resources]] = {one.layer: [] for one in self.plan.instances}
        for instance, part in parts.instances().items():
            taken[owners[instance]].append(costs[part])
        layers = {name: total(several) for name, several in taken.items()}
        found = Synthesis(
            self.fingerprint("synthesise"), time.monotonic() - started, yosys_version(), device.family, layers,
            total(layers.values()),
        )  # fmt: skip
        return replace(self.build, synthesise=found)

    @property
    def owners(self) -> dict[str, str]:
        """The layer of every instance in top.sv."""
        found = dict[str, str]()
        for one in self.plan.instances:
            banks = [bank.name for ports in one.memories.values() for bank in ports.banks]
            found |= {f"{name}_i": one.layer for name in (one.name, *banks)}
        return found

    def _place(self, started: float) -> Build:
        device, chip = self.inputs.device, CHIPS[self.inputs.device.name]
        output = self.rtl / "placed"
        streams = (self.plan.input.layout.stream, self.plan.output.layout.stream)
        board = place_board(self.parts, streams, chip, round(device.clock_mhz), output)
        interval = self.build.interval_cycles
        assert interval is not None
        found = Placement(
            self.fingerprint("place"), time.monotonic() - started, chip.name, chip.package, board.mhz, board.used,
            board.available, board.pins, self.build.throughput_ips(interval, board.mhz),
            str((output / BITSTREAM).relative_to(self.folder)), board.slowest,
        )  # fmt: skip
        return replace(self.build, place=found)
