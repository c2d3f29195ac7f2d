"""design.json: every fold and FIFO of an estimate's design, for those who build or simulate it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hass_train.hardware import Estimate, Workload
from hass_train.hardware.dataflow.simulator.depths import rule
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline, join_name
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.runtime.errors import UserError

DESIGN = "design.json"
SCHEMA = 2


@dataclass(frozen=True)
class PartDesign:
    """One configuration of the device.

    Args:
        start, end: its operations are start … end−1.
        designs: of them.
        intervals: cycles an image of each by itself, by name.
        fifos: depths in entries, by name (`Pipeline.fifos`).
        interval_cycles, replicas: of the part, as the analytical model has it.
        offchip_bits: moved for one image.
    """

    start: int
    end: int
    designs: tuple[StageDesign, ...]
    intervals: Mapping[str, int]
    fifos: Mapping[str, int]
    interval_cycles: int
    replicas: int
    offchip_bits: int


@dataclass(frozen=True)
class Design:
    """What design.json says.

    Args:
        network, input_shape: that it is for.
        hardware: device and design rules.
        parts: configurations that run one after another; usually one.
    """

    network: str
    input_shape: tuple[int, int, int]
    hardware: dict[str, Any]
    parts: tuple[PartDesign, ...]


def design_of(workload: Workload, estimate: Estimate, hardware: dict[str, Any]) -> Design:
    """The design of an estimate, FIFO depths by the rule.

    Args:
        workload, estimate: network and chosen design.
        hardware: device and design rules as plain data.
    """
    parts = []
    start = 0
    for number, part in enumerate(estimate.parts):
        rows = [row for row in estimate.layers if row.part == number]
        end = start + len(rows)
        stretch = workload if len(estimate.parts) == 1 else workload.part(start, end)
        designs = tuple(StageDesign.of(row) for row in rows)
        intervals = {row.name: row.interval_cycles for row in rows}
        moved = workload.crossing(start).words + workload.crossing(end).words
        bits = moved * int(hardware["activation_bits"]) + sum(row.resources.offchip_bits for row in rows)
        fifos = rule(Pipeline(stretch, designs), intervals)
        parts.append(PartDesign(start, end, designs, intervals, fifos, part.interval_cycles, part.replicas, bits))
        start = end
    return Design(workload.name, workload.input_shape, hardware, tuple(parts))


def save_design(path: Path, workload: Workload, estimate: Estimate, hardware: dict[str, Any]) -> None:
    """Write the design of an estimate; arguments as of `design_of`."""
    design = design_of(workload, estimate, hardware)
    fifos = {name: depth for part in design.parts for name, depth in part.fifos.items()}
    rows = []
    for operation, row in zip(workload, estimate.layers, strict=True):
        joins = (join_name(operation, k) for k in range(len(operation.inputs)))
        names = [row.name, f"{row.name} rows", *joins]
        rows.append(
            {
                "name": row.name,
                "kind": row.kind,
                "part": row.part,
                "inputs": list(operation.inputs),
                "engine": row.engine,
                "folds": dict(row.folds),
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
        "hw": hardware,
        "replicas": estimate.replicas,
        "interval_cycles": estimate.interval_cycles,
        "parts": parts,
        "layers": rows,
    }
    path.write_text(json.dumps(data, indent=1))


def load_design(folder: Path) -> Design:
    """Read a run's design.json.

    Raises:
        UserError: no such directory or file, or one that is none; one line.
    """
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
    if schema != SCHEMA:
        raise UserError(f"{file} has schema {schema!r}; this version reads schema {SCHEMA}: run the search again")
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
                    row["name"], row["engine"], {k: int(v) for k, v in row["folds"].items()}, int(row["bands"]),
                    int(row["engine_fifo"]),
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
