"""The multiple-choice knapsack inside the exploration: one design per operation within a budget."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, hstack

from hass_train.hardware.dataflow.designs.tables import per_unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = 60
_TOLERANCE = 1e-9
_ROW_SIZE = 1e4
_INFEASIBLE = 2  # scipy's status
NODES, FEW_NODES, FEW_ROWS = 500, 50, 300
"""Most branches, and most rows, that integer programming may look at in one question; the few are for where a small gap
is allowed anyway. They are counts, not seconds, so that answers repeat."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the standard output: now and then HiGHS 1.12 prints a stray line to it, whatever it is told."""
    try:
        sys.stdout.flush()
        os.fstat(1)
    except (OSError, ValueError, AttributeError):  # the output is closed: there is nothing to silence
        yield
        return
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


class NoSelection(Enum):
    """Why a question has no selection for an answer."""

    IMPOSSIBLE = "nothing fits"
    UNKNOWN = "the bounds leave a gap"


class Knapsack:
    """A multiple-choice knapsack over the designs of all operations, laid end to end; a selection is a row for each.

    `fit` answers whether any selection is within the budget. With the resources weighted so that the budget costs 1,
    the cheapest selection usually proves the answer either way (`quick_fit`). What it leaves open goes to integer
    programming (HiGHS) over the few rows whose reduced cost still leaves them a chance.

    Args:
        resources: (rows, k) what each design takes of the k resources that count.
        owner: (rows,) the operation that it is a design of, ascending.
        operations: the number of operations.
        budget: (k,) what may be spent.
    """

    def __init__(self, resources: Floats, owner: Ints, operations: int, budget: Floats) -> None:
        self.budget, self.operations = budget, operations
        self.scale = per_unit(budget)
        self.rows = np.flatnonzero((resources <= budget).all(axis=1))
        self.resources, self.owner = resources[self.rows], owner[self.rows]
        self.possible = bool((budget >= 0).all()) and self._complete(self.owner)
        self._left = np.arange(len(self.rows))  # rows that may still be in a selection that fits
        self.weights = np.full(len(budget), 1.0 / len(budget))
        self._fractions = np.zeros(0)

    def _complete(self, owner: Ints) -> bool:
        """Whether every operation has at least one row."""
        return len(owner) > 0 and int((np.diff(owner) > 0).sum()) + 1 == self.operations

    def fit(self, nodes: int = NODES, rows: int | None = None) -> Ints | NoSelection:
        """A selection within the budget, as (operations,) rows, or `IMPOSSIBLE`; `UNKNOWN` past `nodes` branches.

        Args:
            nodes: most branches of integer programming.
            rows: most rows that it looks at, since some thousand take seconds; None = any number.
        """
        answer = self.rounded_fit()
        if answer is not NoSelection.UNKNOWN or (rows is not None and len(self._left) > rows):
            return answer
        return self._by_integer_programming(nodes)

    def rounded_fit(self) -> Ints | NoSelection:
        """The answer of `fit`, except that what bounds leave open is rounded and repaired, and not decided."""
        answer = self.quick_fit()
        if answer is not NoSelection.UNKNOWN:
            return answer
        if not self._best_weights():
            return NoSelection.IMPOSSIBLE
        repaired = self._rounded()
        return NoSelection.UNKNOWN if repaired is None else repaired

    def _best_weights(self) -> bool:
        """Find the weights of the largest bound and drop the rows that it rules out; False if it rules out all.

        These weights are the dual of the linear relaxation, min z with Σ resources ≤ z·budget and one (fractional) row
        for each operation.
        """
        resources, owner = self.resources[self._left] * self.scale, self.owner[self._left]
        count = len(owner)
        one_each = csr_array((np.ones(count), (owner, np.arange(count))), shape=(self.operations, count + 1))
        spend = hstack([csr_array(resources.T), csr_array(-np.maximum(self.budget * self.scale, 1e-12)[:, None])])
        relaxed = linprog(
            c=np.r_[np.zeros(count), 1.0],
            A_ub=spend, b_ub=np.zeros(len(self.budget)),
            A_eq=one_each, b_eq=np.ones(self.operations),
            bounds=(0, None), method="highs",
        )  # fmt: skip
        if relaxed.x is None:
            return True  # the solver gave up; integer programming decides without its help
        weights = np.maximum(-relaxed.ineqlin.marginals, 0.0)
        weights = np.maximum(weights / max(weights.sum(), 1e-12), 1e-9)
        cost = resources @ weights
        starts = np.flatnonzero(np.r_[True, np.diff(owner) > 0])
        least = np.minimum.reduceat(cost, starts)
        bound = float(least.sum()) / float((weights * np.minimum(self.budget * self.scale, 1.0)).sum())
        self.weights = weights
        if bound > 1 + _TOLERANCE:
            return False
        self._fractions = relaxed.x[:-1]
        held = (cost - least[owner] <= 1 - bound + 1e-7) | (self._fractions > 0.5)
        self._left, self._fractions = self._left[held], self._fractions[held]
        return True

    def _rounded(self) -> Ints | None:
        """A selection of the relaxation's largest fractions, repaired if it is over the budget; None if that fails."""
        resources, owner = self.resources[self._left], self.owner[self._left]
        order = np.lexsort((-self._fractions, owner))
        chosen = order[np.flatnonzero(np.r_[True, np.diff(owner[order]) > 0])]
        repaired = self._repaired(resources, owner, chosen)
        return None if repaired is None else self.rows[self._left[repaired]]

    def quick_fit(self, start: Floats | None = None) -> Ints | NoSelection:
        """The answer of `fit`, or `UNKNOWN` where bounds and repairs leave it open.

        Args:
            start: (k,) weights of the budget's fractions to begin with, those of a similar question.
        """
        if not self.possible:
            return NoSelection.IMPOSSIBLE
        weights = self.weights if start is None else start
        for step in range(_STEPS):
            resources, owner = self.resources[self._left], self.owner[self._left]
            starts = np.flatnonzero(np.r_[True, np.diff(owner) > 0])
            cost = resources @ (self.scale * weights)
            least = np.minimum.reduceat(cost, starts)
            bound = float(least.sum())
            self.weights = weights
            if bound > 1 + _TOLERANCE:
                return NoSelection.IMPOSSIBLE  # at these weights every selection costs more than the whole budget
            excess_cost = cost - least[owner]
            hit = np.flatnonzero(excess_cost <= 0)
            chosen = hit[np.searchsorted(owner[hit], np.arange(self.operations))]
            spent = resources[chosen].sum(axis=0)
            if (spent <= self.budget).all():
                return self.rows[self._left[chosen]]
            if step % 6 == 5 and (repaired := self._repaired(resources, owner, chosen)) is not None:
                return self.rows[self._left[repaired]]
            # a row dearer than its operation's cheapest by more than the slack is in no selection that fits
            held = excess_cost <= 1 - bound + 1e-7
            if held.sum() < 0.8 * len(held):
                self._left = self._left[held]
            excess = np.clip(spent * self.scale - 1, -2, 2)
            weights = weights * np.exp(excess * 2 / (1 + step) ** 0.6)
            weights = np.maximum(weights / weights.sum(), 1e-6)
            weights /= weights.sum()
        return NoSelection.UNKNOWN

    def _repaired(self, resources: Floats, owner: Ints, chosen: Ints) -> Ints | None:
        """The selection after greedy single swaps that lower the summed overdraft; None if some of it remains."""
        chosen = chosen.copy()
        for _ in range(len(chosen)):
            spent = resources[chosen].sum(axis=0)
            over = np.maximum(spent * self.scale - 1, 0).sum()
            if over <= 0:
                return chosen
            after = spent + resources - resources[chosen][owner]
            overdraft = np.maximum(after * self.scale - 1, 0).sum(axis=1)
            swap = int(np.argmin(overdraft))
            if overdraft[swap] >= over:
                return None
            chosen[owner[swap]] = swap
        return None

    def _by_integer_programming(self, nodes: int) -> Ints | NoSelection:
        """Decide by integer programming over the rows that are left, looking at no more than `nodes` branches."""
        left = self._left
        owner, count = self.owner[left], len(left)
        one_each = csr_array((np.ones(count), (owner, np.arange(count))), shape=(self.operations, count))
        # the solver keeps constraints to about 1e-6: rows of this size keep them to far less than one unit
        spend = csr_array((self.resources[left] * (self.scale * _ROW_SIZE)).T)
        with _quiet():
            result = milp(
                c=np.zeros(count),
                constraints=[
                    LinearConstraint(one_each, 1, 1),
                    LinearConstraint(spend, -np.inf, self.budget * self.scale * _ROW_SIZE),
                ],
                integrality=np.ones(count),
                bounds=Bounds(0, 1),
                options={"node_limit": nodes},
            )
        if result.x is not None:
            chosen = np.flatnonzero(result.x > 0.5)
            if (self.resources[left[chosen]].sum(axis=0) <= self.budget).all():
                return self.rows[left[chosen]]
            return NoSelection.UNKNOWN  # it fits only within the solver's tolerance
        # any other status, such as the limit of nodes, proves nothing
        return NoSelection.IMPOSSIBLE if result.status == _INFEASIBLE else NoSelection.UNKNOWN
