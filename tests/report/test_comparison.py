"""Many runs on one page: fronts, hyper-volumes and differences against brute force; the command; the end of a sweep."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train import compare
from hass_train.hardware.resources import LIMITS
from hass_train.report.comparison_page import PAGE, TABLE, save_comparison
from hass_train.results.comparison import Comparison, Run
from hass_train.results.result import HardwareInfo, Result
from hass_train.runtime.errors import UserError

NUMBERS = st.tuples(st.integers(1, 6), st.integers(1, 6))


@pytest.fixture(scope="module")
def result(seen: Path) -> Result:
    """A real result."""
    return Result.load(seen)


def changed(result: Result, name: str, accuracy: float, speedup: float, **others: Any) -> Run:
    """A run like it with another accuracy, throughput and so on."""
    dense = replace(result.dense, test_acc=0.9, estimate=replace(result.dense.estimate, throughput_ips=1000.0))
    estimate = replace(result.sparse.estimate, throughput_ips=1000 * speedup)
    sparse = replace(result.sparse, test_acc=accuracy, estimate=estimate)
    return Run(Path(name), replace(result, dense=dense, sparse=sparse, **others))


def configured(result: Result, **sections: dict[str, Any]) -> Result:
    """A result with other values in sections of its configuration."""
    config = {**result.config, **{name: {**result.config[name], **values} for name, values in sections.items()}}
    return replace(result, config=config)


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_the_front_is_who_nobody_beats(result: Result, points: list[tuple[int, int]]) -> None:
    runs = [changed(result, str(k), 0.5 + a / 20, float(s)) for k, (a, s) in enumerate(points)]
    compared = Comparison(runs)
    for by in ("throughput_ips", "efficiency"):
        best = {(run.numbers["test_acc"], run.numbers[by]) for run in compared.front("digits", by)}
        wanted = {
            (run.numbers["test_acc"], run.numbers[by]) for run in runs
            if not any(
                other.numbers["test_acc"] >= run.numbers["test_acc"] and other.numbers[by] >= run.numbers[by]
                and (other.numbers["test_acc"], other.numbers[by]) != (run.numbers["test_acc"], run.numbers[by])
                for other in runs
            )
        }  # fmt: skip
        assert best == wanted


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(1, 6)), min_size=1, max_size=6))
def test_hyper_volumes_count_the_cells_of_a_grid(result: Result, points: list[tuple[int, int]]) -> None:
    """Points at whole points of accuracy and whole speed-ups: a cell is counted if one of them is beyond it."""
    runs = [changed(result, str(k), 0.9 + a / 100, float(s)) for k, (a, s) in enumerate(points)]
    cells = sum(
        any(s >= column + 1 and a >= row + 1 for a, s in points) for column in range(1, 6) for row in range(-5, 4)
    )
    (volume,) = Comparison(runs).volumes.values()
    assert volume == pytest.approx(cells)


def test_the_best_of_a_device_lost_little(result: Result) -> None:
    other = {"hw": HardwareInfo("u250")}
    runs = [
        changed(result, "slow", 0.9, 2.0), changed(result, "good", 0.895, 3.0), changed(result, "fast", 0.8, 5.0),
        changed(result, "bad", 0.5, 9.0, **other), changed(result, "less bad", 0.7, 4.0, **other),
    ]  # fmt: skip
    best = {device.partition(",")[0]: str(run.folder) for (_, device, _), run in Comparison(runs).best.items()}
    assert best == {"zedboard": "good", "u250": "less bad"}
    network = changed(result, "net", 0.6, 9.0, model=replace(result.model, name="other"))
    assert len(Comparison([*runs, network]).best) == 3


def test_only_settings_that_differ_are_named(result: Result) -> None:
    second = configured(
        result, search={"penalty": 0.3}, paths={"output": "elsewhere"}, hw={"name": "other", "dsp": 5}
    )  # the device has a column of its own
    assert Comparison([Run(Path("a"), result), Run(Path("b"), second)]).differing == ["search.penalty"]
    second = configured(second, hw={"name": result.config["hw"]["name"]})  # another question to the same device
    assert Comparison([Run(Path("a"), result), Run(Path("b"), second)]).differing == ["hw.dsp", "search.penalty"]


def test_what_does_not_count_makes_another_device(result: Result) -> None:
    """A design that needs no LUTs to be there does not compete with one that can be built."""
    estimate = replace(result.sparse.estimate, limits=dict.fromkeys(LIMITS, 1.0))
    second = replace(result, sparse=replace(result.sparse, estimate=estimate))
    compared = Comparison([Run(Path("a"), result), Run(Path("b"), second)])
    assert [run.device for run in compared.runs] == ["zedboard, dsp only", "zedboard"]
    assert len(compared.volumes) == len(compared.best) == 2


def test_runs_are_called_by_what_tells_them_apart(result: Result) -> None:
    runs = [Run(Path(path), result) for path in ("runs/a/learned-4", "runs/b/learned-4")]
    assert list(Comparison(runs).names.values()) == ["a/learned-4", "b/learned-4"]
    assert list(Comparison(runs[:1]).names.values()) == ["learned-4"]


def test_the_command_writes_page_and_table(
    result: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, accuracy, speedup in (("a", 0.9, 2.0), ("b", 0.85, 4.0), ("deep/er/c", 0.8, 3.0)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        run = changed(result, str(folder), accuracy, speedup, engine="tpe" if name == "a" else "learned")
        run.result.save(folder / "result.json")
    monkeypatch.chdir(tmp_path)
    compare.main(["runs", "runs/a"])  # named twice, counted once
    (page,) = tmp_path.glob(f"runs/comparisons/*/*/{PAGE}")
    told = capsys.readouterr().out
    assert "3 runs" in told
    assert str(page.relative_to(tmp_path)) in told
    with page.with_name(TABLE).open() as stream:
        rows = {Path(row["run"]).name: row for row in csv.DictReader(stream)}
    assert {name: row["pareto_throughput_ips"] for name, row in rows.items()} == {
        "a": "True",
        "b": "True",
        "c": "False",
    }
    assert {name: row["engine"] for name, row in rows.items()} == {"a": "tpe", "b": "learned", "c": "learned"}
    assert page.stat().st_size < 5_000_000
    with pytest.raises(SystemExit, match="2"):
        compare.main(["runs", "--output", str(page.parent)])  # nothing is overwritten
    assert "already holds a comparison" in capsys.readouterr().err


def test_comparisons_of_the_same_second_have_a_directory_each(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Then(datetime):
        """A second that takes long."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Then:
            return cls(2024, 5, 6, 7, 8, 9, tzinfo=tz)

    result.save(tmp_path / "result.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hass_train.report.comparing.datetime", Then)
    for _ in range(3):
        compare.main([str(tmp_path)])
    folder = Path("runs") / "comparisons" / "2024-05-06"
    assert {path.name for path in folder.iterdir()} == {"07-08-09", "07-08-09-2", "07-08-09-3"}
    assert all((one / TABLE).is_file() and (one / PAGE).stat().st_size for one in folder.iterdir())


@pytest.mark.parametrize("what", ["missing", "empty", "broken", "other"])
def test_what_holds_no_runs_is_refused_in_one_line(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    if what != "missing":
        folder.mkdir()
    if what in ("broken", "other"):
        (folder / "result.json").write_text("{" if what == "broken" else "[]")
    with pytest.raises(SystemExit, match="2"):
        compare.main([str(folder), "--output", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_comparison_survives_long_values_and_one_run(result: Result, tmp_path: Path) -> None:
    run = changed(result, "a", 0.9, 2.0)
    other = changed(result, "b", 0.9, 2.0, config={**result.config, "init_from": "x" * 500})
    page, _ = save_comparison(tmp_path, Comparison([run, other]))
    assert "x" * 58 in page.read_text()
    assert "x" * 59 not in page.read_text().replace("x" * 500, "")
    save_comparison(tmp_path / "one", Comparison([run]))


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no result"):
        Comparison.of([tmp_path])
