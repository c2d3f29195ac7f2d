"""AI-engine arrays through the whole program: search, recipes, trials, estimates, reports, and what is refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from hass_train import pipeline
from hass_train.experiment import Experiment
from hass_train.report.panels import panels
from hass_train.results.comparison import Comparison
from hass_train.results.record import Record
from hass_train.runtime.errors import UserError
from hass_train.search.trials.study import open_storage
from hass_train.sparsity import sparse_layers
from tests.conftest import ROOT, Compose, composed

ARRAY = ("hw=aie2_2x2", "sparsity=block", "debug=limit", "search.calibration_images=8")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("array") / "run"
    own = ("search.target_speedup=1.3", "report=true", "search.search.epochs=1")
    result, made = pipeline.search(composed(*ARRAY, *own, output=folder))
    assert result.gain.throughput > 1.0
    assert not any(layer.gate_activations for _, layer in sparse_layers(made["module"].model))  # they gain nothing
    return folder


def test_a_search_for_blocks_ends_with_a_report(searched: Path) -> None:
    record = Record.read(searched)
    estimate = record.result.sparse.estimate
    assert estimate.sequential
    assert estimate.cores == 4
    assert not estimate.available
    assert set(estimate.utilization) == {"cores", "ddr", "streams"}
    assert any(record.history.layers("price/"))
    shown = {panel.name: panel for panel in panels(record)}
    assert "resources" not in shown
    assert "one after another" in shown["pipeline"].caption
    page = (searched / "report.html").read_text()
    assert "images/s per core" in page
    assert "multiplications cores could do" in page
    assert not (searched / "design.json").exists()
    rows = list(csv.DictReader((searched / "layers.csv").open()))
    assert {"fold_rows", "fold_filters", "fold_pieces"} <= set(rows[0])
    profile = json.loads((searched / "profile.json").read_text())
    blocks = [layer["structure"] for layer in profile["layers"].values() if layer["structure"]]
    assert blocks
    assert all(one["blocks"]["size"] == [8, 8] for one in blocks)
    assert Comparison.of([searched]).runs[0].device == "aie2_2x2"


@pytest.mark.parametrize("own", [
    ("search=one_shot", "search.sparsity=0.5"),
    ("search=incremental", "search.sparsity=0.5", "search.increment=0.25", "search.increment_epochs=1"),
])  # fmt: skip
def test_recipes_end_with_the_sparsity_that_was_asked_for(own: tuple[str, ...], tmp_path: Path) -> None:
    result, _ = pipeline.search(composed(*ARRAY, *own, "search.target_speedup=null", output=tmp_path / "run"))
    assert result.goal.name == "sparsity"
    assert result.goal.met
    assert result.sparse.weight_sparsity == pytest.approx(0.5, abs=0.02)
    assert result.gain.throughput > 1.3


def test_trials_look_for_blocks_too(tmp_path: Path) -> None:
    own = ("search=tpe", "search.trials=3", "search.penalty=0.1")
    result, _ = pipeline.search(composed(*ARRAY, *own, output=tmp_path / "run"))
    assert result.spent.trials == 3
    study = optuna.load_study(study_name="search", storage=open_storage(None, tmp_path / "run"))
    drawn = next(trial.distributions for trial in study.trials if trial.distributions)
    tops = {getattr(one, "high", None) for name, one in drawn.items() if name.endswith("/weight")}
    assert tops == {2.0}  # of ranks, whose mean is a half: up to all blocks that can be taken


def test_a_study_of_another_pattern_is_refused(tmp_path: Path) -> None:
    own = ("search=tpe", "search.trials=1", "search.penalty=0.1", "search.study=mine", f"paths.runs={tmp_path}")
    pipeline.search(composed(*ARRAY, *own, output=tmp_path / "one"))
    with pytest.raises(UserError, match="mine"):
        pipeline.search(composed(*ARRAY, *own, "sparsity.pattern.size=[16,8]", output=tmp_path / "two"))


def test_an_estimate_of_an_array(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "hass_train.estimate", "model=resnet18", "hw=aie2_4x4", "profile.weight_density=0.5",
        "profile.block=[8,8]", f"hydra.run.dir={tmp_path / 'out'}",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "images/s per core" in done.stdout
    found = json.loads((tmp_path / "out" / "estimate.json").read_text())
    assert found["estimate"]["cores"] == 16
    assert (tmp_path / "out" / "estimate.png").stat().st_size > 5000


@pytest.mark.parametrize(("own", "told"), [
    (("hw=aie2_2x2", "simulate=true"), "simulate=true plays .*"),
    (("hw=aie2_2x2", "build=true"), "build=true builds designs, and aie2_2x2 has none"),
    (("hw=aie2_2x2", "hw.rows=0"), "rows"),
    (("hw=aie2_2x2", "hw.lanes=[4,8]"), "lanes"),
    (("hw=aie2_2x2", "+hw.rowz=3"), "rowz"),
    (("sparsity=block", "sparsity.pattern.size=[8]"), "size is"),
    (("sparsity=block", "sparsity.pattern.score=l3"), "score is 'l3'"),
    (("sparsity=block", "+sparsity.pattern.sise=[8,8]"), "sise"),
    (("sparsity=nm", "sparsity.pattern.n=4"), "n:m is 4:4"),
    (("sparsity=balanced", "sparsity.pattern.channels=0"), "channels is 0; a bank has at least 1"),
    (("search=one_shot", "search.sparsity=1.5"), r"search.sparsity is 1.5; it must lie in \[0, 1\]"),
    (("search=one_shot", "search.sparsity=null"), "takes a fraction of the weights; say search.sparsity=0.5"),
    (("search.sparsity=0.5",), "search.sparsity is 0.5, but search=learned takes none"),
    (("hw=aie2_2x2", "search=one_shot", "search.activation_sparsity=0.5"), "gains nothing from zeros"),
    (("search=one_shot", "search.target_speedup=2"), "a goal that one_shot does not serve; use search=learned"),
    (("search=incremental", "search.increment_epochs=0"), "increment_epochs is 0"),
])  # fmt: skip
def test_slips_are_told_in_a_line(own: tuple[str, ...], told: str, compose: Compose) -> None:
    with pytest.raises(UserError, match=told) as error:
        assert Experiment.of(compose(*own)).pattern
    assert "\n" not in str(error.value)


def test_zeros_that_an_array_cannot_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"aie2_2x2 gains nothing from sparsity \(unstructured\).*try sparsity=block"):
        pipeline.search(composed("hw=aie2_2x2", "sparsity=unstructured", "debug=limit", output=tmp_path / "run"))
