"""A training run: its trainer, loggers, data and directory, and how it is started and ended."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.utilities import rank_zero_only
from torch import distributed, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from hass_train.config.checks import first_line, made
from hass_train.data.evaluate import accuracy
from hass_train.experiment import Experiment
from hass_train.hardware import SparsityProfile
from hass_train.runtime import stopping
from hass_train.runtime.allocator import keep_freed_memory
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import FOLDER, LAST
from hass_train.search.phases import PhasePlan
from hass_train.search.question import HardwareQuestion
from hass_train.sparsity import calibrate
from hass_train.tracking.loggers import WandbLog
from hass_train.training.module import SparseClassifier, TrainingOptions
from hass_train.training.refused import check_callbacks, check_options, check_precision
from hass_train.training.resume import Checkpoint, WholeCheckpoints
from hass_train.training.state import SearchState
from hass_train.training.steps import completed, ended_well


class Run:
    """The trainer, loggers, data and directory of a run.

    Args:
        experiment: the experiment that is run.
        plan: the phases, with their epochs and learning rates.
        checkpoint: the checkpoint from which the run resumes; None for a new run.

    Raises:
        UserError: the settings of the trainer, a logger or a callback are wrong, or contradict the checkpoint.
    """

    def __init__(self, experiment: Experiment, plan: PhasePlan, checkpoint: Checkpoint | None = None) -> None:
        self.experiment, self.plan, self.checkpoint = experiment, plan, checkpoint
        self.output, config = experiment.output, experiment.config
        self.output.mkdir(parents=True, exist_ok=True)
        if checkpoint is not None:
            self._tell_differences(checkpoint)
        pl.seed_everything(config.seed, workers=True, verbose=False)
        self.data = experiment.data
        loggers: list[Logger] = [
            made(section, f"logger.{name}", Logger)  # type: ignore[type-abstract]
            for name, section in config.logger.items()
            if section
        ]
        callbacks = [
            made(section, f"callbacks.{name}", pl.Callback) for name, section in config.callbacks.items() if section
        ]
        options = dict(config.trainer)
        self.compiled = bool(options.pop("compile", False))
        options["strategy"] = _launchable(options.get("strategy") or "auto")
        if _in_sweep():
            options["devices"] = handed_out(options, int(HydraConfig.get().job.num), torch.cuda.device_count())
        own: dict[str, Any] = {
            "max_epochs": plan.total,
            "max_steps": -1,
            "fast_dev_run": False,
            "default_root_dir": str(self.output),
            "logger": loggers,
            "callbacks": callbacks,
            "enable_checkpointing": any(isinstance(one, pl.callbacks.Checkpoint) for one in callbacks),
            "plugins": [WholeCheckpoints()],
            "use_distributed_sampler": False,  # the data module's own sampler can resume in the middle of an epoch
        }
        check_options(options, own)
        try:
            self.trainer = pl.Trainer(**options, **own)
        except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise UserError(f"trainer: {first_line(error)}") from error
        check_precision(options.get("precision"), self.trainer)

    def _tell_differences(self, checkpoint: Checkpoint) -> None:
        changed = checkpoint.check_settings(self.experiment.settings)
        rank_zero_only(print)(
            f"resumed from {checkpoint.path}" + (f", with other settings: {'; '.join(changed)}" if changed else "")
        )

    def fit(self, model: nn.Module, question: HardwareQuestion | None) -> SparseClassifier:
        """Train a network through the phases of the plan.

        Args:
            model: the network, with sparse layers for a search.
            question: the network on its accelerator, and the goal, for a search; None for plain training.

        Returns:
            The trained module.

        Raises:
            UserError: the loss diverged, or another problem that the user can solve.
            Stopped: a signal asked for it, or a limit or a callback ended the run early (`CutShort`); what
                callbacks.Checkpoints has saved can go on.
        """
        experiment = self.experiment
        check_callbacks(self.trainer.callbacks, searches=question is not None)  # type: ignore[attr-defined]
        state = SearchState(self.plan, question)
        if question is not None:
            state.engine = experiment.engine
        options = TrainingOptions.of(experiment.config.search, self.compiled)
        module = SparseClassifier(model, self.data.classes, state, options, experiment.settings)
        resumed = None
        if self.checkpoint is not None:
            resumed = str(self.checkpoint.path)
            self.checkpoint.bring_along(self.output)
        with stopping.listening(self._forward):
            try:
                self.trainer.fit(module, datamodule=self.data, ckpt_path=resumed, weights_only=True)
            except (ProcessRaisedException, ProcessExitedException) as error:  # from a spawned process
                stopping.check()
                for kind in (UserError, stopping.CutShort):
                    _, known, words = str(error).rpartition(f"{kind.__name__}: ")
                    if known:
                        raise kind(words.strip().splitlines()[0]) from error
                raise
            except MisconfigurationException as error:  # what Lightning finds out only now
                raise UserError(f"trainer: {first_line(error)}") from error
            except RuntimeError as error:
                if "Early stopping conditioned" in str(error):  # on a metric that nobody logs
                    raise UserError(f"callbacks: {first_line(error)}") from error
                raise
            stopping.check()  # for a signal that came after the last step
        if isinstance(self.trainer.strategy.launcher, _MultiProcessingLauncher):
            self._fetch(module)
        elif not completed(self.trainer) and not ended_well(
            self.trainer
        ):  # without callbacks.Checkpoints, which stops it where it can go on
            raise stopping.CutShort(f"ended early, after {self.trainer.current_epoch} of {self.plan.total} epochs")
        return module.float()  # what is measured and exported is one network, whatever the precision of training

    def leave_to_first(self) -> None:
        """End all processes but the first one, which measures the network and writes the results.

        Raises:
            SystemExit: in all other processes.
        """
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        if not self.trainer.is_global_zero:
            sys.exit(0)

    def _forward(self, signum: int) -> None:
        launcher = self.trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signum)  # type: ignore[arg-type]

    def _fetch(self, module: SparseClassifier) -> None:
        """Load what spawned processes have trained, from their last checkpoint, and the phase in which they ended."""
        found = torch.load(self.output / FOLDER / LAST, map_location="cpu", weights_only=True)
        module.load_state_dict(found["state_dict"])
        module.on_load_checkpoint(found)
        module.on_fit_start()

    def accuracy(self, model: nn.Module, split: str) -> float:
        """Measure the fraction of a split that a network classifies correctly, within the trainer's batch limits."""
        limit = self.trainer.limit_test_batches if split == "test" else self.trainer.limit_val_batches
        batches = len(self.data.statistics_dataloader(split))
        return accuracy(model, self.data, split, limit if isinstance(limit, int) else max(1, int(batches * limit)))[0]

    def profile(self, model: nn.Module) -> SparsityProfile:
        """Measure the exact sparsity on the first `search.calibration_images` validation images."""
        images = self.data.images("val", model, images=self.experiment.config.search.calibration_images)
        return calibrate(model, images, closely=self.experiment.accelerator.uses_activations)

    def log(self, scalars: dict[str, float]) -> None:
        """Log the final scalars of the run."""
        for logger in self.trainer.loggers:
            logger.log_metrics(scalars, step=self.trainer.global_step)
            logger.save()


