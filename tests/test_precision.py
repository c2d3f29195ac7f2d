"""Whole commands with integers: training, resuming, the files that are written, and what is refused."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from hass_train import pipeline
from hass_train.experiment import Experiment
from hass_train.export.__main__ import main
from hass_train.export.profile import load_profile
from hass_train.precision import IntegerNetwork, Precision, Stage, quantisers_of
from hass_train.report import columns
from hass_train.results import playing
from hass_train.results.result import Result
from hass_train.runtime import stopping
from hass_train.runtime.errors import UserError
from hass_train.search.engine import Choice
from hass_train.search.engines import Learned
from hass_train.search.phases import Phase
from hass_train.search.subject import Subject
from hass_train.tracking.board import final_scalars
from hass_train.training.module import SparseClassifier
from hass_train.training.replay import simulate_run
from tests.chaos.kills import NETWORK, numbers
from tests.conftest import SMALL as RUN_SMALL
from tests.conftest import composed, run_small

EPOCHS = 4
SMALL = (*NETWORK, f"search.warmup.epochs={EPOCHS}", "logger=csv", "precision=int8")


def config(output: Path, *overrides: str) -> DictConfig:
    """Plain training of a small network with integers of 8 bits."""
    return composed(*SMALL, *overrides, output=output, config_name="train", hardware=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module, torch.Tensor]:
    """A run that nobody stopped, its network, and images that it was not trained with."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    _, made = pipeline.train(config(folder, "trainer.limit_test_batches=1.0"))
    model = made["module"].model
    return folder, model, torch.cat([*made["data"].images("test", model)])


def test_what_was_trained_is_the_integer_network(trained: tuple[Path, torch.nn.Module, torch.Tensor]) -> None:
    folder, model, images = trained
    network = IntegerNetwork.load(folder)
    with torch.no_grad():
        answers = model.eval()(images)
    integers = network(images)
    assert torch.equal(integers * network.output_format.scale, answers.double())
    data = Experiment.of(config(folder / "again")).data
    labels = torch.cat([labels for _, labels in data.statistics_dataloader("test")])
    right = float((integers.argmax(1) == labels).double().mean())
    assert json.loads((folder / "accuracy.json").read_text())["test_acc"] == pytest.approx(right)
    assert not any(name.startswith("quantisers") for name in load_file(folder / "model.safetensors"))


