"""Search engines whose thresholds are drawn by an Optuna sampler: TPE, as in the HASS paper, and NSGA-II."""

from __future__ import annotations

from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler

from hass_train.search.trials.engine import Bench, TrialEngine
from hass_train.search.trials.evaluator import Evaluator
from hass_train.search.trials.trial import Trial

_FIRST = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Sparsities of all layers that a study begins with, after none. Draws in all layers of a deep network hardly ever
leave one that works, and where none does a sampler has nothing to go by."""


class Sampled(TrialEngine):
    """An engine whose sampler draws every threshold from 0 to `max_threshold`, after a few of equal sparsity in all
    layers; subclasses give the sampler."""

    drawn = True

    def first(self, evaluator: Evaluator) -> list[dict[str, float]]:
        """See `TrialEngine`."""
        same = (evaluator.at_sparsity(each, each) for each in _FIRST)
        held = ({name: min(one, self._most(evaluator, name)) for name, one in each.items()} for each in same)
        return [dict.fromkeys(evaluator.names, 0.0), *held]

    def _most(self, evaluator: Evaluator, name: str) -> float:
        return evaluator.most(name, self.max_threshold)

    def run(self, bench: Bench) -> None:
        """See `TrialEngine`."""
        for trial in bench.study.asked(bench.budget.trials):
            evaluator = bench.evaluator
            thresholds = {name: trial.suggest_float(name, 0.0, self._most(evaluator, name)) for name in evaluator.names}
            bench.measured(trial, thresholds)
            if bench.budget.over:
                return


class TPE(Sampled):
    """A tree-structured Parzen estimator on HASS's objective."""

    name = "tpe"

    def sampler(self, seed: int) -> BaseSampler:
        """See `TrialEngine`."""
        return TPESampler(seed=seed, constant_liar=self.workers > 1)


class NSGA2(Sampled):
    """NSGA-II on two objectives: validation accuracy, and throughput (or what the goal asks for) as a multiple of the
    dense network's."""

    name = "nsga2"
    directions = ("maximize", "maximize")

    def sampler(self, seed: int) -> BaseSampler:
        """See `TrialEngine`."""
        return NSGAIISampler(seed=seed, population_size=max(4, min(24, self.trials // 4)))

    def objectives(self, trial: Trial, bench: Bench) -> list[float]:
        """See `TrialEngine`."""
        return [trial.val_acc, bench.gain(trial)]
