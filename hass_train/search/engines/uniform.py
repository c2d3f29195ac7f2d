"""The search engine that tries the same sparsity in every layer."""

from __future__ import annotations

from collections.abc import Iterator

from hass_train.search.trials.engine import Bench, TrialEngine

_SPARSEST = 0.95  # the largest sparsity of weights and of inputs, at which about 0.25 % of pairs are left


class Uniform(TrialEngine):
    """Tries the same fraction of zeros in the weights and inputs of every layer, on a grid that becomes ever finer."""

    name = "uniform"

    def run(self, bench: Bench) -> None:
        """See `TrialEngine`."""
        for sparsity in _grid(bench.budget.trials):
            if not bench.budget.left(len(bench.study.finished())):
                return
            bench.at(bench.evaluator.at_sparsity(sparsity, sparsity))


def _grid(trials: int) -> Iterator[float]:
    """Yield `trials` sparsities: 0, 1/2, 1/4, 3/4, 1/8, … of the range, which cover it evenly wherever they stop."""
    yield 0.0
    level, given = 1, 1
    while given < trials:
        for k in range(1, 2**level, 2):
            if given < trials:
                yield _SPARSEST * k / 2**level
                given += 1
        level += 1
