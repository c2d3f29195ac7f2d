"""What W&B gets: the offline run is read back, and the dashboard asks for nothing that no run logs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from wandb.sdk.artifacts.artifact import Artifact

from hass_train import dashboard, pipeline
from hass_train.results.record import Record, flat
from hass_train.tracking import board, workspace
from hass_train.tracking.loggers import STEP, wandb_logger
from tests.conftest import composed
from tests.report.test_report import built
from tests.test_resume import SMALL
from tests.wandb_file import OfflineRun


@pytest.fixture(scope="module")
def logged(seen: Path) -> OfflineRun:
    """What the search recorded for W&B."""
    return OfflineRun.read(seen)


def test_every_promised_scalar_is_there(logged: OfflineRun) -> None:
    pareto = {f"pareto/{name}" for name in ("test_acc", "accuracy_drop", "throughput_ips", "speedup", "efficiency")}
    hardware = {f"hw/utilization_{name}" for name in ("dsp", "bram18", "uram", "lut", "ff", "bandwidth")}
    assert logged.keys >= {*board.SUMMARIES, *pareto, *hardware, "phase/epoch", "hw/replicas", "hw/goal_ceiling"}
    assert not [key for key in logged.keys if key.startswith(("density/", "price/"))]
    prefixes = {key.partition("/")[0] for key in logged.keys if "/" in key}
    assert prefixes == {"hw", "sparsity", "loss", "val", "phase", "pareto", "trainer", "plots", "report", "layers"}


def test_summaries_are_what_they_should_be(logged: OfflineRun) -> None:
    assert {name: logged.summaries[name] for name in board.SUMMARIES} == board.SUMMARIES
    assert {logged.steps[name] for name in board.SUMMARIES} == {
        STEP
    }  # not the number of times that something was logged
    accuracies = [row["val/acc_sparse"] for row in logged.history if "val/acc_sparse" in row]
    assert len(accuracies) == 2  # of the recover phase alone
    phases = [row["phase/index"] for row in logged.history if "phase/index" in row]
    assert phases == [0, 0, 1, 1, 1, 2, 2]


def test_the_last_numbers_are_the_final_networks(logged: OfflineRun, record: Record) -> None:
    last = {key: value for row in logged.history for key, value in row.items()}
    for key, value in board.final_scalars(record.result).items():
        assert last[key] == pytest.approx(value)


def test_what_was_built_is_an_artifact_and_scalars(record: Record, tmp_path: Path) -> None:
    build = built(record)
    for name in ("rtl/top.sv", "rtl/memories/a.hex", "rtl/modules/b.sv", "rtl/elaborated/top.il", "b", "other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    told: list[tuple[object, ...]] = []
    log = SimpleNamespace(log_artifact=lambda *what: told.append(what))
    board.publish_build(log, "net-hw", tmp_path, {})  # type: ignore[arg-type]
    assert told == []
    build.save(tmp_path)
    board.publish_build(log, "net-hw", tmp_path, {"test_acc": 1})  # type: ignore[arg-type]
    files = {name: tmp_path / name for name in ("build.json", "rtl/top.sv", "rtl/memories/a.hex", "rtl/modules/b.sv")}
    assert told == [("net-hw-accelerator", "accelerator", {**files, "b": tmp_path / "b"}, {"test_acc": 1})]
    scalars = board.build_scalars(build)
    assert scalars["build/equal"] == 1
    assert scalars["build/lut"] - scalars["build/estimated_lut"] == 7 * len(record.result.sparse.estimate.layers)
    assert (scalars["build/interval_cycles"], scalars["build/clock_mhz"]) == (1008, 96)
    assert board.build_scalars(replace(build, verify=None, synthesise=None, place=None)) == {
        "build/estimated_interval_cycles": 1000
    }


def test_layers_pictures_and_report_are_logged(logged: OfflineRun, record: Record) -> None:
    rows = [row["layers/nrows"] for row in logged.history if "layers/nrows" in row]
    assert rows == [len(record.layers)] * 7  # a table an epoch
    types = {key.removesuffix("/_type"): row[key] for row in logged.history for key in row if key.endswith("/_type")}
    plots = {f"plots/{name}": "image-file" for name in ("history", "pipeline", "layers", "resources", "prices")}
    assert types == {"layers": "table-file", "report": "html-file", **plots}


def test_artifacts_hold_what_the_run_made(logged: OfflineRun) -> None:
    assert {kind: files for kind, files in logged.artifacts.items() if kind != "run_table"} == {
        "sparse-network": {"model.safetensors", "sparsity.json", "profile.json", "layers.csv"},
        "design": {"design.json", "result.json"},
        "dense-network": {"dense.safetensors"},
        "checkpoint": {"best.ckpt", "last.ckpt"},
    }


def test_the_configuration_is_one_level(logged: OfflineRun, record: Record) -> None:
    settings = {key: value for key, value in logged.config.items() if key != "_wandb"}
    assert settings == flat(record.result.config, "/")
    assert settings["hw/name"] == "zedboard"
    assert logged.name == record.folder.name


def test_a_dense_network_links_those_who_begin_with_it_to_who_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """W&B joins runs whose artifacts have the same name and content: train.py's or a search's, and a later search's."""
    made: list[Artifact] = []
    used: list[Artifact] = []

    class Online:
        def use_artifact(self, artifact: Artifact) -> None:
            used.append(artifact)

        def log_artifact(self, artifact: Artifact) -> None:
            made.append(artifact)

    log = wandb_logger("hass-train-test", str(tmp_path))
    monkeypatch.setattr(type(log), "experiment", Online())
    dense = tmp_path / "elsewhere" / "model.safetensors"  # as train.py calls it
    dense.parent.mkdir()
    shutil.copy(record.folder / "dense.safetensors", dense)
    board.use_dense(log, "a network", dense)
    assert not used  # offline, where W&B has no inputs
    monkeypatch.setattr(log, "_offline", False)
    board.use_dense(log, "a network", dense)
    board.publish_dense(log, "a network", record.folder / "dense.safetensors", {})
    assert [(one.name, one.type, one.digest) for one in used] == [(one.name, one.type, one.digest) for one in made]
    assert list(used[0].manifest.entries) == ["dense.safetensors"]


