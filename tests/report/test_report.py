"""The report of a run: what is read back, every panel against the result, the figures, the page."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image

from hass_train import pipeline
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.report import __main__ as command
from hass_train.report import columns
from hass_train.report.build import built_rows, limit
from hass_train.report.charts import history, prices
from hass_train.report.charts import pipeline as pipeline_chart
from hass_train.report.figures import save_chart, save_figures
from hass_train.report.html import REPORT, _built, save_report
from hass_train.report.look import KINDS, kind_name, log_domain, log_ticks
from hass_train.report.panels import Panel, panels
from hass_train.report.stacks import Stack, stacks
from hass_train.results.build import (
    Build,
    BuiltLayer,
    Generation,
    Placement,
    Synthesis,
    Verification,
    total,
)
from hass_train.results.history import METRICS, History, carry_over
from hass_train.results.record import Record, flat
from hass_train.rtl.slow_path import SlowPath
from hass_train.runtime.errors import UserError
from hass_train.search.phases import Phase
from tests.conftest import composed
from tests.test_resume import SMALL

NAMES = ["history", "pipeline", "layers", "resources", "prices"]


def test_a_search_leaves_a_page_and_figures_behind(seen: Path) -> None:
    assert (seen / REPORT).stat().st_size < 5_000_000
    assert {path.name for path in (seen / "figures").iterdir()} == {
        f"{name}.{ending}" for name in NAMES for ending in ("png", "pdf")
    }
    for name in NAMES:
        with Image.open(seen / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 200
            assert len(picture.convert("RGB").getcolors(2**24)) > 5  # something was drawn
        printed = (seen / "figures" / f"{name}.pdf").read_bytes()
        assert printed.startswith(b"%PDF")
        assert b"+LiberationSans" in printed  # text is text
        assert b"/Subtype /Image" not in printed or name == "prices"  # the scale of colours is one


def test_a_report_that_fails_loses_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hass_train.report.page.write_text", full)
    own = (*SMALL, "report=true", "search.target_speedup=null", "search.penalty=0.1")
    pipeline.search(composed(*own, output=tmp_path / "run"))
    told = capsys.readouterr()
    assert "Goal penalty" in told.out
    (line,) = [line for line in told.err.splitlines() if "report.html" in line]
    assert line.startswith("warning: no report.html ([Errno 28] No space left on device); everything else is written")
    monkeypatch.undo()
    command.main([line.rpartition(" ")[2]])  # as it says
    assert (tmp_path / "run" / REPORT).is_file()


def test_the_page_needs_nothing_but_itself(seen: Path) -> None:
    page = (seen / REPORT).read_text()
    rest = re.sub(r'<script type="text/plain" id="library">.*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!#|data:)', rest)
    assert "url(" not in rest
    assert json.loads((seen / "result.json").read_text())["command"] in rest


def test_history_has_every_epoch_and_its_phase(record: Record) -> None:
    assert sorted(record.history.epochs) == list(range(1, 8))
    found = [(one.phase, one.first, one.last) for one in record.history.stretches]
    assert found == [(Phase.WARMUP, 1, 2), (Phase.SEARCH, 3, 5), (Phase.RECOVER, 6, 7)]
    with (record.folder / METRICS).open() as stream:
        rows = list(csv.DictReader(stream))
    for key in ("val/acc", "hw/speedup", "loss/lambda", "price/conv1.0"):
        wanted = [float(row[key]) for row in rows if row[key] and row["epoch"]]
        assert wanted
        assert record.history.series(key)[1] == wanted


def test_history_goes_back_to_the_runs_that_were_resumed(tmp_path: Path) -> None:
    """The first run logged epochs 1 to 5, the second went on from 4 and logged nothing, the third from 4 to the end."""
    for folder, epochs in (("first", range(5)), ("second", range(0)), ("third", range(3, 7))):
        (tmp_path / folder / "csv").mkdir(parents=True)
        if epochs:
            with (tmp_path / folder / METRICS).open("w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["epoch", "step", "val/acc"])
                writer.writerows([epoch, epoch, 1 if folder == "first" else 2] for epoch in epochs)
                writer.writerow(["", 9, 7])  # what is logged after training has no epoch
    carry_over(tmp_path / "first", tmp_path / "second")
    carry_over(tmp_path / "second", tmp_path / "third")
    shutil.rmtree(tmp_path / "first")
    assert History.read(tmp_path / "third").series("val/acc") == ([1, 2, 3, 4, 5, 6, 7], [1, 1, 1, 2, 2, 2, 2])


def test_layers_are_compared_per_image_of_the_device(record: Record) -> None:
    for column, of in (("sparse", "cycles"), ("dense", "dense_cycles")):
        estimate = record.estimate(column)
        slowest = max(getattr(layer, of) for layer in record.layers)
        streams = max(row.interval_cycles * row.urgency for row in estimate.layers) / estimate.replicas
        assert slowest <= record.interval(column) == pytest.approx(streams)
        clock = estimate.clock_mhz * 1e6
        assert clock / record.interval(column) == pytest.approx(estimate.throughput_ips)


def test_stacks_add_up_to_what_the_design_takes(record: Record) -> None:
    for column in ("dense", "sparse"):
        estimate, device = record.estimate(column), record.result.config["hw"]
        for resource, stack in stacks(record, column).items():
            assert sum(stack.shares) == pytest.approx(estimate.utilization[resource], abs=1e-9)
            if resource != "bandwidth":
                assert sum(stack.shares) * device[resource] == pytest.approx(getattr(estimate.resources, resource))
            assert len(stack.pieces) == len(record.layers) + 1


def test_a_stack_is_cut_off_at_the_edge() -> None:
    stack = Stack(("a", "b", "c"), (0.75, 1.0, 0.5), ("dense", "dense", "stream"))
    assert stack.upto(1.25) == [0.75, 0.5, 0.0]
    assert stack.upto(9.0) == [0.75, 1.0, 0.5]


def table(panel: Panel) -> list[dict[str, Any]]:
    """All rows of data that a chart is drawn from."""
    return [row for rows in panel.chart.to_dict()["datasets"].values() for row in rows]


def test_every_panel_shows_the_result(record: Record) -> None:
    found = {panel.name: panel for panel in panels(record)}
    assert list(found) == ["history", "pipeline", "layers", "resources", "prices"]
    names = [layer.name for layer in record.layers]
    bars = {row["layer"]: row["cycles"] for row in table(found["pipeline"]) if "layer" in row}
    assert bars == {layer.name: layer.cycles for layer in record.layers}
    assert record.result.sparse.estimate.bottleneck.reason in found["pipeline"].caption
    assert [row["pairs"] for row in table(found["layers"])] == [layer.pair_density for layer in record.layers]
    grid = table(found["prices"])
    assert [row["layer"] for row in grid] == names
    assert [len(row["price"]) for row in grid] == [3] * len(names)
    assert {"epoch": 7, "value": record.result.gain.throughput} in table(found["history"])
    pieces = [row for row in table(found["resources"]) if row.get("row") == "DSPs, searched" and "share" in row]
    estimate = record.result.sparse.estimate
    assert sum(row["share"] for row in pieces) == pytest.approx(estimate.utilization["dsp"])
    for row in pieces:
        of_kind = [one.resources.dsp for one in estimate.layers if kind_name(one.engine) == row["kind"]]
        assert row["whole"] == pytest.approx(sum(of_kind) * estimate.replicas / estimate.available["dsp"])
        assert row["to"] - row["from"] == pytest.approx(row["share"])
    for panel in found.values():
        assert panel.caption.endswith(".")


def test_layers_say_their_kind_and_why(record: Record) -> None:
    estimate, page = record.result.sparse.estimate, (record.folder / REPORT).read_text()
    with (record.folder / "layers.csv").open() as stream:
        for row, layer in zip(csv.DictReader(stream), estimate.layers, strict=True):
            said = [row[key] for key in ("engine", "lanes", "multiplier", "reason")]
            assert said == [layer.engine, str(layer.lanes), layer.multiplier, layer.reason]
            assert (layer.engine == "stream") == (layer.reason == "")
            assert f">{escape(layer.reason)}</td>" in page
    assert [layer.reason for layer in record.layers] == [row.reason for row in estimate.layers if row.reason]


def test_pale_bars_are_those_that_no_engine_binds(record: Record) -> None:
    again = replace(record)
    first, *rest = (replace(layer, bound="compute") for layer in record.layers)
    vars(again)["layers"] = [replace(first, bound="input"), *rest]
    drawn = pipeline_chart(again).to_dict()
    shown = {row["layer"]: row["opacity"] for rows in drawn["datasets"].values() for row in rows if "layer" in row}
    assert shown.pop(record.layers[0].name) < 1
    assert set(shown.values()) == {1.0}
    (domain,) = [one["encoding"]["color"]["scale"]["domain"] for one in drawn["layer"] if "opacity" in one["encoding"]]
    assert "bound by input (pale)" in domain


VISION = {
    "any": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.28, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""What is seen of linear red, green and blue (Machado et al., 2009)."""