def test_a_stopped_run_goes_on_bit_for_bit(
    trained: tuple[Path, torch.nn.Module, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, first, second = itertools.count(), tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "requested", lambda: int(signal.SIGTERM) if next(seen) >= 5 else None)
        with pytest.raises(stopping.Stopped):
            pipeline.train(config(first))
    state = torch.load(first / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert int(state["model.quantisers.stage"]) == Stage.QUANTISED
    pipeline.train(config(second, "ckpt_path=last"))
    for name in ("model.safetensors", "integers.safetensors"):
        mine, other = load_file(second / name), load_file(trained[0] / name)
        assert mine.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in mine.items()), name
    assert (second / "integers.json").read_text() == (trained[0] / "integers.json").read_text()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small search with integers that nobody stopped."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    run_small(folder, "precision=int8")
    return folder


@pytest.mark.parametrize(
    "step", [15, pytest.param(1, marks=pytest.mark.nightly), pytest.param(21, marks=pytest.mark.nightly)]
)
def test_a_stopped_search_goes_on_bit_for_bit(
    step: int, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, first, second = itertools.count(), tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "requested", lambda: int(signal.SIGTERM) if next(seen) >= step else None)
        with pytest.raises(stopping.Stopped):
            run_small(first, "precision=int8")
    run_small(second, "precision=int8", "ckpt_path=last")
    assert numbers(second) == numbers(searched)
    for name in ("model.safetensors", "integers.safetensors"):
        mine, other = load_file(second / name), load_file(searched / name)
        assert all(torch.equal(value, other[key]) for key, value in mine.items()), name
    assert (second / "integers.json").read_text() == (searched / "integers.json").read_text()


def test_thresholds_are_settled_with_the_exponents_that_are_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would change how many values are zero, and so lose the goal that was just met. Thresholds are learned with
    floating-point numbers before."""
    settled, choose, step = list[torch.Tensor](), Learned.choose, SparseClassifier.training_step
    stages = set[tuple[Phase, Stage]]()

    def training(module: SparseClassifier, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        quantisers = quantisers_of(module.model)
        assert quantisers is not None
        stages.add((module.state.phase, quantisers.stage_now))
        return step(module, batch, index)

    def noting(engine: Learned, subject: Subject) -> Choice:
        quantisers = quantisers_of(subject.model)
        assert quantisers is not None
        settled.append(quantisers.exponents.clone())
        # the network after settling gives values of another range, by which exponents could be chosen anew
        for module in subject.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.detach().mul_(4)
        return choose(engine, subject)

    monkeypatch.setattr(Learned, "choose", noting)
    monkeypatch.setattr(SparseClassifier, "training_step", training)
    _, made = pipeline.search(composed(*NETWORK, "precision=int8", output=tmp_path / "run"))
    quantisers = quantisers_of(made["module"].model)
    assert quantisers is not None
    assert torch.equal(quantisers.exponents, settled[0])
    rounds = {Phase.WARMUP: Stage.FLOAT, Phase.SEARCH: Stage.FLOAT, Phase.RECOVER: Stage.QUANTISED}
    assert stages == set(rounds.items())


def test_a_search_reports_the_accuracy_of_integers_and_their_zeros(searched: Path) -> None:
    network, result = IntegerNetwork.load(searched), Result.load(searched)
    data = Experiment.of(composed(*RUN_SMALL, "precision=int8", output=searched / "again")).data
    right = seen = 0
    for images, labels in itertools.islice(data.statistics_dataloader("test"), 2):  # debug=limit has two batches
        right += int((network(images).argmax(1) == labels).sum())
        seen += len(labels)
    assert result.sparse.test_acc == pytest.approx(right / seen)
    assert result.sparse.float_test_acc is not None
    assert ("… of its float twin", ["–", "–", f"{result.sparse.float_test_acc:.4f}"]) in columns.rows(result)
    assert final_scalars(result)["pareto/float_test_acc"] == result.sparse.float_test_acc
    weights = load_file(searched / "model.safetensors")
    pruned = 0
    for name, integers in network.tensors.items():
        if name.endswith(".weight"):
            assert not bool(integers[weights[name] == 0].any())
            pruned += int((weights[name] == 0).sum())
    assert pruned > 100
    assert any(one.threshold > 0 for one in network.operations)


def test_simulations_of_such_runs_play_the_integers(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "simulate_design", lambda design, workload, network, *more: network)
    network = simulate_run(searched, 1)
    assert isinstance(network, IntegerNetwork)
    profile = load_profile(searched)
    for one in network.operations:
        if one.name in profile.layers:
            density = float((network.tensors[f"{one.name}.weight"] != 0).double().mean())
            assert profile.layers[one.name].weight_density == pytest.approx(density), one.name


def test_finished_runs_are_written_as_onnx(
    trained: tuple[Path, torch.nn.Module, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    main([str(trained[0])])
    assert "model.qonnx.onnx" in capsys.readouterr().out
    assert {one.domain for one in onnx.load(trained[0] / "model.onnx").graph.node} == {""}


def test_runs_without_integers_say_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path)])
    assert stop.value.code == 2
    assert "precision=float" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "bits"), [("int8", (8, 8, 32)), ("int4", (4, 8, 32)), ("fixed16", (16, 16, 48))])
def test_the_group_names_precisions(name: str, bits: tuple[int, int, int], tmp_path: Path) -> None:
    precision = Experiment.of(config(tmp_path, f"precision={name}")).precision
    assert isinstance(precision, Precision)
    assert (precision.weight_bits, precision.activation_bits, precision.accumulator_bits) == bits
    assert [rule.weight_bits for rule in precision.rules.values()] == ([8, 8, 8] if name == "int4" else [])


def test_floating_point_is_the_default(tmp_path: Path) -> None:
    experiment = Experiment.of(composed(*SMALL[:-1], output=tmp_path, config_name="train", hardware=False))
    assert not isinstance(experiment.precision, Precision)
    assert quantisers_of(experiment.quantised(experiment.dense_network())) is None


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("precision.weight_bits=1",), "precision.weight_bits is 1; it must be a whole number from 2 to 16"),
        (("precision.weight_bits=7.5",), "precision.weight_bits is 7.5; it must be a whole number"),
        (("+precision.weight_bit=7",), r"there is no key 'precision.weight_bit'; did you mean 'precision.weight_bits'"),
        (("precision=float", "export.onnx=true"), "export.onnx=true writes integers, and precision=float has none"),
        (("precision=float", "build=true"), "build=true builds accelerators of integers, and precision=float has none"),
        (("+precision.rules.a={match: nothing}",), "precision.rules.a matches no layer"),
        (("+precision.rules.a={match: '*', bits: 4}",), r"there is no key 'precision.rules.a.bits'; did you mean"),
        (("+precision.rules.a={weight_bits: 4}",), r"precision.rules.a is .* must hold match"),
        (("precision.accumulator_bits=16",), "needs accumulators of .* bits, and precision.accumulator_bits is 16"),
    ],
)
def test_mistakes_are_told_in_a_line(overrides: tuple[str, ...], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as error:
        pipeline.train(config(tmp_path / "run", "search.warmup.epochs=1", *overrides))
    assert "\n" not in str(error.value)
