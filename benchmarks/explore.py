"""How long the exploration takes: cold (all design tables built), and warm (the same profile again).

    python benchmarks/explore.py

Prints a table and writes benchmarks/results/explore.md. Medians of 15 warm queries, fewer where one
takes long.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import hass_train.torchvision_shim  # noqa: F401 - before anything imports torchvision

# isort: split
import timm
import yaml

from hass_train.hardware import CannotFit, Device, SparsityProfile, trace
from hass_train.hardware.dataflow.model import DataflowAccelerator

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("mobilenetv3_small_100", "mobilenetv3_large_100", "mobilenetv2_100", "resnet18")
DEVICES = ("u250", "zcu104", "zedboard")
PROFILES = {"dense": 1.0, "pairs 0.4": 0.4}


def device(name: str) -> Device:
    fields = yaml.safe_load((ROOT / "conf" / "hw" / f"{name}.yaml").read_text())
    fields.pop("defaults")
    return Device(**fields)


def main() -> None:
    rows = ["| model, 224² | device | profile | images/s | interval | replicas | binds | cold s | warm ms |"]
    rows.append("|---|---|---|---|---|---|---|---|---|")
    for name in MODELS:
        workload = trace(timm.create_model(name), (3, 224, 224), name)
        for hw in DEVICES:
            for label, density in PROFILES.items():
                accelerator, profile = DataflowAccelerator(device(hw)), SparsityProfile.uniform(workload, density)
                started = time.perf_counter()
                try:
                    found = accelerator.estimate(workload, profile)
                except CannotFit:
                    rows.append(f"| {name} | {hw} | {label} | does not fit | | | | | |")
                    continue
                cold = time.perf_counter() - started
                times = []
                while len(times) < 15 and sum(times) < 3.0:
                    started = time.perf_counter()
                    accelerator.estimate(workload, profile)
                    times.append(time.perf_counter() - started)
                rows.append(
                    f"| {name} | {hw} | {label} | {found.throughput_ips:,.0f} | {found.interval_cycles:,} "
                    f"| {found.replicas} | {found.bottleneck.resource} | {cold:.2f} "
                    f"| {1e3 * statistics.median(times):.1f} |"
                )
                print(rows[-1], flush=True)
    text = "Made by `python benchmarks/explore.py`; two noisy cores.\n\n" + "\n".join(rows) + "\n"
    (ROOT / "benchmarks" / "results" / "explore.md").write_text(text)


if __name__ == "__main__":
    main()