TO_XYZ = [[0.4339, 0.3763, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]]
"""From linear sRGB, in parts of its white."""


@pytest.mark.parametrize("vision", VISION)
def test_anybody_can_tell_kinds_apart(vision: str) -> None:
    seen = {}
    for engine in (*ComputeEngine, "stream"):
        red, green, blue = (int(KINDS[engine][k : k + 2], 16) / 255 for k in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        x, y, z = np.cbrt(np.array(TO_XYZ) @ np.clip(np.array(VISION[vision]) @ linear, 0, 1))
        seen[engine] = np.array([116 * y, 500 * (x - y), 200 * (y - z)])  # CIELAB; none of them is nearly black
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 20, (one, other)


def test_a_search_by_trials_shows_its_front(record: Record, tmp_path: Path) -> None:
    shutil.copytree(record.folder, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    result["engine"], result["spent"]["chosen"] = "tpe", 2
    result["spent"]["front"] = [
        {"number": number, "val_acc": accuracy, "throughput_ips": rate, "pair_sparsity": 0.5}
        for number, accuracy, rate in ((1, 0.9, 100.0), (2, 0.8, 200.0))
    ]
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    (tmp_path / "run" / METRICS).unlink()  # and such an engine need not have trained at all
    shutil.rmtree(tmp_path / "run" / "figures")
    command.main([str(tmp_path / "run")])
    again = Record.read(tmp_path / "run")
    found = {panel.name: panel for panel in panels(again)}
    assert list(found) == ["trials", "pipeline", "layers", "resources"]
    (chosen,) = [row for row in table(found["trials"]) if row["kind"] == "chosen"]
    assert (chosen["rate"], chosen["accuracy"]) == (200.0, 0.8)
    assert (tmp_path / "run" / "figures" / "trials.pdf").is_file()


def test_equal_runs_have_equal_pages_and_figures(record: Record, tmp_path: Path) -> None:
    shutil.copytree(record.folder, tmp_path / "run")
    again = Record.read(tmp_path / "run")
    files = [save_report(again), *save_figures(again)]
    assert len(files) == 1 + 2 * len(NAMES)
    for file in files:
        assert file.read_bytes() == (record.folder / file.relative_to(again.folder)).read_bytes(), file.name


def test_no_name_can_end_the_script(record: Record, tmp_path: Path) -> None:
    shutil.copytree(record.folder, tmp_path / "run")
    for name in ("result.json", "layers.csv", METRICS):
        file = tmp_path / "run" / name
        file.write_text(file.read_text().replace("conv1.0", "</script><b>x"))
    page = save_report(Record.read(tmp_path / "run")).read_text()
    assert "</script><b>" not in page
    assert page.count("<script") == page.count("</script>") == 3


def test_terminal_and_page_show_the_same_rows(record: Record) -> None:
    rows = dict(columns.rows(record.result))
    result = record.result
    assert rows["test accuracy"][2] == f"{result.sparse.test_acc:.4f}"
    ips = [one.estimate.throughput_ips for one in (result.dense, result.natural, result.sparse)]
    assert rows["speed-up"] == [f"{one / ips[0]:.2f}×" for one in ips]


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main([str(tmp_path)])
    assert "has no result.json" in capsys.readouterr().err
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Record.read(tmp_path)


def test_settings_become_flat() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [1]}, "e": None}) == {"a.b.c": 1, "a.d": [1], "e": None}
    assert flat({"a": {"b": 1}}, "/") == {"a/b": 1}


