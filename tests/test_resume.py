"""Runs that are stopped and resumed: the same numbers as an unbroken one, bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.utils.data import Dataset

from hass_train import pipeline
from hass_train.config.checks import checked
from hass_train.config.schema import RunConfig
from hass_train.data.digits import Digits
from hass_train.data.order import Drawn, Draws
from hass_train.runtime import stopping
from hass_train.runtime.errors import UserError
from hass_train.search.phases import Phase, PhasePlan
from hass_train.training.resume import Checkpoint, WholeCheckpoints
from tests.chaos.kills import numbers
from tests.conftest import SMALL, composed


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
    kept = second / "checkpoints" / "previous.ckpt"
    assert torch.load(kept, weights_only=True)["hass_train"]["phase"] == "recover"


def typed(runs: Path, checkpoint: object) -> RunConfig:
    return checked(composed(*SMALL, f"ckpt_path={checkpoint}", output=runs / "new"))


def test_the_newest_unfinished_run_is_found(unbroken: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "done")):
        shutil.copytree(unbroken, tmp_path / name)
        last = tmp_path / name / "checkpoints" / "last.ckpt"
        os.utime(last, (number, number))
    for name in ("a", "b"):
        (tmp_path / name / "result.json").unlink()
    found = Checkpoint.of(typed(tmp_path, "last"))
    assert found is not None
    assert found.path == tmp_path / "b" / "checkpoints" / "last.ckpt"
    assert found.epochs == (2, 3, 2)
    best = Checkpoint.of(typed(tmp_path, "best"))
    assert best is not None
    assert best.path.name == "best.ckpt"
    whole = Checkpoint.of(typed(tmp_path, tmp_path / "done"))  # a directory's own
    assert whole is not None
    assert whole.path.parent.parent.name == "done"
    assert Checkpoint.of(checked(composed(*SMALL, output=tmp_path / "new"))) is None


def test_what_cannot_be_resumed_is_said_in_one_line(unbroken: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no unfinished run"):
        Checkpoint.of(typed(tmp_path, "last"))
    with pytest.raises(UserError, match="there is no file"):
        Checkpoint.of(typed(tmp_path, tmp_path / "nothing.ckpt"))
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"no readable checkpoint; .* ckpt_path=.*previous\.ckpt"):
        Checkpoint.of(typed(tmp_path, folder))
    for content in (b"", b"not a checkpoint at all"):
        last.write_bytes(content)
        with pytest.raises(UserError, match="no readable checkpoint"):
            Checkpoint.of(typed(tmp_path, last))
    torch.save({"state_dict": {}}, last)  # another program's
    with pytest.raises(UserError, match=r"no checkpoint of a run; init_from="):
        Checkpoint.of(typed(tmp_path, last))
    assert Checkpoint.of(typed(tmp_path, folder / "checkpoints" / "previous.ckpt")) is not None


class Payload:
    """Runs a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("key", ["ckpt_path", "init_from"])
def test_a_crafted_checkpoint_does_not_execute(key: str, unbroken: Path, tmp_path: Path) -> None:
    content = torch.load(unbroken / "checkpoints" / "last.ckpt", weights_only=True)
    bad, mark = tmp_path / "bad.ckpt", tmp_path / "executed"
    torch.save({**content, "extra": Payload(mark)}, bad)
    with pytest.raises(UserError, match=f"{key}: .*bad.ckpt holds more than plain data"):
        pipeline.search(composed(*SMALL, f"{key}={bad}", output=tmp_path / "run"))
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))  # it would have
    assert mark.exists()


def test_another_network_is_refused_and_other_settings_are_told(unbroken: Path) -> None:
    found = Checkpoint.of(typed(unbroken.parent, unbroken / "checkpoints" / "last.ckpt"))
    assert found is not None
    settings = json.loads(json.dumps(found.settings))
    assert found.check_settings(settings) == []
    settings["search"]["recover"]["epochs"] = 9
    settings["data"]["workers"] = 3
    settings["trainer"]["devices"] = 2
    assert found.check_settings(settings) == ["search.recover.epochs: 2 → 9", "trainer.devices: 1 → 2"]
    with pytest.raises(UserError, match=r"is of search\.py"):
        found.check_settings({**settings, "hw": None})
    settings["model"]["name"] = "resnet18"
    with pytest.raises(UserError, match=r"made with model\.name=resnet10t, not resnet18; .* init_from="):
        found.check_settings(settings)


