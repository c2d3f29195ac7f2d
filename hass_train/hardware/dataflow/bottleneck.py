"""Why a design is not faster: its slowest layer, the resource that binds, and what one step more would need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hass_train.hardware.dataflow.explore import RESOURCES, Exploration, Limits
from hass_train.hardware.estimate import Bottleneck, LayerEstimate

_WHAT = {
    "input": "reads its padded input at one pixel a cycle",
    "output": "writes its output at one word a cycle and stream",
    "stream": "passes one pixel a cycle",
    "compute": "computes",
}


def explain(rows: Sequence[LayerEstimate], found: Exploration, limits: Limits, max_replicas: int) -> Bottleneck:
    """The bottleneck of an explored design.

    Args:
        rows: the chosen designs.
        found: the exploration's answer.
        limits: what it had to keep.
        max_replicas: most copies allowed; 0 = any number.
    """
    slowest = max(rows, key=lambda row: row.interval_cycles)
    where = f"{slowest.name} {_WHAT[slowest.bound]}, {slowest.interval_cycles:,} cycles an image"
    intervals, dsp = found.demand.intervals, found.demand.dsp
    if found.interval > intervals[0]:
        faster = int(np.searchsorted(intervals, found.interval)) - 1
        copies = f" in {found.replicas} copies" if found.replicas > 1 else ""
        need = int(dsp[faster]) * found.replicas
        if need > limits.counts[0]:
            asked = f"{int(intervals[faster]):,} cycles would need {need:,} of {limits.counts[0]:,} DSPs{copies}"
            return Bottleneck(slowest.name, "dsp", f"{where}; {asked}")
        binding, short = _memory_bound(found, limits)
        return Bottleneck(slowest.name, binding, f"{where}; a faster design{copies} runs out of {short}")
    where += ", as parallel as it can be"
    copies_more = found.replicas + 1
    if max_replicas and copies_more > max_replicas:
        return Bottleneck(slowest.name, "parallelism", f"{where}, and replicas are limited to {max_replicas}")
    need = int(dsp[0]) * copies_more
    if need > limits.counts[0]:
        asked = f"{copies_more} copies would need {need:,} of {limits.counts[0]:,} DSPs"
        return Bottleneck(slowest.name, "dsp", f"{where}; {asked}")
    binding, short = _memory_bound(found, limits)
    return Bottleneck(slowest.name, binding, f"{where}; {copies_more} copies run out of {short}")


def _memory_bound(found: Exploration, limits: Limits) -> tuple[str, str]:
    """Which of block RAM, UltraRAM and bandwidth is fullest, by name and in words."""
    budget = limits.budget(found.interval, found.replicas)
    used = found.resources[1:] / np.maximum(budget[1:], 1)
    names = (*RESOURCES[1:], "bandwidth")
    full = [
        f"{label} ({share:.0%} used)"
        for label, share in zip(("block RAM", "UltraRAM", "off-chip bandwidth"), used, strict=True)
        if share > 0
    ]
    return names[int(np.argmax(used))], "memory: " + ", ".join(full) if full else "memory"