def test_a_design_in_parts_has_no_line_across(record: Record, tmp_path: Path) -> None:
    shutil.copytree(record.folder, tmp_path / "run")
    file = tmp_path / "run" / "result.json"
    result = json.loads(file.read_text())
    estimate = result["sparse"]["estimate"]
    one = estimate["parts"][0]
    estimate["parts"] = [{**one, "interval_cycles": cycles, "replicas": 1} for cycles in (10**6, 2 * 10**6)]
    for row in estimate["layers"][len(estimate["layers"]) // 2 :]:
        row["part"] = 1
    estimate["replicas"] = 1
    file.write_text(json.dumps(result))
    again = Record.read(tmp_path / "run")
    rows = {row["name"]: row for row in estimate["layers"]}
    for layer in again.layers:
        cycles = (rows[layer.name]["part"] + 1) * 10**6
        assert layer.share == pytest.approx(rows[layer.name]["interval_cycles"] * rows[layer.name]["urgency"] / cycles)
    pipeline_panel = next(panel for panel in panels(again) if panel.name == "pipeline")
    assert "in 2 parts" in pipeline_panel.caption
    assert [row["whose"] for row in table(pipeline_panel) if "whose" in row] == ["the dense pipeline"]
    save_figures(again)


def test_a_design_that_does_not_fit_says_so(record: Record, tmp_path: Path) -> None:
    for share, told in ((1.5, True), (1.0, False)):
        folder = tmp_path / f"{share:g}"
        shutil.copytree(record.folder, folder)
        result = json.loads((folder / "result.json").read_text())
        used = result["sparse"]["estimate"]["utilization"]
        used |= {**dict.fromkeys(used, 0.9), "lut": share}
        (folder / "result.json").write_text(json.dumps(result))
        assert ("fits the device" in save_report(Record.read(folder)).read_text()) == told


def test_prices_of_nothing_can_be_drawn(record: Record, tmp_path: Path) -> None:
    nothing = {epoch: {key: 0.0 if key.startswith("price/") else value for key, value in values.items()}
               for epoch, values in record.history.epochs.items()}  # fmt: skip
    again = replace(record, history=History(nothing))
    assert len(save_chart(prices(again), tmp_path / "prices", pdf=True)) == 2
    assert "prices" in [panel.name for panel in panels(again)]


def test_what_was_not_logged_has_no_row(record: Record) -> None:
    kept = {epoch: {key: values[key] for key in ("val/acc", "phase/index")} for epoch, values in
            record.history.epochs.items()}  # fmt: skip
    drawn = history(replace(record, history=History(kept))).to_dict()
    assert len(drawn["vconcat"]) == 2  # the speed-up has its final value
    assert all(rows for rows in drawn["datasets"].values())


def test_whatever_fails_after_the_search_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("stuck")

    monkeypatch.setattr("hass_train.results.playing.simulate_design", broken)
    monkeypatch.setattr("hass_train.report.figures.save_figures", broken)
    own = (*SMALL, "simulate=true", "report=true", "search.target_speedup=null", "search.penalty=0.1")
    result, _ = pipeline.search(composed(*own, output=tmp_path / "run"))
    told = capsys.readouterr().err
    assert "warning: no simulation (stuck)" in told
    assert "warning: no figures (stuck)" in told
    assert json.loads((tmp_path / "run" / "result.json").read_text())["simulation"] is None
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert result.simulation is None


def test_the_small_run_is_what_the_tests_think(record: Record) -> None:
    assert record.wanted_speedup == pytest.approx(4)
    assert set(record.limits) == {"dsp"}
    assert f"search.target_speedup={record.wanted_speedup:g}" in SMALL


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((700, 1600), [700, 800, 900, 1000, 1500]), ((1010, 1190), [1000, 1100, 1200]), ((2, 90), [2, 5, 10, 20, 50]),
        ((3, 80_000), [10, 100, 1000, 10_000]), ((5, 5), [5]),
    ],
)  # fmt: skip
def test_logarithmic_axes_have_marks(values: tuple[float, ...], ticks: list[float]) -> None:
    low, high = log_domain(values)
    assert low < min(values) <= max(values) < high
    found = log_ticks(low, high)
    assert set(ticks) <= {round(tick, 9) for tick in found}
    assert 3 <= len(found) <= 12


