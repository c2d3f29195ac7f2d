"""Whole runs: the real configuration, shrunk; files read back; bad input."""

from __future__ import annotations

import csv
import functools
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import timm
import torch
from safetensors.torch import load_file

from hass_train import pipeline
from hass_train.data import Digits
from hass_train.data.evaluate import accuracy
from hass_train.experiment import Experiment
from hass_train.export.design import load_design
from hass_train.export.initial import initialise, read_tensors
from hass_train.export.profile import load_profile
from hass_train.export.weights import gate_activations, load_sparse, save_dense
from hass_train.hardware import trace
from hass_train.pipeline import search
from hass_train.results.record import Record
from hass_train.results.result import Result
from hass_train.runtime.errors import UserError
from hass_train.search.trials.study import open_storage
from tests.chaos.kills import NETWORK
from tests.conftest import ROOT, SHORT, WITHOUT_LUTS, Compose
from tests.wandb_file import OfflineRun

DSPS = ("hw=zedboard", "hw.limits=[dsp]")
"""A device that is explored fast: for tests of everything else."""


def test_search_ends_well_and_says_so(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = run
    assert done.returncode == 0, done.stderr
    for words in (
        "warmup", "search", "recover", "dense engines", "sparse engines", "Why not faster", "result.json",
        "profile.json", "Simulated on 8 validation images", "simulation.json", "report.html", "MACs", "folds",
    ):  # fmt: skip
        assert words in done.stdout
    assert "Traceback" not in done.stderr
    written = {path.name for path in folder.iterdir()}
    assert written >= {
        "result.json", "layers.csv", "design.json", "model.safetensors", "sparsity.json",
        "profile.json", "dense.safetensors", "simulation.json", "simulation.png", "checkpoints", "csv", "wandb",
        "report.html", "figures",
    }  # fmt: skip
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        "best.ckpt", "last.ckpt", "previous.ckpt",
    }  # fmt: skip
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 1


