"""The analytical model against the cycle-level simulator, on searched networks.

    python benchmarks/truth.py            # all parts, Fashion-MNIST: about an hour on two cores, most of it training
    python benchmarks/truth.py --digits   # the quick mode: digits at 32 pixels
    python benchmarks/truth.py dense fifos

Parts: `dense` (dense designs, infinite FIFOs), `sparse` (searched networks, before and after the correction), `kinds`
(searched networks, each kind of compute engine that skips zeros), `fifos` (the rule for FIFO depths). Searched networks
are kept in runs/truth/ and used again.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from engines import opened

from hass_train.hardware import (
    CannotFit,
    DataflowAccelerator,
    DataflowOptions,
    SparsityProfile,
    Workload,
    load_device,
    trace,
)
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_kinds import KINDS
from hass_train.hardware.dataflow.simulator.depths import rule
from hass_train.hardware.dataflow.simulator.packing import NonZeros
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline, steady
from hass_train.hardware.dataflow.simulator.results import Deadlock
from hass_train.hardware.dataflow.simulator.stages import SKIPPING, StageDesign
from hass_train.results.result import Result
from hass_train.sparsity import calibrate
from hass_train.sparsity.nonzeros import observe_nonzeros

# isort: split
import timm  # after hass_train, which makes a torchvision without its operators importable

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RUNS = ROOT / "runs" / "truth"
DEVICES = ("u250", "zcu102", "zcu104")
FASHION = (
    "experiment=fashion_mnist", "data.size=64", "data.train_images=10000", "search.warmup.epochs=5",
    "search.search.epochs=4", "search.recover.epochs=3",
)  # fmt: skip
DIGITS = ("data=digits", "search.warmup.epochs=10", "search.search.epochs=8", "search.recover.epochs=4")
SEARCH = ("hw=u250", "search.default_density=0.3", "logger=csv")
IMAGES = 16  # as many as calibration looks at closely


def searched(model: str, digits: bool) -> Path:
    """The run directory of a searched network; searched now if there is none."""
    folder = RUNS / f"{model}-{'digits' if digits else 'fashion_mnist'}"
    if not (folder / "result.json").is_file():
        command = [sys.executable, "search.py", f"model={model}", *(DIGITS if digits else FASHION), *SEARCH]
        subprocess.run([*command, f"hydra.run.dir={folder}"], cwd=ROOT, check=True)
    return folder


def dense(_: bool) -> str:
    """Dense designs with infinite FIFOs: the analytical interval exactly."""
    lines = ["| network | device | analytical | simulated | ratio | seconds an image |", "|---|---|---|---|---|---|"]
    worst = 0.0
    for name in ("mobilenetv3_small_100", "resnet18", "efficientnet_b0", "mobilenetv2_100", "vit_tiny_patch16_224"):
        workload = trace(timm.create_model(name), (3, 224, 224), name)
        for device in DEVICES:
            accelerator = DataflowAccelerator(load_device(device), DataflowOptions(tolerance=0.01, partitions="never"))
            try:
                estimate = accelerator.estimate(workload, SparsityProfile.dense(workload))
            except CannotFit:
                lines.append(f"| {name} | {device} | does not fit whole | | | |")
                continue
            slowest = max(row.interval_cycles * row.urgency for row in estimate.layers)
            pipeline = Pipeline(workload, [StageDesign.of(row) for row in estimate.layers])
            pipeline.play(3)  # compiles
            started = time.perf_counter()
            found = pipeline.play(24, settle=16)
            seconds = (time.perf_counter() - started) / 24
            analytical = max(row.interval_cycles for row in estimate.layers)
            ratio = found.interval_cycles / analytical
            worst = max(worst, abs(ratio - 1))
            bus = "" if slowest >= estimate.interval_cycles else " (the bus binds the design)"
            cells = (f"{analytical:,}{bus}", f"{found.interval_cycles:,.1f}", f"{ratio:.4f}", f"{seconds:.2f}")
            lines.append(f"| {name} | {device} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return "\n".join([*lines, "", f"Largest error {worst:.2%}."])


def sparse(digits: bool) -> str:
    """Searched networks: the mean of the engines (before) against the slowest of them (after)."""
    lines = [
        "| network | device | engines | before: analytical | simulated | error "
        "| after: analytical | simulated | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    errors: dict[str, list[float]] = {"before": [], "after": []}
    points: list[tuple[str, float, float]] = []
    for model in ("mobilenetv3", "resnet18"):
        workload, profile, nonzeros = observed(model, digits)
        for device in DEVICES:
            for machine in ("lockstep", "decoupled"):
                cells: list[str] = []
                for when, engines in (("before", "averaged"), ("after", machine)):
                    options = DataflowOptions(tolerance=0.003, partitions="never", engines=engines)  # type: ignore[arg-type]
                    try:
                        estimate = DataflowAccelerator(load_device(device), options).estimate(workload, profile)
                    except CannotFit:
                        cells += ["does not fit", "", ""]
                        continue
                    designs = [StageDesign.of(row) for row in estimate.layers]
                    if when == "before" and machine == "decoupled":
                        designs = [dataclasses.replace(d, engine_fifo=16 * d.sees_activations) for d in designs]
                    found = steady(Pipeline(workload, designs, nonzeros, profile))
                    slowest = max(row.interval_cycles * row.urgency for row in estimate.layers)
                    analytical = min(slowest, estimate.interval_cycles)
                    error = analytical / found.interval_cycles - 1
                    errors[when].append(abs(error))
                    points.append((when, float(analytical), found.interval_cycles))
                    cells += [f"{analytical:,}", f"{found.interval_cycles:,.0f}", f"{error:+.1%}"]
                lines.append(f"| {model} | {device} | {machine} | " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
        lines.append(f"| *{model}: pair sparsity {profile.pair_sparsity(workload):.1%}* | | | | | | | | |")
    for when, values in errors.items():
        lines += ["", f"{when}: median absolute error {statistics.median(values):.1%}, largest {max(values):.1%}."]
    plot(points, RESULTS / f"truth-{'digits' if digits else 'fashion_mnist'}.png")
    return "\n".join(lines)


def observed(model: str, digits: bool) -> tuple[Workload, SparsityProfile, dict[str, NonZeros]]:
    """A searched network, its sparsity, and where the operands of its layers are not zero on some images."""
    folder = searched(model, digits)
    workload, network, data = opened(folder, Result.load(folder))
    images = torch.cat(list(data.images("val", network, images=IMAGES)))
    profile = calibrate(network, [images])  # the images that are played, so that what differs is the model
    names = [layer.name for layer in workload.compute_layers]
    return workload, profile, observe_nonzeros(network, workload, names, images)


def kinds(digits: bool) -> str:
    """Searched networks, layers dense or of one kind that skips zeros: analytical against simulated."""
    lines = [
        "| network | device | kind | engines | layers of it | analytical | simulated | error | seconds an image |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    errors: dict[str, list[float]] = {}
    for model in ("mobilenetv3", "resnet18"):
        workload, profile, nonzeros = observed(model, digits)
        for device in DEVICES:
            for kind in (kind for kind in KINDS if kind in SKIPPING):
                for engines in ("lockstep", "decoupled") if SKIPPING[kind].activations else ("lockstep",):
                    options = DataflowOptions(
                        tolerance=0.005, partitions="never", engines=engines,  # type: ignore[arg-type]
                        compute_engines=(ComputeEngine.DENSE, ComputeEngine(kind)),
                    )  # fmt: skip
                    row = f"| {model} | {device} | {kind} | {engines} | "
                    try:
                        estimate = DataflowAccelerator(load_device(device), options).estimate(workload, profile)
                    except CannotFit:
                        lines.append(f"{row} does not fit | | | | |")
                        continue
                    pipeline = Pipeline(workload, [StageDesign.of(one) for one in estimate.layers], nonzeros, profile)
                    found = steady(pipeline)
                    started = time.perf_counter()
                    again = pipeline.play(found.images)
                    seconds = (time.perf_counter() - started) / again.images
                    slowest = max(one.interval_cycles * one.urgency for one in estimate.layers)
                    analytical = min(slowest, estimate.interval_cycles)
                    error = analytical / found.interval_cycles - 1
                    errors.setdefault(kind, []).append(abs(error))
                    used = sum(one.engine == kind for one in estimate.layers)
                    cells = f"{used} | {analytical:,} | {found.interval_cycles:,.0f} | {error:+.1%} | {seconds:.2f} |"
                    lines.append(row + cells)
                    print(lines[-1], flush=True)
    for kind, values in errors.items():
        lines += ["", f"{kind}: median absolute error {statistics.median(values):.1%}, largest {max(values):.1%}."]
    return "\n".join(lines)


def plot(points: list[tuple[str, float, float]], path: Path) -> None:
    """Simulated against analytical interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.6, 5.2), layout="constrained")
    for when, color, mark in (("before", "#b3262e", "x"), ("after", "#1f6fb2", "o")):
        some = [(a, s) for w, a, s in points if w == when]
        label = {"before": "mean of the engines (before)", "after": "slowest of the engines (after)"}[when]
        axes.plot([a for a, _ in some], [s for _, s in some], mark, color=color, label=label, markersize=6, alpha=0.8)
    ends = [min(min(a, s) for _, a, s in points) * 0.8, max(max(a, s) for _, a, s in points) * 1.25]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="analytical interval, cycles", ylabel="simulated interval, cycles")
    axes.legend(loc="upper left", frameon=False)
    axes.grid(linewidth=0.3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def fifos(_: bool) -> str:
    """The rule for FIFO depths, fitted on the first five."""
    lines = [
        "| network | pixels | device | rate, of infinite FIFOs | entries in joins | before line buffers | in them |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, size, device in (
        ("test_resnet", 160, "zcu104"), ("mobilenetv3_small_100", 64, "u250"), ("mobilenetv3_small_100", 224, "u250"),
        ("resnet18", 64, "u250"), ("mobilenetv2_100", 224, "u250"),
        ("test_efficientnet", 160, "zcu104"), ("resnet18", 224, "u250"), ("mobilenetv2_100", 96, "zcu102"),
        ("mobilenetv3_large_100", 96, "u250"), ("efficientnet_b0", 224, "u250"),
        ("resnet50", 224, "u250"), ("vit_tiny_patch16_224", 224, "u250"), ("test_vit", 160, "zcu104"),
    ):  # fmt: skip
        workload = trace(timm.create_model(name), (3, size, size), name)
        options = DataflowOptions(tolerance=0.01, partitions="never")
        try:
            estimate = DataflowAccelerator(load_device(device), options).estimate(
                workload, SparsityProfile.dense(workload)
            )
        except CannotFit:
            lines.append(f"| {name} | {size} | {device} | does not fit whole | | | |")
            continue
        pipeline = Pipeline(workload, [StageDesign.of(row) for row in estimate.layers])
        depths = rule(
            pipeline,
            {row.name: row.interval_cycles for row in estimate.layers},
            {row.name: row.urgency for row in estimate.layers},
        )
        unlimited = pipeline.play(24, settle=16)
        try:
            rate = f"{unlimited.interval_cycles / pipeline.play(24, depths, settle=16).interval_cycles:.4f}"
        except Deadlock as error:
            rate = str(error)
        entries = [sum(depths[f.name] for f in pipeline.fifos if f.kind == kind) for kind in ("join", "input", "rows")]
        lines.append(f"| {name} | {size} | {device} | {rate} | " + " | ".join(f"{n:,}" for n in entries) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


PARTS: dict[str, Any] = {"dense": dense, "sparse": sparse, "kinds": kinds, "fifos": fifos}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="dense, sparse, kinds, fifos; all by default")
    parser.add_argument("--digits", action="store_true", help="the quick mode")
    given = parser.parse_args()
    for part in given.parts or PARTS:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; choose from {', '.join(PARTS)}")
        text = PARTS[part](given.digits)
        searches = part in ("sparse", "kinds")
        data = ("-digits" if given.digits else "-fashion_mnist") if searches else ""
        flag = " --digits" if given.digits and searches else ""
        head = f"# {PARTS[part].__doc__.strip()}\n\n`python benchmarks/truth.py {part}{flag}`, two noisy cores.\n\n"
        (RESULTS / f"truth-{part}{data}.md").write_text(head + text + "\n")


if __name__ == "__main__":
    main()
