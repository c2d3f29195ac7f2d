"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER, LAST, BEST, PREVIOUS = "checkpoints", "last.ckpt", "best.ckpt", "previous.ckpt"
"""Folder and names of a run's checkpoints."""
ORIGIN = "resumed_from.txt"
"""In a resumed run's directory: names that of the run it went on with."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file that takes its place only once it is complete and on the disk.

    Args:
        path: of the file; its folder is made. What lies there is kept until the new file replaces it, and stays if the
            body fails or the process is killed.
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


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as partly:
        partly.write_text(text)
