"""`train(cfg)` and `search(cfg)`: build, run, and leave the results behind."""

from __future__ import annotations

import hass_train.torchvision_shim  # noqa: F401 - before anything imports torchvision

# isort: split
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import wandb
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import WandbLogger
from torch import nn

from hass_train.build import build_hardware, build_model, make_sparse, model_arguments
from hass_train.cli import job_command
from hass_train.config import RunConfig, checked
from hass_train.data import ImageData
from hass_train.errors import UserError
from hass_train.export.design import save_design
from hass_train.export.weights import DENSE_WEIGHTS, SPARSE_WEIGHTS, SPARSITY, load_weights, save_dense, save_sparse
from hass_train.hardware import CannotFit, SparsityProfile, UnsupportedOperation, Workload, trace
from hass_train.module import SparseClassifier
from hass_train.report.console import print_result, report_console
from hass_train.report.files import save_layers, save_picture
from hass_train.result import DenseNetwork, NaturalNetwork, Outcome, Result, SparseNetwork
from hass_train.search.goal import Goal, HardwareQuestion, floor_profile
from hass_train.search.phases import Phase, PhasePlan
from hass_train.search.settle import settle
from hass_train.sparsity import calibrate, sparse_layers

_QUICK = 5e-3  # tolerance of the estimates that steer training; those that are reported are exact


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
    with _run(config, typed, plan) as run:
        model = build_model(typed, run.data)
        module = run.fit(model, None)
        path = run.output / "model.safetensors"
        save_dense(module.model, path)
        accuracies = {f"{split}_acc": run.accuracy(module.model, split) for split in ("val", "test")}
        run.log({f"dense/{name}": value for name, value in accuracies.items()})
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
    plan = PhasePlan.of(typed.search)
    if not plan.total:
        raise UserError("all three phases have 0 epochs; give search.search.epochs at least 1")
    started = time.monotonic()
    with _run(config, typed, plan) as run:
        model = build_model(typed, run.data)
        workload = _traced(model, run.data.input_size, typed.model.name)
        params = sum(parameter.numel() for parameter in model.parameters())
        question, dense = _question(typed, workload, make_sparse(model, typed))
        module = run.fit(model, question)
        result = _result(typed, run, module, question, dense, params, started)
        files = _write(run, module, result, workload, asdict(typed.hw))
        print_result(result, files, report_console())
        run.log({f"result/{name}": value for name, value in result.gain.items()})
        return result, {"module": module, "trainer": run.trainer, "data": run.data, "workload": workload}


def _traced(model: nn.Module, input_size: tuple[int, int, int], name: str) -> Workload:
    try:
        return trace(model, input_size, name)
    except UnsupportedOperation as error:
        raise UserError(str(error)) from error


def _question(typed: RunConfig, workload: Workload, model: nn.Module) -> tuple[HardwareQuestion, Any]:
    """What the search will ask the hardware, and the dense estimate; refuses goals beyond the roof."""
    accelerator = build_hardware(typed.hw)
    goal = Goal.of(typed.search)
    gated = {name: (layer.prune_weights, layer.gate_activations) for name, layer in sparse_layers(model)}
    try:
        dense = accelerator.estimate(workload, SparsityProfile.dense(workload))
        floor = floor_profile(workload, gated, typed.search.density_floor)
        roof = accelerator.estimate(workload, floor).throughput_ips
    except CannotFit as error:
        raise UserError(f"{workload.name} does not fit {typed.hw.name}: {error}") from error
    goal.check_reachable(dense.throughput_ips, roof, typed.hw.name)
    quick = build_hardware(typed.hw, tolerance=_QUICK)
    return HardwareQuestion(workload, accelerator, quick, goal, dense.throughput_ips), dense


def _make(section: DictConfig, path: str) -> Any:
    """Instantiate what a section of the configuration names.

    Raises:
        UserError: what the class refuses, in its own words.
    """
    try:
        return instantiate(section)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{path} cannot be built: {str(cause or error).strip().splitlines()[0]}") from error


