"""Partitions of a network that does not fit: parts that run one after another, each for a whole batch of images.

Between parts the device is reconfigured, and the maps of the batch wait off-chip (hardware-model, section 6). A cut is
legal where a single value crosses it. The best set of cuts is a shortest path over the legal ones, in which the length
of a part is the time of a batch. An exploration gives it exactly, and cheap bounds leave most parts unexplored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, Table
from hass_train.hardware.dataflow.exploration.explore import MOST_COPIES, Explorer
from hass_train.hardware.dataflow.exploration.network import ExploredPart, Network
from hass_train.hardware.estimate import CannotFit

Floats = NDArray[np.float64]

_GRID = 320  # intervals at which bounds are computed
_IMPOSSIBLE = 1e30  # the need at an interval that an operation cannot reach
_TAUGHT = 2  # weights that each exploration of a part teaches the bounds of all others, those of its last proofs
_GAP = 2e-2  # tolerance of explorations while cuts are chosen; the chosen parts are then explored in full


def best_partition(network: Network) -> tuple[list[ExploredPart], list[Explorer]]:
    """The parts whose times add up to the least, each with the explorer that found its design.

    Raises:
        CannotFit: the operations between two neighbouring cuts do not fit by themselves.
    """
    parts, explorers = [], []
    for rough in _best_cuts(network):
        explorer = network.explorer(rough.start, rough.end, network.options.tolerance, not network.options.rough)
        design = explorer.fastest_design(network.options.max_replicas)
        parts.append(ExploredPart(rough.start, rough.end, design))
        explorers.append(explorer)
    return parts, explorers


def _best_cuts(network: Network) -> list[ExploredPart]:
    """The same parts, with designs that are only good enough to compare cuts by."""
    options, overhead = network.options, network.device.reconfiguration_s
    per_cycle = options.batch / network.clock_hz
    points = [0, *network.useful_cuts(), len(network.tables)]
    bounds = _Bounds(network, points)
    for weights in np.eye(6)[:BANDWIDTH]:
        bounds.sharpen(weights)
    explored: dict[tuple[int, int], ExploredPart | None] = {}
    length = np.full((len(points), len(points)), np.nan)  # seconds of the parts that are explored
    while True:
        path = _shortest(np.where(np.isnan(length), bounds.cycles * per_cycle + overhead, length))
        if path is None:
            stuck = next((k for k in range(len(points) - 1) if not np.isfinite(bounds.cycles[k, k + 1])), 0)
            raise CannotFit(_why(network, points[stuck], points[stuck + 1]))
        unknown = [edge for edge in path if edge not in explored]
        if not unknown:
            return [part for edge in path if (part := explored[edge]) is not None]
        a, b = max(unknown, key=lambda edge: bounds.cycles[edge])
        explorer = network.explorer(points[a], points[b], max(options.tolerance, _GAP), prove=False)
        try:
            design = explorer.fastest_design(options.max_replicas)
        except CannotFit:
            explored[a, b] = None
            bounds.cycles[: a + 1, b:] = np.inf  # a longer part needs all that this one does
            length[a, b] = np.inf
        else:
            explored[a, b] = part = ExploredPart(points[a], points[b], design)
            length[a, b] = network.part_seconds(part) + overhead
            # a longer part is never faster than this one
            bounds.cycles[: a + 1, b:] = np.maximum(bounds.cycles[: a + 1, b:], design.interval / design.replicas)
        for weights in explorer.learned[-_TAUGHT:]:
            bounds.sharpen(weights)


def _why(network: Network, start: int, end: int) -> str:
    """Why a part does not fit, in a sentence."""
    names = [network.workload.operations[k].name for k in (start, end - 1)]
    reason = network.explorer(start, end, 0.0, prove=True).why_unfit()
    return f"the part from {names[0]} to {names[1]} does not fit, because {reason}"


def _shortest(length: Floats) -> list[tuple[int, int]] | None:
    """The shortest path from the first point to the last, as (from, to) pairs; None if there is none."""
    count = len(length)
    best, came = np.full(count, np.inf), np.zeros(count, int)
    best[0] = 0.0
    for end in range(1, count):
        total = best[:end] + length[:end, end]
        came[end] = int(np.argmin(total))
        best[end] = total[came[end]]
    if not np.isfinite(best[-1]):
        return None
    path, end = [], count - 1
    while end:
        path.append((int(came[end]), end))
        end = int(came[end])
    return path[::-1]


class _Bounds:
    """Lower bounds of interval/replicas of every part that the network could be cut into.

    Args:
        network: the network's tables and limits.
        points: the operations at which parts may begin and end.

    Attributes:
        cycles: (points, points) the bound of the part from one point to another; infinite where that is no part, or
            does not fit.
    """

    def __init__(self, network: Network, points: Sequence[int]) -> None:
        self.tables = tables = network.tables
        self.points, self.max_replicas = np.asarray(points), network.options.max_replicas or MOST_COPIES
        fastest = max(min(int(table.interval[0]) for table in tables), 1)
        slowest = max(int(table.interval[-1]) for table in tables)
        self.grid = np.unique(np.geomspace(fastest, slowest + 1, _GRID).astype(np.int64))
        # what is needed at a grid point is needed by all designs faster than it: down to the point before
        self.before = np.r_[fastest, self.grid[:-1]].astype(float)
        count = len(points)
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        self.rows, self.columns = (np.array(side) for side in zip(*pairs, strict=True))
        each = [network.limits(points[a], points[b]) for a, b in pairs]
        self.counts = np.array([limit.counts for limit in each])
        self.image_bits = np.array([limit.image_bits for limit in each], float)
        self.bits_per_cycle = each[0].bits_per_cycle
        self.cycles = np.full((count, count), np.inf)
        self.cycles[self.rows, self.columns] = 0.0

    def sharpen(self, weights: Floats) -> None:
        """Raise the bounds by a weighted sum of resources: no part may need more of it than there is."""
        if (weights[:BANDWIDTH] > 0).any() and not np.isfinite(self.counts[:, weights[:BANDWIDTH] > 0]).all():
            return
        distinct: dict[Table, Floats] = {}
        for table in self.tables:
            if table not in distinct:
                steps, costs = table.staircase(weights)
                place = np.searchsorted(steps, self.grid, side="right") - 1
                distinct[table] = np.where(place >= 0, costs[np.maximum(place, 0)], _IMPOSSIBLE)
        needs = np.stack([distinct[table] for table in self.tables])
        total = np.vstack([np.zeros(len(self.grid)), np.cumsum(needs, axis=0)])[self.points]
        need = total[self.columns] - total[self.rows]
        have = (np.where(weights[:BANDWIDTH] > 0, self.counts, 0.0) @ weights[:BANDWIDTH])[:, None]
        if weights[BANDWIDTH]:
            have = have + weights[BANDWIDTH] * self.bits_per_cycle * self.grid
            need = need + weights[BANDWIDTH] * self.image_bits[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            copies = np.floor(np.where(need > 0, have * (1 + 1e-9) / need, np.inf))
        copies = np.minimum(copies, self.max_replicas)
        with np.errstate(divide="ignore"):
            cycles = np.where(copies >= 1, self.before / copies, np.inf).min(axis=1)
        self.cycles[self.rows, self.columns] = np.maximum(self.cycles[self.rows, self.columns], cycles)
