"""What each kind of compute engine is worth, at the costs of synthesis and with all limits counted.

    python benchmarks/engines.py [--bits 8] [--models resnet18]     # about a quarter of an hour on two cores

Networks are pruned and recovered on digits; runs are kept in runs/engines/ and used again. The gain is
over the best dense design of the same device and width, in which two products of 8 bits share a DSP. The table is
benchmarks/results/engines.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hydra.utils import instantiate
from torch import nn

from hass_train.data import ImageData
from hass_train.export.profile import load_profile
from hass_train.export.weights import load_sparse
from hass_train.hardware import DataflowAccelerator, DataflowOptions, SparsityProfile, Workload, load_device, trace
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.results.result import Result
from hass_train.sparsity import calibrate

# isort: split
import timm  # after hass_train, which makes a torchvision without its operators importable

ROOT = Path(__file__).resolve().parent.parent
RESULTS, RUNS = ROOT / "benchmarks" / "results", ROOT / "runs" / "engines"
MODELS = ("resnet18", "mobilenetv3")
IMAGES = 256  # on which sparsity is measured, as a search does it
DEVICES, PATTERNS = ("u250", "zcu104"), ("balanced", "unstructured")
RECIPES = {  # a plain one for the network that bears it, and a search at 8 bits for the one that does not
    ("resnet18", "balanced"): ("search=one_shot", "search.sparsity=0.67", "search.activation_sparsity=0.15"),
    ("resnet18", "unstructured"): ("search=one_shot", "search.sparsity=0.67", "search.activation_sparsity=0.15"),
    ("mobilenetv3", "balanced"): ("hw.weight_bits=8", "hw.activation_bits=8", "search.target_speedup=2.2"),
    ("mobilenetv3", "unstructured"): ("hw.weight_bits=8", "hw.activation_bits=8", "search.target_speedup=1.8"),
}
DENSE = ComputeEngine.DENSE
CHOICES = (*((DENSE, one) for one in ComputeEngine if one is not DENSE), (DENSE, ComputeEngine.WEIGHT,
           ComputeEngine.ACTIVATION), tuple(ComputeEngine))  # fmt: skip


def _arguments(model: str, pattern: str) -> tuple[str, ...]:
    return (f"model={model}", "hw=u250", f"sparsity={pattern}", *RECIPES[model, pattern], "logger=csv")


def recovered(model: str, pattern: str) -> Path:
    """The run directory of a pruned and recovered network; made now if there is none."""
    folder = RUNS / f"{model}-{pattern}"
    if not (folder / "result.json").is_file():
        command = [sys.executable, "search.py", *_arguments(model, pattern), f"hydra.run.dir={folder}"]
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def opened(folder: Path, result: Result) -> tuple[Workload, nn.Module, ImageData]:
    """The network of a finished run, traced and loaded, and its data."""
    made = timm.create_model(result.model.name, **result.model.arguments)
    workload = trace(made, result.model.input_size, result.model.name)
    data: ImageData = instantiate(result.config["data"])
    data.setup()
    return workload, load_sparse(made, folder), data


def measured(folder: Path, result: Result) -> tuple[Workload, SparsityProfile]:
    """A recovered network, and its sparsity as it is measured today, whatever version trained it.

    Which pattern the zeros keep to is what the run says: weights alone do not tell.
    """
    workload, network, data = opened(folder, result)
    found = calibrate(network, data.images("val", network, images=IMAGES))
    kept = load_profile(folder).layers
    layers = {name: replace(layer, structure=kept[name].structure) for name, layer in found.layers.items()}
    return workload, SparsityProfile(layers)


def row(
    name: str, workload: Workload, profile: SparsityProfile, device: str, bits: int, engines: tuple[ComputeEngine, ...],
    dense: float,
) -> str:  # fmt: skip
    """A row of the table for one choice of kinds; `dense` are the images/s of the dense network, 0 = this is it."""
    options = DataflowOptions(
        weight_bits=bits, activation_bits=bits, compute_engines=engines, tolerance=0.005, partitions="never"
    )
    found = DataflowAccelerator(load_device(device), options).estimate(workload, profile)
    chosen = Counter(layer.engine for layer in found.layers if layer.engine != "stream")
    used = (f"{found.utilization[name]:.0%}" for name in ("dsp", "lut", "bram18", "uram"))
    gain = f"{found.throughput_ips / dense:.2f}×" if dense else "1"
    kinds = ", ".join(f"{count} {kind}" for kind, count in chosen.most_common())
    allowed = "all" if len(engines) == len(ComputeEngine) else "+".join(engines)
    print(name, device, bits, allowed, gain, flush=True)
    cells = (name, device, str(bits), allowed, f"{found.throughput_ips:,.0f}", gain, *used, f"{found.slack:.1%}", kinds)
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    arguments = parser.parse_args()
    lines, accuracies = [], []
    for model in arguments.models:
        for pattern in PATTERNS:
            folder = recovered(model, pattern)
            result = Result.load(folder)
            workload, profile = measured(folder, result)
            weights = sum(
                layer.weights * profile.layers[layer.name].weight_density for layer in workload.compute_layers
            )
            macs = sum(layer.macs * profile.layers[layer.name].pair_density for layer in workload.compute_layers)
            weights /= sum(layer.weights for layer in workload.compute_layers)
            macs /= sum(layer.macs for layer in workload.compute_layers)
            accuracies.append(
                f"- `{' '.join(_arguments(model, pattern))}`: weights {weights:.0%} dense, pairs {macs:.0%}; "
                f"test accuracy {result.dense.test_acc:.1%} dense, {result.sparse.test_acc:.1%} recovered"
            )
            for device in DEVICES:
                for bits in arguments.bits:
                    options = DataflowOptions(
                        weight_bits=bits, activation_bits=bits, tolerance=0.005, partitions="never"
                    )
                    ips = DataflowAccelerator(load_device(device), options).estimate(
                        workload, SparsityProfile.dense(workload)
                    )
                    lines.append(
                        f"| {model} | {device} | {bits} | dense, packed | {ips.throughput_ips:,.0f} | 1 | "
                        + " | ".join(f"{ips.utilization[one]:.0%}" for one in ("dsp", "lut", "bram18", "uram"))
                        + f" | {ips.slack:.1%} | |"
                    )
                    lines += [
                        row(f"{model}, {pattern}", workload, profile, device, bits, choice, ips.throughput_ips)
                        for choice in CHOICES
                    ]
    command = " ".join(("python benchmarks/engines.py", *sys.argv[1:]))
    head = "| network | device | bits | kinds | images/s | gain | DSP | LUT | BRAM | URAM | slack | chosen |"
    text = [
        "# What kinds of compute engine are worth", "", f"`{command}`; networks of digits at 32 pixels:", "",
        *accuracies, "", head, "|---" * 12 + "|", *lines, "",
    ]  # fmt: skip
    (RESULTS / "engines.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