class _Run:
    """Data, trainer, loggers and folder of a run."""

    def __init__(self, config: DictConfig, typed: RunConfig, plan: PhasePlan) -> None:
        self.typed, self.plan = typed, plan
        self.output = Path(typed.paths.output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        pl.seed_everything(typed.seed, workers=True, verbose=False)
        self.data: ImageData = _make(config.data, "data")
        self.data.setup()
        loggers = [_make(section, f"logger.{name}") for name, section in config.logger.items() if section]
        callbacks = [_make(section, f"callbacks.{name}") for name, section in config.callbacks.items() if section]
        options = OmegaConf.to_container(config.trainer, resolve=True)
        assert isinstance(options, dict)
        self.trainer = pl.Trainer(
            max_epochs=plan.total,
            default_root_dir=str(self.output),
            logger=loggers,
            callbacks=callbacks,
            enable_checkpointing=any(isinstance(one, pl.callbacks.ModelCheckpoint) for one in callbacks),
            **options,  # type: ignore[arg-type]
        )

    def fit(self, model: nn.Module, question: HardwareQuestion | None) -> SparseClassifier:
        """Train through the plan's phases."""
        search = self.typed.search
        if self.typed.init_from:
            _initialise(model, Path(self.typed.init_from))
        module = SparseClassifier(
            model, self.data.classes, self.plan, search.weight_decay, search.label_smoothing,
            search.threshold_travel, self.settings,
        )  # fmt: skip
        module.question = question
        resume = self.typed.ckpt_path
        if resume:
            self._take_over(Path(resume))
        self.trainer.fit(module, datamodule=self.data, ckpt_path=resume, weights_only=True)
        if self.trainer.interrupted:
            raise KeyboardInterrupt
        return module

    def _take_over(self, checkpoint: Path) -> None:
        """Check a checkpoint that is to be resumed, and bring its run's dense network along."""
        if not checkpoint.is_file():
            raise UserError(f"ckpt_path: there is no file {checkpoint}")
        load_weights(checkpoint, "ckpt_path")
        dense = checkpoint.absolute().parent.parent / DENSE_WEIGHTS
        if dense.is_file() and dense.parent != self.output.absolute():
            shutil.copy2(dense, self.output / DENSE_WEIGHTS)

    def accuracy(self, model: nn.Module, split: str) -> float:
        """Fraction of a split that a network classifies rightly, within the trainer's batch limits."""
        limit = self.trainer.limit_test_batches if split == "test" else self.trainer.limit_val_batches
        loader = self.data.statistics_dataloader(split)
        batches = limit if isinstance(limit, int) else max(1, int(len(loader) * limit))
        device = next(model.parameters()).device
        right = seen = 0
        model.eval()
        with torch.no_grad():
            for index, (images, labels) in enumerate(loader):
                if index >= batches:
                    break
                logits = model(images.to(device).contiguous(memory_format=torch.channels_last))
                right += int((logits.argmax(1).cpu() == labels).sum())
                seen += len(labels)
        return right / seen

    def profile(self, model: nn.Module) -> SparsityProfile:
        """Exact sparsity on the first `search.calibration_images` validation images."""
        left = self.typed.search.calibration_images
        batches = []
        for images, _ in self.data.statistics_dataloader("val"):
            batches.append(images[:left].contiguous(memory_format=torch.channels_last))
            left -= len(images)
            if left <= 0:
                break
        device = next(model.parameters()).device
        return calibrate(model, (batch.to(device) for batch in batches))

    def log(self, scalars: dict[str, float]) -> None:
        """Log final numbers."""
        for logger in self.trainer.loggers:
            logger.log_metrics(scalars, step=self.trainer.global_step)


@contextmanager
def _run(config: DictConfig, typed: RunConfig, plan: PhasePlan) -> Iterator[_Run]:
    """A run whose loggers are finished whatever happens."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
    warnings.filterwarnings("ignore", message=".*number of training batches .* is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # our own lines say what matters
    torch.set_float32_matmul_precision("high")
    run = _Run(config, typed, plan)
    status = 1
    try:
        yield run
        status = 0
    finally:
        for logger in run.trainer.loggers:
            logger.finalize("success" if status == 0 else "failed")
        if any(isinstance(logger, WandbLogger) for logger in run.trainer.loggers):
            wandb.finish(exit_code=status)


def _initialise(model: nn.Module, path: Path) -> None:
    """Load weights into a model with or without sparse layers.

    Raises:
        UserError: keys or shapes that differ.
    """
    weights = load_weights(path)
    own = model.state_dict()
    for key, value in weights.items():
        if key not in own:
            raise UserError(f"init_from: {path} has {key!r}, which the model does not; is it another model?")
        if own[key].shape != value.shape:
            shapes = f"{list(value.shape)} there, {list(own[key].shape)} here"
            raise UserError(f"init_from: {path} has another shape of {key!r}: {shapes}")
    model.load_state_dict(weights, strict=False)


def _result(
    typed: RunConfig,
    run: _Run,
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
    profile = run.profile(module.model)
    if target is not None and accelerator.estimate(workload, profile).throughput_ips < target:
        # activations drifted while the accuracy recovered: raise their thresholds just so far that the goal is met
        quick = question.quick
        settle(module.model, lambda: quick.estimate(workload, run.profile(module.model)).throughput_ips, target)
        profile = run.profile(module.model)
    estimate = accelerator.estimate(workload, profile)
    dense_model = make_sparse(build_model(typed, run.data), typed)
    _initialise(dense_model, run.output / DENSE_WEIGHTS)
    natural = run.profile(dense_model)
    natural_estimate = accelerator.estimate(workload, natural)
    module.wall_s["hardware"] += time.monotonic() - asked
    met = target is None or estimate.throughput_ips >= target
    return Result(
        engine=typed.search.engine,
        model={
            "name": typed.model.name, "params": params, "macs": workload.macs,
            "input_size": list(workload.input_shape), "arguments": model_arguments(typed, run.data),
        },
        hw={"name": typed.hw.name, "kind": typed.hw.kind},
        data={"name": run.data.name},
        dense=DenseNetwork(run.accuracy(dense_model, "val"), run.accuracy(dense_model, "test"), dense),
        natural=NaturalNetwork(natural.pair_sparsity(workload), natural, natural_estimate),
        sparse=SparseNetwork(
            run.accuracy(module.model, "val"), run.accuracy(module.model, "test"), profile.weight_sparsity(workload),
            profile.activation_sparsity(workload), profile.pair_sparsity(workload), profile, estimate,
        ),
        goal=Outcome(question.goal.kind, question.goal.value, met, estimate.bottleneck.resource),
        wall_s={**module.wall_s, "total": time.monotonic() - started},
        seed=typed.seed,
        config=run.settings,
        command=job_command(),
    )  # fmt: skip


def _write(
    run: _Run, module: SparseClassifier, result: Result, workload: Workload, hardware: dict[str, Any]
) -> list[Path]:
    """Everything that a run leaves behind."""
    output = run.output
    save_sparse(module.model, output, {"name": result.model["name"], **result.model["arguments"]})
    save_design(output / "design.json", workload, result.sparse.estimate, hardware)
    save_layers(output / "layers.csv", result, workload)
    save_picture(output / "layers.png", result, workload)
    result.save(output / "result.json")
    names = ("result.json", "layers.csv", "layers.png", "design.json", SPARSE_WEIGHTS, SPARSITY, DENSE_WEIGHTS)
    return [output / name for name in names]
