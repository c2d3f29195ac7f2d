"""Commands and overrides that can be pasted into a POSIX shell: quoted for Hydra's grammar, then for the shell."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString

from hass_train.config.values import without_password

_STARTED = "HASS_TRAIN_STARTED"
"""The environment variable by which the workers of a sweep know how it was started."""


def quoted(value: str | Path) -> str:
    """Quote a text so that Hydra reads it, as the value of an override, as this text."""
    # OmegaConf reads ${ as the start of an interpolation, unless an odd number of backslashes is before it
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", str(value))
    plain = re.fullmatch(r"[\w/.-]*/[\w/.-]*", text, re.ASCII)  # with a slash it is no number, truth value or null
    return text if plain else QuotedString(text, Quote.double).with_quotes()


def override(key: str, value: str | Path) -> str:
    """An override that gives a key a text, as a word for the shell."""
    return shlex.quote(f"{key}={quoted(value)}")


def module_command(module: str, folder: str | Path) -> str:
    """The command that runs a module of this package on a folder, from whatever folder."""
    root = Path(__file__).resolve().parents[2]
    there = "" if Path.cwd() == root else f"cd {shlex.quote(str(root))} && "
    return there + shlex.join([_python(), "-m", f"hass_train.{module}", os.path.abspath(folder)])


def remember_start(config_name: str) -> None:
    """Note how this process was started, for `job_command`.

    Args:
        config_name: the configuration that its script composes unless it is told otherwise.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", spec.name] if spec is not None else [sys.argv[0]]
    os.environ[_STARTED] = json.dumps([os.getcwd(), [_python(), *program], config_name])


def job_command(*more: str) -> str:
    """The command that repeats this job from whatever folder, without passwords; empty if none started it.

    It goes to the folder in which the script was started, so that relative paths mean the same. The run's directory is
    left out, since it is taken: the command makes a new one.

    Args:
        more: overrides to add, quoted for Hydra; they replace those of the same key.
    """
    if _STARTED not in os.environ or not HydraConfig.initialized():
        return ""
    folder, program, config_name = json.loads(os.environ[_STARTED])
    hydra = HydraConfig.get()
    words = [*program]
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            words += ["--config-dir", source.path]
    if hydra.job.config_name != config_name:
        words += ["--config-name", hydra.job.config_name]
    words += [one for one in hydra.overrides.hydra if one.lstrip("+").startswith("hydra.searchpath=")]
    replaced = {one.partition("=")[0] for one in more}
    words += [one for one in hydra.overrides.task if one.lstrip("+").partition("=")[0] not in replaced]
    return f"cd {shlex.quote(folder)} && {shlex.join(without_password(word) for word in [*words, *more])}"


def _python() -> str:
    """The interpreter: by its short name if that is what the shell finds."""
    found = shutil.which("python")
    return "python" if found and os.path.abspath(found) == sys.executable else sys.executable
