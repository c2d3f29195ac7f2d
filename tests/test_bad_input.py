"""Whatever a user may get wrong is one line: every field of the configuration, files, folders, images."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from PIL import Image
from safetensors.torch import save_file

from hass_train import pipeline
from hass_train.config.schema import RunConfig
from hass_train.experiment import Experiment
from hass_train.hardware import ai_engine_array, fpga
from hass_train.runtime.errors import UserError
from tests.conftest import ROOT, Compose, composed

NET = ("debug=fdr", "model=timm", "model.name=test_resnet")


def leaves(kind: type, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of the schema with its type."""
    hints = typing.get_type_hints(kind)
    for item in fields(kind):
        hint = hints[item.name]
        if item.name == "hw":
            yield from ((f"hw.{name}", one) for name, one in typing.get_type_hints(fpga).items())
        elif is_dataclass(hint):
            yield from leaves(hint, f"{path}{item.name}.")  # type: ignore[arg-type]
        else:
            yield f"{path}{item.name}", hint


def plain(hint: Any) -> Any:
    """The type behind `X | None`."""
    inner = [one for one in typing.get_args(hint) if one is not type(None)]
    return inner[0] if inner and typing.get_origin(hint) not in (list, dict) else hint


WRONG: dict[Any, list[Any]] = {
    int: ["abc", 1.5, math.nan, math.inf, -1, 10**30, [1], {"a": 1}],
    float: ["abc", math.nan, math.inf, -math.inf, -1.0, 1e300, [1.0], {"a": 1}],
    bool: ["perhaps", [True], {"a": 1}],
    str: [{"a": 1}, [1]],
}
FIELDS = [(path, plain(hint)) for path, hint in leaves(RunConfig) if plain(hint) in WRONG]
CASES = [(path, value) for path, kind in FIELDS if path != "paths.output" for value in WRONG[kind]]
CHOICES = (
    "hw._target_", "hw.costs", "hw.multiplier", "hw.folding", "hw.bundle", "hw.weights", "hw.engines", "hw.objective",
    "hw.partitions",
    "search.engine", "search.engine._target_", "search.goals", "search.prices", "sparsity.pattern",
)  # fmt: skip
CASES += [(path, "no such choice") for path in CHOICES] + [
    ("hw.limits", ["dps"]), *(("hw.compute_engines", value) for value in (["crosbar"], [], None)),
]  # fmt: skip


ARRAY_CASES = [
    (f"hw.{path}", value)
    for path, hint in typing.get_type_hints(ai_engine_array).items() if plain(hint) in WRONG
    for value in WRONG[plain(hint)]
]  # fmt: skip
ARRAY_CASES += [("hw.weights", "no such choice"), ("hw.lanes", [4, 8]), ("hw.lanes", [0, 8, 8])]


