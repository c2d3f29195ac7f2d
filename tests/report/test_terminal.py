"""What one sees in the terminal: progress, the network's summary, help."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import timm
from rich.console import Console

import callbacks.progress
from hass_train import pipeline
from hass_train.cli import CONFIG_DIR
from hass_train.hardware import DataflowAccelerator, DataflowOptions, SparsityProfile, load_device, trace
from hass_train.report.console import print_slowest, weight_widths
from hass_train.report.summary import parts, print_summary
from tests.conftest import ROOT, composed
from tests.test_resume import SMALL

PENALTY = ("search.target_speedup=null", "search.penalty=0.1")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the progress writes to a terminal."""
    stream = io.StringIO()
    monkeypatch.setattr(
        callbacks.progress,
        "Console",
        lambda **_: Console(file=stream, force_terminal=True, width=200, color_system=None),
    )
    return stream


def test_a_terminal_shows_a_bar_below_the_lines(terminal: io.StringIO, tmp_path: Path) -> None:
    pipeline.search(composed(*SMALL, *PENALTY, output=tmp_path / "run"))
    shown = terminal.getvalue()
    for words in ("warmup  epoch 1/7", "search  epoch 4/7", "recover epoch 7/7", "3/3 steps", "0:00:0"):
        assert words in shown
    lines = [line for line in shown.splitlines() if "s left" in line and "loss" in line]
    assert len(lines) == 7
    assert all(word in lines[3] for word in ("val acc", "images/s", "speed-up", "pair sparsity", "λ"))
    assert "λ" not in lines[0]
    assert "λ" not in lines[6]
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor comes back


def test_a_bar_that_is_interrupted_gives_the_cursor_back(
    terminal: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(callbacks.Phases, "_begin_search", broken)
    with pytest.raises(RuntimeError, match="broken"):
        pipeline.search(composed(*SMALL, *PENALTY, output=tmp_path / "run"))
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1


def test_a_pipe_gets_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.search(composed(*SMALL, *PENALTY, output=tmp_path / "run"))
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert len(re.findall(r"^ +\d/7 (warmup|search|recover)", told, re.MULTILINE)) == 7


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_summary_adds_up(depth: int) -> None:
    network = trace(timm.create_model("mobilenetv3_small_100"), (3, 32, 32), "network")
    found = parts(network, depth)
    assert len(found) == {0: len(network.compute_layers), 1: 4, 2: 9}[depth]
    assert [layer for layers in found.values() for layer in layers] == list(network.compute_layers)
    dense = DataflowAccelerator(load_device("zcu104")).estimate(network, SparsityProfile.dense(network))
    stream = io.StringIO()
    print_summary(network, dense, Console(file=stream, width=140), depth)
    told = stream.getvalue()
    cells = [line.split("│") for line in told.splitlines() if line.startswith("│")]
    assert sum(int(row[4].replace(",", "")) for row in cells) == network.macs
    assert sum(int(row[3].replace(",", "")) for row in cells) == network.weights


# ---- help ------------------------------------------------------------------------------------------------------------


def test_help_names_every_group_and_five_commands_that_work() -> None:
    done = subprocess.run([sys.executable, "search.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for group in (folder.name for folder in CONFIG_DIR.iterdir() if folder.is_dir() and folder.name != "hydra"):
        assert re.search(rf"^{group}: ", done.stdout, re.MULTILINE)
    commands = re.findall(r"^  python search\.py (.*)$", done.stdout, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        given = [word for word in shlex.split(command) if word != "-m"]
        with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            config = hydra.compose("search", [word.split(",")[0] for word in given])
        for word in given:
            key, _, value = word.split(",")[0].partition("=")
            if "." in key or key == "ckpt_path":
                section = config
                for name in key.split(".")[:-1]:
                    section = section[name]
                assert str(section[key.split(".")[-1]]) == value


@pytest.mark.parametrize(("command", "examples"), [(["train.py"], 5), (["-m", "hass_train.estimate"], 6)])
def test_other_commands_have_their_own_help(command: list[str], examples: int) -> None:
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(re.findall(r"^  python ", done.stdout, re.MULTILINE)) == examples
    assert "model: " in done.stdout


def test_help_can_be_cut_off() -> None:
    """As by `| head -1`."""
    command = f"{shlex.quote(sys.executable)} search.py --help | head -1"
    done = subprocess.run(command, cwd=ROOT, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


def test_bits_of_layers_are_shown() -> None:
    workload = trace(timm.create_model("test_resnet.r160_in1k"), (3, 32, 32), "a network")
    layers = [one.name for one in workload.compute_layers]
    mixed = workload.with_bits({**dict.fromkeys(layers[:3], 8), **dict.fromkeys(layers[3:], 4)}, {layers[0]: 6})
    options = DataflowOptions(weight_bits=8, activation_bits=8, tolerance=0.02)
    estimate = DataflowAccelerator(load_device("zcu104"), options).estimate(mixed, SparsityProfile.dense(mixed))
    assert weight_widths(estimate) == {8: 3, 4: len(layers) - 3}
    stream = io.StringIO()
    print_slowest("slowest", estimate, Console(file=stream, width=110))
    shown = {
        row.name: f"{row.weight_bits}×{row.activation_bits}" if row.weight_bits else "8" for row in estimate.layers
    }
    for row in estimate.slowest(5):
        (line,) = (one for one in stream.getvalue().splitlines() if f"│ {row.name} " in one)
        assert line.split("│")[3].strip() == shown[row.name]
