"""Files that are written completely or not at all, directories that only one process gets, names of files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hass_train.runtime.errors import UserError

AnyPath = str | os.PathLike[str]
"""What public functions take for a path."""
WEIGHTS = "model.safetensors"
"""The file in a finished run's directory that holds its network."""
FOLDER, LAST, BEST, PREVIOUS = "checkpoints", "last.ckpt", "best.ckpt", "previous.ckpt"
"""The folder of a run's checkpoints, and their names."""
ORIGIN = "resumed_from.txt"
"""The file in a resumed run's directory that holds the directory of the run that it continues."""
ERROR_LOG = "error.log"
"""The file in which a command that fails leaves its error."""
_MARK = ".hydra"


def claim(folder: Path, instead: str) -> None:
    """Take a directory for a run; of several processes only one gets it.

    Free is one that is not there, is empty, or in which nothing lies but what a refused command left behind.

    Args:
        folder: the directory; made if it is not there.
        instead: what to do if it is not free, for the message.

    Raises:
        UserError: it is not free.
        OSError: it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; {instead}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if {path.name for path in folder.iterdir()} - {_MARK, ERROR_LOG}:
            raise FileExistsError
        try:
            (folder / _MARK).mkdir()
        except FileExistsError:
            (folder / ERROR_LOG).unlink()  # whoever removes it takes over from the refused command
    except (FileExistsError, FileNotFoundError) as error:
        raise UserError(f"{folder} already holds a run; {instead}") from error


def claim_next(folder: Path) -> Path:
    """Take a directory for a run, or, if it is there, the first of `-2`, `-3`, … that is not; returns which.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        made = make_next(folder)
        try:
            claim(made, "")
        except UserError:  # somebody asked for it by its name a moment ago
            continue
        return made


def make_next(folder: Path) -> Path:
    """Make a directory, or, if it is there, the first of `-2`, `-3`, … that is not; returns which.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        one = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            one.mkdir()
        except FileExistsError:
            continue
        return one
    raise AssertionError("there is no largest number")


def weights_file(path: AnyPath) -> Path:
    """The file of weights that a path names: itself, or that of a run's directory."""
    return Path(path) / WEIGHTS if Path(path).is_dir() else Path(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, whose file replaces `path` once the body has written it and it is on the disk.

    Args:
        path: the final path; its folder is created. A file that is there already is kept if the body fails or the
            process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partly = path.with_name(f"{path.stem}.part{os.getpid()}{path.suffix}")
    try:
        yield partly
        with partly.open("rb") as stream:
            os.fsync(stream.fileno())
        partly.replace(path)
    finally:
        partly.unlink(missing_ok=True)


def write_text(path: AnyPath, text: str) -> None:
    """Write a text file, completely or not at all."""
    with replacing(Path(path)) as partly:
        partly.write_text(text)
