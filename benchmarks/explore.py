"""What the exploration finds and how long it takes.

    python benchmarks/explore.py            # everything, about half an hour on two cores
    python benchmarks/explore.py facts      # or some of: facts, devices, questions, growth, prices

Writes benchmarks/results/explore-PART.md. Times are medians on whatever machine this is; compare ratios.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from hass_train.hardware import (
    CannotFit,
    DataflowAccelerator,
    DataflowOptions,
    Estimate,
    Operation,
    OperationKind,
    SparsityProfile,
    Workload,
    load_device,
    trace,
)
from hass_train.hardware.accelerator import Accelerator
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.workload import FeatureMap

# isort: split
import timm  # after hass_train, which makes a torchvision without its operators importable

RESULTS = Path(__file__).resolve().parent / "results"
MODELS = {
    "mobilenetv3_small_100": 224, "mobilenetv3_large_100": 224, "mobilenetv2_100": 224, "resnet18": 224,
    "resnet50": 224, "vgg16": 224, "inception_v3": 299, "efficientnet_b0": 224, "vit_tiny_patch16_224": 224,
}  # fmt: skip
DEVICES = ("u250", "u200", "u50", "vcu1525", "zcu102", "zcu104", "vc709", "zc706", "zedboard")
TOLERANCE = 5e-3  # as in conf/search.yaml
MOVED = 20  # profiles
WIDTHS = {"weight_bits": 8, "activation_bits": 8}
QUICK = 5e-3  # nothing is proved by integer programming; the slack says how far the answer could be off


def workload_of(name: str) -> Workload:
    size = MODELS[name]
    return trace(timm.create_model(name), (3, size, size), name)


def write(part: str, lines: list[str], note: str = "") -> None:
    text = f"Made by `python benchmarks/explore.py {part}`. {note}\n\n" + "\n".join(lines) + "\n"
    (RESULTS / f"explore-{part}.md").write_text(text)


def row(lines: list[str], *cells: object) -> None:
    lines.append("| " + " | ".join(map(str, cells)) + " |")
    print(lines[-1], flush=True)


def head(lines: list[str], *cells: str) -> None:
    row(lines, *cells)
    lines.append("|" + "---|" * len(cells))


def facts() -> None:
    """The peer's measured searches beside the same question asked of this model."""
    resnet, mobilenet = workload_of("resnet18"), workload_of("mobilenetv3_small_100")
    peer: DataflowOptions = DataflowOptions(
        limits=("dsp",), folding="divisors", max_replicas=1, max_pixels=1, weights="dense", engines="averaged",
        costs="peer", compute_engines=(ComputeEngine.DENSE, ComputeEngine.CROSSBAR),
    )  # fmt: skip
    sparse = SparsityProfile.uniform(resnet, 0.4, ["conv1"])
    dense, small = SparsityProfile.dense(resnet), SparsityProfile.dense(mobilenet)
    every = dataclasses.replace(peer, limits=DataflowOptions().limits)
    free = dataclasses.replace(peer, folding="free")
    skip = dataclasses.replace(peer, skip_all_zero=True)
    cases = [
        ("ResNet-18 dense, DSP ≤ 4,096", resnet, dense, 4096, peer, "802,816", "43 s", "451,584"),
        ("… free folds", resnet, dense, 4096, free, "–", "–", "–"),
        ("ResNet-18 s60, DSP ≤ 12,288", resnet, sparse, 12288, skip, "126,118", "93 s", "90,317"),
        ("… all-zero windows cost a cycle", resnet, sparse, 12288, peer, "–", "–", "–"),
        ("… free folds", resnet, sparse, 12288, free, "–", "–", "–"),
        ("ResNet-18 dense, all limits", resnet, dense, 12288, every, "200,704", "22 s", "–"),
        ("… free folds, pixels, copies", resnet, dense, 12288, DataflowOptions(), "–", "–", "–"),
        ("MobileNetV3-Small, DSP ≤ 4,096", mobilenet, small, 4096, peer, "51,076", "248 s", "–"),
        ("… pixels and copies", mobilenet, small, 4096, DataflowOptions(limits=("dsp",)), "–", "–", "–"),
    ]  # fmt: skip
    lines: list[str] = []
    head(lines, "case, 224², 16 bit, 200 MHz U250", "peer's greedy search", "its wall", "optimum of its equations",
         "ours: interval / copies", "DSP", "wall s", "binds")  # fmt: skip
    for label, workload, profile, dsp, options, greedy, wall, optimum in cases:
        accelerator = DataflowAccelerator(load_device("u250", dsp=dsp, clock_mhz=200), options)
        started = time.perf_counter()
        found = accelerator.estimate(workload, profile)
        took = time.perf_counter() - started
        row(lines, label, greedy, wall, optimum, f"{found.interval_cycles:,} / {found.replicas}",
            f"{found.resources.dsp:,}", f"{took:.2f}", found.bottleneck.resource)  # fmt: skip
    write("facts", lines, "Peer's figures: measured by running it (hardware-model, section 6).")


