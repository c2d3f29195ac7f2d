"""layers.csv and the picture of a run."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from hass_train.files import replacing
from hass_train.hardware import Workload
from hass_train.result import Result

_DENSE, _WEIGHT, _ACTIVATION, _INTERVAL = "#9aa5b1", "#1f6fb2", "#e08a1e", "#b3262e"


def save_layers(path: Path, result: Result, workload: Workload) -> None:
    """One row per operation: sparsity, design and interval of the searched network beside the dense one."""
    dense = {row.name: row for row in result.dense.estimate.layers}
    sparse = result.sparse.estimate
    folds = ("i", "o", "g", "m", "N", "q", "p", "s")
    with replacing(path) as partly, partly.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["layer", "kind", "macs", "weights", "weight_density", "activation_density", "pair_density", "engine"]
            + [f"fold_{name}" for name in folds]
            + [
                "interval_cycles",
                "bound",
                "initiation_interval",
                "initiation_interval_of_mean",
                "imbalance",
                "waiting",
                "engine_fifo",
                "dsp",
                "bram18",
                "uram",
                "lut",
                "ff",
            ]
            + ["offchip_bits", "weights_in", "price", "weight_price", "dense_interval_cycles", "dense_dsp"]
        )
        for operation, row in zip(workload, sparse.layers, strict=True):
            profile = result.sparse.profile.layers.get(row.name)
            densities = (
                [profile.weight_density, profile.activation_density, profile.pair_density] if profile else [""] * 3
            )
            used = row.resources
            writer.writerow(
                [row.name, row.kind, operation.macs, operation.weights, *densities, row.engine]
                + [row.folds.get(name, "") for name in folds]
                + [row.interval_cycles, row.bound, row.initiation_interval, row.initiation_interval_of_mean]
                + [row.imbalance, row.waiting, row.engine_fifo]
                + [used.dsp, used.bram18, used.uram, used.lut, used.ff, used.offchip_bits, row.weights_in]
                + [sparse.prices.get(row.name, ""), sparse.weight_prices.get(row.name, "")]
                + [dense[row.name].interval_cycles, dense[row.name].resources.dsp]
            )


def save_picture(path: Path, result: Result, workload: Workload) -> None:
    """Weight and activation density of every compute layer, and its interval in the searched and the dense design."""
    figure = _picture(result, workload)
    with replacing(path) as partly:
        figure.savefig(partly, dpi=130)
    plt.close(figure)


def _picture(result: Result, workload: Workload) -> Figure:
    names = [layer.name for layer in workload.compute_layers]
    layers = [result.sparse.profile.layers[name] for name in names]
    sparse = {row.name: row for row in result.sparse.estimate.layers}
    dense = {row.name: row for row in result.dense.estimate.layers}
    places = range(len(names))
    figure, (top, bottom) = plt.subplots(
        2, 1, sharex=True, figsize=(max(7.0, 0.24 * len(names) + 2), 7.2), layout="constrained"
    )
    weights, activations = [s.weight_density for s in layers], [s.activation_density for s in layers]
    top.bar([x - 0.2 for x in places], weights, 0.4, color=_WEIGHT, label="weights")
    top.bar([x + 0.2 for x in places], activations, 0.4, color=_ACTIVATION, label="activations")
    top.plot(places, [s.pair_density for s in layers], "_", color="black", markersize=7, label="pairs")
    top.set_ylabel("density (fraction not zero)")
    top.set_ylim(0, 1.05)
    gain = result.gain
    top.set_title(
        f"{result.model['name']} on {result.hw['name']}: {gain['throughput']:.2f}× throughput, "
        f"test accuracy {result.dense.test_acc:.4f} → {result.sparse.test_acc:.4f}",
        loc="left", fontsize=11,
    )  # fmt: skip
    top.legend(loc="upper center", bbox_to_anchor=(0.2, -0.01), ncol=3, fontsize=8, frameon=False)
    # replicas differ between the two designs, so intervals are compared per image of the whole device
    for rows, estimate, color, mark, label in (
        (dense, result.dense.estimate, _DENSE, "o", "dense"),
        (sparse, result.sparse.estimate, _INTERVAL, "D", "searched"),
    ):
        values = [rows[name].interval_cycles / estimate.replicas for name in names]
        copies = f"{estimate.replicas} replica" + ("s" if estimate.replicas > 1 else "")
        bottom.plot(places, values, mark, color=color, markersize=4, label=f"{label} ({copies})")
        bottom.axhline(estimate.interval_cycles / estimate.replicas, color=color, linewidth=0.8)
    bottom.set_yscale("log")
    bottom.set_ylabel("cycles per image of the device")
    bottom.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=2, fontsize=8, frameon=False)
    bottom.set_xticks(list(places), names, rotation=90, fontsize=6.5)
    bottom.set_xlim(-0.7, len(names) - 0.3)
    for axis in (top, bottom):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    return figure
