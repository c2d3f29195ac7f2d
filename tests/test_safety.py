"""Nothing that is read can run code, and no release that is known to be bad can be installed."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

SOURCES = sorted([*ROOT.glob("*.py"), *(ROOT / "hass_train").rglob("*.py"), *(ROOT / "callbacks").rglob("*.py")])


_RISKY = ("pickle", "dill", "shelve", "marshal")


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def risks(tree: ast.AST) -> Iterator[str]:
    """Whatever could run what a file says."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (
                f"imports {one}" for one in modules if one.split(".")[0] in ("pickle", "dill", "shelve", "marshal")
            )
        if not isinstance(node, ast.Call):
            continue
        called = name_of(node)
        if called in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "np.load", "numpy.load"):
            yield f"calls {called}"
        if called == "torch.load" and not any(
            one.arg == "weights_only" and isinstance(one.value, ast.Constant) and one.value.value is True
            for one in node.keywords
        ):
            yield "calls torch.load without weights_only=True"
        if called.endswith("trainer.fit") and "weights_only" not in [one.arg for one in node.keywords]:
            yield "resumes without weights_only"


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_source_reads_what_could_run(path: Path) -> None:
    assert list(risks(ast.parse(path.read_text()))) == []


def test_the_check_finds_what_it_looks_for() -> None:
    bad = "import pickle\neval('1')\nyaml.load(f)\ntorch.load(f)\ntorch.load(f, weights_only=False)\nrun.trainer.fit(m)"
    assert len(list(risks(ast.parse(bad)))) == 6


def test_compromised_releases_are_excluded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    lightning = needed["pytorch-lightning"]
    assert "2.6.2" not in lightning
    assert "2.6.3" not in lightning
    assert "2.6.4" in lightning
    assert "lightning" not in needed
    assert all(any(one.operator in ("<", "<=") for one in limits) for limits in needed.values())  # an upper bound each
