"""Runs scripts through Hydra, with errors of the user reported in one line and exit status 2."""

from __future__ import annotations

import difflib
import functools
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hass_train.config.checks import OPEN, former
from hass_train.config.commands import job_command, override, quoted, remember_start
from hass_train.report.sweep import summarise
from hass_train.runtime.errors import UserError, suggested, unknown
from hass_train.runtime.files import ERROR_LOG, claim, claim_next
from hass_train.runtime.stopping import CutShort, Stopped
from hass_train.runtime.terminal import fail, tell

CONFIG_DIR = Path(__file__).resolve().parent.parent / "conf"

_NEAR = 0.85  # so similar are keys of which one is a typing error

_sweep: Path | None = None  # directory of the sweep that this process runs


class OwnDirectory(Callback):
    """Hydra callback that takes the run's directory before anything is written: of several processes only one gets it.

    Where the name is made of the time, later ones take the next free name; a directory that is asked for and taken is
    refused.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        HydraConfig.instance().set_config(config)  # the directory's name refers to it
        _take(config, "run")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        global _sweep
        HydraConfig.instance().set_config(config)
        _take(config, "sweep")
        _sweep = Path(config.hydra.sweep.dir).absolute()


def _take(config: DictConfig, mode: str) -> None:
    """Take the directory `hydra.run.dir` or `hydra.sweep.dir`, and write its name into the configuration.

    Args:
        config: the composed configuration.
        mode: `run` or `sweep`.
    """
    if int(os.environ.get("LOCAL_RANK", "0")):
        return  # not the first process of the run, which has taken it already and says which it is
    node = config.hydra[mode]
    written: Any = OmegaConf.to_container(node, resolve=False)
    folder, timed = Path(node.dir), "${now:" in written["dir"]
    try:
        if not timed:
            claim(folder, f"choose another hydra.{mode}.dir, or leave it out")
            return
        taken = claim_next(folder)
    except UserError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{folder} cannot be made: {error.strerror}; choose another hydra.{mode}.dir, or paths.runs")
    with read_write(config.hydra), open_dict(config.hydra):
        node.dir = str(taken)
        config.hydra.overrides.hydra.append(f"hydra.{mode}.dir={quoted(taken)}")  # by which a sweep's jobs know it


def run(config_name: str, task: Callable[[DictConfig], Any]) -> None:
    """Compose `conf/<config_name>.yaml` with the overrides of the command line, and run a task through Hydra.

    Errors that the user can cause end with one line and status 2: unknown groups, options and keys, wrong values, and
    every `UserError` of the task.

    Args:
        config_name: name of the configuration.
        task: function of the composed configuration.
    """
    remember_start(config_name)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors are raised here instead of printed by Hydra
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character must not end a run
    failed: list[str] = []
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)(_guarded(task, failed))()
    except MissingConfigException as error:
        fail(_missing_option(error))
    except (HydraException, OmegaConfBaseException) as error:
        fail(_composition(error, config_name))
    except yaml.YAMLError as error:
        fail(f"a configuration file cannot be read: {error}")
    except BrokenPipeError:  # `… | head` has closed the pipe; Python must not complain about it when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _summarise_sweep()
        sys.exit(130)
    except SystemExit as stop:
        if stop.code:
            _summarise_sweep()  # of the jobs that have ended
        raise
    except Exception as error:
        if _sweep is None or not _sweep.is_dir():
            raise
        tell(f"the sweep ended early: {type(error).__name__}: {error}")  # for example, a worker was killed
        failed.append(str(error))
    if _sweep is not None and _sweep.is_dir():
        sys.exit(1 if _summarise_sweep() or failed else 0)
    if failed:
        sys.exit(2)


def _guarded(task: Callable[[DictConfig], Any], failed: list[str]) -> Callable[[DictConfig], Any]:
    """A task whose errors are reported and kept in the job's directory.

    Args:
        task: function of the composed configuration.
        failed: to which the messages of errors are appended.
    """

    @functools.wraps(task)
    def guarded(config: DictConfig) -> Any:
        try:
            return task(config)
        except Stopped as stop:
            failed.append(_stopped(stop, Path(config.paths.output)))
            return None
        except KeyboardInterrupt as stop:
            _keep_traceback("interrupted", stop)
            raise
        except Exception as error:  # reported here, so that the other jobs of a sweep go on
            known = isinstance(error, UserError)
            message = _said(error) if known else f"{type(error).__name__}: {str(error) or 'no message'}"
            failed.append(message)
            _keep_traceback(message, error)
            if not known and HydraConfig.get().mode is not RunMode.MULTIRUN:
                raise
            tell(message)
            return None

    return guarded


def _summarise_sweep() -> int:
    """Write and print the summary of the sweep, if this is one, and return the number of jobs that failed."""
    return summarise(_sweep) if _sweep is not None and _sweep.is_dir() else 0


def _said(error: Exception) -> str:
    """The message of an error; those from loader processes have it at the end, below a traceback."""
    return str(error).rpartition("UserError: ")[2] if "Original Traceback" in str(error) else str(error)


def _keep_traceback(message: str, error: BaseException) -> None:
    """Write an error with its complete traceback into the directory of the job."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if folder.is_dir() and not int(os.environ.get("LOCAL_RANK", "0")):
        whole = "".join(traceback.format_exception(error))
        (folder / ERROR_LOG).write_text(f"{' '.join(message.split())}\n\n{whole}")


