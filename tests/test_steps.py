"""What is counted in optimizer steps, runs that are cut short, accuracies that count, and precisions."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import callbacks as offered
from pytorch_lightning.callbacks import Timer
from safetensors.torch import load_file
from torch import nn

from callbacks import Checkpoints
from callbacks.hardware_penalty import CLOSELY
from hass_train import cli, pipeline
from hass_train.data.evaluate import accuracy
from hass_train.data.order import mixed
from hass_train.hardware import SparsityProfile
from hass_train.runtime import stopping
from hass_train.runtime.errors import UserError
from hass_train.search.engines import Choice, Learned
from hass_train.search.penalty import PenaltyController, PricedPenalty
from hass_train.search.phases import Phase, PhasePlan
from hass_train.sparsity import LayerRule, calibrate, sparse_layers, sparsify
from hass_train.training.module import SparseClassifier
from hass_train.training.refused import check_callbacks, check_options
from hass_train.training.steps import Steps
from tests.chaos.kills import numbers
from tests.conftest import composed
from tests.roofline import quick
from tests.test_resume import stopped_at

BATCHES, EVERY = 5, 2  # the last step of an epoch has a single micro-batch
ACCUMULATED = (
    f"trainer.limit_train_batches={BATCHES}",
    f"+trainer.accumulate_grad_batches={EVERY}",
    "search.distill=0.3",
)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that freeze the thresholds as they were learned, which is quick."""
    monkeypatch.setattr("callbacks.phases._NORM_BATCHES", 2)
    monkeypatch.setattr(Learned, "choose", lambda self, subject: Choice())


@given(st.integers(1, 40), st.integers(1, 12))
def test_steps_are_those_that_lightning_makes(batches: int, every: int) -> None:
    windows: list[list[int]] = [[]]
    for batch in range(batches):  # by hand
        windows[-1].append(batch)
        if (batch + 1) % every == 0 and batch + 1 < batches:
            windows.append([])
    steps = Steps(batches, every)
    assert steps.count == len(windows)
    for number, window in enumerate(windows):
        for batch in window:
            assert steps.at(batch) == number
            assert steps.ends(batch) == (batch == window[-1])
            assert steps.scale(batch) / every == pytest.approx(1 / len(window))


