"""design.json: every fold of an estimate's design, for those who build it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hass_train.hardware import Estimate, Workload


def save_design(path: Path, workload: Workload, estimate: Estimate, hardware: dict[str, Any]) -> None:
    """Write the design of an estimate.

    Args:
        path: file to write.
        workload, estimate: network and chosen design.
        hardware: device and design rules as plain data.
    """
    rows = []
    for operation, row in zip(workload, estimate.layers, strict=True):
        rows.append(
            {
                "name": row.name,
                "kind": row.kind,
                "inputs": list(operation.inputs),
                "engine": row.engine,
                "folds": dict(row.folds),
                "weights_in": row.weights_in,
                "source": asdict(operation.source),
                "result": asdict(operation.result),
                "kernel": list(operation.kernel),
                "stride": list(operation.stride),
                "padding": list(operation.padding),
                "groups": operation.groups,
                "interval_cycles": row.interval_cycles,
                "resources": asdict(row.resources),
            }
        )
    design = {
        "schema": 1,
        "network": workload.name,
        "input_shape": list(workload.input_shape),
        "hw": hardware,
        "replicas": estimate.replicas,
        "interval_cycles": estimate.interval_cycles,
        "layers": rows,
    }
    path.write_text(json.dumps(design, indent=1))
