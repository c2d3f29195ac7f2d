"""Checks of a configuration: its keys, types and bounds, and the arguments of classes. Errors are one line each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from hass_train.config.schema import EstimateConfig, RunConfig
from hass_train.config.values import check_arguments, check_values
from hass_train.runtime.errors import UserError, suggested, unknown
from hass_train.runtime.files import weights_file

PRICES = ("hardware", "macs", "ones")
_LARGEST_IMAGE = 8192
OPEN = (
    "model.kwargs", "data", "hw", "trainer", "callbacks", "logger", "sparsity.rules", "sparsity.pattern",
    "precision", "search.engine", "search.goals",
)  # fmt: skip
"""The schema does not say which keys are below these: they are arguments of a class, or names that the user chooses."""
_FORMER = {
    "hw.kind": "hw._target_, the class of the accelerator",
    "hw.model": "hw._target_, the class of the accelerator, with its arguments beside it",
}
"""Keys of earlier versions, and what replaces them."""
_MOVED = {
    "hass_train.logging.CsvLog": "hass_train.tracking.loggers.CsvLog",
    "hass_train.logging.wandb_logger": "hass_train.tracking.loggers.wandb_logger",
}
"""Classes of earlier versions, and where they are now."""
_OF_ENGINES = ("study", "storage", "sparsity", "activation_sparsity")
"""Settings under `search` that are refused for search engines without such an argument."""


def former(key: str) -> str | None:
    """Return what replaces a key that earlier versions had, as a message; None for others."""
    now = (now for old, now in _FORMER.items() if f"{key}.".startswith(f"{old}."))
    return next((f"{key} is of an earlier version; say {one}" for one in now), None)


def checked(config: DictConfig) -> RunConfig:
    """Check the configuration of a run, and return it as typed objects.

    Raises:
        UserError: a key is unknown (the message suggests the nearest one), or a value has the wrong type, is out of
            range, or contradicts another one.
    """
    typed, plain = _typed(config, RunConfig)
    check_values(typed)
    for path, section in _sections(plain):
        _check_target(path, section)
    _check_trainer(plain["trainer"])
    _check_run(typed)
    _check_data(typed.data)
    _check_engine(typed)
    return typed


def checked_estimate(config: DictConfig) -> EstimateConfig:
    """Check the configuration of an estimate, and return it as typed objects.

    Raises:
        UserError: see `checked`.
    """
    typed, plain = _typed(config, EstimateConfig)
    check_values(typed)
    _check_target("hw", plain["hw"])
    _check_target("precision", plain["precision"])
    profile, size = typed.profile, typed.model.input_size
    if profile.kind not in ("uniform", "run"):
        raise unknown("kind of profile", profile.kind, ["uniform", "run"])
    if profile.block is not None and (len(profile.block) != 2 or min(profile.block) < 1):
        raise UserError(f"profile.block is {profile.block}; two numbers ≥ 1 are wanted, as [8,8]")
    if profile.kind == "run" and not profile.path:
        raise UserError("profile.path is not given; say profile.path=RUN_DIR, the directory of a search that ended")
    if size is not None and (len(size) != 3 or min(size) < 1):
        raise UserError(f"model.input_size is {size}; it must be [channels,height,width], each ≥ 1")
    return typed


_T = TypeVar("_T")


def made(section: Mapping[str, Any], path: str, kind: type[_T]) -> _T:
    """Make the object that a section of the configuration names by `_target_`.

    Args:
        section: the class or function, and its arguments.
        path: the key of the section, for messages.
        kind: the class that the object must be an instance of.

    Raises:
        UserError: the class refuses its arguments, which the message says in its words; or the object is of another
            kind.
    """
    try:
        found = instantiate(section, _convert_="all")  # plain lists, since other libraries do not know ListConfig
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{path}: {first_line(cause or error)}") from error
    if not isinstance(found, kind):
        raise UserError(
            f"{path} is {type(found).__name__}, not a {kind.__module__}.{kind.__qualname__}; name a subclass of it"
        )
    return found


def is_given(section: Any) -> bool:
    """Whether a goal of the configuration has values for all of its arguments. What is no section counts, too, and is
    refused later."""
    if not isinstance(section, Mapping):
        return section is not None
    return bool(section) and all(value is not None for value in section.values())


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# ---- keys and types ------------------------------------------------------------------------------------------------

_Schema = TypeVar("_Schema", RunConfig, EstimateConfig)


def _typed(config: DictConfig, schema: type[_Schema]) -> tuple[_Schema, dict[str, Any]]:
    """The configuration as typed objects, and as plain data."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    structured = OmegaConf.structured(schema)
    _check_keys(plain, structured, "")
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(structured, plain))
    except ConfigKeyError as error:
        raise UserError(first_line(error)) from error
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is not given; say {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or ""
        raise UserError(f"{key}: {first_line(error)}" if key else first_line(error)) from error
    assert isinstance(typed, schema)
    return typed, plain


def _check_keys(plain: Mapping[Any, Any], schema: Any, path: str) -> None:
    known = [str(key) for key in schema]
    for key, value in plain.items():
        where = f"{path}{key}"
        if key not in known:
            raise UserError(f"there is no key {where!r}{suggested(where, [path + one for one in known])}")
        if isinstance(value, dict) and where not in OPEN and not OmegaConf.is_missing(schema, key):
            if not isinstance(schema[key], DictConfig):
                raise UserError(f"{where} is {value}; it must be a single value")
            _check_keys(value, schema[key], f"{where}.")
        elif where in OPEN and not isinstance(value, dict):
            raise UserError(f"{where} is {value!r}; it must hold keys and values, as conf/ has it{_hint(where)}")


def _hint(where: str) -> str:
    return "; to choose an engine say search=NAME" if where == "search.engine" else ""


# ---- classes and their arguments -----------------------------------------------------------------------------------


def _sections(plain: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The sections of a configuration that name a class, with their keys."""
    yield "data", plain["data"]
    yield "hw", plain["hw"]
    yield "sparsity.pattern", plain["sparsity"]["pattern"]
    yield "precision", plain["precision"]
    yield "search.engine", plain["search"]["engine"]
    for group in ("callbacks", "logger"):
        yield from ((f"{group}.{name}", section) for name, section in plain[group].items() if section is not None)
    goals = plain["search"]["goals"].items()
    yield from ((f"search.goals.{name}", section) for name, section in goals if is_given(section))


def _check_target(path: str, section: Any) -> None:
    """Check the arguments of a section against the signature of the class that its `_target_` names."""
    for key in section if isinstance(section, dict) else ():
        if said := former(f"{path}.{key}"):
            raise UserError(said)
    if not isinstance(section, dict) or "_target_" not in section:
        short = f"; for its number say {path.replace('.goals', '')}=…" if path.startswith("search.goals.") else ""
        raise UserError(f"{path} is {section!r}; it must name a class (_target_) and its arguments, or be null{short}")
    if section["_target_"] in (None, "???"):
        raise UserError(f"{path}._target_ is not given; say {path}._target_=MODULE.CLASS")
    target = target_of(section, path)
    try:
        parameters = inspect.signature(target).parameters
    except ValueError as error:  # some that are written in C have none
        raise UserError(
            f"{path}._target_ is {section['_target_']}, which does not say what it takes; name a Python class"
        ) from error
    _check_names(path, section, parameters)
    for name, parameter in parameters.items():
        needed = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        if needed and section.get(name, "???") == "???" and not section.get("_partial_"):
            raise UserError(f"{path}.{name} is not given; say {path}.{name}=…")
    check_arguments(path, section, target)


def target_of(section: Mapping[str, Any], path: str) -> Callable[..., Any]:
    """Import the class or function that a section names.

    Args:
        section: the section, with `_target_`.
        path: the key of the section, for messages.

    Raises:
        UserError: it cannot be imported, or is no class.
    """
    name = section["_target_"]
    if name in _MOVED:
        raise UserError(f"{path}._target_ is {name}, of an earlier version; say {_MOVED[name]}")
    try:
        target: Callable[..., Any] = resolve_name(name)  # Hydra's get_object also prints
    except Exception as error:
        raise UserError(
            f"{path}._target_ is {name!r}, which cannot be imported ({first_line(error)}); is its folder on PYTHONPATH?"
        ) from error
    if not callable(target):
        raise UserError(f"{path}._target_ is {name}, a {type(target).__name__}; say MODULE.CLASS")
    return target


def _check_names(path: str, section: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in section:
        if not key.startswith("_") and key not in parameters:
            where, known = f"{path}.{key}", [f"{path}.{name}" for name in parameters]
            told = suggested(where, known) if known else f"; {section['_target_']} takes no arguments"
            raise UserError(f"there is no key {where!r}{told}")


def _check_trainer(section: Mapping[str, Any]) -> None:
    import pytorch_lightning as pl  # late, since it takes seconds, and estimates do without

    ours = {"compile": inspect.Parameter("compile", inspect.Parameter.KEYWORD_ONLY)}
    _check_names("trainer", section, {**inspect.signature(pl.Trainer).parameters, **ours})
    check_arguments("trainer", section, pl.Trainer)


# ---- what belongs together -----------------------------------------------------------------------------------------


def _check_run(config: RunConfig) -> None:
    search = config.search
    for key in ("init_from", "ckpt_path"):
        if getattr(config, key) == "":
            raise UserError(f"{key} is empty; give a file, or leave it out")
    start = weights_file(config.init_from) if config.init_from else None
    if start is not None and not config.ckpt_path and not start.is_file():
        raise UserError(f"init_from: there is no file {start}")
    for key, usual in (("init_strict", True), ("init_head", True), ("init_prefix", None)):
        if getattr(config, key) != usual and not config.init_from:
            raise UserError(f"{key} is {getattr(config, key)}, but no init_from=FILE is given that it could be about")
    for key, path in (("runs", config.paths.runs), ("data", config.paths.data), ("output", config.paths.output)):
        if not path:
            raise UserError(f"paths.{key} is empty; give a folder")
    if search.prices not in PRICES:
        raise unknown("kind of search.prices", search.prices, PRICES)
    if search.study is not None and not re.fullmatch(r"[\w.-]*\w[\w.-]*", search.study):
        raise UserError(f"search.study is {search.study!r}; use letters, digits, '_', '-' and '.'")
    if search.storage is not None and search.study is None:
        raise UserError("search.storage is given, but no search.study=NAME to keep there")


def _check_data(data: Mapping[str, Any]) -> None:
    if int(data.get("batch_size", 2)) < 2:
        raise UserError(f"data.batch_size is {data['batch_size']}; batch normalisation needs at least 2")
    for key in ("workers", "train_images", "seed"):
        if int(data.get(key, 0)) < 0:
            raise UserError(f"data.{key} is {data[key]}; it must be ≥ 0")
    sizes = [data.get("size", 8), *(data.get("input_size") or [])]
    if not all(isinstance(one, int) and 1 <= one <= _LARGEST_IMAGE for one in sizes):
        raise UserError(f"data.size (or input_size) is {sizes}; whole numbers in [1, {_LARGEST_IMAGE}] are wanted")


def _check_engine(config: RunConfig) -> None:
    """Refuse settings that the search engine would ignore, and search engines that cannot run with several processes
    where the trainer has them."""
    search, engine = config.search, target_of(config.search.engine, "search.engine")
    takes, name = inspect.signature(engine).parameters, getattr(engine, "name", engine.__name__)
    for key in _OF_ENGINES:
        if getattr(search, key) and key not in takes:
            ways = "search.target_speedup" if "sparsity" in key else "search=tpe or another engine of trials"
            raise UserError(f"search.{key} is {getattr(search, key)!r}, but search={name} takes none; use {ways}")
        if getattr(search, key) and key not in search.engine:
            raise UserError(
                f"search.{key} is {getattr(search, key)!r}, but search.engine has no {key}; say search={name} (or "
                f"search=trials for a class of your own), or give +search.engine.{key}="
            )
    strategy = str(config.trainer.get("strategy", "auto"))
    if getattr(engine, "single_process", False) and strategy.startswith("ddp"):
        raise UserError(
            f"search={name} tries networks out in single processes, not with trainer.strategy={strategy}; "
            "use trainer=cpu or trainer=gpu, and search.workers for more of them"
        )
