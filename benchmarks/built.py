"""Whole accelerators as estimated and as synthesised: two networks, several devices and kinds of compute engine.

    python -m benchmarks.built              # all designs: some hours on two cores, most of them Yosys'
    python -m benchmarks.built resnet18     # those whose names begin so
    python -m benchmarks.built --again      # designs anew, of the same searches: after a change of the model
    python -m benchmarks.built --table      # makes nothing: the table of what is there

Both networks are searched once on digits of 32 pixels, with a training as short as can be: what is measured is the
hardware. Then a design is made for every device and choice of engines, and generated and synthesised part by part
(`hass_train.build`). All lies in runs/built/ and is not repeated; a part that several designs have is synthesised once.
The table of errors is printed, and is part of benchmarks/results/built.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from hass_train.build.stages import NETLISTS, Wanted, build
from hass_train.config.schema import ModelConfig
from hass_train.export.design import DESIGN, save_design
from hass_train.export.profile import load_profile
from hass_train.hardware import DataflowAccelerator, DataflowOptions, load_device
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.design import design_of
from hass_train.precision.integer_network import INTEGERS, INTEGERS_JSON
from hass_train.results.build import BUILD, Build
from hass_train.results.result import Result
from hass_train.training.networks import create_network, deployed, traced
from hass_train.training.replay import validation_images

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "built"
SEARCHES = {
    "resnet18": ["model=resnet18", "+model.kwargs.channels=[8,16,32,64]", "hw=ecp5_85k", "hw.max_dsp_utilization=0.9",
                 "hw.compute_engines=[dense,activation,weight,pair]"],
    "mobilenetv3": ["model=mobilenetv3", "hw=zc706"],
}  # fmt: skip
SHORT = [
    "data=digits", "data.size=32", "precision=int8", "search.warmup.epochs=1", "search.search.epochs=1",
    "search.recover.epochs=1", "hw.buildable=true", "simulate=true",
]  # fmt: skip
WIDTHS = {"weight_bits": 8, "activation_bits": 8, "accumulator_bits": 32}  # of precision=int8
DENSE, WEIGHT, ACTIVATION, PAIR, CROSSBAR = (
    ComputeEngine(name) for name in ("dense", "weight", "activation", "pair", "crossbar")
)
LIMITS = {"lut": (10, "LUT"), "ff": (10, "FF"), "dsp": (3, "DSP"), "bram18": (3, "block RAM")}
"""Largest errors that are wanted, percent."""


@dataclass(frozen=True)
class Case:
    """One design.

    Args:
        network: what is searched.
        device: what it is built for.
        engines: the kinds of compute engine that it may have.
        share: of the device's DSPs.
    """

    network: str
    device: str
    engines: tuple[ComputeEngine, ...]
    share: float = 1.0

    @property
    def name(self) -> str:
        """The name of its directory."""
        kinds = "+".join(one.value for one in self.engines)
        return f"{self.network}-{self.device}-{kinds}"

    @property
    def folder(self) -> Path:
        """Its directory."""
        return RUNS / self.name


CASES = (
    Case("resnet18", "ecp5_85k", (DENSE,), 0.9),
    Case("resnet18", "zedboard", (DENSE, WEIGHT)),
    Case("resnet18", "ecp5_85k", (DENSE, ACTIVATION, WEIGHT, PAIR), 0.9),
    Case("mobilenetv3", "zc706", (DENSE,), 0.25),
    Case("mobilenetv3", "zc706", (DENSE, WEIGHT), 0.25),
    Case("mobilenetv3", "zc706", (DENSE, ACTIVATION, WEIGHT, PAIR, CROSSBAR), 0.25),
    Case("resnet18", "zedboard", (DENSE, ACTIVATION, WEIGHT, PAIR, CROSSBAR)),
)


def searched(network: str) -> Path:
    """The run directory of a searched network; searched now if there is none."""
    folder = RUNS / network
    if not (folder / "result.json").is_file():
        command = [sys.executable, "search.py", *SEARCHES[network], *SHORT, "logger=csv", f"hydra.run.dir={folder}"]
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def designed(case: Case) -> None:
    """Make the design of a case, in a directory that `hass_train.build` reads like that of a search."""
    run = searched(case.network)
    result, profile = Result.load(run), load_profile(run)
    network = deployed(create_network(ModelConfig(name=result.model.name), **result.model.arguments))
    workload = traced(network, result.model.input_size, result.model.name)
    device = load_device(case.device)
    options = DataflowOptions(
        compute_engines=case.engines, buildable=True, max_replicas=1, tolerance=0.01, max_dsp_utilization=case.share,
        **WIDTHS,
    )  # fmt: skip
    estimate = DataflowAccelerator(device, options).estimate(workload, profile)
    case.folder.mkdir(parents=True, exist_ok=True)
    for name in (INTEGERS, INTEGERS_JSON):
        shutil.copy(run / name, case.folder)
    hardware = {**asdict(device), **asdict(options)}
    save_design(case.folder / DESIGN, design_of(workload, estimate, hardware), workload, estimate)
    replace(result, sparse=replace(result.sparse, estimate=estimate), simulation=None).save(case.folder / "result.json")


def synthesised(case: Case) -> Build:
    """The case as it was built; built now as far as it is not."""
    if not (case.folder / "result.json").is_file():
        designed(case)
    for other in RUNS.glob(f"*/{NETLISTS}/*"):  # netlists are named by what they are made from
        mine = case.folder / NETLISTS / other.name
        if not mine.exists():
            mine.parent.mkdir(exist_ok=True)
            mine.hardlink_to(other)
    images = partial(validation_images, case.folder)  # asked by no stage but `verify`
    return build(case.folder, Wanted(("synthesise",)), images, lambda what: print(f"  {what}", flush=True))


def table() -> Iterator[str]:
    """The lines of the table, of all cases that are there."""
    yield "| network | device | engines | images/s | " + " | ".join(words for _, words in LIMITS.values()) + " |"
    yield "|---" * (4 + len(LIMITS)) + "|"
    for case in CASES:
        found = Build.load(case.folder) if (case.folder / BUILD).is_file() else None
        if found is None or found.synthesise is None or found.generate is None:
            continue
        estimated, real, cells = found.estimated, found.synthesise.total, []
        for name, (limit, _) in LIMITS.items():
            guess, count = getattr(estimated, name), getattr(real, name)
            error = 100 * (guess / max(count, 1) - 1)
            cells.append(f"{guess:,} / {count:,}, {error:+.1f} %" + " (!)" * (abs(error) > limit))
        kinds = ", ".join(dict.fromkeys(one.engine for one in found.generate.layers if one.engine != "stream"))
        rate = found.throughput_ips(found.generate.estimated_cycles)
        yield f"| {case.network} | {case.device} | {kinds} | {rate:,.0f} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="with what names of designs begin; all by default")
    parser.add_argument("--again", action="store_true", help="make designs anew")
    parser.add_argument("--table", action="store_true", help="make nothing")
    given = parser.parse_args()
    for case in () if given.table else CASES:
        if not given.names or any(case.name.startswith(name) for name in given.names):
            print(case.name, flush=True)
            if given.again:
                designed(case)
            synthesised(case)
    print("\n".join(table()))


if __name__ == "__main__":
    main()
