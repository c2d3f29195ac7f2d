"""Lines that are to be pasted, run as they stand; and several runs that begin together."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hass_train.config.commands import module_command, override
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import ERROR_LOG, claim, claim_next, make_next
from tests.chaos.kills import TINY
from tests.conftest import ROOT

AWKWARD = "it's \"a\" b, c=d {e} $HOME 100% #1 (é) [名] ~ & ; 'x\\"
DOOR = f"""
import json, os
from pathlib import Path
from hass_train import cli
from hass_train.config.commands import job_command, quoted

AWKWARD = {AWKWARD!r}

def main(config):
    name, output = config.init_from, Path(config.paths.output)
    text = name and Path(name).read_text()
    command = job_command("ckpt_path=" + quoted(output / AWKWARD))
    (output / "accuracy.json").write_text(json.dumps({{"test_acc": 1.0}}))
    seen = dict(output=str(output), text=text, ckpt=config.ckpt_path, hw=config.hw.get("name"), command=command)
    print(json.dumps(seen))

cli.summarise = lambda sweep: 0  # which loads torch
cli.run("train", main)
"""
"""A script like train.py that trains nothing."""
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.text(
    "\\\"'${}[](),=:~ab/.1", max_size=12
)


@given(TEXTS)
@example(AWKWARD)
@example("${oc.env:HOME}\\")
@example("\\\\${x}\\${")
def test_any_text_passes_shell_and_hydra(text: str) -> None:
    (word,) = shlex.split(override("some.key", text))
    parsed = OverridesParser.create().parse_override(word)
    assert not parsed.is_sweep_override()
    assert parsed.key_or_group == "some.key"
    config = OmegaConf.create({"key": None})
    config.key = parsed.value()
    assert config.key == text
    assert isinstance(config.key, str)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_bash_reads_what_was_meant(texts: list[str]) -> None:
    words = " ".join(override("k", text) for text in texts)
    told = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True).stdout.decode()
    assert told.split("\0")[:-1] == [shlex.split(override("k", text))[0] for text in texts]


def test_plain_paths_stay_plain() -> None:
    assert override("init_from", Path("/runs/a-b_c/model.pt")) == "init_from=/runs/a-b_c/model.pt"
    assert override("k", "1") == "'k=\"1\"'"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An awkward folder with the script, weights, and a configuration of the user's own."""
    folder = tmp_path / AWKWARD
    (folder / "conf" / "hw").mkdir(parents=True)
    (folder / "door.py").write_text(DOOR)
    (folder / AWKWARD).write_text("weights")
    (folder / "conf" / "hw" / "mine.yaml").write_text("name: mine\n")
    (folder / "below").mkdir()
    return folder