def test_result_keys(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    result = json.loads((run[0] / "result.json").read_text())
    keys = {
        "schema": None, "engine": None, "model": {"name", "params", "macs", "input_size"}, "hw": {"name"},
        "data": {"name"}, "dense": {"val_acc", "test_acc", "estimate"}, "natural": {"pair_sparsity", "estimate"},
        "sparse": {"val_acc", "test_acc", "weight_sparsity", "activation_sparsity", "pair_sparsity", "estimate"},
        "gain": {"throughput", "efficiency", "accuracy_drop"},
        "goal": {"name", "value", "words", "target_ips", "met", "binding"},
        "wall_s": {"warmup", "search", "recover", "hardware", "total"}, "seed": None, "versions": {"torch", "timm"},
        "config": {"model", "hw", "search"},
        "simulation": {"error", "parts"},
    }  # fmt: skip
    for key, inner in keys.items():
        assert key in result
        assert inner is None or inner <= set(result[key])
    wanted = {
        "throughput_ips", "interval_cycles", "latency_ms", "replicas", "clock_mhz", "resources", "utilization",
        "bottleneck", "layers",
    }  # fmt: skip
    for column in ("dense", "natural", "sparse"):
        estimate = result[column]["estimate"]
        assert wanted <= set(estimate)
        assert {"dsp", "bram18", "uram"} <= set(estimate["resources"])
        assert estimate["throughput_ips"] == pytest.approx(
            estimate["replicas"] * estimate["clock_mhz"] * 1e6 / estimate["interval_cycles"]
        )
    gain = result["sparse"]["estimate"]["throughput_ips"] / result["dense"]["estimate"]["throughput_ips"]
    assert result["gain"]["throughput"] == pytest.approx(gain)
    goal = result["goal"]["value"]
    assert goal > 1
    dense = result["dense"]["estimate"]["throughput_ips"]
    assert result["goal"] | {"binding": ""} == {
        "name": "target_speedup", "value": goal, "words": f"{goal:g}× throughput", "target_ips": goal * dense,
        "met": gain >= goal, "binding": "",
    }  # fmt: skip
    # recovery may take back a step of so small a network's throughput, on one processor or another
    assert 0.98 * goal <= gain < 1.2 * goal


def test_saved_masks_are_exact(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The plain timm model with the saved weights has the run's zeros and, with its thresholds, its accuracy."""
    folder, _ = run
    result = json.loads((folder / "result.json").read_text())
    sparsity = json.loads((folder / "sparsity.json").read_text())
    arguments = dict(sparsity["model"])
    model = timm.create_model(arguments.pop("name"), **arguments).eval()
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict(weights, strict=True)
    kept = total = 0
    for name, layer in sparsity["layers"].items():
        weight = weights[f"{name}.weight"]
        assert int(torch.count_nonzero(weight)) == layer["nonzero_weights"]
        kept, total = kept + layer["nonzero_weights"], total + layer["weights"]
    assert 1 - kept / total == pytest.approx(result["sparse"]["weight_sparsity"])
    gate_activations(model, folder)
    data = Digits()
    data.setup()
    for split in ("val", "test"):
        images, labels = data.splits[split].images, data.splits[split].labels  # type: ignore[attr-defined]
        with torch.no_grad():
            right = (model(images).argmax(1) == labels).float().mean()
        assert float(right) == pytest.approx(result["sparse"][f"{split}_acc"], abs=0.0029)  # one image: rounding ties


def test_layers_csv_agrees_with_the_result(run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = run
    result = json.loads((folder / "result.json").read_text())
    design = json.loads((folder / "design.json").read_text())
    with (folder / "layers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    estimate = result["sparse"]["estimate"]
    assert [row["layer"] for row in rows] == [layer["name"] for layer in estimate["layers"]]
    assert [int(row["interval_cycles"]) for row in rows] == [layer["interval_cycles"] for layer in estimate["layers"]]
    longest = max(layer["interval_cycles"] * layer["urgency"] for layer in estimate["layers"])
    assert longest == estimate["interval_cycles"] == design["interval_cycles"]
    assert sum(int(row["dsp"]) for row in rows) * estimate["replicas"] == estimate["resources"]["dsp"]
    assert [layer["folds"] for layer in design["layers"]] == [layer["folds"] for layer in estimate["layers"]]


def test_the_saved_profile_gives_the_same_design(
    run: tuple[Path, subprocess.CompletedProcess[str]], compose: Compose
) -> None:
    folder, _ = run
    result = json.loads((folder / "result.json").read_text())
    network = timm.create_model(result["model"]["name"], **result["model"]["arguments"])
    workload = trace(network, tuple(result["model"]["input_size"]), result["model"]["name"])
    profile = load_profile(folder)
    assert profile.pair_sparsity(workload) == result["sparse"]["pair_sparsity"]
    estimate = Experiment.of(compose(*SHORT, *WITHOUT_LUTS)).accelerator.estimate(workload, profile)
    assert estimate.throughput_ips == result["sparse"]["estimate"]["throughput_ips"]
    for layer in workload.compute_layers:
        measured = profile.layers[layer.name]
        assert len(measured.channel_densities) == layer.source.channels
        mean = sum(measured.channel_densities) / layer.source.channels
        assert mean == pytest.approx(measured.pair_density, abs=1e-6)
    saved = json.loads((folder / "profile.json").read_text())
    assert {key: saved[key] for key in ("schema", "network", "input_shape")} == {
        "schema": 1, "network": result["model"]["name"], "input_shape": result["model"]["input_size"],
    }  # fmt: skip


def test_a_path_may_be_a_string(run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    folder, text = run[0], str(run[0])
    assert load_profile(text) == load_profile(folder)
    assert load_design(text) == load_design(folder)
    assert Result.load(text) == Result.load(folder)
    assert Record.read(text) == Record.read(folder)
    arguments = Result.load(text).model.arguments
    models = [timm.create_model(Result.load(text).model.name, **arguments) for _ in range(2)]
    load_sparse(models[0], text)
    gate_activations(models[1], text)
    save_dense(models[0], str(tmp_path / "dense.safetensors"))
    assert initialise(models[1], str(tmp_path / "dense.safetensors")).missing == ()


def test_a_finished_run_can_be_fine_tuned(run: tuple[Path, subprocess.CompletedProcess[str]], compose: Compose) -> None:
    """At a rate of nearly nothing, training leaves the weights it starts from, and a network as good as they are."""
    for name in ("dense.safetensors", "checkpoints/last.ckpt"):
        start = {key.removeprefix("state_dict.model."): value for key, value in read_tensors(run[0] / name).items()}
        still = ("search.warmup.lr=1e-9", "search.weight_decay=0", f"init_from={run[0] / name}")
        result, objects = pipeline.train(compose("debug=fdr", *still, config_name="train"))
        trained = load_file(result["model"])
        learned = [key for key in trained if key.endswith(("weight", "bias"))]
        assert len(learned) > 100
        assert all(torch.allclose(trained[key], start[key], atol=1e-6) for key in learned)
        assert result["test_acc"] == accuracy(objects["module"].model, objects["data"], "test", 1)[0]


def test_a_run_starts_from_weights_without_warm_up(
    run: tuple[Path, subprocess.CompletedProcess[str]], compose: Compose
) -> None:
    config = compose(
        "debug=fdr", *WITHOUT_LUTS, "search.warmup.epochs=0", "search.penalty=0.1",
        f"init_from={run[0]}/dense.safetensors",
    )  # fmt: skip
    result, objects = pipeline.search(config)
    dense = load_file(run[0] / "dense.safetensors")
    again = load_file(Path(config.paths.output) / "dense.safetensors")
    assert all(torch.equal(dense[key], again[key]) for key in dense)
    assert result.goal.name == "penalty"
    assert objects["trainer"].current_epoch == 2


@pytest.mark.nightly
@pytest.mark.parametrize(("model", "device"), [("test_resnet", DSPS), ("test_efficientnet", ("hw=zcu104",))])
def test_other_models_and_devices(model: str, device: tuple[str, ...], compose: Compose) -> None:
    """One where only DSPs count, which is explored fast; one with every limit."""
    config = compose("debug=limit", "model=timm", f"model.name={model}", *device, "search.target_speedup=1.3")
    result, _ = pipeline.search(config)
    assert result.goal.met
    assert result.hw.name == device[0].removeprefix("hw=")


@pytest.mark.nightly
def test_all_phases_compile_without_a_break_and_a_teacher_helps_to_recover(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    compiling = functools.partial(torch.compile, backend="aot_eager", fullgraph=True)  # no C++ compiler needed
    monkeypatch.setattr(torch, "compile", compiling)
    config = compose(
        "debug=limit", "model=timm", "model.name=test_resnet", *DSPS, "search.penalty=0.1", "search.distill=0.5",
        "trainer.compile=true",
    )  # fmt: skip
    result, objects = pipeline.search(config)
    module = objects["module"]
    assert module._compiled is not None
    assert module.taught
    dense = load_file(Path(config.paths.output) / "dense.safetensors")
    teacher = module._teacher[0].network.state_dict()
    assert all(torch.equal(value, teacher[key]) for key, value in dense.items())
    assert not any(key.startswith("_teacher") for key in module.state_dict())
    assert result.sparse.weight_sparsity > 0


NO_NAME = ["model=timm"]
STATED: list[tuple[list[str], str]] = [
    (NO_NAME, "model.name is not given"),
    (["hw=dataflow"], "hw.name is not given|hw.dsp is not given"),
    (["search.target_speedup=2", "search.penalty=1"], "2 goals"),
    (["search.goals.target_speedup=3"], "search.goals.target_speedup is 3; .* say search.target_speedup="),
    (["+search.goals.mine=3"], "search.goals.mine is 3; it must name a class"),
    (["~search.goals.penalty", "search.penalty=0.2"], "search.penalty is given, but search.goals has no penalty"),
    (["search=one_shot", "search.target_speedup=3"], "search.target_speedup is 3, a goal that one_shot does not serve"),
    (["search.engine._target_=hass_train.search.engines"], "a module; say MODULE.CLASS"),
    (["+search.engine.fraction=0.4"], "no key 'search.engine.fraction'; hass_train.search.engines.Learned takes no"),
    (["search=trials"], "search.engine._target_ is not given"),
    (["search.engine._target_=hass_train.search.engines.TPE", "search.study=mine"], "search.engine has no study"),
    (
        ["search.engine._target_=no.Engine"],
        "No module named 'no'.; is its folder on PYTHONPATH",
    ),
    (["logger.csv._target_=hass_train.logging.CsvLog"], "say hass_train.tracking.loggers.CsvLog"),
    (["+hw.dps=3"], "no key 'hw.dps'; did you mean 'hw.dsp'"),
    (["+trainer.max_epoch=3"], "did you mean 'trainer.max_epochs'"),
    (["+data.batchsize=3"], "did you mean 'data.batch_size'"),
    (["+callbacks.phases.margins=3"], "did you mean 'callbacks.phases.margin'"),
    (["seed=abc"], "seed.*abc"),
    (["hw.folding=fancy"], "folding is 'fancy'; choose free or divisors"),
    (["data.batch_size=1"], "at least 2"),
    (["search.distill=1.5"], "search.distill is 1.5"),
    (["search.queries=0"], "search.queries is 0"),
    (["search.search.lr=0"], "search.search.lr is 0"),
    (["search.warmup.epochs=-1"], "search.warmup.epochs is -1"),
]
"""What the configuration alone shows to be wrong."""
BUILT: list[tuple[list[str], str]] = [
    (["model.name=resnet19"], "there is no timm model 'resnet19'; did you mean 'resnet1"),
    (["search.target_speedup=500"], r"beyond the roof of u250: .* reaches \d"),
    (["+search.penaltie=1"], "no key 'search.penaltie'; did you mean 'search.penalty'"),
    (["hw.dsp=-4"], "dsp of device u250 is -4"),
    (["hw.dsp=10", "hw.partitions=never"], "does not fit u250: .*dsp"),
    (["data.batch_size=5000"], "data.batch_size is 5000"),
    (["search.warmup.epochs=0", "search.search.epochs=0", "search.recover.epochs=0"], "0 epochs"),
    (["init_from=nowhere.ckpt"], "no file nowhere.ckpt"),
    (["ckpt_path=nowhere.ckpt"], "no file nowhere.ckpt"),
    (["data=image_folder"], "no folder .*train"),
    (["data=cifar10"], "cifar-10-batches-py"),
    (["sparsity.rules.all.match=nothing.*"], "leave no layer|matches no layer"),
    (["+model.kwargs.nonsense=3"], "model.kwargs do not fit"),
    (["model.input_size=[3,64,64]"], "model.input_size"),
]
"""What shows when files, data, the network and its designs are looked at; and one of each kind above."""


def small(*overrides: str) -> list[str]:
    name = [] if list(overrides) == NO_NAME else ["model.name=test_resnet"]
    return ["debug=fdr", "model=timm", *name, *overrides]


@pytest.mark.parametrize(("overrides", "message"), STATED, ids=[" ".join(overrides) for overrides, _ in STATED])
def test_a_wrong_setting_is_one_line(overrides: list[str], message: str, compose: Compose) -> None:
    config = compose(*small(*overrides))
    with pytest.raises(UserError, match=message) as caught:
        Experiment.of(config)
    assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize(("overrides", "message"), BUILT, ids=[" ".join(overrides) for overrides, _ in BUILT])
def test_bad_input_is_one_line(overrides: list[str], message: str, compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        pipeline.search(compose(*small(*overrides)))
    assert "\n" not in str(caught.value).strip()
    assert not (tmp_path / "run" / "result.json").exists()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "search.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=mobilenetv9"], "error: there is no model option 'mobilenetv9'; did you mean 'mobilenetv"),
        (["hw=u251"], "error: there is no hw option 'u251'; did you mean 'u250'?"),
        (["serch.penalty=1"], "error: there is no key 'serch.penalty'; did you mean 'search.penalty'?"),
        (["+search.penaltie=1"], "error: there is no key 'search.penaltie'; did you mean 'search.penalty'?"),
        (["search.penalty=[1"], "error: "),
        (["hw=aie2_4x4", "hw.dsp=3"], "error: there is no key 'hw.dsp'; did you mean 'hw."),
        (["search=blackbox"], "error: there is no search option 'blackbox'; choose from greedy, "),
        (["hw.kind=dataflow"], "error: hw.kind is of an earlier version; say hw._target_"),
        (["hw.model.weights=dense"], "error: hw.model.weights is of an earlier version; say hw._target_"),
        (["search.engine=tpe"], "error: search.engine is 'tpe'; it must hold keys and values"),
    ],
)
def test_the_command_line_fails_in_one_line_with_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = command(*arguments, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_a_used_run_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    done = command("debug=fdr", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 2
    assert "already holds a run" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_directory_of_a_refused_command_can_be_used_for_the_corrected_one(tmp_path: Path) -> None:
    for _ in range(2):
        done = command("data.batch_size=1", f"hydra.run.dir={tmp_path / 'run'}")
        assert done.returncode == 2
        assert "data.batch_size is 1" in done.stderr


def test_a_loss_that_is_not_a_number_stops_the_run(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from hass_train.training import module

    calls = iter(range(1000))
    real = module.F.cross_entropy

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        loss = real(*args, **kwargs)
        return loss * float("nan") if next(calls) > 6 else loss

    monkeypatch.setattr(module.F, "cross_entropy", poisoned)
    settings = ("debug=limit", "model=timm", "model.name=test_resnet", *DSPS, "search.penalty=0.1")
    config = compose(*settings)
    with pytest.raises(UserError, match=r"loss became nan in epoch 2 \(search phase\)"):
        pipeline.search(config)
    last = Path(config.paths.output) / "checkpoints" / "last.ckpt"
    assert last.is_file()
    assert not (Path(config.paths.output) / "result.json").exists()

    monkeypatch.undo()  # the cause is mended: resume from the last good checkpoint, in a directory of its own
    again = compose(*settings, f"ckpt_path={last}", output=tmp_path / "again")
    result, objects = pipeline.search(again)
    assert objects["trainer"].current_epoch == 4
    assert result.sparse.pair_sparsity > 0


def test_a_multirun_keeps_its_jobs_apart(tmp_path: Path) -> None:
    done = command(
        "-m", *NETWORK, "search.target_speedup=null", "search.penalty=0.1", "report=true", "seed=0,1",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    jobs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir() and path.name != ".hydra")
    assert [json.loads((job / "result.json").read_text())["seed"] for job in jobs] == [0, 1]
    runs = {path.name for job in jobs for path in (job / "wandb").glob("offline-run-*")}
    assert len(runs) == 2
    logged = [OfflineRun.read(job) for job in jobs]
    assert [one.name for one in logged] == [job.name for job in jobs]
    assert {(one.group, one.job_type) for one in logged} == {(f"{tmp_path.name}-sweep", "search")}
    assert [one.config["seed"] for one in logged] == [0, 1]
    assert str(tmp_path / "sweep" / "compare.html") in done.stdout
    assert (tmp_path / "sweep" / "compare.html").is_file()
    assert all((job / "report.html").is_file() for job in jobs)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")))
def test_every_model_composes(name: str, compose: Compose) -> None:
    extra = ["model.name=vgg11"] if name == "timm" else []
    for hw in ("u250", "zcu104", "zedboard"):
        assert Experiment.of(compose(f"model={name}", f"hw={hw}", *extra)).accelerator.name == hw


@pytest.mark.parametrize("engine", ["learned", "greedy"])
def test_accuracy_that_may_be_lost_is_a_goal(
    engine: str, compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ("model=timm", "model.name=test_resnet.r160_in1k", *DSPS, "debug=limit")
    result, _ = search(compose(*network, f"search={engine}", "search.max_accuracy_drop=0.5"))
    assert result.goal.met == (result.dense.val_acc - result.sparse.val_acc <= 0.5)
    assert "Goal at most 50 points of validation accuracy lost" in capsys.readouterr().out
    assert result.engine == engine
    assert result.spent.images > 0
    assert (result.spent.trials > 0) == (engine == "greedy")
    assert (tmp_path / "run" / "result.json").is_file()


@pytest.mark.parametrize(
    ("engine", "goal", "words", "own"),
    [
        ("learned", "target_latency_ms", "a latency of", ("hw.objective=latency",)),
        pytest.param("greedy", "max_energy_mj", "an image", (), marks=pytest.mark.nightly),
    ],
)
def test_latency_and_energy_are_goals(
    engine: str, goal: str, words: str, own: tuple[str, ...], compose: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ("model=timm", "model.name=test_resnet.r160_in1k", *DSPS, "debug=limit", f"search={engine}", *own)
    dense = Experiment.of(compose(*network, "search.penalty=0")).question.dense_estimate
    now = {"target_latency_ms": dense.latency_ms, "max_energy_mj": 1e3 * dense.energy_j}
    wanted = 0.42 * now[goal]  # natural zeros alone bring a half
    result, _ = search(compose(*network, f"search.{goal}={wanted}"))
    found = result.sparse.estimate
    reached = {"target_latency_ms": found.latency_ms, "max_energy_mj": 1e3 * found.energy_j}
    assert result.goal.met
    assert 0.8 * wanted < reached[goal] <= wanted  # met, and hardly overshot, on a device of coarse steps
    assert result.goal.target_ips is None
    assert words in capsys.readouterr().out


TRIALS = (
    "search=tpe", "debug=limit", "logger=csv", "model=timm", "model.name=test_resnet.r160_in1k", *DSPS,
    "search.penalty=0.1", "search.study=shared", "search.recover.epochs=0",
)  # fmt: skip


@pytest.mark.nightly
def test_two_workers_share_a_study_that_goes_on(tmp_path: Path) -> None:
    """Killed after its first trials, a search goes on where it was: nothing is trained or tried twice."""

    def start(trials: int, folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, "search.py", *TRIALS, f"search.trials={trials}", "search.workers=2"]
        command += [f"paths.runs={tmp_path}", f"hydra.run.dir={tmp_path / folder}"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    journal = tmp_path / "studies" / "shared" / "study.log"
    first = start(500, "one")
    until = time.monotonic() + 200
    while time.monotonic() < until and first.poll() is None and finished(journal) < 3:
        time.sleep(0.2)
    first.kill()
    first.wait()
    before = finished(journal)
    assert before >= 3
    second = start(before + 4, "two")
    told, _ = second.communicate()
    assert second.returncode == 0, told
    assert "study 'shared': its dense network is there, and warm-up is left out" in told
    spent = json.loads((tmp_path / "two" / "result.json").read_text())["spent"]
    assert before + 4 <= spent["trials"] <= before + 6  # a worker of the first may have ended one more
    study = optuna.load_study(study_name="shared", storage=open_storage(None, journal.parent))
    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert len({tuple(sorted(one.params.items())) for one in done}) == len(done)
    assert len({one.user_attrs["owner"]["pid"] for one in done}) >= 2


def finished(journal: Path) -> int:
    """Finished trials in a study's journal."""
    try:
        study = optuna.load_study(study_name="shared", storage=open_storage(None, journal.parent))
    except KeyError:
        return 0
    return len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["search=tpe", "search.trials=0"], "search.trials is 0; it must be ≥ 1"),
        (["search=tpe", "search.seconds=0"], "search.seconds is 0.0; it must be ≥ 0.001"),
        (["search=greedy", "search.workers=2"], "search=greedy goes step by step; use 1, or search=tpe"),
        (["search=tpe", "search.study=a/b"], "search.study is 'a/b'; use letters, digits"),
        (["search=tpe", "search.storage=sqlite://"], "search.storage is given, but no search.study=NAME"),
        (["search.study=mine"], "search.study is 'mine', but search=learned takes none; use search=tpe"),
        (["search.engine=tpe"], "search.engine is 'tpe'; it must hold keys and values, as conf/ has it; to choose"),
        (["search.max_accuracy_drop=0.01", "search.penalty=1"], "search has 2 goals"),
    ],
)  # fmt: skip
def test_what_a_search_by_trials_refuses(overrides: list[str], message: str, compose: Compose) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        search(compose(*overrides))