def devices() -> None:
    """All models on all devices, every limit; dense, and at 40 % of pairs on the largest."""
    lines: list[str] = []
    head(
        lines,
        "model",
        "device",
        "pairs",
        "images/s",
        "interval",
        "copies",
        "parts",
        "DSP",
        "LUT",
        "binds",
        "slack",
        "cold s",
    )
    for name in MODELS:
        workload = workload_of(name)
        for hw in DEVICES:
            for density in (1.0, 0.4) if hw == "u250" else (1.0,):
                accelerator = DataflowAccelerator(load_device(hw), DataflowOptions(tolerance=QUICK))
                started = time.perf_counter()
                try:
                    found = accelerator.estimate(workload, SparsityProfile.uniform(workload, density))
                except CannotFit as error:
                    row(lines, name, hw, density, f"does not fit: {error}", *[""] * 8)
                    continue
                took = time.perf_counter() - started
                use = found.utilization
                row(lines, name, hw, density, f"{found.throughput_ips:,.1f}", f"{found.interval_cycles:,}",
                    found.replicas, len(found.parts), f"{use['dsp']:.0%}", f"{use['lut']:.0%}",
                    found.bottleneck.resource, f"{found.slack:.1%}", f"{took:.2f}")  # fmt: skip
    write("devices", lines, "16 bit, every limit counted; slack: how much faster a design could still be.")


