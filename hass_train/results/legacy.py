"""What result.json said in schema 1, put as schema 2 says it: the one place that knows the old kinds of goals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hass_train.hardware.resources import LIMITS


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
        columns = {
            name: {**old[name], "estimate": {**_device(hw), **old[name]["estimate"]}}
            for name in ("dense", "natural", "sparse")
        }
        goal = _goal(old["goal"], float(old["dense"]["estimate"]["throughput_ips"]))
        return {**found, **columns, "hw": {"name": old["hw"]["name"]}, "goal": goal}
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def words_of(kind: str, value: float) -> str:
    """A goal of schema 1 as people say it.

    Raises:
        ValueError: there was no such kind of goal.
    """
    words = {
        "target_speedup": f"{value:g}× throughput",
        "target_throughput": f"{value:,.0f} images/s",
        "max_accuracy_drop": f"at most {100 * value:g} points of validation accuracy lost",
        "penalty": f"penalty λ = {value:g}",
        "sparsity": f"{100 * value:g} % of the weights zero",
    }
    if kind not in words:
        raise ValueError(f"its goal is {kind!r}, which is none")
    return words[kind]


def _goal(goal: Mapping[str, Any], dense_ips: float) -> dict[str, Any]:
    """The goal in schema 2, which says in words and images/s what the kind meant."""
    kind, value = goal["kind"], float(goal["value"])
    targets = {"target_speedup": value * dense_ips, "target_throughput": value}
    return {
        "name": kind, "value": value, "words": words_of(kind, value), "target_ips": targets.get(kind),
        "met": None if kind == "penalty" else goal["met"], "binding": goal["binding"],
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