# ---- what was built ------------------------------------------------------------------------------------------------


def built(record: Record) -> Build:
    """A build of the run's design, as its stages would have found it."""
    layers = tuple(
        BuiltLayer(row.name, row.engine, row.folds, (f"{row.name}_engine",), row.resources)
        for row in record.result.sparse.estimate.layers
    )
    taken = {layer.name: replace(layer.estimated, lut=layer.estimated.lut + 7) for layer in layers}
    return Build(
        "resnet10t", "zedboard", 200.0, Generation("f", 1.0, "d", len(layers), layers, 1, 1000, 5000, 1010.0, 5100),
        Verification("f", 2.0, 32, False, 640, "", 1008.0, 5090, {}),
        Synthesis("f", 3.0, "Yosys 0.70", "xc7", taken, total(taken.values())),
        Placement(
            "f", 4.0, "85k", "CABGA756", 96.0, {"TRELLIS_COMB": 4321}, {"TRELLIS_COMB": 83640}, 38, 95238.1, "b",
            SlowPath("stem_engine", "stem_align", 3.21, 7.2),
        ),
    )  # fmt: skip


def test_what_was_built_stands_beside_what_was_estimated(record: Record) -> None:
    cells = dict(built_rows(built(record)))
    assert cells["interval, cycles"] == ["1,000", "1,010", "1,008", "–", "–"]
    assert cells["latency, cycles"] == ["5,000", "5,100", "5,090", "–", "–"]
    assert cells["images/s of a replica"] == ["200,000", "198,020", "198,413", "–", "95,238"]
    guessed = sum(row.resources.lut for row in record.result.sparse.estimate.layers)
    extra = 7 * len(record.result.sparse.estimate.layers)
    assert cells["LUTs"] == [f"{guessed:,}", "–", "–", f"{guessed + extra:,}", "4,321"]
    slow = "The slowest path, from stem_engine to stem_align, takes 3.2 ns in cells and 7.2 ns in wires."
    assert limit(built(record)) == slow
    only = replace(built(record), verify=None, synthesise=None, place=None)
    assert limit(only) == ""
    assert dict(built_rows(only))["LUTs"] == [f"{guessed:,}", "–", "–", "–", "–"]
    assert built_rows(replace(only, generate=None)) == []


