"""A few kills; `make chaos` does many."""

from __future__ import annotations

import random
import shlex
import signal
from pathlib import Path

import pytest

from tests.chaos.kills import ROOT, TINY, Search, kill_and_resume, numbers, reached, unbroken_run
from tests.conftest import shared


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to compare with."""
    return shared(tmp_path_factory, "untouched", unbroken_run) / "whole"


@pytest.mark.nightly
@pytest.mark.parametrize("phase", ["search", "export", "study"])
def test_a_killed_search_ends_as_if_it_had_lived(phase: str, untouched: Path, tmp_path: Path) -> None:
    kill = kill_and_resume(phase, random.uniform(0, 2), tmp_path, untouched)
    assert kill.same, kill


def stopped(folder: Path) -> list[str]:
    """Stop a search with a signal; the overrides of the command that it says to go on with."""
    search = Search(folder, "first", TINY)
    search.wait_for(lambda: reached(search, "search"))
    search.process.send_signal(signal.SIGINT)
    assert search.end() == 130
    assert search.said("SIGINT: stopping after this step")
    assert not search.said("Traceback")
    (told,) = [line for line in search.lines if "go on with: " in line]
    again = shlex.split(told.partition("go on with: ")[2])
    assert again[:3] == ["cd", str(ROOT), "&&"]
    assert again[4] == "search.py"
    return again[5:]


def test_a_signal_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    assert f"ckpt_path={tmp_path / 'first' / 'checkpoints' / 'last.ckpt'}" in stopped(tmp_path)
    assert (tmp_path / "first" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.nightly
def test_what_a_stopped_search_says_ends_as_if_it_had_lived(untouched: Path, tmp_path: Path) -> None:
    again = tuple(one for one in stopped(tmp_path) if not one.startswith("paths.runs"))
    second = Search(tmp_path, "second", again)
    assert second.end() == 0
    assert numbers(second.folder) == numbers(untouched)
