"""Other processes that work on the same study: each builds the network anew and loads the same weights."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hass_train.runtime.allocator import keep_freed_memory
from hass_train.search.engine import Subject
from hass_train.search.trials.engines import METHODS, BlackBox


@contextmanager
def helpers(count: int, build: Callable[..., tuple[BlackBox, Subject]], *about: Any) -> Iterator[None]:
    """Processes that draw trials of a study while the body does too; waits for them at the end.

    Args:
        count: of processes beside this one.
        build: makes engine and subject in a new process, from `about` and the worker's number; importable.
        about: what it needs, as plain data.

    Raises:
        RuntimeError: one of them failed.
    """
    threads, context = torch.get_num_threads(), multiprocessing.get_context("spawn")
    share = max(1, threads // (count + 1))
    torch.set_num_threads(share)
    processes = [
        context.Process(target=_work, args=(build, about, number, share), daemon=True) for number in range(1, count + 1)
    ]
    for process in processes:
        process.start()
    try:
        yield
        for process in processes:
            process.join()
    finally:
        torch.set_num_threads(threads)
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
    if any(process.exitcode for process in processes):
        codes = ", ".join(str(process.exitcode) for process in processes)
        raise RuntimeError(f"a worker of the study failed (exit codes {codes}); what it printed says why")


def _work(build: Callable[..., tuple[BlackBox, Subject]], about: tuple[Any, ...], number: int, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one stops it
    torch.set_num_threads(threads)
    keep_freed_memory()
    engine, subject = build(*about, worker=number)
    METHODS[engine.name].run(engine.bench(subject))


def study_folder(runs: Path, output: Path, study: str | None) -> Path:
    """Where a study's journal and its dense network lie: by name, to be found again, or in the run's directory."""
    return runs / "studies" / study if study else output
