"""A network that does not fit: parts of the pipeline that run one after another, each for a whole batch.

Between parts the device is reconfigured and the maps of the batch wait off-chip (hardware-model, section 6). Legal cuts
are those that one value crosses. The best set of cuts is a shortest path over them; the length of a part is the time of
a batch, which an exploration knows exactly and cheap bounds know well enough to leave most parts unexplored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.demand import Limits
from hass_train.hardware.dataflow.explore import Exploration
from hass_train.hardware.dataflow.tables import BANDWIDTH, Table
from hass_train.hardware.estimate import CannotFit

Floats = NDArray[np.float64]

_GRID = 160  # intervals at which bounds are known


@dataclass(frozen=True, slots=True)
class Stretch:
    """Operations start … end−1 as one configuration, and its design."""

    start: int
    end: int
    design: Exploration


def best_partition(
    tables: Sequence[Table],
    cuts: Sequence[int],
    limits: Callable[[int, int], Limits],
    explore: Callable[[int, int], Exploration],
    seconds: Callable[[int, int, Exploration], float],
    per_cycle: float,
    overhead: float,
) -> list[Stretch]:
    """The parts whose times add up to the least.

    Args:
        tables: of every operation; each has a design.
        cuts: where the network may be cut, ascending, without its ends.
        limits: of operations start … end−1 as a part.
        explore: the best design of such a part; raises CannotFit.
        seconds: of a batch in such a part, reconfiguration included.
        per_cycle: seconds that a batch takes for each cycle of interval / replicas.
        overhead: seconds of a part beside that, at least.

    Raises:
        CannotFit: some stretch between two neighbouring cuts fits in no way.
    """
    points = [0, *cuts, len(tables)]
    bound = _bounds(tables, points, limits) * per_cycle + overhead
    exact: dict[tuple[int, int], Exploration | None] = {}
    while True:
        path = _shortest(bound)
        if path is None:
            stuck = [k for k in range(len(points) - 1) if not np.isfinite(bound[k, k + 1])]
            where = next((k for k in stuck), 0)
            explore(points[where], points[where + 1])  # says why
            raise CannotFit("the network cannot be cut into parts that fit")
        unknown = [edge for edge in path if edge not in exact]
        if not unknown:
            return [Stretch(points[a], points[b], design) for a, b in path if (design := exact[a, b]) is not None]
        for a, b in unknown:
            try:
                exact[a, b] = design = explore(points[a], points[b])
                bound[a, b] = seconds(points[a], points[b], design)
            except CannotFit:
                exact[a, b], bound[a, b] = None, np.inf
                # a longer part needs all that this one does
                bound[: a + 1, b:] = np.inf


def _shortest(length: Floats) -> list[tuple[int, int]] | None:
    """Shortest path from the first to the last point, as (from, to) pairs; None if there is none."""
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


def _bounds(tables: Sequence[Table], points: Sequence[int], limits: Callable[[int, int], Limits]) -> Floats:
    """(points, points) lower bounds of interval / replicas of every part, from each resource alone; infinite below and
    on the diagonal and where nothing fits."""
    fastest = min(int(table.interval[0]) for table in tables)
    slowest = max(int(table.interval[-1]) for table in tables)
    grid = np.unique(np.geomspace(max(fastest, 1), slowest + 1, _GRID).astype(np.int64))
    distinct: dict[int, Floats] = {}
    for table in tables:
        if id(table) not in distinct:
            rows = []
            for k in range(BANDWIDTH):
                steps, costs = table.staircase(np.eye(6)[k])
                place = np.searchsorted(steps, grid, side="right") - 1
                rows.append(np.where(place >= 0, costs[np.maximum(place, 0)], np.inf))
            distinct[id(table)] = np.stack(rows)
    result = np.full((len(points), len(points)), np.inf)
    needs = [distinct[id(table)] for table in tables]
    for a in range(len(points) - 1):
        total = np.zeros((BANDWIDTH, len(grid)))
        for b in range(a + 1, len(points)):
            for k in range(points[b - 1], points[b]):
                total = total + needs[k]
            budget = limits(points[a], points[b]).counts
            with np.errstate(invalid="ignore", divide="ignore"):
                copies = np.floor(np.nanmin(np.where(total > 0, budget[:, None] / total, np.inf), axis=0))
            copies = np.minimum(copies, 4096.0)
            # what is needed at a grid point is needed by all designs faster than it: down to the point before
            before = np.r_[max(fastest, 1), grid[:-1]]
            possible = copies >= 1
            if possible.any():
                result[a, b] = (before[possible] / copies[possible]).min()
    return result
