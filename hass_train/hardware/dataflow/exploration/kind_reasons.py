"""Why layers are built with their kinds of compute engine: what each saves over dense engines, and what it pays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hass_train.hardware.dataflow.costs.compute_engine import Bools, ComputeEngine, EngineKind, Floats
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS, variants
from hass_train.hardware.dataflow.costs.memory import BRAM18_BITS, URAM_BITS
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import LOGIC, MEMORY

_TOLD = 0.05  # changes of an amount that are told, as a fraction
_MINOR = 0.1  # beside the largest change, those that are worth less than this part of it are not told
_MOST = 2  # amounts that are told of as saved, and as paid
_COUNTED, _MEASURED = ("DSPs", "LUTs", "flip-flops"), ("memory", "off-chip bandwidth")
_AMOUNTS = (*_COUNTED, *_MEASURED)
_MADE_OF = np.zeros((len(_AMOUNTS), 6))
_MADE_OF[[0, 1, 2, 3, 3, 4], [0, 3, 4, 1, 2, 5]] = [1, 1, 1, BRAM18_BITS, URAM_BITS, 1]
"""(amounts, 6) what a unit of each resource is of each amount. Block RAMs and UltraRAMs together are memory: which of
them holds it says nothing of kinds."""
_PLAIN, _DENSE = (
    np.isin(np.arange(len(VARIANTS)), variants([ComputeEngine.DENSE], small_products))
    for small_products in (False, True)
)
"""(codes,) whether an engine is dense with multipliers in DSPs, and whether it is dense at all."""


@dataclass(frozen=True)
class KindReasons:
    """Says why the layers of one pipeline are built as they are.

    Args:
        interval: cycles per image of the pipeline.
        worth: (6,) what a unit of each resource is worth; above 0 for all that count, so that of designs that take
            equally much of what binds the one that takes less of the rest is the cheaper one.
    """

    interval: int
    worth: Floats

    def of(self, table: ComputeDesigns, design: int, place: int) -> str:
        """Why a layer is built as it is, in a few words after the name of its kind.

        Engines that skip zeros are held against the cheapest dense design that keeps the pipeline's interval, dense
        ones against the cheapest of the other kinds.

        Args:
            table: the layer's designs.
            design, place: that it is built with.
        """
        code, own = int(table.folds.engine[design]), table.resources(design, place)
        kind = VARIANTS[code]
        if _PLAIN[code]:
            return f"{_name(kind)}: {self._why_dense(table, own)}"
        return f"{_name(kind)}: {self._over_dense(table, own, _PLAIN if _DENSE[code] else _DENSE)}"

    def _over_dense(self, table: ComputeDesigns, own: Floats, dense: Bools) -> str:
        """What a design saves over dense ones, whose codes a mask (codes,) says, and what it pays."""
        found = self._cheapest(table, dense)
        if found is not None:
            other, held = found
            gained = "about as cheap as" if own @ self.worth <= held @ self.worth else "no cheaper than"
            return self._told(own, held, f" than {_name(other)}") or f"{gained} {_name(other)}"
        rows = dense[table.folds.engine]
        if rows.any():
            return f"dense would take {int(table.interval[rows.argmax()]) // table.urgency:,} cycles"
        if ComputeEngine.DENSE in table.options.compute_engines:
            return "no dense design fits"
        return "dense is not among hw.compute_engines"

    def _why_dense(self, table: ComputeDesigns, own: Floats) -> str:
        """Why a dense design is the best, or what another kind would save and pay."""
        found = self._cheapest(table, ~_PLAIN)
        if found is not None:
            other, held = found
            if held @ self.worth < own @ self.worth:
                told = self._told(held, own)
                return f"{_name(other)} would take {told}" if told else f"hardly dearer than {_name(other)}"
        if table.sparsity.pair_density == 1:
            return "no zeros to skip"
        if found is not None:
            return "no kind is cheaper"
        if list(table.options.compute_engines) == [ComputeEngine.DENSE]:
            return "the only one of hw.compute_engines"
        return "no other kind is fast enough"

    def _cheapest(self, table: ComputeDesigns, wanted: Bools) -> tuple[EngineKind, Floats] | None:
        """The cheapest design that keeps the interval, of the kinds of a mask (codes,): its kind, and (6,) what it
        takes."""
        end = int(np.searchsorted(table.interval, self.interval, side="right"))
        rows = np.flatnonzero(wanted[table.folds.engine[:end]])
        if not len(rows):
            return None
        cost = table.logic[rows] @ self.worth[LOGIC]
        first = rows[cost.argmin()]
        kept = cost <= cost.min() + (table.memory[:, first] @ self.worth[MEMORY]).min()  # memories make up for no more
        rows, cost = rows[kept], cost[kept]
        beside = table.memory[:, rows] @ self.worth[MEMORY]
        row = int((cost + beside.min(axis=0)).argmin())
        design = int(rows[row])
        return VARIANTS[int(table.folds.engine[design])], table.resources(design, int(beside[:, row].argmin()))

    def _told(self, one: Floats, other: Floats, beside: str = "") -> str:
        """What one design saves over another and what it pays, in words; empty where it saves nothing to speak of.

        Args:
            one, other: (6,) what they take.
            beside: words after what is saved, that name the other.
        """
        mine, its = _MADE_OF @ one, _MADE_OF @ other
        saved = [_saved(k, mine, its) for k in self._matter(other, one)]
        if not saved:
            return ""
        paid = [_paid(k, mine, its) for k in self._matter(one, other)]
        return " and ".join(saved) + beside + (f" for {' and '.join(paid)}" if paid else "")

    def _matter(self, one: Floats, other: Floats) -> Iterator[int]:
        """The amounts of which one design (6,) takes so much more than another that it should be told, those first that
        are worth most."""
        most = _MADE_OF @ one
        worth = (_MADE_OF > 0) @ ((one - other) * self.worth)
        worth[most - _MADE_OF @ other < _TOLD * most] = 0.0
        for k in np.argsort(-worth, kind="stable")[:_MOST].tolist():
            if worth[k] > 0 and worth[k] >= _MINOR * worth.max():
                yield k


def _name(kind: EngineKind) -> str:
    return str(kind.engine) + (" in LUTs" if kind.multiplier == "lut" else "")


def _saved(k: int, one: Floats, other: Floats) -> str:
    label = _AMOUNTS[k]
    return f"{1 - one[k] / other[k]:.0%} {'fewer' if label in _COUNTED else 'less'} {label}"


def _paid(k: int, one: Floats, other: Floats) -> str:
    label = _AMOUNTS[k]
    if other[k] <= 0:
        return f"{one[k]:,.0f} {label}" if label in _COUNTED else f"some {label}"
    ratio = one[k] / other[k]
    return f"{ratio:.1f} times the {label}" if ratio < 10 else f"{ratio:,.0f} times the {label}"
