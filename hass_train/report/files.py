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
    lines = []
    for operation, row in zip(workload, sparse.layers, strict=True):
        profile, used = measured.layers.get(row.name), row.resources
        lines.append({
            "layer": row.name, "kind": row.kind, "macs": operation.macs, "weights": operation.weights,
            "weight_bits": row.weight_bits or None, "activation_bits": row.activation_bits or None,
            "weight_density": profile.weight_density if profile else None,
            "activation_density": profile.activation_density if profile else None,
            "pair_density": profile.pair_density if profile else None,
            "engine": row.engine, "lanes": row.lanes, "multiplier": row.multiplier, "reason": row.reason,
            **{f"fold_{name}": row.folds.get(name) for name in folds},
            "interval_cycles": row.interval_cycles, "bound": row.bound,
            "initiation_interval": row.initiation_interval,
            "initiation_interval_of_mean": row.initiation_interval_of_mean,
            "imbalance": row.imbalance, "waiting": row.waiting, "engine_fifo": row.engine_fifo,
            "block_density": row.block_density, "block_imbalance": row.block_imbalance,
            "dsp": used.dsp, "bram18": used.bram18, "uram": used.uram, "lut": used.lut, "ff": used.ff,
            "offchip_bits": used.offchip_bits, "weights_in": row.weights_in,
            "price": sparse.prices.get(row.name), "weight_price": sparse.weight_prices.get(row.name),
            "activation_price": sparse.activation_prices.get(row.name),
            "dense_interval_cycles": dense[row.name].interval_cycles, "dense_dsp": dense[row.name].resources.dsp,
        })  # fmt: skip
    with replacing(path) as partly, partly.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
