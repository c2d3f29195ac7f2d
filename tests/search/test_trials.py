"""Engines that look at trials: thresholds, studies, choices, and a search that is killed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Dataset

from hass_train.data.base import ImageData, TensorImages
from hass_train.data.evaluate import accuracy
from hass_train.export.weights import DENSE_WEIGHTS, save_dense
from hass_train.hardware import DataflowAccelerator, DataflowOptions, Device, SparsityProfile, trace
from hass_train.runtime.errors import UserError
from hass_train.search.engine import Context
from hass_train.search.engines import NSGA2, TPE, Choice, Greedy, Learned, Uniform
from hass_train.search.front import hypervolume
from hass_train.search.goals import FixedPenalty, Goal, MaxAccuracyDrop, TargetSpeedup, TargetThroughput
from hass_train.search.question import HardwareQuestion
from hass_train.search.settle import state_of
from hass_train.search.subject import Subject
from hass_train.search.trials.engine import TrialEngine
from hass_train.search.trials.evaluator import Evaluator
from hass_train.search.trials.study import TrialStudy, fingerprint, open_storage
from hass_train.search.trials.trial import Trial, front
from hass_train.sparsity import LayerRule, Mode, calibrate, sparse_layers, sparsify

ENGINES: tuple[type[TrialEngine], ...] = (TPE, NSGA2, Greedy, Uniform)


class Few(ImageData):
    """Two classes of noise that differ in their mean."""

    def __init__(self) -> None:
        super().__init__("few", 2, (1, 6, 6), 16, 0, 0)

    def load(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:  # type: ignore[override]
        random = torch.Generator().manual_seed(0)
        labels = torch.arange(48) % 2
        images = torch.randn(48, 1, 6, 6, generator=random) + labels[:, None, None, None] * 2 - 1
        return {split: TensorImages(images, labels) for split in ("train", "val", "test")}


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A small network whose logits tell the two classes apart."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    workload = trace(model, (1, 6, 6), "few")
    sparsify(model, {"all": LayerRule("*")})
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    data = Few()
    data.setup()
    device = Device("small", 24, 100, 0, 100_000, 200_000, 100, 10.0)
    hardware = DataflowAccelerator(device, DataflowOptions(limits=("dsp",)))
    dense = hardware.estimate(workload, SparsityProfile.dense(workload))
    question = HardwareQuestion(workload, hardware, hardware, TargetSpeedup(1.3), dense.throughput_ips)
    save_dense(model, tmp_path / DENSE_WEIGHTS)
    return Subject(model, question, data, 32, 0.0, tmp_path)


def rebuilt(*_: object) -> None:
    """Of no use: these engines work alone."""


def box(engine: type[TrialEngine], folder: Path, hw: object = None, **settings: object) -> TrialEngine:
    """An engine whose studies lie in a folder."""
    made = engine(output=str(folder), **settings)  # type: ignore[arg-type]
    made.folder = folder
    about = {"model": {"name": "few"}, "data": {}, "hw": hw, "sparsity": {}}
    made.context = Context(about, rebuilt)  # type: ignore[arg-type]
    return made


# ---- trials --------------------------------------------------------------------------------------------------------


def test_thresholds_are_applied_in_units_of_the_layer(subject: Subject) -> None:
    evaluator = Evaluator(subject)
    evaluator.apply({"0/weight": 1.0, "3/activation": 0.5})
    layers = dict(sparse_layers(subject.model))
    assert layers["0"].weight_level() == pytest.approx(float(layers["0"].weight.detach().abs().mean()), rel=1e-5)
    assert layers["3"].activation_level() == pytest.approx(0.5 * float(layers["3"].activation_scale), rel=1e-5)
    assert layers["3"].weight_level() < 1e-9
    assert evaluator.evaluate({}).pair_sparsity < 0.6  # ReLU's and the padding's own zeros


def test_a_trial_is_the_network_at_its_thresholds(subject: Subject) -> None:
    """Against the frozen network: accuracy and pair sparsity; the second time it is known."""
    evaluator = Evaluator(subject)
    thresholds = dict.fromkeys(evaluator.names, 0.8)
    trial = evaluator.evaluate(thresholds, 5)
    again = evaluator.evaluate(thresholds, 6)
    assert dataclasses.replace(again, number=5, seconds=trial.seconds, images=trial.images) == trial
    assert (again.seconds, again.images) == (0.0, 0)
    for _, layer in sparse_layers(subject.model):
        layer.set_mode(Mode.FROZEN)
    profile = subject.profile()
    assert profile.pair_sparsity(subject.question.workload) == trial.pair_sparsity
    assert subject.question.quick.estimate(subject.question.workload, profile).throughput_ips == trial.throughput_ips
    assert accuracy(subject.model, subject.data, "val") == (trial.val_acc, 48)


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_uniform_thresholds_zero_the_fractions_asked_for(weight: float, activation: float) -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)).eval()
    sparsify(model, {"all": LayerRule("*")})
    data = Few()
    data.setup()
    subject = Subject(model, None, data, 32, 0.0, Path())  # type: ignore[arg-type]
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    evaluator = Evaluator(subject)
    evaluator.apply(evaluator.at_sparsity(weight, activation))
    for _, layer in sparse_layers(model):
        assert layer.weight_density() == pytest.approx(1 - weight, abs=0.03 if layer.weight.numel() > 100 else 0.15)
    images = next(data.images("val", model))
    first = dict(sparse_layers(model))["0"]
    assert float((first.gated_input(images) != 0).float().mean()) == pytest.approx(1 - activation, abs=0.03)


def trial(number: int, accuracy: float, throughput: float) -> Trial:
    return Trial(number, accuracy, throughput, 0.5, 0.5, 1.0, 10)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    trials = [trial(number, *point) for number, point in enumerate(points)]
    best = front(trials)
    beaten = {a for a, b in itertools.permutations(points, 2) if b[0] >= a[0] and b[1] >= a[1] and b != a}
    assert {(one.val_acc, one.throughput_ips) for one in best} == set(points) - beaten
    cells = {(x, y) for a, t in points for x in range(t) for y in range(a)}
    assert hypervolume([(float(t), float(a)) for a, t in points], (0.0, 0.0)) == len(cells)


def test_each_goal_takes_its_trial() -> None:
    def chosen(goal: Goal) -> int:
        return goal.best(front(trials), dense, 100).number

    trials = [trial(0, 0.9, 100), trial(1, 0.88, 150), trial(2, 0.7, 300), trial(3, 0.6, 250)]
    dense = trials[0]
    assert chosen(TargetSpeedup(1.4)) == 1
    assert chosen(TargetThroughput(151)) == 2
    assert chosen(TargetSpeedup(9)) == 2
    assert chosen(MaxAccuracyDrop(0.03)) == 1
    assert chosen(MaxAccuracyDrop(0.0)) == 0
    assert chosen(FixedPenalty(0.0)) == 0
    assert chosen(FixedPenalty(1.0)) == 2


# ---- engines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_spends_its_budget_and_meets_the_goal(
    engine: type[TrialEngine], subject: Subject, tmp_path: Path
) -> None:
    choice = box(engine, tmp_path, trials=12).choose(subject)
    assert 1 <= choice.trials <= 13  # a greedy step looks at two
    assert choice.images > 0
    assert Choice.from_dict(choice.to_dict()) == choice
    speeds = [point["throughput_ips"] for point in choice.front]
    accuracies = [point["val_acc"] for point in choice.front]
    assert speeds == sorted(speeds, reverse=True)
    assert accuracies == sorted(accuracies)
    question = subject.question
    reached = question.quick.estimate(question.workload, subject.profile()).throughput_ips
    assert reached >= 1.3 * question.dense_rate
    assert reached <= 1.3 * question.dense_rate * 1.15  # settled down to it: the folds of so small a network are coarse


@pytest.mark.parametrize("engine", [TPE, NSGA2])
def test_samplers_begin_with_networks_that_work(
    engine: type[TrialEngine], subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a deep network hardly any draw does: here none, so that the dense network is left to choose."""
    evaluate = Evaluator.evaluate

    def fragile(evaluator: Evaluator, thresholds: Mapping[str, float], number: int = 0) -> Trial:
        return replace(evaluate(evaluator, thresholds, number), val_acc=float(not any(thresholds.values())))

    monkeypatch.setattr(Evaluator, "evaluate", fragile)
    careful = replace(subject, question=replace(subject.question, goal=MaxAccuracyDrop(0.05)))
    chosen = box(engine, tmp_path, trials=12).choose(careful)
    study = box(engine, tmp_path).bench(careful).study
    tried = [study.parameters(one.number) for one in study.finished()]
    assert (chosen.trials, chosen.chosen) == (12, 0)
    totals = [sum(one.values()) for one in tried[:6]]
    assert totals[0] == 0
    assert totals == sorted(totals)