@pytest.mark.parametrize("every", [1, 2, 8])
def test_lambda_is_updated_once_a_step_and_chance_is_drawn_for_every_batch(
    every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[list[float]] = [[]]
    updates: list[tuple[float, float, int]] = []
    followed: list[int] = []
    seeds: list[int] = []

    def cost(self: PricedPenalty, layers: Any, made: Any = PricedPenalty.__call__) -> Any:
        found = made(self, layers)
        costs[-1].append(float(found.detach()))
        return found

    def update(
        self: PenaltyController, speed: float, done: float, steps: int, do: Any = PenaltyController.update
    ) -> Any:
        updates.append((speed, done, steps))
        costs.append([])
        return do(self, speed, done, steps)

    def follow(self: PenaltyController, accuracy: float, images: int, do: Any = PenaltyController.follow) -> None:
        followed.append(images)
        do(self, accuracy, images)

    def step(self: SparseClassifier, batch: Any, index: int, do: Any = SparseClassifier.training_step) -> Any:
        seeds.append(torch.initial_seed())
        return do(self, batch, index)

    class Enough(Exception):
        pass

    def choose(*_: object) -> Choice:
        raise Enough

    monkeypatch.setattr(PricedPenalty, "__call__", cost)
    monkeypatch.setattr(PenaltyController, "update", update)
    monkeypatch.setattr(PenaltyController, "follow", follow)
    monkeypatch.setattr(SparseClassifier, "training_step", step)
    monkeypatch.setattr(Learned, "choose", choose)
    monkeypatch.setattr(PricedPenalty, "speedup_at", lambda self, cost: cost)  # what the controller is told
    settings = (f"+trainer.accumulate_grad_batches={every}", f"trainer.limit_train_batches={BATCHES}")
    with pytest.raises(Enough):
        pipeline.search(quick(tmp_path / "run", *settings, "search.learning_steps=100", "search.search.epochs=2"))
    windows = [len(range(first, min(first + every, BATCHES))) for first in range(0, BATCHES, every)] * 2
    assert {steps for _, _, steps in updates} == {len(windows)}
    assert [len(one) for one in costs] == [*windows, 0]
    assert [told for told, _, _ in updates] == [fmean(one) for one in costs[:-1]]
    assert [done for _, done, _ in updates] == [number / len(windows) for number in range(len(windows))]
    assert followed == [16 * one for one in windows]
    assert seeds == [mixed(0, 0, batch) for batch in range(3 * BATCHES)]  # without accumulation, by the step as ever


def test_histograms_are_measured_anew_for_one_question_of_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[SparsityProfile | None] = []
    made: list[SparsityProfile] = []

    def measured(*arguments: Any, like: SparsityProfile | None = None, **options: Any) -> SparsityProfile:
        given.append(like)
        made.append(calibrate(*arguments, like=like, **options))
        return made[-1]

    monkeypatch.setattr("callbacks.hardware_penalty.calibrate", measured)
    pipeline.search(quick(tmp_path / "run", f"search.search.epochs={CLOSELY + 1}"))
    assert len(given) > CLOSELY
    anew = [number - number % CLOSELY for number in range(len(given))]
    assert [like is None for like in given] == [last == number for number, last in enumerate(anew)]
    assert all(like is made[last] for like, last in zip(given, anew, strict=True) if like is not None)


def test_a_search_begins_with_fresh_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Phase, int]] = []

    def step(self: SparseClassifier, batch: Any, index: int, do: Any = SparseClassifier.training_step) -> Any:
        seen.append((self.state.phase, len(self.trainer.optimizers[0].state)))
        return do(self, batch, index)

    monkeypatch.setattr(SparseClassifier, "training_step", step)
    pipeline.search(quick(tmp_path / "run", "search.warmup.epochs=1", "search.search.epochs=1"))
    phases = [phase for phase, _ in seen]
    assert seen[phases.index(Phase.SEARCH)][1] == 0
    assert all(moments for _, moments in seen[1 : phases.index(Phase.SEARCH)])
    assert seen[phases.index(Phase.RECOVER)][1] > 0


def search(output: Path, *overrides: str) -> Path:
    pipeline.search(quick(output, *ACCUMULATED, *overrides))
    return output


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that accumulates gradients, and that nobody stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("callbacks.phases._NORM_BATCHES", 2)
        patch.setattr(Learned, "choose", lambda self, subject: Choice())
        return search(tmp_path_factory.mktemp("whole") / "run")


def check_same(found: Path, whole: Path) -> None:
    assert numbers(found) == numbers(whole)
    for name in ("model.safetensors", "dense.safetensors"):
        mine, other = load_file(found / name), load_file(whole / name)
        assert all(torch.equal(value, other[key]) for key, value in mine.items())


def content(run: Path, name: str = "last") -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return found


@pytest.mark.parametrize(
    ("batch", "phase", "steps"),
    [
        (0, "warmup", 1),
        (6, "search", 4),
        pytest.param(9, "search", 6, marks=pytest.mark.nightly),
        (15, "recover", 10),
    ],
    ids=["within a step", "in the search", "at the end of an epoch", "in recovery"],
)
def test_a_run_that_is_cut_short_keeps_its_phase_and_goes_on(
    batch: int, phase: str, steps: int, whole: Path, tmp_path: Path
) -> None:
    first, halt = tmp_path / "first", f"+callbacks.halt={{_target_: tests.keep.Halt, batch: {batch}}}"
    epoch = batch // BATCHES + 1
    with pytest.raises(stopping.CutShort, match=rf"ended early by a callback in epoch {epoch} of 4 \({phase} phase\)"):
        search(first, halt)
    assert content(first)["hass_train"]["phase"] == phase
    assert content(first)["global_step"] == steps
    assert not (first / "result.json").exists()
    check_same(search(tmp_path / "second", f"ckpt_path={first}"), whole)


