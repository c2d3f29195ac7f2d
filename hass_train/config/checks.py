"""What a configuration may say: keys, types, arguments of classes, ranges; one line where it is wrong."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from hass_train.config.schema import KINDS, EstimateConfig, RunConfig, SearchConfig
from hass_train.config.values import check_arguments, check_values
from hass_train.runtime.errors import UserError, nearest, unknown


def checked(config: DictConfig) -> RunConfig:
    """The configuration of a run as typed objects.

    Raises:
        UserError: an unknown key (with the nearest one), a value of the wrong type, or one out of range.
    """
    typed, plain = _typed(config, RunConfig)
    check_values(typed)
    _check_targets(plain)
    _check_ranges(typed)
    return typed


def checked_estimate(config: DictConfig) -> EstimateConfig:
    """The configuration of an estimate as typed objects.

    Raises:
        UserError: as `checked`.
    """
    typed, _ = _typed(config, EstimateConfig)
    check_values(typed)
    profile, size = typed.profile, typed.model.input_size
    if profile.kind not in ("uniform", "run"):
        raise unknown("kind of profile", profile.kind, ["uniform", "run"])
    for name in ("pair_density", "weight_density"):
        value = getattr(profile, name)
        if not 0 <= value <= 1:
            raise UserError(f"profile.{name} is {value}; it must lie in [0, 1]")
    if profile.block is not None and (len(profile.block) != 2 or min(profile.block) < 1):
        raise UserError(f"profile.block is {profile.block}; two numbers ≥ 1 are wanted, as [8,8]")
    if profile.kind == "run" and not profile.path:
        raise UserError("profile.path is not given; say profile.path=RUN_DIR, the directory of a search that ended")
    if size is not None and (len(size) != 3 or min(size) < 1):
        raise UserError(f"model.input_size is {size}; it must be [channels,height,width], each ≥ 1")
    return typed


_Schema = TypeVar("_Schema", RunConfig, EstimateConfig)


def _typed(config: DictConfig, schema: type[_Schema]) -> tuple[_Schema, dict[str, Any]]:
    """Typed objects, and the same as plain data."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    structured = OmegaConf.structured(schema)
    hardware = plain.get("hw")
    if isinstance(hardware, dict):
        kind = str(hardware.get("kind", "dataflow"))
        if kind not in KINDS:
            raise unknown("kind of hardware", kind, KINDS)
        structured.hw = OmegaConf.structured(KINDS[kind])
    _check_keys(plain, structured, "")
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(structured, plain))
    except ConfigKeyError as error:
        raise UserError(_first_line(error)) from error
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is not given; say {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or ""
        raise UserError(f"{key}: {_first_line(error)}" if key else _first_line(error)) from error
    assert isinstance(typed, schema)
    return typed, plain


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


RECIPES = ("one_shot", "incremental")
"""Search engines that take a fraction of every layer."""
ENGINES = ("tpe", "nsga2", "greedy", "uniform")
"""Search engines that look at trials of a trained network."""
_MOST_EPOCHS, _LARGEST_IMAGE = 10**6, 8192
PRICES = ("hardware", "macs", "ones")
SAMPLED = ("tpe", "nsga2")
"""Engines whose trials are drawn, by any number of workers."""
_OPEN = ("model.kwargs", "data", "trainer", "callbacks", "logger", "sparsity.rules", "sparsity.pattern", "hw.model")
"""Keys below these are checked against a class's signature, or are the user's own names."""


def _check_keys(plain: Mapping[Any, Any], schema: Any, path: str) -> None:
    known = [str(key) for key in schema]
    for key, value in plain.items():
        where = f"{path}{key}"
        if key not in known:
            raise UserError(f"there is no key {where!r}; did you mean {path + nearest(str(key), known)!r}?")
        if isinstance(value, dict) and where not in _OPEN and not OmegaConf.is_missing(schema, key):
            if not isinstance(schema[key], DictConfig):
                raise UserError(f"{where} is {value}; it must be a single value")
            _check_keys(value, schema[key], f"{where}.")


def _check_targets(plain: Mapping[str, Any]) -> None:
    """Check the arguments of classes named by `_target_` against their signatures."""
    sections: dict[str, Any] = {"data": plain["data"], "sparsity.pattern": plain["sparsity"]["pattern"]}
    if plain["hw"].get("kind") == "custom":
        sections["hw.model"] = plain["hw"].get("model")
    for group in ("callbacks", "logger"):
        sections |= {f"{group}.{name}": section for name, section in plain[group].items()}
    for path, section in sections.items():
        if section is None:  # switched off
            continue
        if not isinstance(section, dict) or "_target_" not in section:
            raise UserError(f"{path} is {section!r}; it must name a class (_target_) and its arguments, or be null")
        try:
            target = get_object(section["_target_"])
        except Exception as error:
            raise UserError(f"{path}._target_ is {section['_target_']!r}, which cannot be imported") from error
        _check_arguments(path, section, inspect.signature(target).parameters)
        check_arguments(path, section, target)
    import pytorch_lightning as pl  # late: estimates need none of it, and it takes seconds

    ours = {"compile": inspect.Parameter("compile", inspect.Parameter.KEYWORD_ONLY)}
    _check_arguments("trainer", plain["trainer"], {**inspect.signature(pl.Trainer).parameters, **ours})
    check_arguments("trainer", plain["trainer"], pl.Trainer)


def _check_arguments(path: str, section: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in section:
        if not key.startswith("_") and key not in parameters:
            raise UserError(
                f"there is no key {path + '.' + key!r}; did you mean {path + '.' + nearest(key, parameters)!r}?"
            )


def _check_ranges(config: RunConfig) -> None:
    search = config.search
    if not 0 <= config.seed < 2**32:
        raise UserError(f"seed is {config.seed}; it must lie in [0, 2³²)")
    if config.simulate and config.hw.kind != "dataflow":
        raise UserError(f"simulate=true plays pipelines, and {config.hw.name} is none; leave it out")
    if config.summary_depth < 0:
        raise UserError(f"summary_depth is {config.summary_depth}; it must be 0 (every layer) or more")
    for key in ("init_from", "ckpt_path"):
        if getattr(config, key) == "":
            raise UserError(f"{key} is empty; give a file, or leave it out")
    for key, path in (("runs", config.paths.runs), ("data", config.paths.data), ("output", config.paths.output)):
        if not path:
            raise UserError(f"paths.{key} is empty; give a folder")
    if search.engine not in ("learned", *RECIPES, *ENGINES):
        raise unknown("search engine", search.engine, ["learned", *RECIPES, *ENGINES])
    _check_trials(search)
    _check_recipe(search)
    if search.activation_sparsity and not config.hw.gates:
        raise UserError(
            f"search.activation_sparsity is {search.activation_sparsity}, but {config.hw.name} gains nothing from "
            "zeros among activations; leave it out"
        )
    if search.prices not in PRICES:
        raise unknown("kind of search.prices", search.prices, PRICES)
    for name in ("warmup", "search", "recover"):
        phase = getattr(search, name)
        if not 0 <= phase.epochs <= _MOST_EPOCHS:
            raise UserError(f"search.{name}.epochs is {phase.epochs}; it must lie in [0, {_MOST_EPOCHS}]")
        if not 0 < phase.lr < 10:
            raise UserError(f"search.{name}.lr is {phase.lr}; it must lie between 0 and 10")
    for name, low, high in (
        ("margin", 0.0, 1.0), ("distill", 0.0, 1.0), ("density_floor", 1e-3, 1.0), ("default_density", 1e-3, 1.0),
        ("threshold_travel", 1e-3, 1e3),
        ("max_penalty", 0.0, 1e6), ("max_threshold", 1e-3, 100.0), ("threshold_step", 1e-4, 100.0),
        ("sparsity_weight", 0.0, 1e6), ("throughput_weight", 0.0, 1e6), ("dsp_weight", 0.0, 1e6),
        ("weight_decay", 0.0, 10.0), ("label_smoothing", 0.0, 0.99),
    ):  # fmt: skip
        value = getattr(search, name)
        if not low <= value <= high:
            raise UserError(f"search.{name} is {value}; it must lie in [{low:g}, {high:g}]")
    strategy = str(config.trainer.get("strategy", "auto"))
    if search.engine in ENGINES and strategy.startswith("ddp"):
        raise UserError(
            f"search={search.engine} tries networks out in single processes, not with trainer.strategy={strategy}; "
            "use trainer=cpu or trainer=gpu, and search.workers for more of them"
        )
    if search.calibration_images < 1:
        raise UserError(f"search.calibration_images is {search.calibration_images}; it must be ≥ 1")
    if int(config.data.get("batch_size", 2)) < 2:
        raise UserError(f"data.batch_size is {config.data['batch_size']}; batch normalisation needs at least 2")
    for key in ("workers", "train_images", "seed"):
        if int(config.data.get(key, 0)) < 0:
            raise UserError(f"data.{key} is {config.data[key]}; it must be ≥ 0")
    sizes = [config.data.get("size", 8), *(config.data.get("input_size") or [])]
    if not all(isinstance(one, int) and 1 <= one <= _LARGEST_IMAGE for one in sizes):
        raise UserError(f"data.size (or input_size) is {sizes}; whole numbers in [1, {_LARGEST_IMAGE}] are wanted")


def _check_recipe(search: SearchConfig) -> None:
    """What recipes take, and nothing else."""
    for name, low, high in (("sparsity", 0.0, 1.0), ("activation_sparsity", 0.0, 1.0), ("increment", 1e-3, 1.0)):
        value = getattr(search, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"search.{name} is {value}; it must lie in [{low:g}, {high:g}]")
    if search.increment_epochs < 1:
        raise UserError(f"search.increment_epochs is {search.increment_epochs}; it must be ≥ 1")
    if search.engine in RECIPES:
        if not search.sparsity:
            raise UserError(f"search={search.engine} takes a fraction of the weights; say search.sparsity=0.5")
        return
    for name in ("sparsity", "activation_sparsity"):
        if getattr(search, name):
            raise UserError(
                f"search.{name} is of the recipes search={' and search='.join(RECIPES)}; search={search.engine} has "
                "goals such as search.target_speedup"
            )


def _check_trials(search: SearchConfig) -> None:
    """What engines that look at trials may spend, and where they keep them."""
    for name in ("trials", "workers", "queries", "learning_steps"):
        value = getattr(search, name)
        if value < 1:
            raise UserError(f"search.{name} is {value}; it must be ≥ 1")
    if search.seconds is not None and not search.seconds > 0:
        raise UserError(f"search.seconds is {search.seconds}; it must be > 0, or null")
    if search.workers > 1 and search.engine not in SAMPLED:
        raise UserError(
            f"search.workers is {search.workers}, but search={search.engine} goes step by step; use 1, or "
            f"search={' or search='.join(SAMPLED)}"
        )
    if search.study is not None and not re.fullmatch(r"[\w.-]*\w[\w.-]*", search.study):
        raise UserError(f"search.study is {search.study!r}; use letters, digits, '_', '-' and '.'")
    if search.storage is not None and search.study is None:
        raise UserError("search.storage is given, but no search.study=NAME to keep there")
    if search.engine == "learned" and (search.study or search.storage):
        given = "study" if search.study else "storage"
        raise UserError(f"search.{given} is of engines that look at trials: search={', '.join(ENGINES)}")
