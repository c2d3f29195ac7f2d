"""A clean stop on SIGTERM and SIGINT: the first signal asks for it, the second one ends the process at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_asked: int | None = None
_listeners = 0


class Stopped(Exception):
    """A run that stopped before its end and can go on; a signal asked for it, and everything is saved.

    Args:
        signum: number of the signal.

    Attributes:
        status: exit status of the process.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.status = 128 + signum


class CutShort(Stopped):
    """A run that a limit or a callback ended before its last epoch.

    Args:
        why: what has ended it, and where, in one line.
    """

    def __init__(self, why: str) -> None:
        Exception.__init__(self, why)
        self.status = os.EX_TEMPFAIL  # the run is to be tried again, as sysexits.h has it


def requested() -> int | None:
    """The number of the signal that asked this process to stop; None if none did."""
    return _asked


def check() -> None:
    """Raise Stopped if a signal asked for it; to be called where everything is saved."""
    if _asked is not None:
        raise Stopped(_asked)


@contextmanager
def listening(forward: Callable[[int], None] | None = None) -> Iterator[None]:
    """Let signals ask for a clean stop while the body runs.

    Args:
        forward: called with the number of the signal, to pass it on to child processes.
    """
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers can be set in the main thread only
        return

    def ask(signum: int, _: FrameType | None) -> None:
        global _asked
        if _asked is not None:
            if _helps():
                return  # not a second signal: a terminal signals every process, and the first one forwards it
            if forward:
                forward(signal.SIGKILL)
            for one in _SIGNALS:
                signal.signal(one, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        _asked = signum
        name = signal.Signals(signum).name
        if not _helps():
            print(f"{name}: stopping after this step; once more ends at once", file=sys.stderr, flush=True)
        if forward:
            forward(signum)

    global _listeners
    before = {one: signal.signal(one, ask) for one in _SIGNALS}
    _listeners += 1
    try:
        yield
    finally:
        _listeners -= 1
        if not _listeners:
            _asked = None
        for one, handler in before.items():
            signal.signal(one, handler)


def _helps() -> bool:
    """Whether this is a helper process rather than the one that the user started."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0 or multiprocessing.parent_process() is not None
