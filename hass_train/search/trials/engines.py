"""TPE as HASS published it, NSGA-II, the greedy walk of the authors' script, and uniform sparsity."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from rich.console import Console
from torch import nn

from hass_train.config.schema import SearchConfig
from hass_train.export.weights import DENSE_WEIGHTS
from hass_train.runtime import stopping
from hass_train.search.engine import Choice, Subject, survive
from hass_train.search.trials.choose import chosen
from hass_train.search.trials.evaluator import Evaluator, Trial, front
from hass_train.search.trials.study import Direction, TrialStudy, fingerprint, open_storage

_EVERY = 8  # trials between two lines on what is best so far


class Budget:
    """How long a search may go on.

    Args:
        trials: finished trials in the study.
        seconds: of wall clock from now; None = no limit.
    """

    def __init__(self, trials: int, seconds: float | None) -> None:
        self.trials, self.seconds, self.started = trials, seconds, time.monotonic()

    def left(self, done: int) -> bool:
        """Whether another trial may begin."""
        return done < self.trials and not self.over

    @property
    def over(self) -> bool:
        """Whether the time is up, or the process that started this worker is gone."""
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            return True
        return self.seconds is not None and time.monotonic() - self.started >= self.seconds


@dataclass
class Bench:
    """What a method works with: the study, the evaluator, and the dense network to compare with.

    Args:
        study, evaluator, budget, config: of the search.
        dense: the network without thresholds.
        console: for what is best so far.
        quiet: whether another process tells that.
        told: trials that were finished when it was last told.
    """

    study: TrialStudy
    evaluator: Evaluator
    budget: Budget
    config: SearchConfig
    dense: Trial
    console: Console
    quiet: bool = False
    told: int = 0

    def measured(self, trial: optuna.Trial, thresholds: dict[str, float]) -> Trial:
        """Evaluate and store; returns what it is worth."""
        found = self.evaluator.evaluate(thresholds, trial.number)
        self.study.tell(trial, found, objectives(self.config, found, self))
        self._report()
        stopping.check()  # what was measured is stored
        return found

    def at(self, thresholds: dict[str, float]) -> Trial:
        """The trial with these thresholds: the study's own if it holds one, else a new one."""
        known = self.study.find(thresholds)
        if known is not None:
            return known
        return self.measured(self.study.fixed(thresholds, 1e6), thresholds)

    def _report(self) -> None:
        trials = self.study.finished()
        if self.quiet or (len(trials) < self.told + _EVERY and self.budget.left(len(trials))):
            return
        self.told = len(trials)
        dense_ips = self.evaluator.subject.question.dense_ips
        best = chosen(trials, self.evaluator.subject.goal, self.dense, dense_ips)
        self.console.print(
            f"[dim]{len(trials):>4}/{self.budget.trials}[/] [bold]{self.config.engine:<7}[/] best so far: "
            f"trial {best.number}  val acc {best.val_acc:.4f}  speed-up {best.throughput_ips / dense_ips:.2f}×  "
            f"pair sparsity {best.pair_sparsity:.3f}"
        )


class Method(Protocol):
    """How trials follow each other."""

    def run(self, bench: Bench) -> None:
        """Go on until the budget is spent, or there is nothing left to try."""
        ...


class Sampled:
    """An Optuna sampler draws all thresholds, each between 0 and `search.max_threshold`."""

    def run(self, bench: Bench) -> None:
        """See `Method`."""
        for trial in bench.study.asked(bench.budget.trials):
            thresholds = {
                name: trial.suggest_float(name, 0.0, bench.evaluator.most(name, bench.config.max_threshold))
                for name in bench.evaluator.names
            }
            bench.measured(trial, thresholds)
            if bench.budget.over:
                return


class Greedy:
    """One weight threshold and one activation threshold for all layers; each step raises the one that costs less
    accuracy for what it gains in throughput."""

    def run(self, bench: Bench) -> None:
        """See `Method`."""
        here, trial = {"weight": 0.0, "activation": 0.0}, bench.at(self._spread(bench, 0.0, 0.0))
        while bench.budget.left(len(bench.study.finished())) and not self._done(bench, trial):
            steps = []
            for kind in here:
                there = {**here, kind: here[kind] + bench.config.threshold_step}
                if there[kind] <= bench.config.max_threshold:
                    steps.append((bench.at(self._spread(bench, **there)), there))
            if not steps:
                return
            trial, here = max(steps, key=lambda step, now=trial: _worth(now, step[0]))  # type: ignore[misc]

    def _done(self, bench: Bench, trial: Trial) -> bool:
        goal, question = bench.evaluator.subject.goal, bench.evaluator.subject.question
        target = goal.throughput(question.dense_ips)
        if target is not None:
            return trial.throughput_ips >= target
        allowed = goal.value if goal.kind == "max_accuracy_drop" else _HOPELESS
        return trial.val_acc < bench.dense.val_acc - allowed

    def _spread(self, bench: Bench, weight: float, activation: float) -> dict[str, float]:
        usual = bench.config.max_threshold
        return {
            name: (weight if name.endswith("/weight") else activation) * bench.evaluator.most(name, usual) / usual
            for name in bench.evaluator.names
        }


_HOPELESS = 0.3  # accuracy lost beyond which a greedy walk without a target ends


