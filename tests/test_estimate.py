"""`python -m hass_train.estimate`: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm

from hass_train.estimate import main
from hass_train.hardware import DataflowAccelerator, SparsityProfile, load_device, trace
from hass_train.results.estimation import Estimation
from hass_train.results.result import Result
from hass_train.runtime.errors import UserError
from tests.conftest import DATA, Compose

ROOT = Path(__file__).resolve().parents[1]


def run(*overrides: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hass_train.estimate", f"paths.runs={folder}", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


def asked(compose: Compose, *overrides: str, output: Path) -> dict[str, Any]:
    return main(compose(*overrides, config_name="estimate", output=output, logger=False))


TINY = ("model=timm", "model.name=test_resnet.r160_in1k", "model.input_size=[3,48,64]", "hw=zcu104")
PEER = ("hw.costs=peer", "hw.compute_engines=[dense,crossbar]")


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    done = run(*TINY, "profile.pair_density=0.4", "profile.dense_layers=[conv1.0]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = [path.parent for path in tmp_path.rglob("estimate.json")]
    assert {path.name for path in folder.iterdir()} >= {"estimate.json", "estimate.png"}
    answer = json.loads((folder / "estimate.json").read_text())
    assert answer["input_shape"] == [3, 48, 64]
    assert json.loads(json.dumps(Estimation.load(folder).to_dict())) == answer  # as it is read back
    assert answer["wall_s"]["total"] > 0
    estimate = answer["estimate"]
    assert answer["folds"] == {row["name"]: row["folds"] for row in estimate["layers"]}
    densities = {row["name"]: row["pair_density"] for row in estimate["layers"] if row["macs"]}
    assert densities.pop("conv1.0") == 1
    assert set(densities.values()) == {0.4}
    for text in ("images/s", "DSPs", "LUTs", "Slowest layers", "Why not faster", "Energy", "estimate.json"):
        assert text in done.stdout
    assert (folder / "estimate.png").read_bytes().startswith(b"\x89PNG")
    again = subprocess.run(["bash", "-c", answer["command"]], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    (other,) = [path.parent for path in tmp_path.rglob("estimate.json") if path.parent != folder]
    assert Estimation.load(other).estimate == Estimation.load(folder).estimate


def test_the_command_answers_as_the_python_interface_does(compose: Compose, tmp_path: Path) -> None:
    answer = asked(compose, *TINY, output=tmp_path / "run")
    workload = trace(timm.create_model("test_resnet.r160_in1k"), (3, 48, 64))
    ours = DataflowAccelerator(load_device("zcu104")).estimate(workload, SparsityProfile.dense(workload))
    assert answer["estimate"]["throughput_ips"] == ours.throughput_ips


def test_the_input_size_is_timms_by_default(compose: Compose, tmp_path: Path) -> None:
    answer = asked(compose, *TINY, "model.input_size=null", output=tmp_path / "run")
    assert answer["input_shape"] == (3, 160, 160)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("hw.dsp=0",), r"hw: dsp of device zcu104 is 0; it must be > 0"),
        (("hw.bandwidth_gbps=0",), r"bandwidth_gbps of zcu104 is 0: no image gets in; raise it, or leave"),
        ((*PEER, "hw.lut=2000", "hw.partitions=never"), r"there are 1,700; allow hw\.partitions=needed, or"),
        (("hw.lut=-5",), r"hw: lut of device zcu104 is -5"),
        (("hw.limits=[dsp,lux]",), r"hw: limits names 'lux'; choose from dsp"),
        (("hw.limits=[lut]",), r"limits must name dsp"),
        (("hw.objective=speed",), r"objective is 'speed'; choose throughput"),
        (("hw.max_pixels=0",), r"max_pixels is 0; it must lie in 1 … 64"),
        (("hw.batch=0",), r"batch is 0"),
        (("hw.max_lut_utilization=1.2",), r"max_lut_utilization is 1.2"),
        (("hw.tolerance=-1",), r"tolerance is -1"),
        (("+hw.kind=dataflow",), r"hw.kind is of an earlier version; say hw._target_"),
        (("profile.pair_density=1.5",), r"profile\.pair_density is 1.5; it must lie in \[0, 1\]"),
        (("profile.weight_density=-0.1",), r"profile\.weight_density is -0.1"),
        (
            ("profile.dense_layers=[nowhere]",),
            r"profile: 'nowhere' is no compute layer of test_resnet.r160_in1k; did you mean",
        ),
        (("profile=run",), r"profile\.path is not given"),
        (("profile=run", "profile.path=/nowhere"), r"there is no run directory or profile /nowhere"),
        (("model.input_size=[3,0,32]",), r"model\.input_size is \[3, 0, 32\]"),
        (("model.input_size=[3,32]",), r"model\.input_size is \[3, 32\]"),
        (("model.name=test_resnot",), r"there is no timm model 'test_resnot'; did you mean"),
        ((*PEER, "hw.lut=2000"), r"on zcu104: even of single parts, the part from .* needs at least [\d,]+ lut"),
        (("hw.lut=100",), r"\S+ alone needs at least [\d,]+ lut; zcu104 has 85"),
        (("hw.bram18=1", "hw.uram=0", "hw.lut=60000"), r"bram18"),
        (("hw.min_throughput=1e9",), r"min_throughput is 1,000,000,000 images/s; the fastest design"),
    ],
)
def test_bad_input_is_one_line(compose: Compose, tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        asked(compose, *TINY, *overrides, output=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_profile_of_another_network_names_three_layers(compose: Compose, tmp_path: Path) -> None:
    other = trace(timm.create_model("resnet18"), (3, 32, 32))
    profile = {"schema": 1, **SparsityProfile.uniform(other, 0.5).to_dict()}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    with pytest.raises(UserError, match=r"do not match test_resnet.*: \S+, \S+, \S+ and \d+ more"):
        asked(compose, *TINY, "profile=run", f"profile.path={tmp_path}", output=tmp_path / "run")


def test_a_run_says_what_network_it_measured(compose: Compose, tmp_path: Path) -> None:
    network = timm.create_model("test_resnet.r160_in1k", num_classes=7, in_chans=1)
    workload = trace(network, (1, 40, 48))
    profile = {"schema": 1, "input_shape": [1, 40, 48], **SparsityProfile.uniform(workload, 0.5).to_dict()}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    beside = Result.load(DATA / "schema1")
    about = replace(beside.model, arguments={"num_classes": 7, "in_chans": 1})
    replace(beside, model=about).save(tmp_path / "result.json")
    overrides = ("model=timm", "model.name=test_resnet.r160_in1k", "profile=run", f"profile.path={tmp_path}")
    answer = asked(compose, *overrides, output=tmp_path / "run")
    assert answer["input_shape"] == (1, 40, 48)
    assert answer["macs"] == workload.macs
    assert answer["pair_sparsity"] == pytest.approx(0.5)


def test_transformers_take_other_sizes_and_dense_ones_have_no_zeros(compose: Compose, tmp_path: Path) -> None:
    overrides = ("model=vit_tiny", "+model.kwargs.depth=1", "model.input_size=[3,32,48]", "hw=u250")
    answer = asked(compose, *overrides, output=tmp_path / "run")
    assert answer["input_shape"] == (3, 32, 48)
    assert answer["pair_sparsity"] == pytest.approx(0)


def test_unknown_options_end_with_status_2(tmp_path: Path) -> None:
    for override, message in (
        ("hw=u251", "did you mean 'u250'"),
        ("hw.dps=3", "did you mean 'hw.dsp'"),
        ("search=tpe", "choose from hw, "),
    ):
        done = run(override, folder=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_estimating_imports_no_lightning() -> None:
    modules = "hass_train.estimate, hass_train.experiment, hass_train.report.estimate"
    code = f"import sys, {modules}; assert not {{'pytorch_lightning', 'torchmetrics'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]
