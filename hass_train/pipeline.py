"""`train(config)` and `search(config)`: build an experiment, run it, and write its results."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from hass_train.config.commands import job_command
from hass_train.experiment import Experiment
from hass_train.export.initial import initialise
from hass_train.export.integers import save_integers
from hass_train.export.weights import DENSE_WEIGHTS, save_dense
from hass_train.hardware import SparsityProfile
from hass_train.report.console import print_result, report_console
from hass_train.report.summary import print_summary
from hass_train.results.result import (
    DataInfo,
    DenseNetwork,
    HardwareInfo,
    NaturalNetwork,
    NetworkInfo,
    Outcome,
    Result,
    SparseNetwork,
    Spent,
    TrialPoint,
)  # fmt: skip
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import BEST, FOLDER, write_text
from hass_train.runtime.plain import from_plain
from hass_train.search.goal import Goal, Reached
from hass_train.search.phases import Phase, PhasePlan
from hass_train.search.subject import Subject
from hass_train.sparsity import SparseLayer, apply_masks, masks_hold, sparse_layers
from hass_train.sparsity.convolve import quicken
from hass_train.tracking.board import publish_dense, publish_integers
from hass_train.tracking.loggers import WandbLog
from hass_train.training.finish import finish
from hass_train.training.module import SparseClassifier
from hass_train.training.quantisation import as_floats
from hass_train.training.resume import Checkpoint
from hass_train.training.run import Run, running


def train(config: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train a dense network without a search, or fine-tune one with `init_from=`.

    With an integer precision the accuracies are those of the integers, and `float_test_acc` is the float twin's.

    Returns:
        The accuracies and the path of the weights; and the objects that were made, by name.

    Raises:
        UserError: a problem that the user can solve.
    """
    experiment = Experiment.of(config)
    plan = PhasePlan((experiment.plan.epochs[0], 0, 0), experiment.plan.rates)
    if not plan.total:
        raise UserError("search.warmup.epochs is 0: there is nothing to train")
    with running(experiment, plan, Checkpoint.of(experiment.config)) as run:
        model = experiment.quantised(experiment.starting_network(search=False))
        quicken(model)
        _tell_weights(experiment)
        module = run.fit(model, None)
        run.leave_to_first()
        path = run.output / "model.safetensors"
        save_dense(module.model, path)
        save_integers(module.model, run.output, experiment.config.export.onnx)
        accuracies = {f"{split}_acc": run.accuracy(module.model, split) for split in ("val", "test")}
        with as_floats(module.model) as twin:
            if twin:
                accuracies["float_test_acc"] = run.accuracy(module.model, "test")
        run.log({f"dense/{name}": value for name, value in accuracies.items()})
        write_text(run.output / "accuracy.json", json.dumps(accuracies))
        for logger in run.trainer.loggers:
            if isinstance(logger, WandbLog):
                about = {**accuracies, "data": run.data.name}
                publish_dense(logger, experiment.config.model.name, path, about)
                publish_integers(logger, experiment.config.model.name, run.output, about)
        twin_words = f" (float twin {accuracies['float_test_acc']:.4f})" if "float_test_acc" in accuracies else ""
        print(f"val {accuracies['val_acc']:.4f}  test {accuracies['test_acc']:.4f}{twin_words}  {path}")
        return {**accuracies, "model": str(path)}, {"module": module, "trainer": run.trainer, "data": run.data}


def search(config: DictConfig) -> tuple[Result, dict[str, Any]]:
    """Search for a sparse network, recover its accuracy and estimate its hardware, in one training run.

    Returns:
        The result; and the objects that were made, by name.

    Raises:
        UserError: a problem that the user can solve.
    """
    experiment, started = Experiment.of(config), time.monotonic()
    checkpoint = Checkpoint.of(experiment.config)
    plan = _planned(experiment, checkpoint)
    with running(experiment, plan, checkpoint) as run:
        experiment.engine.prepare(experiment.network)
        _announce(experiment)
        module = run.fit(experiment.network, experiment.question)
        run.leave_to_first()
        profile = _settle_again(run, module)
        result = _measured(run, module, profile, started)
        result, files, note = finish(run, module, result)
        print_result(result, files, report_console(), note)
        objects = {"module": module, "trainer": run.trainer, "data": run.data, "workload": module.state.asked.workload}
        return result, objects


def _planned(experiment: Experiment, checkpoint: Checkpoint | None) -> PhasePlan:
    """The phases of the configuration, or of the run that is resumed.

    Raises:
        UserError: no phase has epochs, but the network needs training.
    """
    if experiment.study_dense:
        print(f"study {experiment.config.search.study!r}: its dense network is there, and warm-up is left out")
    plan = experiment.plan if checkpoint is None else checkpoint.plan(experiment.plan)
    if not plan.total and (experiment.engine.trains or experiment.init_from is None):
        raise UserError(
            "all three phases have 0 epochs; give search.warmup.epochs (or init_from=) and, for "
            "search=learned, search.search.epochs at least 1"
        )
    return plan


