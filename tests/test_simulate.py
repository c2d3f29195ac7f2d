"""`python -m hass_train.simulate`: on a real run, and on what is none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm

from hass_train.export.design import load_design, save_design
from hass_train.hardware import DataflowAccelerator, DataflowOptions, SparsityProfile, load_device, trace
from hass_train.hardware.dataflow.design import design_of
from hass_train.simulate import main
from tests.conftest import ROOT

Run = tuple[Path, "subprocess.CompletedProcess[str]"]


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    """The files of a real run that the simulator reads."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("design.json", "result.json", "profile.json", "sparsity.json", "model.safetensors"):
        shutil.copy(run[0] / name, folder / name)
    return folder


def test_the_command_agrees_with_search(copied: Path, run: Run) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hass_train.simulate", str(copied)],
        cwd=ROOT, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for words in ("analytical model", "the design's FIFOs", "Where the time goes", "conv_stem", "simulation.png"):
        assert words in done.stdout
    found, before = (json.loads((folder / "simulation.json").read_text()) for folder in (copied, run[0]))
    assert found["parts"][0]["simulated"]["interval_cycles"] == before["parts"][0]["simulated"]["interval_cycles"]
    part, design = found["parts"][0], json.loads((copied / "design.json").read_text())
    assert part["analytical_cycles"] == design["interval_cycles"]
    assert part["unlimited_cycles"] <= part["simulated"]["interval_cycles"] * 1.001
    assert {stage["name"] for stage in part["simulated"]["stages"]} == {row["name"] for row in design["layers"]}
    for stage in part["simulated"]["stages"]:
        shares = [stage[name] for name in ("busy", "starved", "blocked", "uneven")]
        assert all(share >= -1e-6 for share in shares)
        assert sum(shares) == pytest.approx(1, abs=1e-3)
    fifos = {name: depth for row in design["layers"] for name, depth in row["fifos"].items()}
    assert fifos == part["fifos"]
    assert all(part["simulated"]["peaks"][name] <= depth for name, depth in fifos.items())
    assert (copied / "simulation.png").stat().st_size > 20_000


@pytest.mark.parametrize(("schema", "engine"), [(2, "sparse"), (3, "crossbar")])
def test_a_design_of_an_earlier_version_is_read(copied: Path, schema: int, engine: str) -> None:
    """Its engines had no lanes and its filters no order, and at first engines had other names."""
    now = load_design(copied)
    data = json.loads((copied / "design.json").read_text())
    for row in data["layers"]:
        if row["engine"] != "stream":
            row["engine"] = engine
        for name in ("lanes", "multiplier", "filter_order"):
            del row[name]
    (copied / "design.json").write_text(json.dumps({**data, "schema": schema}))
    (part,), (part_now,) = load_design(copied).parts, now.parts
    for one, one_now in zip(part.designs, part_now.designs, strict=True):
        former = "stream" if one.engine == "stream" else "crossbar"
        assert one == replace(one_now, engine=former, lanes=False, filter_order=())


def test_lanes_and_orders_of_filters_are_kept(tmp_path: Path) -> None:
    workload = trace(timm.create_model("test_resnet"), (3, 32, 32), "test_resnet")
    options = DataflowOptions(tolerance=0.02, partitions="never")
    estimate = DataflowAccelerator(load_device("u250"), options).estimate(workload, SparsityProfile.dense(workload))
    rows = [
        replace(row, engine="weight", lanes=True, filter_order=tuple(reversed(range(operation.result.channels))))
        if operation.multiplies else row
        for operation, row in zip(workload, estimate.layers, strict=True)
    ]  # fmt: skip
    estimate = replace(estimate, layers=tuple(rows))
    hardware = {"name": "u250", "activation_bits": 16}
    design = design_of(workload, estimate, hardware)
    save_design(tmp_path / "design.json", design, workload, estimate)
    assert load_design(tmp_path) == design
    assert any(one.filter_order and one.lanes for one in design.parts[0].designs)


def change(name: str, edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        edit(data)
        (folder / name).write_text(json.dumps(data))

    return apply


def shallow(design: dict[str, Any]) -> None:
    row = next(row for row in design["layers"] if row["name"] == "conv_stem")
    row["fifos"]["conv_stem"] = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "there is no run directory"),
        (
            lambda folder: (folder / "design.json").unlink(),
            "holds no design.json; a search.py run that ends writes one",
        ),
        (lambda folder: (folder / "design.json").write_text("{"), "design.json is not JSON"),
        (change("design.json", lambda d: d.update(schema=1)), "has schema 1; this version reads 2, 3 and 4"),
        (
            change("design.json", lambda d: d["layers"][0].update(engine="densse")),
            "conv_stem has the compute engine 'densse'; did you mean 'dense'",
        ),
        (
            change("design.json", lambda d: d["layers"][0].update(lanes="no")),
            "lanes of conv_stem is 'no'; it must be true or false",
        ),
        (
            change("design.json", lambda d: d["layers"][0].update(filter_order=[0.5])),
            "filter_order of conv_stem is no list of whole numbers",
        ),
        (
            change("design.json", lambda d: d["layers"][0].update(filter_order=[1, 0])),
            "filter_order of conv_stem is no permutation of its",
        ),
        (change("design.json", lambda d: d["layers"][0].pop("lanes")), "is no design: KeyError 'lanes'"),
        (change("design.json", lambda d: d.pop("hw")), "is no design: KeyError 'hw'"),
        (
            change("design.json", lambda d: d["layers"][0].update(name="elsewhere")),
            "the design does not belong to mobilenetv3_small_100: it has 'elsewhere'",
        ),
        (change("design.json", lambda d: d["layers"][0]["folds"].pop("i")), "conv_stem is a conv and needs the folds"),
        (change("design.json", lambda d: d["layers"][0]["folds"].update(o=0)), "each ≥ 1; it has i="),
        (change("design.json", shallow), "FIFO 'conv_stem' has a depth of 0; it must be ≥ 1"),
        (
            change("result.json", lambda r: r["config"]["data"].update(size=48)),
            "the design is for images of 1×32×32, and these are 1×48×48",
        ),
        (
            change("result.json", lambda r: r["config"]["data"].update(_target_="collections.OrderedDict")),
            "data is a collections.OrderedDict, which is no data module",
        ),
        (
            change("result.json", lambda r: r["config"]["data"].update(_target_="os.system")),
            "data is a os.system, which is no data module",
        ),
        (
            change("result.json", lambda r: r["config"]["data"].update(_target_="no.such.Thing")),
            "data is a no.such.Thing, which is no data module",
        ),
        (
            lambda folder: (folder / "result.json").unlink(),
            "has no result.json: is it the directory of a search that has ended?",
        ),
        (lambda folder: (folder / "sparsity.json").unlink(), "does not hold the network of a search.py run"),
        (lambda folder: (folder / "profile.json").unlink(), "holds no profile.json"),
    ],
)
def test_bad_input_is_one_line(
    copied: Path, spoil: Callable[[Path], Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(copied)
    with pytest.raises(SystemExit) as caught:
        main([str(copied)])
    assert caught.value.code == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: ")
    assert message in told
    assert len(told.splitlines()) == 1
    assert not (copied / "simulation.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: RUN_DIR"),
        (["nowhere", "--images", "0"], "--images is 0; it must be ≥ 1"),
        (["nowhere", "--images", "many"], "invalid int value"),
        (["nowhere", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert len(told.splitlines()) == 1