def _worth(now: Trial, then: Trial) -> tuple[float, float]:
    """Less accuracy lost for throughput gained is better; where nothing is gained, less lost."""
    lost, gained = now.val_acc - then.val_acc, then.throughput_ips / now.throughput_ips - 1
    if gained <= 0:
        return (0.0, -lost)
    return (1.0, -lost / gained)


class Uniform:
    """The same fraction of zeros in every layer's weights and inputs, over an ever finer grid."""

    def run(self, bench: Bench) -> None:
        """See `Method`."""
        for sparsity in self._grid(bench.budget.trials):
            if not bench.budget.left(len(bench.study.finished())):
                return
            bench.at(bench.evaluator.at_sparsity(sparsity, sparsity))

    def _grid(self, trials: int) -> Iterator[float]:
        """0, 1/2, 1/4, 3/4, 1/8, … of the range: even whenever it is stopped."""
        yield 0.0
        level, given = 1, 1
        while given < trials:
            for k in range(1, 2**level, 2):
                if given < trials:
                    yield _SPARSEST * k / 2**level
                    given += 1
            level += 1


_SPARSEST = 0.95  # of weights and of inputs: 0.25 % of pairs are left

METHODS: dict[str, Method] = {"tpe": Sampled(), "nsga2": Sampled(), "greedy": Greedy(), "uniform": Uniform()}
DIRECTIONS: dict[str, list[Direction]] = {"nsga2": ["maximize", "maximize"]}
"""Of objectives; one to maximise where nothing else is said."""


def objectives(config: SearchConfig, trial: Trial, bench: Bench) -> list[float]:
    """What the study maximises.

    NSGA-II: accuracy and throughput. All others as published: f_acc + λ1·f_spa + λ2·f_thr − λ3·f_dsp (HASS),
    with accuracy and throughput over the dense network's, mean pair sparsity, and the share of the DSPs used.
    """
    question = bench.evaluator.subject.question
    if config.engine == "nsga2":
        return [trial.val_acc, trial.throughput_ips / question.dense_ips]
    return [
        trial.val_acc / max(bench.dense.val_acc, 1e-9)
        + config.sparsity_weight * trial.pair_sparsity
        + config.throughput_weight * trial.throughput_ips / question.dense_ips
        - config.dsp_weight * trial.dsp
    ]


class BlackBox:
    """A search by trials, on a study.

    Args:
        config: engine, budget, study and storage.
        seed: of the sampler.
        folder: for the journal file of a study.
        about: what the study's trials are of, beside the network's weights.
        helpers: starts the other processes that work on the study, given the subject.
        worker: number of this process among those that share the study.
    """

    def __init__(
        self,
        config: SearchConfig,
        seed: int,
        folder: Path,
        about: dict[str, Any],
        helpers: Callable[[Subject], AbstractContextManager[None]] | None = None,
        worker: int = 0,
    ) -> None:
        self.config, self.seed, self.folder, self.about = config, seed, folder, about
        self.helpers, self.worker = helpers, worker

    learns = False

    @property
    def name(self) -> str:
        """As in `search=`."""
        return self.config.engine

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """There are no search epochs."""

    def bench(self, subject: Subject) -> Bench:
        """Study and evaluator of the subject; the dense network is evaluated first."""
        about = {**self.about, "engine": self.name, "weights": fingerprint(subject.model)}
        storage = open_storage(self.config.storage, self.folder)
        study = TrialStudy(self.config.study or "search", storage, DIRECTIONS.get(self.name, ["maximize"]), about)
        done = len(study.study.get_trials(deepcopy=False))
        study.study.sampler = self._sampler(done)  # other draws than those that are stored
        budget, evaluator = Budget(self.config.trials, self.config.seconds), Evaluator(subject)
        console = Console(highlight=False, soft_wrap=True)
        return Bench(study, evaluator, budget, self.config, evaluator.evaluate({}), console, quiet=self.worker > 0)

    def _sampler(self, done: int) -> BaseSampler:
        seed = self.seed + 1000 * self.worker + done
        if self.name == "nsga2":
            return NSGAIISampler(seed=seed, population_size=max(4, min(24, self.config.trials // 4)))
        return TPESampler(seed=seed, constant_liar=self.config.workers > 1)

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`."""
        self._keep_dense(subject)
        bench = self.bench(subject)
        bench.study.adopt(queue=isinstance(METHODS[self.name], Sampled))
        if before := len(bench.study.finished()):
            bench.console.print(
                f"study {self.config.study!r} goes on: {before} of {self.config.trials} trials are done"
            )
        with self.helpers(subject) if self.helpers else nullcontext():
            METHODS[self.name].run(bench)
        trials = bench.study.finished()
        best = chosen(trials or [bench.dense], subject.goal, bench.dense, subject.question.dense_ips)
        bench.evaluator.apply(bench.study.parameters(best.number) if trials else {})
        settled = survive(subject)
        points: list[dict[str, float]] = [
            {key: getattr(one, key) for key in ("number", "val_acc", "throughput_ips", "pair_sparsity")}
            for one in front(trials)
        ]
        images, number = sum(one.images for one in trials), best.number if trials else None
        return Choice(len(trials), images, tuple(points), number, settled)

    def _keep_dense(self, subject: Subject) -> None:
        """Lay the dense network beside the study, so that it can go on without training it again."""
        kept = self.folder / DENSE_WEIGHTS
        if kept.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partly = kept.with_suffix(".part")
        shutil.copy2(subject.output / DENSE_WEIGHTS, partly)
        partly.replace(kept)
