"""The page on plug-ins runs as it stands: four classes, each in a file outside the package, through search.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hass_train.results.result import Result
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text()
CODE: dict[str, str] = dict(re.findall(r"```python\n# mine/(\w+)\.py\n(.*?)```", PAGE, re.DOTALL))
SMALL = ("debug=limit", "model=timm", "model.name=test_resnet", "logger=csv", "report=false")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, as it names them."""
    folder = tmp_path_factory.mktemp("plugins") / "mine"
    (folder / "conf" / "hw").mkdir(parents=True)
    for name, code in CODE.items():
        (folder / f"{name}.py").write_text(code)
    (settings,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (folder / "conf" / "hw" / "roofline.yaml").write_text(settings)
    return folder


def start(mine: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{mine}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def searched(mine: Path, *overrides: str) -> Result:
    folder = mine.parent / f"run{len(list(mine.parent.iterdir()))}"
    done = start(mine, "search.py", *overrides, *SMALL, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return Result.load(folder)


def test_examples_are_as_short_as_they_claim() -> None:
    assert set(CODE) == {"kernel", "smallest", "cameras", "roofline", "test_mine"}
    for code in CODE.values():
        body = [line for line in code.splitlines() if line.strip() and not line.startswith(("from ", "import "))]
        assert len(body) <= 35


def test_a_pattern_and_an_accelerator(mine: Path) -> None:
    result = searched(
        mine, "--config-dir", str(mine / "conf"), "hw=roofline", "sparsity=unstructured",
        "sparsity.pattern._target_=kernel.Kernel",
        "search=one_shot", "search.sparsity=0.5",
    )  # fmt: skip
    assert result.goal.met
    assert result.hw.name == "roofline"
    assert result.config["hw"]["macs"] == 512
    assert result.gain.throughput > 1.1
    assert result.sparse.weight_sparsity == pytest.approx(0.5, abs=0.02)


def test_an_engine_and_a_goal(mine: Path) -> None:
    cameras = "{_target_: cameras.Cameras, streams: 8, frames_per_second: 1200}"
    result = searched(
        mine, "hw=zcu104", "search.engine._target_=smallest.Smallest", "+search.engine.fraction=0.4",
        f"+search.goals.cameras={cameras}",
    )  # fmt: skip
    assert result.engine == "smallest"
    assert (result.goal.name, result.goal.value) == ("cameras", 8)
    assert result.goal.words == "8 cameras of 1200 frames/s"
    assert result.goal.target_ips == 9600
    assert result.goal.met == (result.sparse.estimate.throughput_ips >= 9600)
    assert result.goal.met


@pytest.mark.nightly
def test_wrong_arguments_of_plug_ins_are_told_in_a_line(mine: Path) -> None:
    for overrides, told in (
        (("search.engine._target_=smallest.Smallest", "+search.engine.fraction=4"), "fraction is 4"),
        (
            ("search.engine._target_=smallest.Smallest", "+search.engine.fractoin=0.4"),
            "did you mean 'search.engine.fra",
        ),
        (("search.engine._target_=smalest.Smallest",), "search.engine._target_ is 'smalest.Smallest', which cannot"),
    ):
        done = start(mine, "search.py", *SMALL, *overrides, f"hydra.run.dir={mine.parent / 'bad'}")
        assert done.returncode == 2
        assert told in done.stderr
        assert done.stderr.count("\n") == 1


def test_plug_ins_keep_the_contracts(mine: Path) -> None:
    done = start(
        mine, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(mine), str(mine / "test_mine.py")
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