def test_epochs_may_change_where_they_are_to_come(unbroken: Path) -> None:
    found = Checkpoint.of(typed(unbroken.parent, unbroken / "checkpoints" / "last.ckpt"))
    assert found is not None
    rates = (1e-3, 1e-3, 1e-3)
    study = replace(found, epochs=(0, 3, 2))  # a study's dense network was there, and warm-up left out
    assert study.plan(PhasePlan((2, 3, 2), rates)).epochs == (0, 3, 2)
    assert study.plan(PhasePlan((2, 3, 5), rates)).epochs == (0, 3, 5)
    with pytest.raises(UserError, match="is in its recover phase"):
        study.plan(PhasePlan((2, 4, 2), rates))
    early = replace(found, phase=Phase.WARMUP)
    assert early.plan(PhasePlan((4, 3, 2), rates)).epochs == (4, 3, 2)


def test_what_was_resumed_is_passed_over(unbroken: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(unbroken, tmp_path / name)
        (tmp_path / name / "result.json").unlink()
    os.utime(tmp_path / "b" / "checkpoints" / "last.ckpt", (9, 9))
    newest = Checkpoint.of(typed(tmp_path, "last"))
    assert newest is not None
    assert newest.path.parent.parent.name == "a"
    newest.bring_along(tmp_path / "c")
    assert (tmp_path / "c" / "checkpoints" / "last.ckpt").is_file()
    (tmp_path / "c" / "result.json").write_text("{}")
    other = Checkpoint.of(typed(tmp_path, "last"))
    assert other is not None
    assert other.path.parent.parent.name == "b"
    (tmp_path / "b" / "accuracy.json").write_text("{}")  # plain training that ended
    with pytest.raises(UserError, match="no unfinished run"):
        Checkpoint.of(typed(tmp_path, "last"))


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, path = WholeCheckpoints(), tmp_path / "checkpoints" / "last.ckpt"
    writer.save_checkpoint({"step": 1}, path)
    writer.save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 2}
    assert torch.load(path.with_name("previous.ckpt"), weights_only=True) == {"step": 1}

    def half(content: object, target: Path) -> None:
        target.write_bytes(b"PK")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(OSError, match="no space"):
            writer.save_checkpoint({"step": 3}, path)
    assert torch.load(path, weights_only=True) == {"step": 2}
    assert sorted(one.name for one in path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 7), st.data())
def test_draws_are_a_permutation_that_can_begin_anywhere(
    images: int, processes: int, batch: int, data: st.DataObject
) -> None:
    shares = [list(Draws(images, 5, rank, processes, epoch=2)) for rank in range(processes)]
    drawn = [draw.image for share in shares for draw in share]
    assert len(set(drawn)) == len(drawn) == images // processes * processes
    assert set(drawn) <= set(range(images))
    start = data.draw(st.integers(0, len(shares[0]) // batch)) * batch
    resumed = Draws(images, 5, 0, processes, epoch=2, start=start)
    resumed.set_epoch(2)  # as Lightning does when it resumes
    assert list(resumed) == shares[0][start:]
    resumed.set_epoch(3)
    assert len(list(resumed)) == images // processes


def test_transforms_take_their_chance_from_the_draw_alone() -> None:
    class Noisy(Dataset[Any]):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> tuple[int, float, float, float]:
            return index, float(torch.rand(())), random.random(), float(np.random.rand())  # noqa: NPY002

    images = Drawn(Noisy())
    batch = list(Draws(10, seed=1))[:4]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = images.__getitems__(batch)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert images.__getitems__(batch) == first
    assert [one[0] for one in first] == [draw.image for draw in batch]
    assert images.__getitems__(batch[1:]) != first[1:]  # another batch, another chance
    assert images[3][0] == 3


def test_loader_processes_change_nothing() -> None:
    def epoch(workers: int) -> list[torch.Tensor]:
        data = Digits(batch_size=128, workers=workers, seed=3)
        data.setup()
        loader = data.train_dataloader()
        loader.sampler.set_epoch(1)
        return [images for images, _ in loader]

    for mine, other in zip(epoch(0), epoch(2), strict=True):
        assert torch.equal(mine, other)
