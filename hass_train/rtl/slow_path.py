"""What limits the clock of a placed accelerator: the slowest path of nextpnr's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SlowPath:
    """The slowest path from register to register.

    Args:
        start, end: names of the accelerator's instances that it leads from and to.
        logic_ns, wires_ns: nanoseconds in cells, and in wires between them.
    """

    start: str
    end: str
    logic_ns: float
    wires_ns: float


def slowest_path(report: Mapping[str, Any]) -> SlowPath:
    """The slowest path between registers in nextpnr's report; a placed accelerator has some."""
    clocked = [one for one in report["critical_paths"] if one["from"].startswith("pos") and one["to"].startswith("pos")]
    path = max(clocked, key=lambda one: sum(part["delay"] for part in one["path"]))["path"]
    wires = sum(part["delay"] for part in path if part["type"] == "routing")
    logic = sum(part["delay"] for part in path) - wires
    return SlowPath(_instance(path[0]["from"]["cell"]), _instance(path[-1]["to"]["cell"]), logic, wires)


def _instance(cell: str) -> str:
    """The accelerator's instance that a cell is in; of what lies around it, the wrapper's."""
    names = cell.removeprefix("$flatten").replace("\\", "").split(".")  # as Yosys names cells without a name of theirs
    return names[names[0] == "accelerator" and len(names) > 1].removesuffix("_i")
