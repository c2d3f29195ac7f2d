"""The greedy walk of the HASS authors' script."""

from __future__ import annotations

from hass_train.search.goal import Goal
from hass_train.search.trials.engine import Bench, TrialEngine
from hass_train.search.trials.trial import Trial


class Greedy(TrialEngine):
    """One weight threshold and one activation threshold for all layers. Each step raises one of the two by
    `threshold_step`: the one that loses less accuracy for what it gains in throughput, or what the goal asks for."""

    name = "greedy"

    def run(self, bench: Bench) -> None:
        """See `TrialEngine`."""
        question = bench.evaluator.subject.question
        goal, dense_rate = question.goal, question.dense_rate
        here, trial = {"weight": 0.0, "activation": 0.0}, bench.at(self._spread(bench, 0.0, 0.0))
        while bench.budget.left(len(bench.study.finished())) and not goal.enough(trial, bench.dense, dense_rate):
            steps = []
            for kind in here:
                there = {**here, kind: here[kind] + self.threshold_step}
                if there[kind] <= self.max_threshold:
                    steps.append((bench.at(self._spread(bench, **there)), there))
            if not steps:
                return
            trial, here = max(steps, key=lambda step, now=trial: _worth(goal, now, step[0]))  # type: ignore[misc]

    def _spread(self, bench: Bench, weight: float, activation: float) -> dict[str, float]:
        """The thresholds of all layers, by name, for a common weight and a common activation threshold.

        Where a pattern's thresholds have a maximum, they are scaled so that `max_threshold` corresponds to it.
        """
        usual = self.max_threshold
        return {
            name: (weight if name.endswith("/weight") else activation) * bench.evaluator.most(name, usual) / usual
            for name in bench.evaluator.names
        }


def _worth(goal: Goal, now: Trial, then: Trial) -> tuple[float, float]:
    """A key to compare steps by: the less accuracy a step loses for the rate it gains, the larger it is; steps
    without a gain come last."""
    lost, gained = now.val_acc - then.val_acc, goal.rate(then) / goal.rate(now) - 1
    if gained <= 0:
        return (0.0, -lost)
    return (1.0, -lost / gained)
