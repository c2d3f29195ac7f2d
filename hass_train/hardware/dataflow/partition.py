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

_GRID = 320  # intervals at which bounds are known
_IMPOSSIBLE = 1e30  # need at an interval that an operation cannot reach


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
    explore: Callable[[int, int], tuple[Exploration | None, Sequence[Floats]]],
    seconds: Callable[[int, int, Exploration], float],
    per_cycle: float,
    overhead: float,
    max_replicas: int,
    why: Callable[[int, int], str],
) -> list[Stretch]:
    """The parts whose times add up to the least.

    Args:
        tables: of every operation; each has a design.
        cuts: where the network may be cut, ascending, without its ends.
        limits: of operations start … end−1 as a part.
        explore: the best design of such a part, None if it does not fit, and weights (6,) of resources that bound it.
        seconds: of a batch in such a part, reconfiguration included.
        per_cycle: seconds that a batch takes for each cycle of interval / replicas.
        overhead: seconds of a part beside that, at least.
        max_replicas: most copies of a part; 0 = any number.
        why: such a part does not fit, for people.

    Raises:
        CannotFit: some stretch between two neighbouring cuts fits in no way.
    """
    points = [0, *cuts, len(tables)]
    bounds = _Bounds(tables, points, limits, max_replicas or 4096)
    for weights in np.eye(6)[:BANDWIDTH]:
        bounds.sharpen(weights)
    exact: dict[tuple[int, int], Exploration | None] = {}
    length = np.full((len(points), len(points)), np.nan)  # of the parts that are explored
    while True:
        path = _shortest(np.where(np.isnan(length), bounds.cycles * per_cycle + overhead, length))
        if path is None:
            stuck = next((k for k in range(len(points) - 1) if not np.isfinite(bounds.cycles[k, k + 1])), 0)
            raise CannotFit(why(points[stuck], points[stuck + 1]))
        unknown = [edge for edge in path if edge not in exact]
        if not unknown:
            return [Stretch(points[a], points[b], design) for a, b in path if (design := exact[a, b]) is not None]
        a, b = max(unknown, key=lambda edge: bounds.cycles[edge])
        design, learned = explore(points[a], points[b])
        for weights in learned:
            bounds.sharpen(weights)
        exact[a, b] = design
        if design is None:
            bounds.cycles[: a + 1, b:] = np.inf  # a longer part needs all that this one does
            length[a, b] = np.inf
        else:
            length[a, b] = seconds(points[a], points[b], design)
            # and is never faster than it
            bounds.cycles[: a + 1, b:] = np.maximum(bounds.cycles[: a + 1, b:], design.interval / design.replicas)


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


class _Bounds:
    """Lower bounds of interval / replicas of every part.

    Args:
        tables, points: of the operations; where parts may begin and end.
        limits: of a part.
        max_replicas: most copies.

    Attributes:
        cycles: (points, points) from … to; infinite where no part is, or nothing fits.
    """

    def __init__(
        self, tables: Sequence[Table], points: Sequence[int], limits: Callable[[int, int], Limits], max_replicas: int
    ) -> None:
        self.tables, self.points, self.max_replicas = tables, np.asarray(points), max_replicas
        fastest = max(min(int(table.interval[0]) for table in tables), 1)
        slowest = max(int(table.interval[-1]) for table in tables)
        self.grid = np.unique(np.geomspace(fastest, slowest + 1, _GRID).astype(np.int64))
        # what is needed at a grid point is needed by all designs faster than it: down to the point before
        self.before = np.r_[fastest, self.grid[:-1]].astype(float)
        count = len(points)
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        self.rows, self.columns = (np.array(side) for side in zip(*pairs, strict=True))
        each = [limits(points[a], points[b]) for a, b in pairs]
        self.counts = np.array([limit.counts for limit in each])
        self.image_bits = np.array([limit.image_bits for limit in each], float)
        self.bits_per_cycle = each[0].bits_per_cycle
        self.cycles = np.full((count, count), np.inf)
        self.cycles[self.rows, self.columns] = 0.0

    def sharpen(self, weights: Floats) -> None:
        """Take a weighted sum of resources into account: no part may need more of it than there is."""
        if (weights[:BANDWIDTH] > 0).any() and not np.isfinite(self.counts[:, weights[:BANDWIDTH] > 0]).all():
            return
        distinct: dict[int, Floats] = {}
        for table in self.tables:
            if id(table) not in distinct:
                steps, costs = table.staircase(weights)
                place = np.searchsorted(steps, self.grid, side="right") - 1
                distinct[id(table)] = np.where(place >= 0, costs[np.maximum(place, 0)], _IMPOSSIBLE)
        needs = np.stack([distinct[id(table)] for table in self.tables])
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
