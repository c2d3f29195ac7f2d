"""profile.json: the measured sparsity of a network, with which hardware can be estimated again without the network."""

from __future__ import annotations

import json
from pathlib import Path

from hass_train.hardware import SparsityProfile, Workload
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath

PROFILE = "profile.json"
SCHEMA = 1


def save_profile(path: AnyPath, workload: Workload, profile: SparsityProfile) -> None:
    """Write a profile.

    Args:
        path: the file to write.
        workload: the network that was measured.
        profile: its sparsity.

    Raises:
        ValueError: the profile is of other layers than the network's.
    """
    profile.check_covers(workload)
    about = {"schema": SCHEMA, "network": workload.name, "input_shape": list(workload.input_shape)}
    Path(path).write_text(
        json.dumps({**about, **profile.to_dict()}, separators=(",", ":"))
    )  # no indent: a line per number


def load_profile(path: AnyPath) -> SparsityProfile:
    """Read a profile.

    Args:
        path: the file, or the run directory that holds it.

    Raises:
        UserError: there is no such file or directory, the directory holds no profile, or the file is not one; one line.
    """
    path = Path(path)
    if path.is_dir():
        file = path / PROFILE
        if not file.is_file():
            raise UserError(f"{path} holds no {PROFILE}; a search.py run that ends writes one into its run directory")
    elif path.exists():
        file = path
    else:
        raise UserError(f"there is no run directory or profile {path}")
    try:
        data = json.loads(file.read_text())
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    schema = data.get("schema", SCHEMA) if isinstance(data, dict) else SCHEMA
    if schema != SCHEMA:
        raise UserError(f"{file} has schema {schema!r}; this version reads schema {SCHEMA}")
    try:
        return SparsityProfile.from_dict(data)
    except ValueError as error:
        raise UserError(f"{file} is no sparsity profile: {error}") from error
