"""What each layer adds to the resources of a design."""

from __future__ import annotations

from dataclasses import dataclass

from hass_train.hardware.estimate import Estimate
from hass_train.hardware.resources import LIMITS
from hass_train.report.look import KINDS
from hass_train.results.record import Column, Record

MOST_SHOWN = 1.25
"""Of the device, where bars end: what does not count may need twelve times as much."""
OTHERS = "streams (additions, pooling, activations, …)"


@dataclass(frozen=True)
class Stack:
    """One resource of one design.

    Args:
        pieces: names of the compute layers, those of a kind of compute engine together; and of all other operations.
        shares: what each takes of the device, all replicas together, as a fraction.
        engines: kind of each one's compute engines; `stream` for the other operations.
    """

    pieces: tuple[str, ...]
    shares: tuple[float, ...]
    engines: tuple[str, ...]

    def upto(self, most: float) -> list[float]:
        """The shares, as long as they add up to at most so much: what is beyond is cut off."""
        found, whole = [], 0.0
        for share in self.shares:
            found.append(min(share, most - whole))
            whole += found[-1]
        return found


def stacks(record: Record, column: Column) -> dict[str, Stack]:
    """The resources of a design.

    Args:
        record: the run.
        column: `dense` or `sparse`.

    Returns:
        By resource. Of a network in parts that run one after another, the part that takes most of it.
    """
    estimate = record.estimate(column)
    device = estimate.available
    kinds = {row.name: row.engine for row in estimate.layers}
    order = [*KINDS, *sorted(set(kinds.values()) - set(KINDS))]
    names = sorted((layer.name for layer in record.layers), key=lambda name: order.index(kinds[name]))
    engines = (*(kinds[name] for name in names), "stream")
    found: dict[str, Stack] = {}
    for resource in LIMITS:
        if resource == "bandwidth":
            continue  # shared by all parts and copies
        parts = [_used(estimate, resource, part) for part in range(len(estimate.parts))]
        most = max(parts, key=lambda used: sum(used.values()))
        listed = [most.get(name, 0.0) for name in names]
        whole = max(device[resource], 1.0)
        others = sum(most.values()) - sum(listed)
        found[resource] = Stack((*names, OTHERS), tuple(value / whole for value in (*listed, others)), engines)
    rate = estimate.throughput_ips / max(device["bandwidth"] * 1e9, 1.0)
    moved = {row.name: row.resources.offchip_bits * rate for row in estimate.layers}
    listed = [moved.get(name, 0.0) for name in names]
    others = max(estimate.utilization["bandwidth"] - sum(listed), 0.0)
    found["bandwidth"] = Stack((*names, "images, results and streams"), (*listed, others), engines)
    return found


def _used(estimate: Estimate, resource: str, part: int) -> dict[str, float]:
    copies = estimate.parts[part].replicas
    return {row.name: float(getattr(row.resources, resource) * copies) for row in estimate.layers if row.part == part}