def test_a_signal_within_a_step_waits_for_its_end(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stopped_at(patch, 5)  # four steps and the end of an epoch before it
        with pytest.raises(stopping.Stopped):
            search(tmp_path / "first")
    assert content(tmp_path / "first")["global_step"] == 5
    check_same(search(tmp_path / "second", f"ckpt_path={tmp_path / 'first'}"), whole)


def test_a_limit_of_time_holds_for_one_process(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, limit = tmp_path / "first", "+trainer.max_time=00:01:00:00"
    with monkeypatch.context() as patch:
        elapsed = itertools.count(3590)
        patch.setattr(Timer, "time_elapsed", lambda self, stage="train": next(elapsed))
        with pytest.raises(stopping.CutShort, match=r"by its limit of time \(trainer.max_time\) in epoch 1 of 4"):
            search(first, limit)
    assert content(first)["callbacks"]["Timer"]["time_elapsed"]["train"] >= 3600
    check_same(search(tmp_path / "second", limit, f"ckpt_path={first}"), whole)


def test_a_callback_that_stops_early_cuts_the_run_short(tmp_path: Path) -> None:
    kind = "pytorch_lightning.callbacks.EarlyStopping"
    stop = f"{{_target_: {kind}, monitor: val/acc, min_delta: 1.0, patience: 1, mode: max}}"
    with pytest.raises(stopping.CutShort, match=r"by EarlyStopping in epoch 2 of 4 \(search phase\)"):
        search(tmp_path / "run", f"+callbacks.stop={stop}")
    with pytest.raises(stopping.CutShort, match="epoch 3 of 4"):  # once Lightning has to
        search(tmp_path / "later", f"+callbacks.stop={stop}", "+trainer.min_epochs=3")


@pytest.mark.parametrize("keep", [(), ("callbacks.checkpoints=null",)])
def test_early_stopping_ends_plain_training_well(keep: tuple[str, ...], tmp_path: Path) -> None:
    kind = "pytorch_lightning.callbacks.EarlyStopping"
    stop = f"{{_target_: {kind}, monitor: val/acc, min_delta: 1.0, patience: 1, mode: max}}"
    given = ("model=timm", "model.name=test_resnet", "debug=limit", "search.warmup.epochs=4", f"+callbacks.stop={stop}")
    found, made = pipeline.train(composed(*given, *keep, output=tmp_path / "run", config_name="train"))
    assert made["trainer"].current_epoch == 2
    assert Path(found["model"]).is_file()


@pytest.mark.parametrize("keep", ["", "callbacks.checkpoints=null"])
def test_the_exit_status_says_that_a_run_can_go_on(
    keep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "train.py",
        "model=timm",
        "model.name=test_resnet",
        "logger=csv",
        "debug=limit",
        f"paths.runs={tmp_path}",
    ]
    command += [
        f"hydra.run.dir={tmp_path / 'run'}",
        "+callbacks.halt={_target_: tests.keep.Halt, batch: 1}",
        *([keep] if keep else []),
    ]
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # and again None after the test
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        cli.run("train", pipeline.train)
    assert stopped.value.code == 75
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("ended early")
    assert ("go on with: cd " in said) is (not keep)
    assert not (tmp_path / "run" / "accuracy.json").exists()


def test_the_plan_holds_where_a_resumed_run_has_other_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[int, float]] = []

    class Rates(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
            rates.append((trainer.current_epoch, trainer.optimizers[0].param_groups[0]["lr"]))

    with monkeypatch.context() as patch:
        stopped_at(patch, 7)  # at the end of the second epoch, of six steps
        with pytest.raises(stopping.Stopped):
            search(tmp_path / "first")
    monkeypatch.setattr("callbacks.Board", Rates)
    search(tmp_path / "second", f"ckpt_path={tmp_path / 'first'}", "trainer.accumulate_grad_batches=1")
    learned = quick(tmp_path / "x").search
    plan = PhasePlan((1, 2, 1), (learned.warmup.lr, learned.search.lr, learned.recover.lr))
    assert rates == [(at // BATCHES, pytest.approx(plan.learning_rate(at, BATCHES))) for at in range(10, 20)]


@pytest.mark.parametrize(
    "when",
    [
        "+trainer.check_val_every_n_epoch=2",
        pytest.param("+trainer.check_val_every_n_epoch=3", marks=pytest.mark.nightly),
        "+trainer.val_check_interval=0.4",
    ],
)
def test_only_accuracies_at_full_sparsity_choose_the_best(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, Phase, int, float]] = []
    drops: list[float] = []

    class Seen(Checkpoints):
        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert isinstance(pl_module, SparseClassifier)
            accuracy = float(trainer.callback_metrics["val/acc"])
            seen.append((trainer.current_epoch, pl_module.state.phase, trainer.global_step, accuracy))
            super().on_validation_end(trainer, pl_module)

    def observe(self: PenaltyController, drop: float, *_: object) -> None:
        drops.append(drop)

    monkeypatch.setattr("callbacks.Checkpoints", Seen)
    monkeypatch.setattr(PenaltyController, "observe", observe)
    epochs = ("search.warmup.epochs=2", "search.search.epochs=3", "search.recover.epochs=4")
    pipeline.search(quick(tmp_path / "run", when, *epochs, "trainer.limit_train_batches=5"))
    own = [(accuracy, step) for _, phase, step, accuracy in seen if phase is Phase.RECOVER]
    assert own
    best = content(tmp_path / "run", "best")
    assert best["global_step"] == max(own)[1]  # of equals the later one
    (kept,) = [one["best"] for name, one in best["callbacks"].items() if name.endswith("Seen")]
    assert kept == max(own)[0]
    latest = {epoch: accuracy for epoch, phase, _, accuracy in seen if phase is Phase.SEARCH}
    dense = content(tmp_path / "run")["hass_train"]["dense_val_acc"]
    assert drops == [dense - accuracy for accuracy in latest.values()]
    told = [line for line in capsys.readouterr().out.splitlines() if " left" in line and "loss" in line]
    assert [number for number, line in enumerate(told) if "val acc" in line] == sorted({epoch for epoch, *_ in seen})


@pytest.mark.nightly
def test_a_run_goes_on_from_the_best_of_the_middle_of_an_epoch(tmp_path: Path) -> None:
    within = ("+trainer.val_check_interval=2", "trainer.limit_train_batches=5", "search.recover.epochs=3")
    pipeline.search(quick(tmp_path / "first", *within))
    best = tmp_path / "first" / "checkpoints" / "best.ckpt"
    assert content(tmp_path / "first", "best")["global_step"] % 5
    pipeline.search(quick(tmp_path / "second", *within, f"ckpt_path={best}"))
    assert content(tmp_path / "second")["global_step"] == content(tmp_path / "first")["global_step"]
    check_same(tmp_path / "second", tmp_path / "first")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", pytest.param("64-true", marks=pytest.mark.nightly)])
def test_precisions(precision: str, tmp_path: Path) -> None:
    clipped = ("+trainer.gradient_clip_val=1.0", f"+trainer.precision={precision}", "search.distill=0.3")
    with torch.backends.mkldnn.flags(enabled=False):  # its bfloat16 gradients of maps of one pixel may be NaN
        result, objects = pipeline.search(quick(tmp_path / "run", *clipped))
    assert objects["trainer"].precision == precision
    model: nn.Module = objects["module"].model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(bool((layer.weight[~layer.mask] == 0).all()) for _, layer in sparse_layers(model))
    assert result.sparse.val_acc == pytest.approx(accuracy(model, objects["data"], "val", 2)[0])
    assert 0 < result.sparse.pair_sparsity < 1
    weights = load_file(tmp_path / "run" / "model.safetensors").values()
    assert {value.dtype for value in weights if value.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "said"), [("16-mixed", "needs a GPU; say trainer.precision=bf16-mixed"), ("16-true", "say bf16-true")]
)
def test_precisions_that_are_refused(precision: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"trainer.precision is {precision}.*{said}"):
        pipeline.search(quick(tmp_path / "run", f"+trainer.precision={precision}"))


def test_thresholds_stay_in_single_precision() -> None:
    model = sparsify(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), {"all": LayerRule("*")})
    (_, layer), *_ = sparse_layers(model)
    with torch.no_grad():
        layer.weight_threshold.fill_(-4.001)
    for half in (torch.bfloat16, torch.float16):
        model.to(half)
        assert layer.weight.dtype is half
        assert float(layer.weight_threshold.detach()) == pytest.approx(-4.001, abs=1e-6)
        assert {one.dtype for one in (*layer.thresholds, layer.activation_scale)} == {torch.float32}
    assert model.double() is model
    assert layer.weight_threshold.dtype is torch.float64


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_steps": 3}, r"trainer.max_steps is not for you to set; say search\.warmup\.epochs"),
        ({"fast_dev_run": True}, "say debug=fdr"),
        ({"limit_train_batches": 0}, "limit_train_batches is 0"),
        ({"limit_val_batches": 0.0}, "limit_val_batches is 0"),
        ({"limit_test_batches": 0}, "limit_test_batches is 0"),
    ],
)
def test_options_of_the_trainer_that_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_options(options, {"max_steps": -1, "fast_dev_run": False})
    check_options({"limit_train_batches": 1, "limit_val_batches": 0.5}, {})


