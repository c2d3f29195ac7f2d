"""Why a design is not faster: its slowest layer, the resource that binds, and what one step more would need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from hass_train.hardware.dataflow.designs.tables import BANDWIDTH
from hass_train.hardware.dataflow.exploration.explore import Explorer
from hass_train.hardware.dataflow.exploration.selection import PipelineDesign
from hass_train.hardware.dataflow.options import LIMITS
from hass_train.hardware.estimate import Bottleneck, LayerEstimate
from hass_train.hardware.resources import LABELS

_WHAT = {
    "input": "reads its input",
    "output": "writes its output",
    "stream": "passes its map",
    "compute": "computes",
}


def explain(rows: Sequence[LayerEstimate], found: PipelineDesign, explorer: Explorer, max_replicas: int) -> Bottleneck:
    """The bottleneck of a design, with a sentence that says why it is not faster.

    Args:
        rows: the rows of its operations.
        found: the design.
        explorer: the explorer that found it.
        max_replicas: most copies allowed; 0 = any number.
    """
    slowest = max(rows, key=lambda row: row.interval_cycles * row.urgency)
    engines = "" if slowest.engine == "stream" else f" ({slowest.engine} engines)"
    where = f"{slowest.name}{engines} {_WHAT[slowest.bound]} in {slowest.interval_cycles:,} cycles an image"
    if slowest.urgency > 1:
        where += f", {slowest.urgency} times faster than the rest because whole maps wait for it"
    copies = f" in {found.replicas} copies" if found.replicas > 1 else ""
    if found.interval > slowest.interval_cycles * slowest.urgency:
        moved = found.resources[BANDWIDTH] + explorer.limits.image_bits
        carries = f"{moved / 1e6:,.2f} Mbit an image{copies}, {explorer.limits.image_bits / moved:.0%} of them images"
        reason = f"the off-chip bus carries {carries} and takes {found.interval:,} cycles; {where}"
        return Bottleneck(slowest.name, "bandwidth", reason)
    if found.interval > explorer.fastest:
        # the next shorter interval at which any operation's choice of designs changes
        faster = max(explorer.event_before(found.interval), explorer.fastest)
        short = _short(explorer, faster, found.replicas)
        if short is not None:
            name, need, have = short
            asked = f"{faster:,} cycles{copies} would need {need:,.0f} of {have:,.0f} {LABELS[name]}"
            return Bottleneck(slowest.name, name, f"{where}; {asked}{_by_kind(rows, name)}")
        name, used = _fullest(explorer, found)
        full = f"a faster design{copies} does not fit: {used} used{_by_kind(rows, name)}"
        return Bottleneck(slowest.name, name, f"{where}; {full}")
    where += ", as parallel as it can be"
    more = found.replicas + 1
    if max_replicas and more > max_replicas:
        return Bottleneck(slowest.name, "parallelism", f"{where}, and replicas are limited to {max_replicas}")
    short = _short(explorer, found.interval, more)
    if short is not None:
        name, need, have = short
        asked = f"{more} copies would need {need:,.0f} of {have:,.0f} {LABELS[name]}"
        return Bottleneck(slowest.name, name, f"{where}; {asked}{_by_kind(rows, name)}")
    name, used = _fullest(explorer, found)
    return Bottleneck(slowest.name, name, f"{where}; {more} copies do not fit: {used} used{_by_kind(rows, name)}")


def _short(explorer: Explorer, interval: int, replicas: int) -> tuple[str, float, float] | None:
    """The resource that by itself rules out an interval, how much it would take and how much there is.

    Where several do, it is the one that falls shortest; None where no single resource does.
    """
    worst: tuple[float, str, float, float] | None = None
    for demand in explorer.demands:
        (columns,) = np.nonzero(demand.weights)
        if len(columns) != 1 or columns[0] == BANDWIDTH:
            continue
        k = int(columns[0])
        need, have = demand.at(interval) / demand.weights[k] * replicas, float(explorer.limits.counts[k])
        if need > have and (worst is None or need / max(have, 1) > worst[0]):
            worst = (need / max(have, 1), LIMITS[k], need, have)
    return None if worst is None else worst[1:]


def _fullest(explorer: Explorer, found: PipelineDesign) -> tuple[str, str]:
    """The name of the fullest resource, and a text that lists all that are nearly as full."""
    budget = explorer.limits.budget(found.interval, found.replicas)
    spent = found.resources.copy()
    for vector in (budget, spent):
        vector[BANDWIDTH] += explorer.limits.image_bits
    used = np.where(explorer.counted, spent / np.maximum(budget, 1.0), 0.0)
    order = np.argsort(-used)
    near = [k for k in order if used[k] >= max(0.9 * used[order[0]], 1e-9)][:3]
    text = ", ".join(f"{used[k]:.0%} of {LABELS[LIMITS[k]]}" for k in near)
    return LIMITS[order[0]], text


def _by_kind(rows: Sequence[LayerEstimate], resource: str) -> str:
    """What part of a resource each kind of compute engine takes, in brackets; empty where all engines are of one kind.

    Args:
        rows: the rows of the design's operations.
        resource: its name; the bus is shared by weights and maps, and no kind's.
    """
    if resource == "bandwidth" or len({row.engine for row in rows} - {"stream"}) < 2:
        return ""
    taken: Counter[str] = Counter()
    for row in rows:
        taken[row.engine] += getattr(row.resources, resource)
    whole = max(taken.total(), 1)
    told = {engine: f"{count / whole:.0%} {engine}" for engine, count in taken.most_common() if count >= 0.005 * whole}
    streams = told.pop("stream", "")
    if not told:
        return ""
    return f" ({LABELS[resource]} now: {', '.join(told.values())} engines{f', {streams}s' if streams else ''})"