def test_a_file_that_is_not_taken_leaves_the_log_alive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = wandb_logger("hass-train-test", str(tmp_path))
    log.log_artifact("x", "design", {"design.json": tmp_path / "missing"}, {})
    log.log_pictures({"plots/x": tmp_path / "missing.png"}, None, 1)
    log.log_metrics({"a": 1.0}, step=2)
    log.finalize("success")
    wandb.finish()
    assert capsys.readouterr().err.count("W&B did not take a file") == 2
    assert "a" in OfflineRun.read(tmp_path).keys


def test_integer_networks_are_an_artifact_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    run = tmp_path / "run"
    shutil.copytree(record.folder, run)
    files = {"integers.safetensors", "integers.json", "model.onnx", "model.qonnx.onnx"}
    for name in files:
        (run / name).write_text(name)
    log, made = wandb_logger("hass-train-test", str(tmp_path)), dict[str, set[str]]()
    monkeypatch.setattr(log, "log_artifact", lambda name, kind, files, about: made.update({kind: {*files}}))
    board.publish(log, run, record.result, [], None, 1)
    assert made["integer-network"] == files
    assert not made["sparse-network"] & files
    made.clear()
    (run / "model.onnx").unlink()
    board.publish_integers(log, "a network", run, {})
    assert made == {"integer-network": files - {"model.onnx"}}
    for name in files - {"model.onnx"}:
        (run / name).unlink()
    made.clear()
    board.publish_integers(log, "a network", run, {})
    assert not made


def test_artifacts_can_be_left_out(tmp_path: Path, record: Record) -> None:
    log = wandb_logger("hass-train-test", str(tmp_path), artifacts=False)
    board.publish(log, record.folder, record.result, [], None, 1)
    log.finalize("success")
    wandb.finish()
    assert not OfflineRun.read(tmp_path).artifacts


def test_plain_training_logs_its_settings(tmp_path: Path) -> None:
    own = [one for one in SMALL if not one.startswith(("search.search", "search.recover"))]
    pipeline.train(composed(*own, "logger=wandb", output=tmp_path / "run", config_name="train"))
    wandb.finish()
    found = OfflineRun.read(tmp_path / "run")
    assert found.config["data/size"] == 16
    assert found.keys >= {"val/acc", "loss/task"}
    assert found.artifacts == {"dense-network": {"dense.safetensors"}}


# ---- dashboard -----------------------------------------------------------------------------------------------------


def keys_of(panel: workspace.Panel) -> tuple[str, ...]:
    match panel:
        case workspace.Scatter(_, x, y):
            return x, y
        case workspace.Scalar(_, key):
            return (key,)
        case _:
            return panel.keys


def test_the_dashboard_shows_nothing_that_no_run_logs(logged: OfflineRun) -> None:
    known = logged.keys | {key.rpartition("/")[0] for key in logged.keys if key.endswith("/_type")}
    for panels in workspace.SECTIONS.values():
        for panel in panels:
            assert set(keys_of(panel)) <= known
            if isinstance(panel, workspace.Parallel):
                assert set(panel.settings) <= set(logged.config)


def test_a_dry_run_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    dashboard.main(["mine", "--entity", "me", "--dry-run"])
    told = capsys.readouterr().out
    assert "in me/mine:" in told
    for section, panels in workspace.SECTIONS.items():
        assert f"  {section}\n" in told
        for panel in panels:
            assert panel.title in told
            assert all(key in told for key in keys_of(panel))


def test_the_workspace_holds_every_panel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    workspaces = pytest.importorskip("wandb_workspaces.workspaces", reason="the extra `dashboard` is not installed")
    saved = []
    monkeypatch.setattr(workspaces.Workspace, "save", lambda self: saved.append(self))
    monkeypatch.setattr(workspaces.Workspace, "url", "the address")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    dashboard.main(["mine", "--entity", "me"])
    assert capsys.readouterr().out == "the address\n"
    (made,) = saved
    assert [section.name for section in made.sections] == list(workspace.SECTIONS)
    assert [len(section.panels) for section in made.sections] == [len(one) for one in workspace.SECTIONS.values()]
    model = made._to_model().model_dump_json()  # as the server would get it
    for panels in workspace.SECTIONS.values():
        assert all(key in model for panel in panels for key in keys_of(panel))


def test_without_a_key_the_dashboard_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hass_train.tracking.loggers.has_wandb_key", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        dashboard.main([])
    assert "wandb login" in capsys.readouterr().err
