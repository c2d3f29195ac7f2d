"""`train(cfg)` and `search(cfg)`: build, run, and leave the results behind."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from hass_train.accelerator import build_hardware
from hass_train.build import build_model, build_pattern, make_sparse, model_arguments
from hass_train.cli import job_command
from hass_train.config.checks import checked
from hass_train.config.schema import RunConfig
from hass_train.export.weights import DENSE_WEIGHTS, save_dense
from hass_train.hardware import CannotFit, SparsityProfile, Workload
from hass_train.report.console import print_result, report_console
from hass_train.report.summary import print_summary
from hass_train.results.legacy import words_of
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
from hass_train.runtime.files import write_text
from hass_train.runtime.plain import from_plain
from hass_train.search.build import QUICK, engine_of, known_dense
from hass_train.search.engine import Subject, meet, reach
from hass_train.search.goal import Goal, HardwareQuestion, floor_profile
from hass_train.search.phases import Phase, PhasePlan
from hass_train.search.recipes import check_possible, reaches
from hass_train.sparsity import sparse_layers
from hass_train.tracking.board import publish_dense
from hass_train.tracking.loggers import WandbLog
from hass_train.training.finish import finish
from hass_train.training.module import SparseClassifier
from hass_train.training.networks import traced
from hass_train.training.resume import Checkpoint
from hass_train.training.run import Run, initialise, running


def train(config: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the network alone, dense, or fine-tune with `init_from=`.

    Returns:
        Accuracies and the weights' file; the objects built.

    Raises:
        UserError: whatever the user can mend.
    """
    typed = checked(config)
    plan = PhasePlan((typed.search.warmup.epochs, 0, 0), PhasePlan.of(typed.search).rates)
    if not plan.total:
        raise UserError("search.warmup.epochs is 0: there is nothing to train")
    with running(config, typed, plan, Checkpoint.of(typed)) as run:
        model = build_model(typed, run.data)
        module = run.fit(model, None)
        run.leave_to_first()
        path = run.output / "model.safetensors"
        save_dense(module.model, path)
        accuracies = {f"{split}_acc": run.accuracy(module.model, split) for split in ("val", "test")}
        run.log({f"dense/{name}": value for name, value in accuracies.items()})
        write_text(run.output / "accuracy.json", json.dumps(accuracies))
        for logger in run.trainer.loggers:
            if isinstance(logger, WandbLog):
                publish_dense(logger, typed.model.name, path, {**accuracies, "data": run.data.name})
        print(f"val {accuracies['val_acc']:.4f}  test {accuracies['test_acc']:.4f}  {path}")
        return {**accuracies, "model": str(path)}, {"module": module, "trainer": run.trainer, "data": run.data}


def search(config: DictConfig) -> tuple[Result, dict[str, Any]]:
    """Search, recover and cost a sparse network in one training run.

    Returns:
        The result, and the objects built.

    Raises:
        UserError: whatever the user can mend.
    """
    typed = checked(config)
    Goal.stated(typed.search)  # refused before anything is built
    checkpoint = Checkpoint.of(typed)
    if not typed.init_from and checkpoint is None and (dense := known_dense(typed)):
        print(f"study {typed.search.study!r}: its dense network is there, and warm-up is left out")
        typed.init_from, typed.search.warmup.epochs = str(dense), 0
    plan = PhasePlan.of(typed.search)
    if checkpoint is not None:
        plan = checkpoint.plan(plan)
    if not plan.total and (typed.search.engine == "learned" or not typed.init_from):
        raise UserError(
            "all three phases have 0 epochs; give search.warmup.epochs (or init_from=) and, for "
            "search=learned, search.search.epochs at least 1"
        )
    started = time.monotonic()
    with running(config, typed, plan, checkpoint) as run:
        model = build_model(typed, run.data)
        workload = traced(model, run.data.input_size, typed.model.name)
        params = sum(parameter.numel() for parameter in model.parameters())
        make_sparse(model, typed, run.data)
        _tell_left_dense(model)
        if typed.simulate and not build_pattern(typed).simulated:
            raise UserError(
                "simulate=true plays every initiation, and designs for this sparsity leave some out; leave it out, or "
                "take sparsity=unstructured or sparsity=nm"
            )
        if typed.search.sparsity is not None:
            check_possible(model, typed.search.sparsity)
        question, dense = _question(typed, workload, model)
        module = run.fit(model, question, engine_of(typed, run.settings))
        run.leave_to_first()
        result = _result(typed, run, module, question, dense, params, started)
        result, files, note = finish(run, module, result, workload)
        print_result(result, files, report_console(), note)
        return result, {"module": module, "trainer": run.trainer, "data": run.data, "workload": workload}


