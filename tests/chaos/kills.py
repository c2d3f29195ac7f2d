"""Kill a search with SIGKILL at a random moment, resume it, and compare it with one that nobody touched.

python -m tests.chaos.kills --kills 20     # as `make chaos`; the table goes to benchmarks/results/chaos.md
python -m tests.chaos.kills --kills 10 --precision int8     # of integer networks; benchmarks/results/chaos-int8.md
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MARGIN = "search.margin=0.1"
"""For the last per cent of a goal, settling asks the hardware a hundred times on a network this small: all of a layer's
banks lose a weight at once, and it has few layers."""
NETWORK = (
    "model=timm", "model.name=resnet10t", "+model.kwargs.channels=[8,8,16,16]", "+model.kwargs.stem_width=8",
    "+model.kwargs.drop_rate=0.2", "data.size=16", "hw=zedboard", "hw.limits=[dsp]", "search.target_speedup=4",
    "debug=limit", "search.warmup.lr=0.004", "report=false", MARGIN,
)  # fmt: skip
"""A network, with dropout, that a search takes seconds for."""
TINY = (
    *NETWORK, "search.warmup.epochs=3", "search.search.epochs=4", "search.recover.epochs=3", "search.queries=8",
    "trainer.limit_train_batches=6", "logger=csv",
)  # fmt: skip
TRIALS = 12
STUDY = (*TINY, "search=tpe", f"search.trials={TRIALS}", "search.warmup.epochs=2", "search.recover.epochs=2")
_SECONDS = {"warmup": 0.8, "search": 3.0, "recover": 0.8, "export": 2.5, "study": 3.0}
PHASES = tuple(_SECONDS)
_LAST = "10/10 recover"
_APART = ("wall_s", "command", "config", "versions")


def numbers(folder: Path) -> dict[str, Any]:
    """result.json without times and paths."""
    found = json.loads((folder / "result.json").read_text())
    found["spent"].pop("seconds")
    return {key: value for key, value in found.items() if key not in _APART}


class Search:
    """A running search.py.

    Args:
        runs: where runs lie; `ckpt_path=last` looks there.
        name: of the run's directory below it.
        overrides: of the configuration.
    """

    def __init__(self, runs: Path, name: str, overrides: tuple[str, ...]) -> None:
        self.folder, self.lines = runs / name, []
        command = [sys.executable, "-u", "search.py", *overrides, f"paths.runs={runs}", f"hydra.run.dir={self.folder}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    lines: list[str]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, seen: Callable[[], bool]) -> None:
        """Until something is so, or the process has ended."""
        while not seen() and self.process.poll() is None:
            time.sleep(0.02)

    def said(self, words: str) -> bool:
        """Whether a line holds these words."""
        return any(words in line for line in self.lines)

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(timeout=280)
        self._reader.join(timeout=10)
        return status


def reached(search: Search, phase: str) -> bool:
    """Whether a search has come so far that a kill hits the phase (or what follows it)."""
    if phase == "study":
        journal = search.folder / "study.log"
        return journal.is_file() and journal.stat().st_size > 0
    before = {"warmup": "goal: ", "search": "3/10 warmup", "recover": "7/10 search", "export": _LAST}
    return search.said(before[phase])


@dataclass(frozen=True)
class Kill:
    """One kill, and what came of it.

    Args:
        phase: that it aimed at.
        after_s: seconds into it.
        last: line of an epoch that the killed process printed last.
        checkpoint: whether there was one to resume.
        same: whether the resumed run ended with the same numbers; for a study, with all trials and none twice.
    """

    phase: str
    after_s: float
    last: str
    checkpoint: bool
    same: bool


def kill_and_resume(phase: str, after_s: float, runs: Path, unbroken: Path, *more: str) -> Kill:
    """Run, kill, resume, compare.

    Args:
        phase: one of `PHASES`.
        after_s: seconds from its beginning to the kill.
        runs: an empty folder.
        unbroken: a finished run, untouched.
        more: overrides of both.
    """
    overrides = (*(STUDY if phase == "study" else TINY), *more)
    first = Search(runs, "first", overrides)
    first.wait_for(lambda: reached(first, phase))
    time.sleep(after_s)
    first.process.send_signal(signal.SIGKILL)
    first.end()
    epochs = [line.strip() for line in first.lines if re.match(r"\s*\d+/\d+ ", line)]
    last = epochs[-1] if epochs else "none yet"
    checkpoint = (first.folder / "checkpoints" / "last.ckpt").is_file()
    if (first.folder / "result.json").is_file():  # it was quicker
        return Kill(phase, after_s, last, checkpoint, same(phase, first.folder, unbroken))
    second = Search(runs, "second", (*overrides, "ckpt_path=last") if checkpoint else overrides)
    if second.end():
        raise RuntimeError("\n".join(["the resumed run failed:", *second.lines[-12:]]))
    return Kill(phase, after_s, last, checkpoint, same(phase, second.folder, unbroken))


def same(phase: str, found: Path, unbroken: Path) -> bool:
    """Whether a run ended as the untouched one did."""
    if phase != "study":
        return numbers(found) == numbers(unbroken)
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name="search", storage=JournalStorage(JournalFileBackend(str(found / "study.log"))))
    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    different = {tuple(sorted(trial.params.items())) for trial in done}
    return len(done) == len(different) == TRIALS == json.loads((found / "result.json").read_text())["spent"]["trials"]


def unbroken_run(folder: Path, *more: str) -> Path:
    """A run to compare with; `more` are overrides."""
    whole = Search(folder, "whole", (*TINY, *more))
    if whole.end():
        raise RuntimeError("\n".join(whole.lines[-12:]))
    return whole.folder


def main() -> None:
    """Many kills, and their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["float", "int8", "int4"], default="float")
    arguments = parser.parse_args()
    precision = f"precision={arguments.precision}"
    chance, kills = random.Random(arguments.seed), []
    with tempfile.TemporaryDirectory() as folder:
        unbroken = unbroken_run(Path(folder) / "unbroken", precision)
        for number in range(arguments.kills):
            phase = PHASES[number % len(PHASES)]
            after_s = round(chance.uniform(0, _SECONDS[phase]), 2)
            kill = kill_and_resume(phase, after_s, Path(folder) / str(number), unbroken, precision)
            kills.append(kill)
            print(f"{number + 1}/{arguments.kills} {kill}", flush=True)
    survived = sum(kill.same for kill in kills)
    command, suffix = "make chaos", ""
    if arguments.precision != "float":
        suffix = f"-{arguments.precision}"
        command = f"python -m tests.chaos.kills --kills {arguments.kills} --precision {arguments.precision}"
    lines = [
        "# Killed and resumed", "",
        f"`{command}`: {survived} of {len(kills)} searches that were killed with SIGKILL and resumed with",
        "`ckpt_path=last` ended with the same numbers, bit for bit, as one that nobody touched; a search by trials",
        "with all its trials, none lost and none twice. Delays are random (`--seed`); a run that was killed before its",
        "first checkpoint starts anew.", "",
        "| aimed at | seconds into it | its last line | checkpoint | same |", "|---|---|---|---|---|",
        *(
            f"| {kill.phase} | {kill.after_s:.2f} | {kill.last.split('  ')[0][:60]} | "
            f"{'yes' if kill.checkpoint else 'no'} | {'yes' if kill.same else '**no**'} |"
            for kill in kills
        ),
    ]  # fmt: skip
    (ROOT / "benchmarks" / "results" / f"chaos{suffix}.md").write_text("\n".join(lines) + "\n")
    if survived < len(kills):
        sys.exit(1)


if __name__ == "__main__":
    main()
