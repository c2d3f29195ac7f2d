"""Processes that work on the same study: each builds the network again and loads the same weights."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hass_train.runtime.allocator import keep_freed_memory


@contextmanager
def helpers(count: int, work: Callable[..., None], *about: Any) -> Iterator[None]:
    """Run other processes beside the body, and wait for them at the end; torch's threads are shared evenly.

    Args:
        count: number of processes beside this one.
        work: function that each of them calls with `about` and the keyword `worker`, its number from 1; it must be
            importable by name.
        about: the arguments of `work`, which must be picklable.

    Raises:
        RuntimeError: one of the processes failed.
    """
    threads, context = torch.get_num_threads(), multiprocessing.get_context("spawn")
    share = max(1, threads // (count + 1))
    torch.set_num_threads(share)
    processes = [
        context.Process(target=_start, args=(work, about, number, share), daemon=True) for number in range(1, count + 1)
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


def _start(work: Callable[..., None], about: tuple[Any, ...], number: int, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one stops it
    torch.set_num_threads(threads)
    keep_freed_memory()
    work(*about, worker=number)
