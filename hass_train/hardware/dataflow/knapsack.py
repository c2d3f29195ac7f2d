"""One design per operation within a budget: the multiple-choice knapsack inside the exploration."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from hass_train.hardware.dataflow.tables import Choices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = 60
_TOLERANCE = 1e-9


class Fit(Enum):
    """Answers of a quick trial that are no selection."""

    IMPOSSIBLE = "nothing fits"
    UNKNOWN = "the bounds leave a gap"


class Knapsack:
    """The choices of all operations laid end to end; a selection is one row for each operation.

    Args:
        choices: of every operation.

    `fit` answers exactly whether any selection is within a budget. Weighting the resources so that the budget costs 1,
    the cheapest selection usually proves the answer either way (`quick_fit`); what is left goes to integer programming
    (HiGHS) over the few rows whose reduced cost still leaves them a chance.
    """

    def __init__(self, choices: Sequence[Choices]) -> None:
        self.choices = choices
        self.counts = np.array([len(choice.design) for choice in choices])
        self.possible = bool((self.counts > 0).all())
        self._slack, self._reduced_cost = 0.0, np.zeros(0)
        if self.possible:
            self.resources = np.concatenate([choice.resources for choice in choices])
            self.starts = np.cumsum(np.r_[0, self.counts[:-1]])
            self.owner = np.repeat(np.arange(len(choices)), self.counts)

    def fit(self, budget: Ints) -> Ints | None:
        """A selection within the budget, or None if there is none.

        Args:
            budget: (resources,) what may be spent, in whole numbers; nothing fits a negative one.
        """
        answer = self.quick_fit(budget)
        if answer is Fit.UNKNOWN:
            return self._by_integer_programming(np.flatnonzero(self._reduced_cost <= self._slack + 1e-7), budget)
        return None if isinstance(answer, Fit) else answer

    def quick_fit(self, budget: Ints) -> Ints | Fit:
        """As `fit`, but gives up where bounds and repairs leave the answer open."""
        if not self.possible or (budget < 0).any():
            return Fit.IMPOSSIBLE
        scale = 1.0 / np.maximum(budget, 0.5)
        weights = np.full(len(budget), 1.0 / len(budget))
        best_bound = -np.inf
        for step in range(_STEPS):
            cost = self.resources @ (scale * weights)
            least = np.minimum.reduceat(cost, self.starts)
            bound = float(least.sum())
            if bound > 1 + _TOLERANCE:
                return Fit.IMPOSSIBLE  # at these weights every selection costs more than the whole budget
            rows = self._first_cheapest(cost, least)
            spent = self.resources[rows].sum(axis=0)
            if (spent <= budget).all():
                return rows
            if bound > best_bound:
                best_bound = bound
                # a row dearer than its operation's cheapest by more than the slack is in no selection that fits
                self._slack, self._reduced_cost = 1 - bound, cost - np.repeat(least, self.counts)
            if step % 6 == 5 and (repaired := self._repaired(rows, budget, scale)) is not None:
                return repaired
            excess = np.clip(spent * scale - 1, -2, 2)
            weights = weights * np.exp(excess * 2 / (1 + step) ** 0.6)
            weights = np.maximum(weights / weights.sum(), 1e-6)
        return Fit.UNKNOWN

    def _first_cheapest(self, cost: Floats, least: Floats) -> Ints:
        hit = np.flatnonzero(cost <= np.repeat(least, self.counts))
        return hit[np.searchsorted(self.owner[hit], np.arange(len(self.counts)))]

    def _repaired(self, rows: Ints, budget: Ints, scale: Floats) -> Ints | None:
        """The selection after greedy single swaps that lower the summed overdraft; None if that does not mend it."""
        rows = rows.copy()
        for _ in range(len(rows)):
            spent = self.resources[rows].sum(axis=0)
            over = np.maximum(spent * scale - 1, 0).sum()
            if over == 0:
                return rows
            after = spent + self.resources - self.resources[rows][self.owner]
            overdraft = np.maximum(after * scale - 1, 0).sum(axis=1)
            swap = int(np.argmin(overdraft))
            if overdraft[swap] >= over:
                return None
            rows[self.owner[swap]] = swap
        return None

    def _by_integer_programming(self, rows: Ints, budget: Ints) -> Ints | None:
        if len(np.unique(self.owner[rows])) < len(self.counts):
            return None
        columns = np.arange(len(rows))
        one_each = csr_array((np.ones(len(rows)), (self.owner[rows], columns)))
        spend = csr_array((self.resources[rows] / np.maximum(budget, 0.5)).T)
        result = milp(
            c=np.zeros(len(rows)),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint(spend, -np.inf, budget / np.maximum(budget, 0.5)),
            ],
            integrality=np.ones(len(rows)),
            bounds=Bounds(0, 1),
        )
        return None if result.x is None else rows[np.flatnonzero(result.x > 0.5)]

    def thrifty(self, rows: Ints, budget: Ints) -> Ints:
        """Give back what a selection does not need: single swaps to fewer DSPs, then less memory, within the budget.

        The rate stays the same; what is left over serves the user (hardware-model, section 6, rate balancing).
        """
        rows = rows.copy()
        spent = self.resources[rows].sum(axis=0)
        share = self.resources / np.maximum(budget, 0.5)
        worth = share @ np.r_[1.0, np.full(len(budget) - 1, 1e-3)]
        for _ in range(3):
            before = rows.copy()
            for operation, start in enumerate(self.starts):
                options = slice(start, start + self.counts[operation])
                rest = spent - self.resources[rows[operation]]
                allowed = (rest + self.resources[options] <= budget).all(axis=1)
                better = start + int(np.argmin(np.where(allowed, worth[options], np.inf)))
                if worth[better] < worth[rows[operation]] - 1e-12:
                    rows[operation] = better
                    spent = rest + self.resources[better]
            if (rows == before).all():
                break
        return rows
