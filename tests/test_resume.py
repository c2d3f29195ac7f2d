"""Runs that are stopped and resumed: the same numbers as an unbroken one, bit for bit."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hass_train import pipeline, stopping
from tests.conftest import composed

SMALL = (
    "model=timm", "model.name=resnet10t", "+model.kwargs.channels=[8,8,16,16]", "+model.kwargs.stem_width=8",
    "+model.kwargs.drop_rate=0.2", "search.warmup.lr=0.004", "debug=limit", "search.warmup.epochs=2",
    "search.search.epochs=3", "search.recover.epochs=2", "search.distill=0.3", "search.queries=6",
    "search.learning_steps=4", "data.size=16", "hw=zedboard", "search.target_speedup=4", "hw.limits=[dsp]",
)  # fmt: skip
"""Every phase, with what else could be lost: dropout, a teacher, queries within epochs, thresholds that rest."""
EPOCHS, STEPS = 7, 3
_APART = ("wall_s", "command", "config", "versions")


def numbers(folder: Path) -> dict[str, Any]:
    """result.json without times and paths."""
    found = json.loads((folder / "result.json").read_text())
    found["spent"].pop("seconds")
    return {key: value for key, value in found.items() if key not in _APART}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    pipeline.search(composed(*SMALL, output=folder))
    return folder


def stopped_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ask for a stop after a number of training steps (and epochs' ends), as a signal would."""
    seen = itertools.count()
    monkeypatch.setattr(stopping, "requested", lambda: int(signal.SIGTERM) if next(seen) >= step else None)


@pytest.mark.parametrize(("phase", "step"), [("warmup", 1), ("search", 10), ("search", 15), ("recover", 21)])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    phase: str, step: int, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    with monkeypatch.context() as patch:
        stopped_at(patch, step)
        with pytest.raises(stopping.Stopped):
            pipeline.search(composed(*SMALL, output=first))
    state = torch.load(first / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["hass_train"]["phase"] == phase
    pipeline.search(composed(*SMALL, "ckpt_path=last", output=second))
    assert numbers(second) == numbers(unbroken)
    for name in ("model.safetensors", "dense.safetensors"):
        mine, other = load_file(second / name), load_file(unbroken / name)
        assert all(torch.equal(value, other[key]) for key, value in mine.items())
