"""Nothing that is read can run code, and no release that is known to be bad can be installed.

What loads unsafely by its name is ruff's (rules S and TID251, `make lint`); here is that they are on, and what ruff
does not see (its rule for `torch.load`, S614, is a preview).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

SOURCES = sorted([*ROOT.glob("*.py"), *(ROOT / "hass_train").rglob("*.py"), *(ROOT / "callbacks").rglob("*.py")])


def blind(tree: ast.AST) -> Iterator[int]:
    """Lines that load or resume without `weights_only=True`: torch would unpickle whatever the file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("torch.load", "trainer.fit")):
            told = [one.value for one in node.keywords if one.arg == "weights_only"]
            if not (told and isinstance(told[0], ast.Constant) and told[0].value is True):
                yield node.lineno


def test_no_source_unpickles_weights() -> None:
    found = {str(path.relative_to(ROOT)): list(blind(ast.parse(path.read_text()))) for path in SOURCES}
    assert len(found) > 100
    assert {name: lines for name, lines in found.items() if lines} == {}
    bad = "run.trainer.fit(m)\nrun.trainer.fit(m, weights_only=False)\ntorch.load(f)\ntorch.load(f, weights_only=False)"
    assert list(blind(ast.parse(bad))) == [1, 2, 3, 4]
    assert list(blind(ast.parse("run.trainer.fit(m, weights_only=True)\ntorch.load(f, weights_only=True)"))) == []


@pytest.mark.parametrize("folder", ["hass_train", "callbacks", "."])
def test_ruff_refuses_what_could_run(folder: str) -> None:
    """The rules of pyproject.toml, asked about a source that breaks each of them."""
    bad = {
        "import pickle": "TID251", "import marshal": "TID251", "import shelve": "TID251",
        "from dill import load": "TID251", "np.load(f)": "TID251",
        "eval('1')": "S307", "exec('1')": "S102", "yaml.load(f)": "S506", "yaml.unsafe_load(f)": "TID251",
        "subprocess.run('ls', shell=True)": "S602",
    }  # fmt: skip
    source = "\n".join(["import subprocess", "import numpy as np", "import yaml", *bad])
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "--stdin-filename"]
    done = subprocess.run(
        [*command, f"{folder}/anything.py", "-"], input=source, cwd=ROOT, capture_output=True, text=True
    )
    told = {(int(line), rule) for line, rule in re.findall(r"anything\.py:(\d+):\d+: (\w+)", done.stdout)}
    assert {(number, rule) for number, rule in enumerate(bad.values(), 4)} <= told, done.stdout


def test_compromised_releases_are_excluded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    lightning = needed["pytorch-lightning"]
    assert "2.6.2" not in lightning
    assert "2.6.3" not in lightning
    assert "2.6.4" in lightning
    assert "lightning" not in needed
    assert all(any(one.operator in ("<", "<=") for one in limits) for limits in needed.values())  # an upper bound each