def test_time_is_a_budget_too(subject: Subject, tmp_path: Path) -> None:
    assert box(TPE, tmp_path, trials=500, seconds=1e-6).choose(subject).trials == 1


# ---- studies -------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a kill looks like from inside: nothing is caught on the way."""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_search_goes_on(
    engine: type[TrialEngine], subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No trial is lost, and none is repeated: thresholds of the interrupted one are tried by the second search."""
    evaluate, seen = Evaluator.evaluate, []

    def counted(self: Evaluator, thresholds: dict[str, float], number: int = 0) -> Trial:
        if thresholds:
            seen.append(tuple(sorted(thresholds.items())))
            if len(seen) == 4:
                raise Killed
        return evaluate(self, thresholds, number)

    monkeypatch.setattr(Evaluator, "evaluate", counted)
    with pytest.raises(Killed):
        box(engine, tmp_path, study="mine", trials=8).choose(subject)
    choice = box(engine, tmp_path, study="mine", trials=8).choose(subject)
    assert choice.trials >= (8 if engine is not Greedy else 4)
    assert len(set(seen)) == len(seen) - 1  # only the interrupted one comes twice
    assert seen.count(seen[3]) == 2
    study = optuna.load_study(study_name="mine", storage=open_storage(None, tmp_path))
    parameters = [
        tuple(sorted(one.params.items())) for one in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    ]
    assert sorted(set(parameters)) == sorted(set(seen))


def test_a_study_of_something_else_is_refused(subject: Subject, tmp_path: Path) -> None:
    box(TPE, tmp_path, study="mine", trials=1).choose(subject)
    with pytest.raises(UserError, match=r"search\.study 'mine' holds trials of engine tpe, not greedy"):
        box(Greedy, tmp_path, study="mine", trials=1).choose(subject)
    other = box(TPE, tmp_path, hw={"dsp": 1}, study="mine", trials=1)
    with pytest.raises(UserError, match=r"holds trials of hw None, not \{.dsp.: 1\}"):
        other.choose(subject)
    about = [{"hw": {"dsp": 2, "lut": 3}}, {"hw": {"dsp": 1, "lut": 3}}]
    TrialStudy("other", open_storage(None, tmp_path), ["maximize"], about[0])
    with pytest.raises(UserError, match=r"holds trials of hw\.dsp 2, not 1"):
        TrialStudy("other", open_storage(None, tmp_path), ["maximize"], about[1])
    with torch.no_grad():
        next(subject.model.parameters()).add_(1.0)
    with pytest.raises(UserError, match="holds trials of weights"):
        box(TPE, tmp_path, study="mine", trials=1).choose(subject)


def test_a_database_keeps_a_study(subject: Subject, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert box(TPE, tmp_path, study="mine", storage=url, trials=2).choose(subject).trials == 2
    assert box(TPE, tmp_path, study="mine", storage=url, trials=3).choose(subject).trials == 3
    with pytest.raises(UserError, match=r"search.storage is 'nosuch://x', which cannot be opened"):
        open_storage("nosuch://x", tmp_path)


def test_a_live_worker_s_trial_is_left_alone(tmp_path: Path) -> None:
    """Pid 1 always runs; a pid that cannot be is gone."""
    storage = open_storage(None, tmp_path)
    study = TrialStudy("mine", storage, ["maximize"], {})
    for pid in (1, 2**22 + 1):
        one = study.study.ask()
        one.suggest_float("a", 0, 1)
        one.set_user_attr("owner", {**_node(), "pid": pid})
    assert study.adopt(queue=True) == 1
    states = [one.state.name for one in study.study.get_trials()]
    assert states == ["RUNNING", "FAIL", "WAITING"]
    numbers = [one.number for one in itertools.islice(study.asked(3), 2)]
    assert numbers == [2, 3]


def _node() -> dict[str, object]:
    from hass_train.search.trials.study import _me

    return _me()


def test_fingerprints_tell_networks_apart(subject: Subject) -> None:
    before = fingerprint(subject.model)
    Evaluator(subject).apply({"0/weight": 1.0})
    assert fingerprint(subject.model) == before
    with torch.no_grad():
        next(subject.model.parameters()).view(-1)[0] += 1e-6
    assert fingerprint(subject.model) != before


@pytest.mark.parametrize("learned", [True, False])
def test_a_goal_that_would_destroy_the_network_is_given_up(
    learned: bool, subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features, head = subject.model[:3], subject.model[3]
    images, labels = torch.cat(list(subject.data.images("val", subject.model))), torch.arange(48) % 2
    with torch.no_grad():  # the class means tell the classes apart
        means = [features(images)[labels == one].mean(0) for one in (0, 1)]
        head.weight.copy_(
            0.02 * torch.randn_like(head.weight) + torch.stack([means[0] - means[1], means[1] - means[0]])
        )
    question = replace(subject.question, goal=TargetSpeedup(20.0))
    subject = replace(subject, question=question)
    assert subject.accuracy() == 1.0
    engine = Learned() if learned else box(TPE, tmp_path, trials=3, max_threshold=0.1)
    choice = engine.choose(subject)
    assert choice.settled_rate is not None
    assert question.dense_rate < choice.settled_rate < 20 * question.dense_rate
    assert subject.accuracy() >= 0.75  # half of what is beyond chance
    found = question.accelerator.estimate(question.workload, subject.profile()).throughput_ips
    assert found >= choice.settled_rate
    assert "the goal is given up" in capsys.readouterr().out
    assert Choice.from_dict(choice.to_dict()) == choice


def tell_classes_apart(subject: Subject) -> nn.Linear:
    """Give the head the classes' means, and return it."""
    features, head = subject.model[:3], subject.model[3]
    images, labels = torch.cat(list(subject.data.images("val", subject.model))), torch.arange(48) % 2
    with torch.no_grad():
        means = [features(images)[labels == one].mean(0) for one in (0, 1)]
        head.weight.copy_(torch.stack([means[0] - means[1], means[1] - means[0]]))
    return head


