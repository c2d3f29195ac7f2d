"""design.json: the folds and FIFOs of an estimate's design, for those who build or simulate it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hass_train.hardware import Estimate, Workload
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.design import Design, PartDesign
from hass_train.hardware.dataflow.simulator.results import join_name
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.estimate import FORMER_ENGINES
from hass_train.runtime.errors import UserError, suggested
from hass_train.runtime.files import AnyPath

DESIGN = "design.json"
SCHEMA = 4
FORMER = (2, 3)
"""Older schemas that are read: engines had no lanes and filters no order, and in 2 kinds of engine had other names."""


def save_design(path: AnyPath, design: Design, workload: Workload, estimate: Estimate) -> None:
    """Write a design together with the shapes of the network's operations.

    Args:
        path: the file to write.
        design: the design of the network.
        workload: the network.
        estimate: the estimate that belongs to the design.
    """
    fifos = {name: depth for part in design.parts for name, depth in part.fifos.items()}
    rows = []
    for operation, row in zip(workload, estimate.layers, strict=True):
        joins = (join_name(row.name, operation.inputs, k) for k in range(len(operation.inputs)))
        names = [row.name, f"{row.name} rows", *joins]
        rows.append(
            {
                "name": row.name,
                "kind": row.kind,
                "part": row.part,
                "inputs": list(operation.inputs),
                "engine": row.engine,
                "lanes": row.lanes,
                "multiplier": row.multiplier,
                "folds": dict(row.folds),
                "filter_order": list(row.filter_order),
                "weight_bits": row.weight_bits,
                "activation_bits": row.activation_bits,
                "engine_fifo": row.engine_fifo,
                "fifos": {name: fifos[name] for name in names if name in fifos},
                "weights_in": row.weights_in,
                "bands": row.bands if row.weights_in == "off_chip" and row.engine != "stream" else 0,
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
    parts = [
        {name: getattr(part, name) for name in ("start", "end", "interval_cycles", "replicas", "offchip_bits")}
        for part in design.parts
    ]
    data = {
        "schema": SCHEMA,
        "network": workload.name,
        "input_shape": list(workload.input_shape),
        "hw": design.hardware,
        "replicas": estimate.replicas,
        "interval_cycles": estimate.interval_cycles,
        "parts": parts,
        "layers": rows,
    }
    Path(path).write_text(json.dumps(data, indent=1))


def load_design(folder: AnyPath) -> Design:
    """Read the design.json of a run.

    Args:
        folder: the run's directory.

    Raises:
        UserError: there is no such directory or file, or the file is not a design; one line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no run directory {folder}")
    file = folder / DESIGN
    if not file.is_file():
        raise UserError(f"{folder} holds no {DESIGN}; a search.py run that ends writes one into its run directory")
    try:
        data = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema not in (*FORMER, SCHEMA):
        former = ", ".join(map(str, FORMER))
        raise UserError(f"{file} has schema {schema!r}; this version reads {former} and {SCHEMA}: run the search again")
    try:
        parts = []
        for part in data["parts"]:
            rows = data["layers"][part["start"] : part["end"]]
            fifos = {name: int(depth) for row in rows for name, depth in row["fifos"].items()}
            for name, depth in fifos.items():
                if depth < 1:
                    raise UserError(f"{file}: FIFO {name!r} has a depth of {depth}; it must be ≥ 1")
            designs = tuple(
                StageDesign(
                    row["name"], _engine(row, schema, file), {k: int(v) for k, v in row["folds"].items()},
                    int(row["bands"]), int(row["engine_fifo"]), *_lanes_and_order(row, schema, file),
                    str(row.get("multiplier", "dsp")),
                )
                for row in rows
            )  # fmt: skip
            intervals = {row["name"]: int(row["interval_cycles"]) for row in rows}
            numbers = (int(part[name]) for name in ("interval_cycles", "replicas", "offchip_bits"))
            parts.append(PartDesign(int(part["start"]), int(part["end"]), designs, intervals, fifos, *numbers))
        channels, height, width = (int(value) for value in data["input_shape"])
        return Design(str(data["network"]), (channels, height, width), dict(data["hw"]), tuple(parts))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is no design: {type(error).__name__} {error}") from error


def design_rows(folder: AnyPath) -> list[dict[str, Any]]:
    """The operations of the design.json that `load_design` reads, with all that the file says of them."""
    rows: list[dict[str, Any]] = json.loads((Path(folder) / DESIGN).read_text())["layers"]
    return rows


def only_part(design: Design, folder: AnyPath, why: str) -> PartDesign:
    """The one configuration of the device that a design has.

    Args:
        design: the design.
        folder: the run's directory, for the message.
        why: what several cannot be used for, for the message.

    Raises:
        UserError: it has several; one line.
    """
    if len(design.parts) > 1:
        raise UserError(
            f"the design of {folder} is in {len(design.parts)} parts between which the device is reconfigured, and "
            f"{why}; search with hw.partitions=never"
        )
    return design.parts[0]


def _engine(row: Mapping[str, Any], schema: int, file: Path) -> str:
    """The kind of compute engine of an operation, by its present name.

    Raises:
        UserError: there is no such kind.
    """
    engine = FORMER_ENGINES.get(row["engine"], row["engine"]) if schema == 2 else row["engine"]
    known = [*(engine.value for engine in ComputeEngine), "stream"]
    if engine not in known:
        raise UserError(f"{file}: {row['name']} has the compute engine {engine!r}{suggested(str(engine), known)}")
    return str(engine)


def _lanes_and_order(row: Mapping[str, Any], schema: int, file: Path) -> tuple[bool, tuple[int, ...]]:
    """Whether an operation's multipliers have lanes, and the order of its filters.

    Raises:
        UserError: they are no truth value, or no list of whole numbers; `Pipeline` checks that these are its filters.
    """
    if schema in FORMER:
        return False, ()
    lanes, order = row["lanes"], row["filter_order"]
    if not isinstance(lanes, bool):
        raise UserError(f"{file}: lanes of {row['name']} is {lanes!r}; it must be true or false")
    if not isinstance(order, list) or not all(type(place) is int for place in order):
        raise UserError(f"{file}: filter_order of {row['name']} is no list of whole numbers")
    return lanes, tuple(order)
