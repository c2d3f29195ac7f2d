"""What a run logs on W&B: the summary of each scalar, the layer table, charts and artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hass_train.export.design import DESIGN
from hass_train.export.onnx import MODEL, QONNX_MODEL
from hass_train.export.profile import PROFILE
from hass_train.export.weights import DENSE_WEIGHTS, SPARSE_WEIGHTS, SPARSITY
from hass_train.hardware import Estimate, SparsityProfile, Workload
from hass_train.precision.integer_network import INTEGERS, INTEGERS_JSON
from hass_train.results.build import BUILD, RTL, Build
from hass_train.results.result import RESULT, Result
from hass_train.runtime.files import BEST, FOLDER, LAST
from hass_train.tracking.loggers import WandbLog

SUMMARIES = {
    "val/acc": "last",
    "val/acc_sparse": "max",
    "val/loss": "min",
    "loss/task": "last",
    "loss/penalty": "last",
    "loss/lambda": "last",
    "hw/throughput_ips": "last",
    "hw/speedup": "last",
    "hw/interval_cycles": "last",
    "sparsity/pair": "last",
    "sparsity/weight": "last",
    "sparsity/activation": "last",
    "phase/index": "last",
}
"""Which value of a scalar's history W&B keeps as its summary: the last one, the largest or the smallest.
`val/acc_sparse` is the validation accuracy at full sparsity."""
LAYERS = "layers"
HEADS = [
    "layer", "kind", "macs", "weight_density", "activation_density", "pair_density", "price", "engine", "cycles", "dsp",
]  # fmt: skip
_DENSE = "dense-network"


def layer_rows(
    workload: Workload, profile: SparsityProfile, prices: Mapping[str, float], answer: Estimate | None
) -> list[list[Any]]:
    """The rows of the layer table, one for each compute layer, with the columns `HEADS`.

    Args:
        workload: the network.
        profile: its present sparsity.
        prices: the price of the densities of each layer, by layer.
        answer: the last estimate of the hardware model; None before the first one, in which case the columns of the
            design stay empty.
    """
    designs = {row.name: row for row in answer.layers} if answer else {}
    found = []
    for layer in workload.compute_layers:
        sparsity, design = profile.layers[layer.name], designs.get(layer.name)
        costs = [design.engine, design.interval_cycles, design.resources.dsp] if design else [None] * 3
        found.append([
            layer.name, layer.kind.value, layer.macs, sparsity.weight_density, sparsity.activation_density,
            sparsity.pair_density, prices.get(layer.name), *costs,
        ])  # fmt: skip
    return found


def final_scalars(result: Result) -> dict[str, float]:
    """The scalars that are logged at the end of a run: exact measurements of the searched network, and its accuracy and
    throughput against the dense one under `pareto/`."""
    sparse, gain = result.sparse, result.gain
    estimate = sparse.estimate
    return {
        "hw/throughput_ips": estimate.throughput_ips,
        "hw/speedup": gain.throughput,
        "hw/interval_cycles": float(estimate.interval_cycles),
        "hw/replicas": float(estimate.replicas),
        **{f"hw/utilization_{name}": share for name, share in estimate.utilization.items()},
        "sparsity/weight": sparse.weight_sparsity,
        "sparsity/activation": sparse.activation_sparsity,
        "sparsity/pair": sparse.pair_sparsity,
        "pareto/test_acc": sparse.test_acc,
        **({} if sparse.float_test_acc is None else {"pareto/float_test_acc": sparse.float_test_acc}),
        "pareto/accuracy_drop": gain.accuracy_drop,
        "pareto/throughput_ips": estimate.throughput_ips,
        "pareto/speedup": gain.throughput,
        "pareto/efficiency": estimate.efficiency,
    }


def build_scalars(build: Build) -> dict[str, float]:
    """The scalars of what was built of a design, under `build/`; those of stages that have not ended are left out."""
    found: dict[str, float] = {}
    if build.generate is not None:
        found["build/estimated_interval_cycles"] = build.generate.estimated_cycles
    if build.verify is not None:
        verified = build.verify
        found |= {"build/equal": float(not verified.mismatch), "build/interval_cycles": verified.interval_cycles}
        found |= {"build/latency_cycles": verified.latency_cycles}
    if build.synthesise is not None:
        for name in ("lut", "ff", "dsp", "bram18"):
            found[f"build/estimated_{name}"] = getattr(build.estimated, name)
            found[f"build/{name}"] = getattr(build.synthesise.total, name)
    if build.place is not None:
        found |= {"build/clock_mhz": build.place.mhz, "build/throughput_ips": build.place.throughput_ips}
    return {name: float(value) for name, value in found.items()}


def publish_build(log: WandbLog, name: str, output: Path, about: Mapping[str, Any]) -> None:
    """Log the accelerator of a run as an artifact, with its bitstream and build.json, if the run has built one.

    Args:
        log: the W&B logger of the run.
        name: name of the network, and of the device it was searched for.
        output: the run's directory.
        about: metadata of the artifact.
    """
    build = Build.load(output)
    if build is None or build.generate is None:
        return
    places = [output / RTL, output / RTL / "memories", output / RTL / "modules"]
    files = [output / BUILD, *(file for place in places for file in sorted(place.glob("*")))]
    files += [output / build.place.bitstream] if build.place else []
    there = {str(file.relative_to(output)): file for file in files if file.is_file()}
    log.log_artifact(f"{name}-accelerator", "accelerator", there, about)


def publish(
    log: WandbLog, output: Path, result: Result, pictures: Iterable[Path], page: Path | None, step: int
) -> None:
    """Log charts, report and artifacts of a finished run.

    Args:
        log: the W&B logger of the run.
        output: the run's directory.
        result: the result of the search.
        pictures: files of the charts, of which the PNGs are logged.
        page: the HTML report; None if there is none.
        step: the trainer's global step.
    """
    log.log_pictures({f"plots/{path.stem}": path for path in pictures if path.suffix == ".png"}, page, step)
    network, device = result.model.name, result.hw.name
    about = {
        "network": network, "device": device, "data": result.data.name, "engine": result.engine,
        "test_acc": result.sparse.test_acc, **asdict(result.gain), "init_from": result.config["init_from"],
    }  # fmt: skip
    kinds = {
        (f"{network}-{device}-sparse", "sparse-network"): (SPARSE_WEIGHTS, SPARSITY, PROFILE, "layers.csv"),
        (f"{network}-{device}-design", "design"): (DESIGN, RESULT),
        (f"{network}-{device}-checkpoint", "checkpoint"): (f"{FOLDER}/{BEST}", f"{FOLDER}/{LAST}"),
    }
    for (name, kind), files in kinds.items():
        _publish(log, name, kind, output, files, about)
    publish_integers(log, f"{network}-{device}", output, about)
    publish_build(log, f"{network}-{device}", output, about)
    if (output / DENSE_WEIGHTS).is_file():
        publish_dense(log, network, output / DENSE_WEIGHTS, about)


def publish_integers(log: WandbLog, name: str, output: Path, about: Mapping[str, Any]) -> None:
    """Log the integer network of a run as an artifact, with its ONNX models, if the run has written them.

    Args:
        log: the W&B logger of the run.
        name: name of the network, and of the device it was searched for.
        output: the run's directory.
        about: metadata of the artifact.
    """
    _publish(log, f"{name}-integers", "integer-network", output, (INTEGERS, INTEGERS_JSON, MODEL, QONNX_MODEL), about)


def _publish(log: WandbLog, name: str, kind: str, output: Path, files: Iterable[str], about: Mapping[str, Any]) -> None:
    """Log those of some files that there are in a directory as an artifact."""
    there = {Path(file).name: output / file for file in files if (output / file).is_file()}
    if there:
        log.log_artifact(name, kind, there, about)


def publish_dense(log: WandbLog, network: str, file: Path, about: Mapping[str, Any]) -> None:
    """Log the weights of a dense network as an artifact; W&B links a run that starts from the same weights to this one
    (`use_dense`).

    Args:
        log: the W&B logger of the run.
        network: name of the network.
        file: the weights.
        about: metadata of the artifact.
    """
    log.log_artifact(f"{network}-dense", _DENSE, {DENSE_WEIGHTS: file}, about)


def use_dense(log: WandbLog, network: str, file: Path) -> None:
    """Log the weights of the dense network that a run starts from, as its input."""
    log.use_file(f"{network}-dense", _DENSE, DENSE_WEIGHTS, file)