def _question(typed: RunConfig, workload: Workload, model: nn.Module) -> tuple[HardwareQuestion, Any]:
    """What the search will ask the hardware, and the dense estimate; refuses goals beyond the roof."""
    accelerator = build_hardware(typed.hw)
    gated = {name: (layer.prune_weights, layer.gate_activations) for name, layer in sparse_layers(model)}
    promises = {name: layer.pattern.promise() for name, layer in sparse_layers(model)}
    limits = {name: layer.least_density() for name, layer in sparse_layers(model) if layer.prune_weights}
    try:
        dense = accelerator.estimate(workload, SparsityProfile.dense(workload))
        least = typed.search.density_floor
        floors = [floor_profile(workload, gated, least, alone, promises, limits) for alone in (False, True)]
        roof = max((accelerator.estimate(workload, one) for one in floors), key=lambda one: one.throughput_ips)
        gain = roof.throughput_ips / dense.throughput_ips
        if gain < _GAIN and not typed.hw.gates and typed.search.sparsity is None:
            pattern = next(layer.pattern for _, layer in sparse_layers(model))
            raise UserError(
                f"{typed.hw.name} gains nothing from sparsity ({pattern}): with {least:.0%} of pairs left it is "
                f"{gain:.2f} times as fast as dense; try sparsity=block"
            )
        # where activations gain nothing, weights are asked for no more zeros than where they share with them
        wanted = typed.search.default_density ** (1.0 if typed.hw.gates else 0.5)
        usual = floor_profile(workload, gated, wanted, False, promises, limits)
        goal = Goal.of(
            typed.search, lambda: accelerator.estimate(workload, usual).throughput_ips / dense.throughput_ips
        )
    except CannotFit as error:
        raise UserError(f"{workload.name} does not fit {typed.hw.name}: {error}") from error
    goal.check_reachable(dense.throughput_ips, roof.throughput_ips, typed.hw.name, roof.bottleneck.resource)
    rank_zero_only(print)(
        f"{workload.name} on {typed.hw.name}: dense {dense.throughput_ips:,.0f} images/s "
        f"({dense.bottleneck.resource} binds); with {typed.search.density_floor:.0%} of pairs left "
        f"{roof.throughput_ips / dense.throughput_ips:.2f}× ({roof.bottleneck.resource} binds); "
        f"goal: {goal.kind} {goal.value:g}"
    )
    rank_zero_only(print_summary)(workload, dense, report_console(), typed.summary_depth)
    quick = build_hardware(typed.hw, tolerance=QUICK)
    question = HardwareQuestion(
        workload, accelerator, quick, goal, dense.throughput_ips, roof.throughput_ips, typed.hw.gates
    )
    return question, dense


_GAIN = 1.1  # of an array over the dense network, below which there is nothing to search for


def _tell_left_dense(model: nn.Module) -> None:
    """Say where a pattern can take nothing although rules allow it."""
    left = [(name, layer) for name, layer in sparse_layers(model) if layer.unprunable]
    if left:
        some = ", ".join(name for name, _ in left[:2]) + (", …" if len(left) > 2 else "")
        noun = "layer" if len(left) == 1 else "layers"
        rank_zero_only(print)(f"{left[0][1].pattern}: nothing to take in {len(left)} {noun} ({some}); they stay dense")


def _result(
    typed: RunConfig,
    run: Run,
    module: SparseClassifier,
    question: HardwareQuestion,
    dense: Any,
    params: int,
    started: float,
) -> Result:
    """Measure the dense and the recovered network and cost both exactly."""
    workload, accelerator = question.workload, question.accelerator
    best = run.output / "checkpoints" / "best.ckpt"
    if best.is_file():
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(state)
    module.enter(Phase.RECOVER)
    asked = time.monotonic()
    target = question.target_ips
    if target is not None:
        assert module.choice is not None
        # activations drift while the accuracy recovers: the network moves just so far that the goal is met again
        subject = Subject(module.model, question, run.data, typed.search.calibration_images, 0.0, run.output)
        again = partial(meet, module.model, question, subject.profile, tries=1)
        reach(subject, module.choice.settled_ips or target, again)
    profile = run.profile(module.model)
    estimate = accelerator.estimate(workload, profile)
    dense_model = make_sparse(build_model(typed, run.data), typed, run.data)
    initialise(dense_model, run.output / DENSE_WEIGHTS)
    natural = run.profile(dense_model)
    natural_estimate = accelerator.estimate(workload, natural)
    module.wall_s["hardware"] += time.monotonic() - asked
    accuracies = {split: run.accuracy(module.model, split) for split in ("val", "test")}
    dense_val = run.accuracy(dense_model, "val")
    met = None if target is None else estimate.throughput_ips >= target
    if question.goal.kind == "max_accuracy_drop":
        met = dense_val - accuracies["val"] <= question.goal.value
    if question.goal.kind == "sparsity":
        met = reaches(module.model, question.goal.value)
    return Result(
        engine=module.engine.name,
        spent=_spent(module),
        model=NetworkInfo(
            typed.model.name, params, workload.macs, workload.input_shape, model_arguments(typed, run.data)
        ),
        hw=HardwareInfo(typed.hw.name),
        data=DataInfo(str(run.data.name)),
        dense=DenseNetwork(dense_val, run.accuracy(dense_model, "test"), dense),
        natural=NaturalNetwork(natural.pair_sparsity(workload), natural_estimate, natural),
        sparse=SparseNetwork(
            accuracies["val"], accuracies["test"], profile.weight_sparsity(workload),
            profile.activation_sparsity(workload), profile.pair_sparsity(workload), estimate, profile,
        ),
        goal=Outcome(
            question.goal.kind, question.goal.value, words_of(question.goal.kind, question.goal.value), target, met,
            estimate.bottleneck.resource,
        ),
        wall_s={**module.wall_s, "total": time.monotonic() - started},
        seed=typed.seed,
        config=run.settings,
        command=job_command(),
    )  # fmt: skip


def _spent(module: SparseClassifier) -> Spent:
    """What the search itself took, by whichever engine: the same account for all."""
    assert module.choice is not None
    choice, images, seconds = module.choice, module.choice.images + module.searched_images, module.wall_s["search"]
    front = tuple(from_plain(point, TrialPoint) for point in choice.front)
    return Spent(choice.trials, images, front, choice.chosen, choice.settled_ips, seconds)
