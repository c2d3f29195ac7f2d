"""layers.csv: every operation of the searched network with its sparsity, its design and its cycles."""

from __future__ import annotations

import csv
from pathlib import Path

from hass_train.hardware import Workload
from hass_train.results.result import Result
from hass_train.runtime.files import replacing


def save_layers(path: Path, result: Result, workload: Workload) -> None:
    """Write one row for each operation: sparsity, design and interval of the searched network beside the dense one.

    Args:
        path: the file to write.
        result: of the search that has just ended.
        workload: the network, whose operations are those of the result's estimates.

    Raises:
        ValueError: the result was read back, and its profile, which holds the densities, was not.
    """
    measured = result.sparse.profile
    if measured is None:
        raise ValueError("a result that was read back has no profile, whose densities layers.csv holds")
    dense = {row.name: row for row in result.dense.estimate.layers}
    sparse = result.sparse.estimate
    folds = list(dict.fromkeys(name for row in sparse.layers for name in row.folds))
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
            profile = measured.layers.get(row.name)
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
