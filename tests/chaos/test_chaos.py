"""A few kills; `make chaos` does many."""

from __future__ import annotations

import random
import shlex
import signal
from pathlib import Path

import pytest

from tests.chaos.kills import TINY, Search, kill_and_resume, numbers, reached, unbroken_run
from tests.conftest import shared

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to compare with."""
    return shared(tmp_path_factory, "untouched", unbroken_run) / "whole"


@pytest.mark.parametrize("phase", ["search", "export", "study"])
def test_a_killed_search_ends_as_if_it_had_lived(phase: str, untouched: Path, tmp_path: Path) -> None:
    kill = kill_and_resume(phase, random.uniform(0, 2), tmp_path, untouched)
    assert kill.same, kill


def test_a_signal_stops_cleanly_and_says_how_to_go_on(untouched: Path, tmp_path: Path) -> None:
    first = Search(tmp_path, "first", TINY)
    first.wait_for(lambda: reached(first, "search"))
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130
    assert first.said("SIGINT: stopping after this step")
    assert not first.said("Traceback")
    (told,) = [line for line in first.lines if "go on with: " in line]
    again = shlex.split(told.partition("go on with: ")[2])
    assert again[:2] == ["python", "search.py"]
    second = Search(tmp_path, "second", tuple(one for one in again[2:] if not one.startswith("paths.runs")))
    assert second.end() == 0
    assert numbers(second.folder) == numbers(untouched)
