"""The base class of search engines that work by trials: thresholds of a trained network, tried out without training."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import optuna
from optuna.samplers import BaseSampler
from rich.console import Console
from torch import nn

from hass_train.export.weights import DENSE_WEIGHTS
from hass_train.runtime import stopping
from hass_train.search.engine import Choice, SearchEngine
from hass_train.search.subject import Subject
from hass_train.search.trials.evaluator import Evaluator
from hass_train.search.trials.study import Direction, TrialStudy, fingerprint, open_storage
from hass_train.search.trials.trial import Trial, front
from hass_train.search.trials.workers import helpers

_EVERY = 8  # number of trials between two lines about the best one so far


class Budget:
    """The limits of a search by trials.

    Args:
        trials: number of finished trials in the study at which the search ends.
        seconds: wall-clock seconds from now after which it ends; None = no limit.
    """

    def __init__(self, trials: int, seconds: float | None) -> None:
        self.trials, self.seconds, self.started = trials, seconds, time.monotonic()

    def left(self, done: int) -> bool:
        """Return whether another trial may begin when `done` trials are finished."""
        return done < self.trials and not self.over

    @property
    def over(self) -> bool:
        """Whether the time is up, or the process that started this worker has ended."""
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            return True
        return self.seconds is not None and time.monotonic() - self.started >= self.seconds


class TrialEngine(SearchEngine):
    """A search by trials that are stored in an Optuna study. Subclasses choose the trials (`run`).

    Args:
        trials, seconds: limits of the search: number of trials, and wall-clock seconds (None = no limit).
        study: name of the study, so that a later run can continue it; without one the trials stay in the run's
            directory.
        storage: database URL of the study; by default a journal file.
        workers: number of processes that share the study.
        max_threshold, threshold_step: the largest threshold to try, and the step of a walk, in typical magnitudes.
        sparsity_weight, throughput_weight, dsp_weight: λ1, λ2 and λ3 of HASS's objective.
        seed: seed of the sampler.
        runs, output: folder of all runs, and directory of this run.

    Raises:
        ValueError: there are several workers, but every trial of this engine depends on the ones before.
    """

    single_process = True
    drawn: ClassVar[bool] = False
    """Whether trials are drawn independently, so that any number of workers may share a study."""
    directions: ClassVar[tuple[Direction, ...]] = ("maximize",)
    """Whether the study maximises or minimises each of the objectives."""

    def __init__(
        self,
        trials: int = 96,
        seconds: float | None = None,
        study: str | None = None,
        storage: str | None = None,
        workers: int = 1,
        max_threshold: float = 0.8,
        threshold_step: float = 0.1,
        sparsity_weight: float = 0.1,
        throughput_weight: float = 0.1,
        dsp_weight: float = 0.1,
        seed: int = 0,
        runs: str = "runs",
        output: str = ".",
    ) -> None:
        if workers > 1 and not self.drawn:
            raise ValueError(
                f"search.workers is {workers}, but search={self.name} goes step by step; use 1, or search=tpe or "
                "search=nsga2"
            )
        self.trials, self.seconds, self.study, self.storage, self.workers = trials, seconds, study, storage, workers
        self.max_threshold, self.threshold_step, self.seed = max_threshold, threshold_step, seed
        self.weights = (sparsity_weight, throughput_weight, dsp_weight)
        # the journal and the dense network of a named study are kept together, where a later run finds them by the name
        self.folder = Path(runs) / "studies" / study if study else Path(output)

    # ---- what subclasses define --------------------------------------------------------------------------------

    @abstractmethod
    def run(self, bench: Bench) -> None:
        """Evaluate further trials until the budget is spent, or nothing is left to try."""

    def first(self, evaluator: Evaluator) -> list[dict[str, float]]:
        """Return the thresholds, by name, that a new study begins with: by default none."""
        return []

    def sampler(self, seed: int) -> BaseSampler | None:
        """Return the study's sampler; None for engines that choose thresholds themselves."""
        return None

    def objectives(self, trial: Trial, bench: Bench) -> list[float]:
        """Return the objectives of a trial: by default the one of HASS, f_acc + λ1·f_spa + λ2·f_thr − λ3·f_dsp
        (section IV), with accuracy and throughput (or what the goal asks for) as multiples of the dense network's, the
        mean pair sparsity, and the fraction of the DSPs that is used."""
        sparsity, throughput, dsp = self.weights
        return [
            trial.val_acc / max(bench.dense.val_acc, 1e-9)
            + sparsity * trial.pair_sparsity
            + throughput * bench.gain(trial)
            - dsp * trial.dsp
        ]

    # ---- what they share ---------------------------------------------------------------------------------------

    def dense_weights(self) -> Path | None:
        """See `SearchEngine`: the dense network of the study that is continued."""
        path = self.folder / DENSE_WEIGHTS
        return path if self.study and path.is_file() else None

    def prepare(self, model: nn.Module) -> None:
        """See `SearchEngine`: it must be possible to open the storage of the study."""
        open_storage(self.storage, self.folder)

    def bench(self, subject: Subject) -> Bench:
        """Open the study, and evaluate the subject without thresholds, for comparison."""
        about = {**_about(self.context.settings if self.context else {}), "engine": self.name}
        about["weights"] = fingerprint(subject.model)
        study = TrialStudy(self.study or "search", open_storage(self.storage, self.folder), self.directions, about)
        done = len(study.study.get_trials(deepcopy=False))
        sampler = self.sampler(self.seed + 1000 * self.worker + done)  # must not repeat the draws that are stored
        if sampler is not None:
            study.study.sampler = sampler
        evaluator = Evaluator(subject)
        console = Console(highlight=False, soft_wrap=True)
        return Bench(self, study, evaluator, Budget(self.trials, self.seconds), evaluator.evaluate({}), console)

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`."""
        self._keep_dense(subject)
        bench = self.bench(subject)
        bench.study.adopt(queue=self.drawn)
        if before := len(bench.study.finished()):
            bench.console.print(f"study {self.study!r} goes on: {before} of {self.trials} trials are done")
        if bench.study.new:
            bench.study.queue(self.first(bench.evaluator))
        with self._helpers(subject):
            self.run(bench)
        trials = bench.study.finished()
        best = bench.best(trials or [bench.dense])
        bench.evaluator.apply(bench.study.parameters(best.number) if trials else {})
        settled = subject.survive()
        points: list[dict[str, float]] = [
            {key: getattr(one, key) for key in ("number", "val_acc", "throughput_ips", "pair_sparsity")}
            for one in front(trials)
        ]
        images, number = sum(one.images for one in trials), best.number if trials else None
        return Choice(len(trials), images, tuple(points), number, settled)

    def _helpers(self, subject: Subject) -> AbstractContextManager[None]:
        """A context in which the other workers run."""
        if self.worker or self.workers == 1 or self.context is None:
            return nullcontext()
        question = subject.question
        about = (self.context.settings, question.goal, question.dense_rate)
        return helpers(self.workers - 1, _draw_trials, self.context.rebuild, *about)

    def _keep_dense(self, subject: Subject) -> None:
        """Copy the dense network to the study, so that a later run can continue it without training again."""
        kept = self.folder / DENSE_WEIGHTS
        if kept.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partly = kept.with_suffix(".part")
        shutil.copy2(subject.output / DENSE_WEIGHTS, partly)
        partly.replace(kept)


@dataclass
class Bench:
    """Everything that a search by trials works with.

    Args:
        engine: the search engine.
        study: the study that the trials are stored in.
        evaluator: evaluates thresholds of the subject.
        budget: the limits of the search.
        dense: the trial of the network without thresholds, for comparison.
        console: the console on which the best trial so far is printed.
        told: number of trials that were finished when it was last printed.
    """

    engine: TrialEngine
    study: TrialStudy
    evaluator: Evaluator
    budget: Budget
    dense: Trial
    console: Console
    told: int = 0

    def gain(self, trial: Trial) -> float:
        """Return the throughput of a trial, or what the goal asks for, over the dense network's."""
        return self.evaluator.subject.question.gain(trial)

    def best(self, trials: list[Trial]) -> Trial:
        """Return the trial that is best for the goal, out of at least one."""
        question = self.evaluator.subject.question
        return question.goal.best(front(trials, question.goal.rate), self.dense, question.dense_rate)

    def measured(self, trial: optuna.Trial, thresholds: dict[str, float]) -> Trial:
        """Evaluate thresholds, and store the results in the study.

        Args:
            trial: the trial of the study that the thresholds belong to.
            thresholds: the thresholds by name.

        Raises:
            Stopped: a signal asked for it; the results are stored.
        """
        found = self.evaluator.evaluate(thresholds, trial.number)
        self.study.tell(trial, found, self.engine.objectives(found, self))
        self._report()
        stopping.check()  # here, where the results are stored
        return found

    def at(self, thresholds: dict[str, float]) -> Trial:
        """Return the trial with these thresholds: the one in the study if there is one, otherwise a new one."""
        known = self.study.find(thresholds)
        if known is not None:
            return known
        return self.measured(self.study.fixed(thresholds, 1e6), thresholds)

    def _report(self) -> None:
        trials = self.study.finished()
        if self.engine.worker or (len(trials) < self.told + _EVERY and self.budget.left(len(trials))):
            return
        self.told = len(trials)
        best = self.best(trials)
        self.console.print(
            f"[dim]{len(trials):>4}/{self.budget.trials}[/] [bold]{self.engine.name:<7}[/] best so far: "
            f"trial {best.number}  val acc {best.val_acc:.4f}  speed-up {self.gain(best):.2f}×  "
            f"pair sparsity {best.pair_sparsity:.3f}"
        )


def _about(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all trials of a study must share, since they determine the results beside the weights."""
    if not settings:
        return {}
    data = {key: value for key, value in settings["data"].items() if key not in ("workers", "root")}
    model = settings["model"]["name"]
    return {"model": model, "data": data, "hw": settings["hw"], "sparsity": settings["sparsity"]}


def _draw_trials(rebuild: Any, settings: dict[str, Any], goal: Any, dense_rate: float, worker: int) -> None:
    """Evaluate trials in the process of a worker; the arguments are those of `Context`."""
    engine, subject = rebuild(settings, goal, dense_rate, worker)
    engine.run(engine.bench(subject))