def started(command: Sequence[str], folder: Path, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the script printed."""
    out, error = process.communicate(timeout=100)
    assert process.returncode == 0, error
    return json.loads(out)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("script", "folder"), [("door.py", "."), ("../door.py", "below")])
def test_the_command_of_a_job_runs_from_anywhere(script: str, folder: str, place: Path, tmp_path: Path) -> None:
    weights = os.path.relpath(place / AWKWARD, place / folder)
    words = ["--config-dir", os.path.relpath(place / "conf", place / folder), "hw=mine", "paths.runs=out",
             *shlex.split(override("init_from", weights)), "ckpt_path=last"]  # fmt: skip
    first = told(started([sys.executable, script, *words], place / folder))
    assert (first["text"], first["hw"], first["ckpt"]) == ("weights", "mine", "last")
    (tmp_path / "elsewhere").mkdir()
    again = told(started(["bash", "-c", first["command"]], tmp_path / "elsewhere"))
    assert again["ckpt"] == str(Path(first["output"]) / AWKWARD)
    assert {**again, "ckpt": 0, "output": 0, "command": 0} == {**first, "ckpt": 0, "output": 0, "command": 0}
    assert Path(again["output"]).parents[1] == Path(first["output"]).parents[1] == place / folder / "out"
    assert again["output"] != first["output"]


def test_the_command_of_a_sweeps_job_runs_that_job(place: Path) -> None:
    words = ["-m", "seed=3", "paths.runs=out", *shlex.split(override("init_from", AWKWARD))]
    out, _ = started([sys.executable, "door.py", *words], place).communicate(timeout=100)
    first = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    assert first["text"] == "weights"
    again = told(started(["bash", "-c", first["command"]], place.parent))
    assert again["text"] == "weights"
    assert Path(again["output"]).parents[1] == place / "out"


def test_hints_name_modules_and_folders_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    line = module_command("compare", AWKWARD)
    assert shlex.split(line)[-1] == str(tmp_path / AWKWARD)
    done = started(["bash", "-c", f"{line} --help"], Path("/"), PYTHONPATH="")
    assert "usage: python -m hass_train.compare" in done.communicate(timeout=100)[0]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.kwargs={in_chans: 3}", "no key 'model.kwargs.in_chans'; to add it, say '+model.kwargs={in_chans: 3}'"),
        ("trainer.precision=16", "no key 'trainer.precision'; to add it, say +trainer.precision=16"),
        ("trainer.acelerator=gpu", "did you mean 'trainer.accelerator'? To add it, say +trainer.acelerator=gpu"),
        (
            "init_from=/é/c",
            "cannot read the override 'init_from=/é/c'; if the value is a text, say 'init_from=\"/é/c\"'",
        ),
        ("init_from=/a,b", "init_from=/a,b is a list for a sweep, which needs -m; if the value is a text, say"),
        ("resnet18", "cannot read the override 'resnet18'; overrides are KEY=VALUE"),
    ],
)
def test_what_hydra_does_not_take_is_told_with_what_it_would(word: str, message: str, tmp_path: Path) -> None:
    process = started([sys.executable, str(ROOT / "train.py"), word], tmp_path)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 2
    assert message in error
    assert error.count("\n") == 1
    if said := re.search(r"say (.*)\n", error):  # as it says
        assert OverridesParser.create().parse_override(*shlex.split(said[1])) is not None


@pytest.mark.nightly
def test_a_stopped_run_goes_on_with_the_line_that_it_prints(tmp_path: Path) -> None:
    folder = tmp_path / AWKWARD
    folder.mkdir()
    words = [*TINY, "search.warmup.epochs=40", "paths.runs=out"]
    process = started([sys.executable, "-u", os.path.relpath(ROOT / "train.py", folder), *words], folder)
    assert process.stdout is not None
    for line in process.stdout:
        if "2/40" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM
    (line,) = [one for one in error.splitlines() if "go on with: " in one]
    done = started(["bash", "-c", line.partition("go on with: ")[2]], Path("/"))
    out, error = done.communicate(timeout=200)
    assert done.returncode == 0, error
    assert "resumed from" in out
    assert len(list((folder / "out").rglob("accuracy.json"))) == 1


# ---- directories ---------------------------------------------------------------------------------------------------

SAME = "hydra.run.dir='${paths.runs}/${now:%Y}'"
"""A name made of the time that is the same for all."""


def test_runs_that_begin_together_have_a_directory_each(tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text(DOOR)
    runs = [started([sys.executable, "door.py", "paths.runs=out", SAME, f"seed={seed}"], tmp_path) for seed in range(4)]
    folders = [Path(told(run)["output"]) for run in runs]
    year = min(folder.name for folder in folders)
    assert {folder.name for folder in folders} == {year, f"{year}-2", f"{year}-3", f"{year}-4"}
    for seed, folder in enumerate(folders):
        assert (folder / ".hydra" / "overrides.yaml").read_text() == f"- paths.runs=out\n- seed={seed}\n"
        assert (folder / "accuracy.json").is_file()


def test_a_directory_that_is_asked_for_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text(DOOR)
    runs = [started([sys.executable, "door.py", "hydra.run.dir=out"], tmp_path) for _ in range(3)]
    errors = [run.communicate(timeout=100)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2, 2]
    refused = "error: out already holds a run; choose another hydra.run.dir, or leave it out\n"
    assert sorted(errors) == ["", refused, refused]
    # the other processes of the run, which Lightning starts, go into the same directory
    helper = started([sys.executable, "door.py", 'hydra.run.dir="out"', "hydra.output_subdir=null"], tmp_path,
                     LOCAL_RANK="1")  # fmt: skip
    assert told(helper)["output"] == str(tmp_path / "out")


def test_sweeps_that_begin_together_have_a_directory_each(tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text(DOOR)
    where = SAME.replace("run.dir", "sweep.dir")
    sweeps = [started([sys.executable, "door.py", "-m", "seed=0,1", "paths.runs=out", where], tmp_path) for _ in "ab"]
    for sweep in sweeps:
        sweep.communicate(timeout=100)
        assert sweep.returncode == 0
    folders = sorted((tmp_path / "out").iterdir())
    assert len(folders) == 2
    assert folders[1].name == f"{folders[0].name}-2"
    for folder in folders:
        assert len(list(folder.glob("*/accuracy.json"))) == 2
        assert (folder / "multirun.yaml").is_file()


def test_only_one_of_many_gets_a_directory(tmp_path: Path) -> None:
    def attempt(folder: Path) -> bool:
        try:
            claim(folder, "choose another")
        except UserError:
            return False
        return True

    (tmp_path / "empty").mkdir()
    (tmp_path / "refused" / ".hydra").mkdir(parents=True)
    (tmp_path / "refused" / ERROR_LOG).write_text("a typing error")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "precious").write_text("mine")
    (tmp_path / "killed" / ".hydra").mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        for name, winners in (("new/er", 1), ("empty", 1), ("refused", 1), ("used", 0), ("killed", 0)):
            assert sum(pool.map(attempt, [tmp_path / name] * 8)) == winners
        for make in (make_next, claim_next):
            taken = set(pool.map(make, [tmp_path / make.__name__ / "12-00"] * 8))
            assert {one.name for one in taken} == {"12-00", *(f"12-00-{number}" for number in range(2, 9))}
    with pytest.raises(UserError, match="used already holds a run; choose another"):
        claim(tmp_path / "used", "choose another")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; choose another"):
        claim(tmp_path / "file", "choose another")