def _missing_option(error: MissingConfigException) -> str:
    name = error.missing_cfg_file
    name = name[0] if isinstance(name, (list, tuple)) else name
    group, _, option = str(name or "").rpartition("/")
    return str(unknown(f"{group} option" if group else "config", option, _options(group)))


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def _composition(error: Exception, config_name: str) -> str:
    """Describe in one line what Hydra could not compose; for an unknown key, with the nearest one that exists."""
    if isinstance(error, OverrideParseException):
        return f"cannot read the override {error.override!r}{_as_text(error.override)}"
    first = str(error).strip().splitlines()[0]
    if first.startswith("Ambiguous value for argument '"):
        word = first.removeprefix("Ambiguous value for argument '").removesuffix("'")
        return f"{word} is a list for a sweep, which needs -m{_as_text(word)}"
    for marker in ("Could not override '", "Could not append to config. An item is already at '"):
        if first.startswith(marker):
            key = first.removeprefix(marker).split("'")[0]
            if marker.startswith("Could not append"):
                return f"{key} exists already; write it without +"
            cause = error.__cause__
            if cause is not None and "not in struct" not in str(cause) and "No match in the defaults" not in first:
                return f"{key}: {str(cause).strip().splitlines()[0]}"
            known = _all_keys(config_name)
            if "No match in the defaults" in first:  # GROUP=OPTION
                known = [one for one in known if (CONFIG_DIR / one).is_dir()]
            return former(key) or _unknown_key(key, getattr(cause, "full_key", None) or key, known)
    return first


def _as_text(word: str) -> str:
    """What a message adds about an override that Hydra does not read as the user means it: as a text it would."""
    key, equals, value = word.partition("=")
    if not equals:
        return "; overrides are KEY=VALUE"
    return f"; if the value is a text, say {override(key, value.strip(chr(34) + chr(39)))}"


def _unknown_key(key: str, inner: str, known: list[str]) -> str:
    """Say that there is no such key: with the nearest one, and with a plus where keys may be added.

    Args:
        key: what the override is of.
        inner: the key that is unknown, perhaps within its value {…}.
        known: all keys.
    """
    word = next((word for word in sys.argv[1:] if word.startswith(f"{key}=")), "")
    section = next((one for one in OPEN if f"{key}.".startswith(f"{one}.") and one not in ("data", "hw")), None)
    if section is None or not word:
        return f"there is no key {key!r}{suggested(key, known)}"
    whole = inner if inner.startswith(f"{key}.") else key
    near = difflib.get_close_matches(whole, [one for one in known if one.startswith(f"{section}.")], 1, _NEAR)
    meant = f"did you mean {near[0]!r}? To" if near else "to"
    return f"there is no key {whole!r}; {meant} add it, say {shlex.quote(f'+{word}')}"


def _all_keys(config_name: str) -> list[str]:
    """All keys of the configuration with the options that the command line chooses."""
    groups = [folder.name for folder in CONFIG_DIR.iterdir() if folder.is_dir()]
    options = (word.partition("=") for word in sys.argv[1:])
    chosen = [f"{group}={option}" for group, _, option in options if option in _options(group)]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = hydra.compose(config_name)
        chosen = [one for one in chosen if one.partition("=")[0] in config]
        config = hydra.compose(config_name, chosen)
    keys = groups if config_name == "search" else [group for group in groups if group in config]

    def walk(node: Any, path: str) -> None:
        for key, child in node.items():
            keys.append(f"{path}{key}")
            if isinstance(child, dict):
                walk(child, f"{path}{key}.")

    walk(OmegaConf.to_container(config, resolve=False), "")
    return keys


def _stopped(stop: Stopped, output: Path) -> str:
    """Print how to resume a stopped run, and exit; where the other jobs of a sweep go on, return what stopped it.

    Args:
        stop: what stopped it.
        output: the run's directory.

    Raises:
        SystemExit: with the status of a stopped run; not for a job of a sweep that was cut short by a limit of its own.
    """
    if int(os.environ.get("LOCAL_RANK", "0")):
        sys.exit(0)  # the first process prints it, and its exit status counts
    last = output / "checkpoints" / "last.ckpt"
    hint = f"; go on with: {job_command(f'ckpt_path={quoted(last)}')}" if last.exists() else ""
    print(f"{stop}{hint}", file=sys.stderr)
    if not isinstance(stop, CutShort) or HydraConfig.get().mode is not RunMode.MULTIRUN:
        sys.exit(stop.status)
    _keep_traceback(str(stop), stop)
    return str(stop)