def _in_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def handed_out(options: Mapping[Any, Any], job: int, gpus: int) -> Any:
    """The trainer's devices for a job of a sweep. Jobs that ask for one GPU are distributed over all GPUs, since
    several of them may run at once.

    Args:
        options: options of the trainer.
        job: number of the job in the sweep.
        gpus: number of GPUs of this machine.
    """
    one = options.get("devices") in (1, "1") and options.get("accelerator") in ("gpu", "cuda", "auto")
    return [job % gpus] if one and gpus > 1 else options.get("devices", "auto")


def _launchable(strategy: str) -> str:
    """The trainer's strategy, with spawned processes in a sweep, whose jobs cannot start their script again."""
    if _in_sweep() and strategy.split("_")[0] == "ddp":
        return strategy if "spawn" in strategy or "fork" in strategy else strategy.replace("ddp", "ddp_spawn", 1)
    return strategy


@contextmanager
def running(experiment: Experiment, plan: PhasePlan, checkpoint: Checkpoint | None = None) -> Iterator[Run]:
    """Make a run, whose loggers are closed at the end of the body, also if it fails.

    Args:
        experiment, plan, checkpoint: see `Run`.
    """
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
    warnings.filterwarnings("ignore", message=".*It is recommended to use .self.log.*")  # the first process's is meant
    warnings.filterwarnings("ignore", message=".*Experiment logs directory .* exists.*")  # made by the parent process
    warnings.filterwarnings("ignore", message=".*number of training batches .* is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")  # ours is, by its sampler
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # our own lines say what matters
    torch.backends.cuda.matmul.allow_tf32 = True  # of processors not: integers are computed exactly there
    keep_freed_memory()
    run = Run(experiment, plan, checkpoint)
    status = 1
    try:
        yield run
        status = 0
    finally:
        for logger in run.trainer.loggers:
            logger.finalize("success" if status == 0 else "failed")
            if isinstance(logger, WandbLog):
                logger.finish(status)
