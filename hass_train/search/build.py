"""Search engines from a run's configuration."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from hass_train.accelerator import build_hardware
from hass_train.build import build_model, make_sparse
from hass_train.config.checks import ENGINES, checked
from hass_train.config.schema import RunConfig
from hass_train.export.weights import DENSE_WEIGHTS, load_weights
from hass_train.search.engine import Learned, SearchEngine, Subject
from hass_train.search.goal import Goal, HardwareQuestion
from hass_train.search.recipes import Incremental, OneShot
from hass_train.search.trials.engines import BlackBox
from hass_train.search.trials.study import open_storage
from hass_train.search.trials.workers import helpers, study_folder
from hass_train.sparsity import Mode, sparse_layers
from hass_train.training.networks import traced

QUICK = 1e-2
"""Tolerance of the estimates that steer a search; those that are reported are exact."""


def engine_of(typed: RunConfig, settings: dict[str, Any]) -> SearchEngine:
    """The engine that the configuration names.

    Args:
        typed: configuration.
        settings: the same, resolved, as plain data.

    Raises:
        UserError: the study's storage cannot be opened.
    """
    config = typed.search
    if config.engine == "one_shot":
        return OneShot(config.sparsity or 0.0, config.activation_sparsity)
    if config.engine == "incremental":
        return Incremental(
            config.sparsity or 0.0, config.activation_sparsity, config.increment, config.increment_epochs
        )
    if config.engine not in ENGINES:
        return Learned()
    engine = _black_box(typed, settings)
    open_storage(typed.search.storage, engine.folder)  # what cannot be opened is said before anything is trained
    return engine


def _black_box(typed: RunConfig, settings: dict[str, Any], worker: int = 0) -> BlackBox:
    output = Path(typed.paths.output)
    folder = study_folder(Path(typed.paths.runs), output, typed.search.study)
    data = {key: value for key, value in settings["data"].items() if key not in ("workers", "root")}
    about = {"model": typed.model.name, "data": data, "hw": settings["hw"], "sparsity": settings["sparsity"]}
    helping = None
    if worker == 0 and typed.search.workers > 1:
        whole = {**settings, "search": {**settings["search"], "storage": typed.search.storage}}  # with its password
        helping = partial(_helpers, whole, typed.search.workers - 1)
    return BlackBox(typed.search, typed.seed, folder, about, helping, worker)


def known_dense(typed: RunConfig) -> Path | None:
    """The dense network of a study that is to go on; None if there is none yet."""
    if typed.search.engine not in ENGINES or not typed.search.study:
        return None
    path = study_folder(Path(typed.paths.runs), Path(typed.paths.output), typed.search.study) / DENSE_WEIGHTS
    return path if path.is_file() else None


def _helpers(settings: dict[str, Any], count: int, subject: Subject) -> AbstractContextManager[None]:
    goal = subject.goal
    return helpers(count, _rebuilt, settings, (goal.kind, goal.value), subject.question.dense_ips)


def _rebuilt(
    settings: dict[str, Any], goal: tuple[str, float], dense_ips: float, worker: int
) -> tuple[BlackBox, Subject]:
    """Engine and subject in a process of their own."""
    config = OmegaConf.create(settings)
    typed = checked(config)
    data = instantiate(config.data, _convert_="all")
    data.setup()
    model = build_model(typed, data)
    workload = traced(model, data.input_size, typed.model.name)
    make_sparse(model, typed, data)
    output = Path(typed.paths.output)
    model.load_state_dict(load_weights(output / DENSE_WEIGHTS), strict=False)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    quick = build_hardware(typed.hw, tolerance=QUICK)
    question = HardwareQuestion(workload, quick, quick, Goal(*goal), dense_ips, closely=typed.hw.gates)
    subject = Subject(model.eval(), question, data, typed.search.calibration_images, typed.search.margin, output)
    return _black_box(typed, settings, worker), subject
