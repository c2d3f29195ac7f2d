"""Reports read results: they know no accelerator from the inside, and nobody but `Result` reads result.json."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hass_train
from tests.conftest import ROOT

PACKAGE = Path(hass_train.__file__).parent
INSIDE = "hass_train.hardware.dataflow"
REPORTS = sorted((PACKAGE / "report").glob("*.py"))


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a file imports, wherever it does; the name is empty of whole modules."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((one.name, "") for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level  # this package names its modules in full
            yield from ((node.module or "", one.name) for one in node.names)


@pytest.mark.parametrize("file", REPORTS, ids=lambda file: file.name)
def test_reports_know_no_accelerator_from_the_inside(file: Path) -> None:
    for module, name in imported(file):
        assert not f"{module}.{name}".startswith(INSIDE), f"{file.name} imports {module}"
        if module.startswith("hass_train.hardware"):  # nor by way of what others hand on
            there = getattr(importlib.import_module(module), name)
            assert not getattr(there, "__module__", "").startswith(INSIDE), f"{file.name} imports {name}"


def test_what_the_walk_finds() -> None:
    found = set(imported(PACKAGE / "results" / "playing.py"))
    assert (f"{INSIDE}.simulator.pipeline", "Pipeline") in found
    assert ("torch", "Tensor") in found


def test_result_json_is_read_in_one_place() -> None:
    """Wherever a file names result.json and parses JSON, it might do both at once."""
    files = [file for folder in ("hass_train", "callbacks") for file in (ROOT / folder).rglob("*.py")]
    both = [file for file in files if "result.json" in (text := file.read_text()) and "json.loads" in text]
    assert [file.relative_to(PACKAGE).as_posix() for file in both] == ["results/result.py"]
