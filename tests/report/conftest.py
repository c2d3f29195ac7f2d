"""A small search with its report, for all tests of what one looks at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from hass_train.results.record import Record
from tests.conftest import run_small, shared


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a search with a report and an offline W&B run, simulated; tests only read it."""

    def search(base: Path) -> None:
        run_small(base / "run", "report=true", "simulate=true", "logger=wandb")
        wandb.finish()

    return shared(tmp_path_factory, "seen", search) / "run"


@pytest.fixture(scope="session")
def record(seen: Path) -> Record:
    """The same, read back."""
    return Record.read(seen)


@pytest.fixture(autouse=True)
def _no_run_left() -> Iterator[None]:
    yield
    wandb.finish()
