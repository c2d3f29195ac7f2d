"""Runs a command of this project into a folder, once: benchmarks that are interrupted go on where they were."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def ended(folder: Path) -> bool:
    """Whether a command has ended in a folder."""
    return (folder / "ended").exists()


def run_once(script: str, folder: Path, overrides: Sequence[str], threads: int | None = None) -> None:
    """Run a script into a folder, unless it has ended there before; what a broken run left is kept aside.

    Args:
        script: such as `search.py`.
        folder: the run's directory.
        overrides: of the configuration.
        threads: of the process; None = as many as there are cores.

    Raises:
        SystemExit: the command failed.
    """
    if ended(folder):
        return
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.broken-{len(list(folder.parent.iterdir()))}"))
    print(f"-> {folder.relative_to(ROOT / 'runs')}", flush=True)
    command = [sys.executable, script, *overrides, "logger=csv", f"hydra.run.dir={folder}"]
    environment = {**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    (folder / "ended").touch()
