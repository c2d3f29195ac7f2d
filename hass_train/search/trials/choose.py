"""Which trial a goal takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hass_train.search.goal import Goal
from hass_train.search.trials.evaluator import Trial, front


def chosen(trials: Sequence[Trial], goal: Goal, dense: Trial, dense_ips: float) -> Trial:
    """The trial that serves a goal best.

    A throughput target takes the most accurate trial that reaches it, or else the one that comes closest in accuracy
    for its speed; a limit of accuracy loss the fastest within it; a fixed penalty λ the best
    val_acc + λ · log(throughput).

    Args:
        trials: at least one.
        goal: what the user wants.
        dense: the network without thresholds.
        dense_ips: throughput of the dense network on dense engines.
    """
    best = front(trials)
    target = goal.throughput(dense_ips)
    if target is not None:
        reached = [trial for trial in best if trial.throughput_ips >= target]
        # none reaches it: thresholds are scaled up from the fastest
        return max(reached, key=lambda trial: trial.val_acc) if reached else best[0]
    if goal.kind == "max_accuracy_drop":
        within = [trial for trial in best if trial.val_acc >= dense.val_acc - goal.value]
        return within[0] if within else best[-1]
    return max(best, key=lambda trial: trial.val_acc + goal.value * math.log(trial.throughput_ips / dense_ips))