def test_a_report_shows_what_was_built(record: Record, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(record.folder, folder, ignore=shutil.ignore_patterns("wandb", "checkpoints"))
    assert "accelerator" not in {sheet.name for sheet in _built(record)}
    built(record).save(folder)
    again = Record.read(folder)
    assert again.build == built(record)
    page = save_report(again).read_text()
    assert "All 640 output words of 32 images equal the integer network" in page
    (panel,) = [panel for panel in panels(again) if panel.name == "built"]
    assert {path.suffix for path in save_chart(panel.chart, tmp_path / "built", pdf=True)} == {".png", ".pdf"}
    differs = replace(built(record), verify=Verification("f", 2.0, 32, True, 640, "layer2.0.add: word 3", 0.0, 0, {}))
    differs.save(folder)
    assert (
        "Words differ from the integer network&#39;s: layer2.0.add: word 3."
        in save_report(Record.read(folder)).read_text()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "build.json cannot be read: "),
        ("[]", "build.json has schema None; this version reads 1: delete it to build again"),
        ('{"schema": 7}', "has schema 7"),
        ('{"schema": 1, "network": "a", "device": "b"}', "clock_mhz is missing; delete it to build again"),
    ],
)
def test_a_build_that_cannot_be_read_is_told(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(UserError) as caught:
        Build.load(tmp_path)
    assert message in str(caught.value)
