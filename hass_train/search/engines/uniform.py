"""The same sparsity in every layer."""

from __future__ import annotations

from collections.abc import Iterator

from hass_train.search.trials.engine import Bench, TrialEngine

_SPARSEST = 0.95  # of weights and of inputs: 0.25 % of pairs are left


class Uniform(TrialEngine):
    """The same fraction of zeros in every layer's weights and inputs, over an ever finer grid."""

    name = "uniform"

    def run(self, bench: Bench) -> None:
        """See `TrialEngine`."""
        for sparsity in _grid(bench.budget.trials):
            if not bench.budget.left(len(bench.study.finished())):
                return
            bench.at(bench.evaluator.at_sparsity(sparsity, sparsity))


def _grid(trials: int) -> Iterator[float]:
    """0, 1/2, 1/4, 3/4, 1/8, … of the range, so many of them: even whenever it is stopped."""
    yield 0.0
    level, given = 1, 1
    while given < trials:
        for k in range(1, 2**level, 2):
            if given < trials:
                yield _SPARSEST * k / 2**level
                given += 1
        level += 1
