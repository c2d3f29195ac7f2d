"""Results are read back as what was written; what an older version wrote is read as well, and what is none, refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train import compare
from hass_train.hardware.estimate import Bottleneck, Energy, Estimate, LayerEstimate, Part, Resources
from hass_train.report import __main__ as report
from hass_train.report.html import save_report
from hass_train.results.comparison import Comparison
from hass_train.results.estimation import Estimation
from hass_train.results.record import Record
from hass_train.results.result import SCHEMA, Result
from hass_train.runtime.errors import UserError
from tests.conftest import DATA

OLD = DATA / "schema1"
COUNTS, NUMBERS = st.integers(0, 2**40), st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=8)
RESOURCES = st.builds(Resources, *[COUNTS] * 6)
PARTS = st.builds(Part, TEXT, TEXT, COUNTS, COUNTS, RESOURCES)
BY_NAME = st.dictionaries(TEXT, NUMBERS, max_size=3)
ROWS = st.builds(
    LayerEstimate, name=TEXT, kind=TEXT, interval_cycles=COUNTS, bound=TEXT, engine=TEXT,
    folds=st.dictionaries(TEXT, COUNTS, max_size=3), resources=RESOURCES, initiation_interval=NUMBERS, part=COUNTS,
)  # fmt: skip
ESTIMATES = st.builds(
    Estimate, throughput_ips=NUMBERS, interval_cycles=COUNTS, latency_ms=NUMBERS, replicas=COUNTS, clock_mhz=NUMBERS,
    resources=RESOURCES, utilization=BY_NAME, bottleneck=st.builds(Bottleneck, TEXT, TEXT, TEXT, TEXT),
    layers=st.lists(ROWS, max_size=2).map(tuple), prices=BY_NAME, weight_prices=BY_NAME, activation_prices=BY_NAME,
    energy=st.builds(Energy, *[NUMBERS] * 4), parts=st.lists(PARTS, max_size=2).map(tuple), sequential=st.booleans(),
    limits=BY_NAME, available=BY_NAME, objective=TEXT,
)  # fmt: skip


@given(ESTIMATES)
def test_estimates_are_read_back_as_they_were(estimate: Estimate) -> None:
    assert Estimate.from_dict(json.loads(json.dumps(estimate.to_dict()))) == estimate


def test_results_are_read_back_as_they_were(seen: Path) -> None:
    result = Result.load(seen)
    written = json.loads((seen / "result.json").read_text())
    assert written["schema"] == SCHEMA
    assert json.loads(json.dumps(result.to_dict())) == written
    assert result.simulation is not None
    assert written["simulation"]["error"] == result.simulation.error
    assert written["gain"]["throughput"] == result.gain.throughput
    assert result.sparse.profile is result.natural.profile is None  # profile.json has the one


def test_what_people_see_is_in_the_estimate(seen: Path) -> None:
    """What counts and what there is, without the configuration, which differs from accelerator to accelerator."""
    result = Result.load(seen)
    hw = result.config["hw"]
    for column in (result.dense, result.natural, result.sparse):
        estimate = column.estimate
        assert set(estimate.limits) == set(hw["limits"])
        for name, there in estimate.available.items():
            assert there == hw["bandwidth_gbps" if name == "bandwidth" else name]
            if name != "bandwidth":
                used = getattr(estimate.resources, name) / max(there, 1)
                assert used == pytest.approx(estimate.utilization[name])


def test_a_result_of_schema_1_is_opened_by_everything(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    old = json.loads((OLD / "result.json").read_text())
    result, record = Result.load(folder), Record.read(folder)
    assert record.result == result
    assert (result.goal.name, result.goal.words, result.goal.met) == ("penalty", "penalty λ = 0.1", None)
    assert result.gain.throughput == old["gain"]["throughput"]
    assert result.sparse.estimate.limits == {
        "dsp": 1.0, "bram18": 1.0, "uram": 1.0, "lut": 0.85, "ff": 0.85, "bandwidth": 1.0,
    }  # fmt: skip
    assert result.sparse.estimate.available["bandwidth"] == old["config"]["hw"]["bandwidth_gbps"]
    assert "test_resnet · digits · zcu104" in save_report(record).read_text()
    (run,) = Comparison.of([folder]).runs
    assert run.device == "zcu104"
    result.save(folder / "result.json")  # as of today
    assert Result.load(folder) == result


def test_engines_of_earlier_versions_have_their_present_names(tmp_path: Path) -> None:
    """In results of either schema, in tables of layers and in estimates."""
    shutil.copytree(OLD, tmp_path / "old")
    names = [row["engine"] for row in json.loads((OLD / "result.json").read_text())["sparse"]["estimate"]["layers"]]
    present = [{"sparse": "crossbar"}.get(name, name) for name in names]
    assert "crossbar" in present
    record = Record.read(tmp_path / "old")
    assert [row.engine for row in record.result.sparse.estimate.layers] == present
    assert [row["engine"] for row in record.rows] == present
    written = record.result.to_dict()
    rows = written["sparse"]["estimate"]["layers"]
    for row, name in zip(rows, names, strict=True):
        row["engine"] = name
    (tmp_path / "result.json").write_text(json.dumps(written))
    assert Result.load(tmp_path) == record.result
    estimate = record.result.sparse.estimate
    answer = Estimation("net", (3, 8, 8), 1, 1, 0.0, {}, {}, estimate, {}).to_dict()
    answer["estimate"] = {**answer["estimate"], "layers": rows}
    (tmp_path / "estimate.json").write_text(json.dumps(answer))
    assert Estimation.load(tmp_path).estimate == estimate


def test_commands_open_a_result_of_schema_1(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    report.main([str(tmp_path / "old"), "--page-only"])
    compare.main([str(tmp_path), "--output", str(tmp_path / "compared")])
    with (tmp_path / "compared" / "compare.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["goal"], row["goal_met"], row["speedup"]) == ("penalty λ = 0.1", "", "1.75")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("target_speedup", 4.0, "4× throughput"), ("target_throughput", 1000.0, "1,000 images/s"),
        ("max_accuracy_drop", 0.01, "at most 1 points of validation accuracy lost"),
        ("sparsity", 0.5, "50 % of the weights zero"),
    ],
)  # fmt: skip
def test_goals_of_schema_1_have_words(tmp_path: Path, kind: str, value: float, words: str) -> None:
    old = json.loads((OLD / "result.json").read_text())
    old["goal"] = {"kind": kind, "value": value, "met": False, "binding": "lut"}
    for key in ("spent", "simulation", "engine"):
        del old[key]  # the very first results lack them
    (tmp_path / "result.json").write_text(json.dumps(old))
    result = Result.load(tmp_path)
    assert result.goal.words == words
    assert result.goal.met is False
    assert (result.engine, result.spent.trials) == ("learned", 0)
    wanted = {"target_speedup": value * result.dense.estimate.throughput_ips, "target_throughput": value}
    assert result.goal.target_ips == wanted.get(kind)


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    """Removes a key."""

    def edit(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return edit


@pytest.mark.parametrize("schema", [1, SCHEMA])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without("sparse", "estimate", "parts"), r"sparse\.estimate\.parts is missing"),
        (without("goal", "value"), "value is missing"),
        (without("dense"), "dense is missing"),
        (lambda data: data.update(seed="one"), "seed is 'one'; it must be a whole number"),
        (lambda data: data.update(model=[]), "has another form"),
        (lambda data: data["sparse"].update(test_acc=None), r"sparse\.test_acc is 'None'; it must be a number"),
        (lambda data: data.update(schema=9), "schema 9; this version reads 1 and 2: .* or run the search again"),
        (lambda data: data.pop("schema"), "schema None; this version"),
    ],
)
def test_what_is_no_result_is_told_in_one_line(
    tmp_path: Path, schema: int, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    data = json.loads((OLD / "result.json").read_text())
    if schema == SCHEMA:
        data = Result.load(OLD).to_dict()
    edit(data)
    (tmp_path / "result.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=message) as caught:
        Result.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is it the directory of a search"), ("{", "is not JSON"), ("[]", "holds a list")]
)
def test_files_of_something_else_are_told_in_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        Result.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_logs_of_another_run_are_told_in_one_line(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    rows = (tmp_path / "old" / "layers.csv").read_text()
    (tmp_path / "old" / "layers.csv").write_text(rows.replace("conv1.3", "elsewhere"))
    with pytest.raises(UserError, match=r"layers.csv of .* do not go with its result.json \(KeyError: 'elsewhere'\)"):
        Record.read(tmp_path / "old")


def test_a_result_read_back_can_be_changed_and_saved(tmp_path: Path) -> None:
    result = replace(Result.load(OLD), seed=7)
    result.save(tmp_path / "result.json")
    assert Result.load(tmp_path) == result
