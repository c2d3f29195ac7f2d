"""Files that are written completely or not at all, and the names of a run's checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AnyPath = str | os.PathLike[str]
"""What public functions take for a path."""
FOLDER, LAST, BEST, PREVIOUS = "checkpoints", "last.ckpt", "best.ckpt", "previous.ckpt"
"""The folder of a run's checkpoints, and their names."""
ORIGIN = "resumed_from.txt"
"""The file in a resumed run's directory that holds the directory of the run that it continues."""


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
