"""What files of earlier versions say, put as this one says it: schema 1 of result.json, and former names of engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hass_train.hardware.estimate import FORMER_ENGINES
from hass_train.hardware.resources import LIMITS
from hass_train.search.goals import FixedPenalty, Goal, MaxAccuracyDrop, Sparsity, TargetSpeedup, TargetThroughput

COLUMNS = ("dense", "natural", "sparse")
"""The keys of a result.json that hold an estimate."""
_GOALS: dict[str, Callable[[float], Goal]] = {
    goal.name: goal for goal in (TargetSpeedup, TargetThroughput, MaxAccuracyDrop, FixedPenalty, Sparsity)
}
"""The kinds of schema 1, which had the names of these classes, and one number each."""


def with_present_engines(data: Any) -> Any:
    """Plain data with an `estimate`, in which kinds of compute engine have their present names.

    What has another form is returned as it is: whoever reads it says what is wrong.
    """
    estimate = data.get("estimate") if isinstance(data, Mapping) else None
    rows = estimate.get("layers") if isinstance(estimate, Mapping) else None
    if not isinstance(estimate, Mapping) or not isinstance(rows, list):
        return data
    return {**data, "estimate": {**estimate, "layers": [with_present_engine(row) for row in rows]}}


def with_present_engine(row: Any) -> Any:
    """A row of a table of layers, in which its kind of compute engine has its present name."""
    engine = row.get("engine") if isinstance(row, Mapping) else None
    return {**row, "engine": FORMER_ENGINES[engine]} if isinstance(engine, str) and engine in FORMER_ENGINES else row


def upgraded(old: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a result.json of schema 1 as schema 2 has it.

    Args:
        old: the content of the file.

    Raises:
        ValueError: it lacks what every version wrote.
    """
    try:
        # what the very first results do not say
        found = {"engine": "learned", "spent": {}, "simulation": None, **old, "schema": 2}
        hw = old["config"]["hw"]
        columns = {name: {**old[name], "estimate": {**_device(hw), **old[name]["estimate"]}} for name in COLUMNS}
        goal = _goal(old["goal"], float(old["dense"]["estimate"]["throughput_ips"]))
        return {**found, **columns, "hw": {"name": old["hw"]["name"]}, "goal": goal}
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _goal(goal: Mapping[str, Any], dense_ips: float) -> dict[str, Any]:
    """The goal in schema 2, which says in words and images/s what the kind meant.

    Raises:
        ValueError: there was no such kind of goal.
    """
    kind = goal["kind"]
    if kind not in _GOALS:
        raise ValueError(f"its goal is {kind!r}, which is none")
    stated = _GOALS[kind](float(goal["value"]))
    return {
        "name": kind, "value": stated.value, "words": stated.words(), "target_ips": stated.target_ips(dense_ips),
        "met": None if kind == FixedPenalty.name else goal["met"], "binding": goal["binding"],
    }  # fmt: skip


def _device(hw: Mapping[str, Any]) -> dict[str, Any]:
    """What an estimate says in schema 2 of the device and of what counts: in schema 1 the configuration says it."""
    if "limits" not in hw:
        return {}
    usable = {name: hw.get(f"max_{name.removesuffix('18')}_utilization", 1.0) for name in LIMITS}
    return {
        "limits": {name: usable[name] for name in LIMITS if name in hw["limits"]},
        "available": {name: hw["bandwidth_gbps" if name == "bandwidth" else name] for name in LIMITS},
        "objective": hw.get("objective", "throughput"),
    }
