"""The simulator's compiled loop: not needed to train, and without a folder for its code compiled anew."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_structure import module_of, sources

_PLAY = """
from hass_train.hardware import Operation, OperationKind, Workload
from hass_train.hardware.dataflow.simulator import kernel
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.workload import FeatureMap

whole = FeatureMap(4, 4, 2)
network = Workload("one", (2, 4, 4), (Operation("a", OperationKind.CONV, ("input",), whole, whole),))
pipeline = Pipeline(network, [StageDesign("a", "dense", dict.fromkeys("iogmNqp", 1))])
print(kernel.__file__, {steps})
"""


KERNEL = "hass_train.hardware.dataflow.simulator.kernel"


def run(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env={**kept, **environment}, cwd=environment["PYTHONPATH"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_with(module: str) -> set[str]:
    """Our modules that are loaded when one is, which leaves out what is imported inside functions."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.parse(sources()[name].read_text()).body:
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{one.name}" for one in node.names]
                left += [one for one in map(module_of, names) if one is not None]
    return found


def test_nothing_but_playing_needs_the_simulator() -> None:
    found = set.union(*map(loaded_with, ("hass_train.pipeline", "hass_train.testing", "hass_train.export.design")))
    assert "hass_train.hardware.dataflow.model" in found
    assert KERNEL not in found
    assert KERNEL in loaded_with("hass_train.results.playing")


@pytest.fixture
def installation(tmp_path: Path) -> dict[str, str]:
    """The environment of an installation beside whose files nothing can be written, and of a user without a home."""
    shutil.copytree(ROOT / "hass_train", tmp_path / "hass_train", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "hass_train/hardware/dataflow/simulator/__pycache__").touch()  # no folder, whoever asks
    return {"PYTHONPATH": str(tmp_path), "HOME": "/dev/null"}


def test_the_simulator_loads_where_nothing_can_be_written(installation: dict[str, str]) -> None:
    file, steps = run(_PLAY.replace("{steps}", "pipeline.stages[0].reads"), **installation).split()
    assert file.startswith(installation["PYTHONPATH"])
    assert steps == "32"


@pytest.mark.nightly
def test_the_simulator_plays_where_nothing_can_be_written(installation: dict[str, str]) -> None:
    _, cycles = run(_PLAY.replace("{steps}", "pipeline.play(4).interval_cycles"), **installation).split()
    assert cycles == "64.0"