@pytest.fixture(scope="module")
def array_base(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    return composed("hw=aie2_2x2", "sparsity=block", output=tmp_path_factory.mktemp("bad_array") / "run")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    return composed(output=tmp_path_factory.mktemp("bad") / "run")


def changed(base: DictConfig, path: str, value: Any) -> DictConfig:
    """A configuration with another value, as an override makes it."""
    config = OmegaConf.create(OmegaConf.to_container(base, resolve=False))
    assert isinstance(config, DictConfig)
    with open_dict(config):
        config.paths.output = base.paths.output
        OmegaConf.update(config, path, value, merge=False, force_add=True)
    return config


def understand(config: DictConfig) -> None:
    """Everything that looks at values before anything is built."""
    Experiment.of(config)


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 300
    assert len({path for path, _ in CASES}) >= 60


@pytest.mark.parametrize(("path", "value"), ARRAY_CASES, ids=[f"{path}={value}" for path, value in ARRAY_CASES])
def test_a_wrong_value_of_an_array_is_refused_in_one_line(path: str, value: Any, array_base: DictConfig) -> None:
    with pytest.raises(UserError) as caught:
        understand(changed(array_base, path, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("path", "value"), CASES, ids=[f"{path}={value}" for path, value in CASES])
def test_a_wrong_value_is_refused_in_one_line(path: str, value: Any, base: DictConfig) -> None:
    with pytest.raises(UserError) as caught:
        understand(changed(base, path, value))
    said = str(caught.value)
    assert "\n" not in said.strip()
    assert path.rpartition(".")[2] in said or path in said, said  # it names what is wrong


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)  # fmt: skip
OPEN = ("data.batch_size", "data.workers", "data.size", "trainer.devices", "trainer.accelerator", "trainer.precision",
        "trainer.gradient_clip_val", "callbacks.phases.margin", "callbacks.progress", "logger.csv.name",
        "model.kwargs", "sparsity.rules.all.match", "sparsity.rules.all.weight")  # fmt: skip


@given(st.sampled_from([path for path, _ in leaves(RunConfig) if path != "paths.output"] + list(OPEN)), ANYTHING)
@example("data.batch_size", "many")
@example("trainer.devices", {"a": 1})
@example("callbacks.phases", 3)
@example("callbacks", {"\n": 0})
def test_no_value_ends_in_anything_but_one_line(path: str, value: Any) -> None:
    said = ""
    try:
        understand(changed(composed_once(), path, value))
    except UserError as error:
        said = str(error).strip()
    assert "\n" not in said


def composed_once() -> DictConfig:
    """Composed at the first call."""
    if not _BASE:
        _BASE.append(composed(output=Path("unused") / "run"))
    return _BASE[0]


_BASE: list[DictConfig] = []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+trainer.max_epochs=3"], r"trainer\.max_epochs is .*; say search\.warmup\.epochs"),
        (["trainer.accelerator=abacus"], "trainer: .*abacus"),
        (["trainer.devices=0"], "trainer: "),
        (["+trainer.precision=17"], "trainer: .*17"),
        (["+trainer.strategy=nothing"], "trainer: .*nothing"),
        (["data.size=1", "model.name=vgg11"], "vgg11 cannot be traced at input 1×1×1"),
        (["search=tpe", "trainer=ddp_sim"], "search=tpe tries networks out in single processes"),
        (["search.warmup.epochs=0", "search.search.epochs=0", "search.recover.epochs=0"], "all three phases"),
        (["search=greedy", "search.warmup.epochs=0", "search.recover.epochs=0"], "all three phases"),
        (["data=image_folder", "data.root={tmp}/images"], r"b\.png cannot be read as an image"),
        (["init_from={tmp}/other.safetensors"], "init_from: .*is it another model|another shape"),
        (["init_from={tmp}/classes.safetensors"], r"another shape of 'fc\.(weight|bias)': \[1000"),
        (["init_from={tmp}/empty.safetensors"], "empty.safetensors holds no weights"),
        (["init_head=false"], "init_head is False, but no init_from=FILE"),
        (["init_from={tmp}/broken.safetensors"], "no readable safetensors"),
        (["init_from={tmp}/secret.safetensors"], "no readable safetensors|there is no file"),
        (["init_from={tmp}"], r"there is no file .*model\.safetensors"),
        (["+model.kwargs.checkpoint_path={tmp}/classes.safetensors"], r"say init_from=.*classes\.safetensors"),
        (
            ["model.pretrained=true", "+model.kwargs.pretrained_cfg_overlay={file: '{tmp}/part.pth', hf_hub_id: null}"],
            r"pretrained weights lack 1 .* first 'layer1\.0\.conv1\.weight'",
        ),
        (["+trainer.accumulate_grad_batches=0"], r"accumulate_grad_batches is 0; it must be ≥ 1"),
        (["+callbacks.es={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: nothing}"], "Early stopping"),
        (["data=fashion_mnist", "data.root={tmp}/idx"], "truncated|no IDX file|no readable gzip"),
        (["search=tpe", "search.study=s", "search.storage=nosuchdb://x"], "search.storage is .* cannot be opened"),
        (["logger.csv._target_=no.such.Class"], "logger.csv._target_"),
        (["callbacks.progress=3"], "callbacks.progress is 3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_files_and_combinations(overrides: list[str], message: str, compose: Compose, tmp_path: Path) -> None:
    make_files(tmp_path)
    given = [one.replace("{tmp}", str(tmp_path)) for one in overrides]
    if "image_folder" in " ".join(given):
        given += ["data.input_size=[3,32,32]", "data.batch_size=2", "data.workers=0", "trainer.limit_train_batches=1.0"]
    with pytest.raises(UserError, match=message) as caught:
        pipeline.search(compose(*NET, *given))
    assert "\n" not in str(caught.value).strip()
    assert not (tmp_path / "run" / "result.json").exists()


def make_files(folder: Path) -> None:
    """Files that are wrong, each in its own way."""
    for split in ("train", "val"):
        for label in ("x", "y"):
            place = folder / "images" / split / label
            place.mkdir(parents=True)
            for name in ("a.png", "c.png", "d.png"):
                Image.new("RGB", (32, 32)).save(place / name)
            if split == "train":
                (place / "b.png").write_bytes(b"\x89PNG no image")
    save_file(timm.create_model("resnet10t").state_dict(), folder / "other.safetensors")
    save_file(timm.create_model("test_resnet", in_chans=1).state_dict(), folder / "classes.safetensors")
    save_file({}, folder / "empty.safetensors")
    whole = timm.create_model("test_resnet").state_dict()
    torch.save({k: v for k, v in whole.items() if k != "layer1.0.conv1.weight"}, folder / "part.pth")
    (folder / "broken.safetensors").write_bytes(b"\x10")
    save_file({"a": torch.zeros(1)}, folder / "secret.safetensors")
    os.truncate(folder / "secret.safetensors", 9)
    (folder / "idx").mkdir()
    (folder / "idx" / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03\x00\x00")


def test_the_command_line_keeps_the_whole_story(tmp_path: Path) -> None:
    """One line on the screen, the traceback in the run's directory; a broken file of the user's own too."""
    command = [sys.executable, "search.py", *NET, "logger=csv"]
    done = subprocess.run(
        [*command, "init_from=nowhere.ckpt", f"hydra.run.dir={tmp_path / 'run'}"], cwd=ROOT, capture_output=True,
        text=True, timeout=200, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: init_from: there is no file nowhere.ckpt\n")
    log = (tmp_path / "run" / "error.log").read_text()
    assert log.startswith("init_from: there is no file nowhere.ckpt\n")
    assert "Traceback" in log
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("search: {warmup: [1\n")
    command[2:2] = ["--config-dir", str(tmp_path / "conf")]
    done = subprocess.run(
        [*command, "experiment=mine"], cwd=ROOT, capture_output=True,
        text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "mine.yaml" in done.stderr
    assert done.stderr.count("\n") == 1