@rank_zero_only
def _announce(experiment: Experiment) -> None:
    """Print what it starts from, the layers that stay dense, the estimate of the dense network, the roof, the goal and
    a summary."""
    _tell_weights(experiment)
    left = [(name, layer) for name, layer in sparse_layers(experiment.network) if layer.unprunable]
    if left:
        some = ", ".join(name for name, _ in left[:2]) + (", …" if len(left) > 2 else "")
        noun = "layer" if len(left) == 1 else "layers"
        print(f"{left[0][1].pattern}: no weights can be pruned in {len(left)} {noun} ({some}); they stay dense")
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    apart = [
        name for name, module in experiment.network.named_modules()
        if isinstance(module, kinds) and not isinstance(module, SparseLayer)
    ]  # fmt: skip
    if apart:  # constants alone reach them, another module reads their weights, or only training uses them
        some = ", ".join(apart[:2]) + (", …" if len(apart) > 2 else "")
        print(f"{len(apart)} of the layers are not called with images and stay as they are ({some})")
    question, search = experiment.question, experiment.config.search
    dense = question.dense_estimate
    print(
        f"{question.workload.name} on {question.accelerator.name}: dense {question.goal.shown(question.dense_rate)} "
        f"({dense.bottleneck.resource} binds); with {search.density_floor:.0%} of pairs left "
        f"{question.roof_rate / question.dense_rate:.2f}× the {question.goal.counted} ({question.roof_binds} binds); "
        f"goal: {question.goal.words()}"
    )
    print_summary(question.workload, dense, report_console(), experiment.config.summary_depth)


@rank_zero_only
def _tell_weights(experiment: Experiment) -> None:
    """Print what was loaded of the weights that training starts from."""
    if experiment.loaded is not None:
        print(experiment.loaded.words())


def _settle_again(run: Run, module: SparseClassifier) -> SparsityProfile:
    """Load the best network of the recover phase, and correct its thresholds so that the goal is met again, since
    activations have drifted during recovery. No training follows, so that this may cost hardly any accuracy.

    Returns:
        Its sparsity, measured exactly.
    """
    best = run.output / FOLDER / BEST
    if best.is_file():
        module.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    module.enter(Phase.RECOVER)
    if not masks_hold(module.model):
        print("warning: a callback has changed weights that are pruned; they are zero again", file=sys.stderr)
        apply_masks(module.model)
    started, state = time.monotonic(), module.state
    question = state.asked
    target = question.target_rate
    search = run.experiment.config.search
    subject = Subject(module.model, question, run.data, search.calibration_images, search.margin, run.output)
    if target is not None and state.choice is not None:
        subject.correct(state.choice.settled_rate or target)
    profile = subject.profile()
    state.wall_s["hardware"] += time.monotonic() - started
    return profile


def _measured(run: Run, module: SparseClassifier, profile: SparsityProfile, started: float) -> Result:
    """Measure the dense and the recovered network, estimate both exactly, and return the result.

    Args:
        run, module: the run, and the module that it has trained.
        profile: the exact sparsity of the recovered network.
        started: `time.monotonic()` at the start of the search.
    """
    experiment, state, asked = run.experiment, module.state, time.monotonic()
    question, workload = state.asked, state.asked.workload
    estimate = question.accelerator.estimate(workload, profile)
    dense_model = experiment.made_sparse(experiment.dense_network(), workload)
    initialise(dense_model, run.output / DENSE_WEIGHTS)
    natural = run.profile(dense_model)
    natural_estimate = question.accelerator.estimate(experiment.workload, natural)  # with the bits of the dense network
    state.wall_s["hardware"] += time.monotonic() - asked
    val, test = (run.accuracy(module.model, split) for split in ("val", "test"))
    with as_floats(module.model) as twin:
        float_test = run.accuracy(module.model, "test") if twin else None
    dense_val, dense_ips = run.accuracy(dense_model, "val"), question.dense_estimate.throughput_ips
    met = question.goal.met(Reached(module.model, dense_val, val, question.dense_rate, question.goal.rate(estimate)))
    return Result(
        engine=state.engine.name,
        spent=_spent(module, question.goal),
        model=NetworkInfo(
            experiment.config.model.name, experiment.parameters, workload.macs, workload.input_shape,
            experiment.model_arguments,
        ),
        hw=HardwareInfo(question.accelerator.name),
        data=DataInfo(str(run.data.name)),
        dense=DenseNetwork(dense_val, run.accuracy(dense_model, "test"), question.dense_estimate),
        natural=NaturalNetwork(natural.pair_sparsity(workload), natural_estimate, natural),
        sparse=SparseNetwork(
            val, test, profile.weight_sparsity(workload), profile.activation_sparsity(workload),
            profile.pair_sparsity(workload), estimate, profile, float_test,
        ),
        goal=Outcome(
            question.goal.name, question.goal.value, question.goal.words(), question.goal.target_ips(dense_ips), met,
            estimate.bottleneck.resource,
        ),
        wall_s={**state.wall_s, "total": time.monotonic() - started},
        seed=experiment.config.seed,
        config=experiment.settings,
        command=job_command(),
    )  # fmt: skip


def _spent(module: SparseClassifier, goal: Goal) -> Spent:
    """What the search spent, in the same terms for all search engines."""
    state = module.state
    if state.choice is None:
        raise RuntimeError("the search ended without a choice; callbacks.Phases makes it")
    choice = state.choice
    front = tuple(from_plain(point, TrialPoint) for point in choice.front)
    images, seconds = choice.images + state.searched_images, state.wall_s["search"]
    settled_ips = choice.settled_rate if goal.target_ips(1.0) is not None else None
    return Spent(choice.trials, images, front, choice.chosen, settled_ips, seconds)