def test_a_network_beyond_its_goal_stays_where_the_way_back_would_destroy_it(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = tell_classes_apart(subject)
    before, learned = subject.accuracy(), head.weight.detach().clone()
    assert before > 0.75

    def destroy(subject: Subject) -> None:
        with torch.no_grad():
            head.weight.zero_()

    monkeypatch.setattr(Subject, "settle", destroy)
    slower = replace(subject.question, goal=TargetThroughput(0.9 * subject.question.dense_rate))
    assert replace(subject, question=slower).survive() is None
    assert torch.equal(head.weight, learned)
    assert subject.accuracy() == before


def frozen(subject: Subject) -> Subject:
    """The network as recovery leaves it, whose features tell the classes apart."""
    tell_classes_apart(subject)
    for _, layer in sparse_layers(subject.model):
        layer.set_mode(Mode.FROZEN)
    return subject


def test_a_recovered_network_meets_its_goal_again(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = 1.05 * frozen(subject).rate()
    monkeypatch.setattr(Subject, "accuracy", lambda _: 0.9)
    subject.correct(target)
    assert subject.rate() >= target
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("factor", "left"), [(1e6, 0.9), (1.05, 0.8), (0.9, 0.8)])
def test_a_correction_that_misses_the_goal_or_harms_is_undone(
    factor: float, left: float, subject: Subject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = frozen(subject)
    before, target = state_of(subject.model), factor * subject.rate()
    accuracies = iter([0.9, left])
    monkeypatch.setattr(Subject, "accuracy", lambda _: next(accuracies))
    subject.correct(target)
    for one, other in zip(before, state_of(subject.model), strict=True):
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert ("cannot be met again" in capsys.readouterr().out) == (factor > 1)


def test_sparsity_is_measured_again_only_where_the_network_has_changed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SparsityProfile] = []

    def measured(*args: Any, **options: Any) -> SparsityProfile:
        made.append(calibrate(*args, **options))
        return made[-1]

    monkeypatch.setattr("hass_train.search.subject.calibrate", measured)
    first = subject.profile()
    assert subject.profile() is first
    subject.accuracy()
    assert subject.profile() is first
    (_, layer), *_ = sparse_layers(subject.model)
    for change in (
        lambda: layer.set_sparsity(0.5, 0.0),
        lambda: layer.weight.mul_(torch.arange(layer.weight.numel()).reshape(layer.weight.shape) > 3),
        lambda: layer.set_mode(Mode.FROZEN),
    ):
        with torch.no_grad():
            change()
        count = len(made)
        assert subject.profile() == calibrate(subject.model, subject.data.images("val", subject.model, images=32))
        assert len(made) == count + 1
    assert subject.profile(8) != subject.profile()
