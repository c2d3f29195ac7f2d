"""The multiple-choice knapsack inside the exploration: one design per operation within a budget."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from hass_train.hardware.dataflow.designs.tables import per_unit
from hass_train.hardware.dataflow.exploration import walk

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS, _EVERY = 12, 4  # weights of a walk, and those between repairs
_ROW_SIZE = 1e4
_INFEASIBLE = 2  # scipy's status
NODES, MANY_NODES, SOME_NODES, FEW_NODES = 500, 20_000, 2_000, 100
"""Most nodes that integer programming looks at in one question, and most of branch and bound: where everything is to be
proved, where a small gap is allowed, and where an answer should only be good. They are counts, not seconds, so that
answers repeat."""


@contextmanager
def quiet() -> Iterator[None]:
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
    the cheapest selection usually proves the answer either way (`quick_fit`). What it leaves open goes to branch and
    bound over the few rows whose reduced cost still leaves them a chance, and at last to integer programming (HiGHS).

    Args:
        resources: (rows, k) what each design takes of the k resources that count.
        owner: (rows,) the operation that it is a design of, ascending.
        operations: the number of operations.
        budget: (k,) what may be spent.
    """

    def __init__(self, resources: Floats, owner: Ints, operations: int, budget: Floats) -> None:
        self.budget, self.operations = np.asarray(budget, float), operations
        self.scale = per_unit(budget)
        self.rows = np.flatnonzero((resources <= budget).all(axis=1))
        self.resources, self.owner = np.ascontiguousarray(resources[self.rows], float), owner[self.rows]
        self.possible = bool((budget >= 0).all()) and self._complete(self.owner)
        self._left = np.arange(len(self.rows))  # rows that may still be in a selection that fits
        self.weights = np.full(len(budget), 1.0 / len(budget))

    def _complete(self, owner: Ints) -> bool:
        """Whether every operation has at least one row."""
        return len(owner) > 0 and int((np.diff(owner) > 0).sum()) + 1 == self.operations

    def fit(self, nodes: int | None = None) -> Ints | NoSelection:
        """A selection within the budget, as (operations,) rows, or `IMPOSSIBLE`.

        Args:
            nodes: most nodes of branch and bound, past which the answer is `UNKNOWN`; None = as many as are worth
                looking at before integer programming has a go, up to `NODES` of its own.
        """
        answer = self.quick_fit()
        if answer is not NoSelection.UNKNOWN:
            return answer
        answer = self.branched_fit(MANY_NODES if nodes is None else nodes)
        if answer is not NoSelection.UNKNOWN or nodes is not None:
            return answer
        return self._by_integer_programming(NODES)

    def branched_fit(self, nodes: int) -> Ints | NoSelection:
        """The answer of `fit` by branch and bound alone, looking at no more than `nodes` nodes."""
        if not self.possible:
            return NoSelection.IMPOSSIBLE
        resources, owner = self.resources[self._left], self.owner[self._left]
        first, end = self._ends(owner)
        found, chosen = walk.branch(resources, first, end, self.budget, self.scale, self.weights, nodes)
        if found == walk.FITS:
            return self.rows[self._left[chosen]]
        return NoSelection.IMPOSSIBLE if found == walk.IMPOSSIBLE else NoSelection.UNKNOWN

    def quick_fit(self, start: Floats | None = None) -> Ints | NoSelection:
        """The answer of `fit`, or `UNKNOWN` where bounds and repairs leave it open.

        Args:
            start: (k,) weights of the budget's fractions to begin with, those of a similar question.
        """
        if not self.possible:
            return NoSelection.IMPOSSIBLE
        weights = self.weights if start is None else start
        resources, owner = self.resources[self._left], self.owner[self._left]
        first, end = self._ends(owner)
        found, chosen, bound, self.weights = walk.walk(
            resources, first, end, self.budget, self.scale, weights, _STEPS, _EVERY
        )
        if found == walk.IMPOSSIBLE:  # at these weights every selection costs more than the whole budget
            return NoSelection.IMPOSSIBLE
        if found == walk.FITS:
            return self.rows[self._left[chosen]]
        # a row dearer than its operation's cheapest by more than the slack is in no selection that fits
        self._left = self._left[self._excess_cost(resources, owner) <= 1 - bound + 1e-7]
        return NoSelection.UNKNOWN

    def _ends(self, owner: Ints) -> tuple[Ints, Ints]:
        """(operations,) where the rows of each operation begin, and where they end."""
        starts = np.searchsorted(owner, np.arange(self.operations + 1)).astype(np.int64)
        return starts[:-1], starts[1:]

    def _excess_cost(self, resources: Floats, owner: Ints) -> Floats:
        """(rows,) how much dearer each row is than its operation's cheapest, at the present weights."""
        cost = resources @ (self.scale * self.weights)
        excess: Floats = cost - np.minimum.reduceat(cost, self._ends(owner)[0])[owner]
        return excess

    def _by_integer_programming(self, nodes: int) -> Ints | NoSelection:
        """Decide by integer programming over the rows that are left, looking at no more than `nodes` branches."""
        left = self._left
        owner, count = self.owner[left], len(left)
        one_each = csr_array((np.ones(count), (owner, np.arange(count))), shape=(self.operations, count))
        # the solver keeps constraints to about 1e-6: rows of this size keep them to far less than one unit
        spend = csr_array((self.resources[left] * (self.scale * _ROW_SIZE)).T)
        with quiet():
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