class Questions:
    """The answers of an accelerator, and the processor seconds that each took.

    Args:
        accelerator: who is asked.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.took: list[float] = []
        self.slacks: list[float] = []
        self.rates: list[float] = []

    def ask(self, workload: Workload, profile: SparsityProfile) -> None:
        """Ask a question."""
        started = time.process_time()
        answer = self.accelerator.estimate(workload, profile)
        self.took.append(time.process_time() - started)
        self.slacks.append(answer.slack)
        self.rates.append(answer.throughput_ips)

    def cells(self, first: int = 0) -> tuple[str, str]:
        """Median milliseconds from some question on, and the largest slack."""
        return f"{1e3 * statistics.median(self.took[first:]):.0f}", f"{max(self.slacks[first:]):.2%}"


def moved(profile: SparsityProfile, random: np.random.Generator) -> SparsityProfile:
    """A profile whose densities are all a few per cent off."""

    def near(density: float) -> float:
        return min(density * random.uniform(0.97, 1.03), 1.0)

    return SparsityProfile(
        {
            name: dataclasses.replace(
                layer, pair_density=near(layer.pair_density), weight_density=near(layer.weight_density)
            )
            for name, layer in profile.layers.items()
        }
    )


def uneven(workload: Workload, random: np.random.Generator) -> SparsityProfile:
    """A profile in which every layer has densities of its own."""
    layers = SparsityProfile.dense(workload).layers
    return SparsityProfile(
        {
            name: dataclasses.replace(
                layer, pair_density=float(random.uniform(0.2, 0.9)), weight_density=float(random.uniform(0.3, 0.9))
            )
            for name, layer in layers.items()
        }
    )


def questions() -> None:
    """What a run asks: rough answers that steer it, epoch after epoch, and exact ones that are reported."""
    lines: list[str] = []
    head(lines, "model", "device", "images/s", "steering: cold ms", "moved ms", "slack",
         "reported: cold ms", "moved ms", "slack")  # fmt: skip
    cases = (("mobilenetv3_small_100", 32), ("mobilenetv3_small_100", 224), ("mobilenetv3_large_100", 224),
             ("resnet50", 224))  # fmt: skip
    warmed = False
    for name, size in cases:
        workload = trace(timm.create_model(name), (3, size, size), name)
        for hw in ("u250", "zcu104"):
            profile = uneven(workload, np.random.default_rng(0))
            if not warmed:  # loops are compiled, or loaded, once in a process
                DataflowAccelerator(load_device(hw), DataflowOptions(tolerance=TOLERANCE)).estimate(workload, profile)
                warmed = True
            cells: list[str] = []
            accelerator = DataflowAccelerator(load_device(hw), DataflowOptions(tolerance=TOLERANCE, **WIDTHS))
            for one, count in ((accelerator.steering(), MOVED), (accelerator, 3)):
                asked = Questions(one)
                random = np.random.default_rng(1)
                asked.ask(workload, profile)
                cold = f"{1e3 * asked.took[0]:.0f}"
                for _ in range(count):
                    asked.ask(workload, moved(profile, random))
                cells += [cold, *asked.cells(1)]
            row(lines, f"{name}, {size}²", hw, f"{asked.rates[0]:,.1f}", *cells)
    note = f"Processor time, 8 bits, all limits and kinds. Medians of {MOVED} and of 3 moved profiles; largest slack."
    write("questions", lines, note)


def timed(question: Callable[[], Estimate]) -> tuple[Estimate, float]:
    started = time.perf_counter()
    answer = question()
    return answer, time.perf_counter() - started


def growth() -> None:
    """Chains of layers, all of different shape, on a device that grows with them."""
    lines: list[str] = []
    head(lines, "layers", "steering: cold ms", "ms a layer", "reported: cold ms", "ms a layer", "slack", "interval")
    for count in (50, 100, 200, 350, 500):
        layers, before, channels = [], "input", 16
        for k in range(count):
            wide = 16 + (7 * k) % 113
            kernel = 3 if k % 2 else 1
            layers.append(
                Operation(f"conv{k}", OperationKind.CONV, (before,), FeatureMap(28, 28, channels),
                          FeatureMap(28, 28, wide), (kernel, kernel), (1, 1), (kernel // 2, kernel // 2))
            )  # fmt: skip
            before, channels = f"conv{k}", wide
        workload = Workload(f"chain{count}", (16, 28, 28), tuple(layers))
        scale = count / 50
        device = load_device("u250", **{n: int(scale * v) for n, v in (
            ("dsp", 4096), ("bram18", 5376), ("uram", 1280), ("lut", 864_000), ("ff", 1_728_000))})  # fmt: skip
        profile = SparsityProfile.uniform(workload, 0.5)
        cells: list[str] = []
        accelerator = DataflowAccelerator(device, DataflowOptions(max_replicas=1, tolerance=TOLERANCE, **WIDTHS))
        for one in (accelerator.steering(), accelerator):
            asked = Questions(one)
            asked.ask(workload, profile)
            cells += [f"{1e3 * asked.took[0]:.0f}", f"{1e3 * asked.took[0] / count:.1f}"]
        row(lines, count, *cells, f"{asked.slacks[0]:.2%}", f"{device.clock_mhz * 1e6 / asked.rates[0]:,.0f}")
    write("growth", lines, "Convolutions of 28×28 maps, half of the pairs zero; the device's resources grow alike.")


def prices() -> None:
    """Prices against finite differences of the exact exploration, ±0.1 of one layer's pair density."""
    lines: list[str] = []
    head(lines, "model, 224²", "device", "limits", "pairs", "rank correlation", "layers that move", "seconds")
    memories = ("dsp", "bram18", "uram", "bandwidth")
    for name in ("resnet18", "mobilenetv3_small_100"):
        workload = workload_of(name)
        for hw, limits in (("u250", memories), ("zcu102", memories), ("u250", DataflowOptions().limits)):
            options = DataflowOptions(limits=limits, tolerance=3e-4)
            accelerator = DataflowAccelerator(load_device(hw), options)
            base = SparsityProfile.uniform(workload, 0.5)
            started = time.perf_counter()
            priced, slopes = accelerator.estimate(workload, base).prices, []
            for key, layer in base.layers.items():
                rates = []
                for density in (0.4, 0.6):
                    changed = dict(base.layers) | {key: dataclasses.replace(layer, pair_density=density)}
                    rates.append(math.log(accelerator.estimate(workload, SparsityProfile(changed)).throughput_ips))
                slopes.append(rates[0] - rates[1])
            moving = sum(abs(slope) > 1e-3 for slope in slopes)
            rank = spearmanr([priced[key] for key in base.layers], slopes).statistic if moving > 2 else math.nan
            counted = "all" if len(limits) == 6 else "no LUT, FF"
            row(lines, name, hw, counted, 0.5, f"{rank:.2f}", f"{moving} of {len(slopes)}",
                f"{time.perf_counter() - started:.0f}")  # fmt: skip
    note = "Where LUTs bind, folds move throughput in larger steps than one layer's tenth: few layers move it at all."
    write("prices", lines, note)


def main() -> None:
    parts = {
        "facts": facts,
        "questions": questions,
        "growth": growth,
        "prices": prices,
        "devices": devices,
    }
    chosen = sys.argv[1:] or list(parts)
    unknown = [part for part in chosen if part not in parts]
    if unknown:
        sys.exit(f"error: there is no part {unknown[0]!r}; choose from {', '.join(parts)}")
    for part in chosen:
        print(f"\n{part}", flush=True)
        parts[part]()


if __name__ == "__main__":
    main()