@pytest.mark.parametrize(
    "callback",
    [
        offered.WeightAveraging(), offered.EMAWeightAveraging(), offered.StochasticWeightAveraging(0.01),
        offered.ModelPruning("l1_unstructured"),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_callbacks_that_would_undo_the_masks_are_refused_in_searches(callback: pl.Callback) -> None:
    with pytest.raises(UserError, match=f"callbacks: {type(callback).__name__} cannot be used here"):
        check_callbacks([callback], searches=True)
    check_callbacks([callback], searches=False)


def test_callbacks_that_change_the_number_of_steps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"GradientAccumulationScheduler cannot be used here.*accumulate_grad_batches"):
        check_callbacks([offered.GradientAccumulationScheduler({0: 2})], searches=False)
    averaged = "+callbacks.mean={_target_: pytorch_lightning.callbacks.EMAWeightAveraging}"
    with pytest.raises(UserError, match="EMAWeightAveraging cannot be used here"):
        pipeline.search(quick(tmp_path / "run", averaged))
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_masks_hold_whatever_a_callback_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, objects = pipeline.search(
        quick(tmp_path / "run", "sparsity=unstructured", "+callbacks.other={_target_: tests.keep.Unmask}")
    )
    layers = [layer for _, layer in sparse_layers(objects["module"].model)]
    assert not all(bool(layer.mask.all()) for layer in layers)
    assert all(bool((layer.weight[~layer.mask] == 0).all()) for layer in layers)
    assert "a callback has changed weights that are pruned" in capsys.readouterr().err
    assert result.sparse.weight_sparsity > 0


@pytest.mark.parametrize("hook", ["on_fit_start", "on_train_start", "on_train_epoch_start"])
def test_an_epoch_without_a_step_is_not_done(hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Early(pl.Callback):
        pass

    def stop(self: pl.Callback, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True

    monkeypatch.setattr(Early, hook, stop)
    monkeypatch.setattr("callbacks.Board", Early)
    with pytest.raises(stopping.CutShort, match="epoch 1 of 1"):
        pipeline.train(quick(tmp_path / "run", *ACCUMULATED, config_name="train"))
    assert content(tmp_path / "run")["global_step"] == 1
    assert content(tmp_path / "run")["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] == 0


def test_the_other_jobs_of_a_sweep_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train.py", "-m", "seed=0,1", "model=timm", "model.name=test_resnet", "logger=csv", "debug=limit"]
    command += [f"paths.runs={tmp_path}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # and again None after the test
    monkeypatch.setattr(sys, "argv", [*command, "+callbacks.halt={_target_: tests.keep.Halt, batch: 1}"])
    monkeypatch.setattr(cli, "_sweep", None)
    with pytest.raises(SystemExit) as stopped:
        cli.run("train", pipeline.train)
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.count("ended early by a callback in epoch 1 of 1 (warmup phase); go on with: ") == 2
    assert len(list((tmp_path / "sweep").glob("*/error.log"))) == 2
