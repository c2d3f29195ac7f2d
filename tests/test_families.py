"""One small network of each of timm's families goes through everything that touches its layers, or is refused first."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
import timm
import torch
from timm.models import is_model_in_modules, register_model
from torch import nn

from benchmarks.families import NAMES
from hass_train import pipeline
from hass_train.experiment import Experiment
from hass_train.export.initial import initialise
from hass_train.export.weights import load_sparse, save_dense, save_sparse
from hass_train.hardware import UnsupportedOperation, trace
from hass_train.runtime.errors import UserError
from hass_train.search.penalty import PricedPenalty
from hass_train.sparsity import Mode, SearchStep, calibrate, running_profile, sparse_layers
from hass_train.training.networks import deployed, merges
from tests.conftest import Compose

CLASSES = 7


def made(name: str) -> tuple[nn.Module, int]:
    """A network for small images, if it takes them, as it is deployed; and their size."""
    fixed = timm.models.get_pretrained_cfg(name).fixed_input_size
    if not fixed:
        return timm.create_model(name, num_classes=CLASSES), 64
    try:
        return timm.create_model(name, num_classes=CLASSES, img_size=64), 64
    except Exception:  # it takes no img_size, or not this one
        return timm.create_model(name, num_classes=CLASSES), timm.models.get_pretrained_cfg(name).input_size[-1]


def skipped(refusal: Exception) -> NoReturn:
    """Skip a network that is refused before training, in one line."""
    if "\n" in str(refusal):
        raise AssertionError("more than one line") from refusal
    pytest.skip(f"refused before training: {refusal}")


def test_every_family_of_timm_has_a_network() -> None:
    if timm.__version__ != "1.0.31":
        pytest.skip("the list is of timm 1.0.31")
    own = [one for one in timm.list_modules() if find_spec(f"timm.models.{one}")]  # tests register models, too
    assert sorted([one for one in own if is_model_in_modules(name, [one])] for name in NAMES) == [[one] for one in own]


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_searched_or_refused(name: str, compose: Compose, tmp_path: Path) -> None:
    if not timm.is_model(name):
        pytest.skip("this timm does not have it")
    with torch.device("meta"):
        model, size = made(name)
    if merges(model):  # which computes with weights
        model, size = made(name)
    try:
        workload = trace(deployed(model), (3, size, size), name)
    except UnsupportedOperation as error:
        skipped(error)
    torch.manual_seed(0)
    plain = deployed(made(name)[0])
    save_dense(plain, tmp_path / "dense.safetensors")
    experiment = Experiment.of(compose("model=resnet18", "sparsity=channel", "hw=aie2_4x4"))
    try:
        model = experiment.made_sparse(plain, workload)
    except UserError as error:
        skipped(error)
    initialise(model, tmp_path / "dense.safetensors")
    images = torch.randn(2, 3, size, size)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    with SearchStep(model.train())():
        loss = model(images).square().mean()
    running_profile(model).check_covers(workload)
    profile = calibrate(model, [images[:1]], closely=False)
    profile.check_covers(workload)
    estimate = experiment.accelerator.estimate(workload, profile)
    penalty = PricedPenalty.at(estimate, running_profile(model), 0.0)
    (loss + penalty(sparse_layers(model))).backward()
    for _, layer in sparse_layers(model):
        layer.set_sparsity(0.5, 0.0)
        layer.set_mode(Mode.FROZEN)
    save_sparse(model, tmp_path, {})
    torch.manual_seed(0)
    again = load_sparse(deployed(made(name)[0]), tmp_path)
    with torch.no_grad():
        assert torch.allclose(again.eval()(images), model.eval()(images), atol=1e-4, equal_nan=True)


BEIT = ("img_size=32", "embed_dim=48", "depth=2", "num_heads=2")
NAMED = {
    "a fixed filter": ("resnetblur18", "hw=aie2_4x4", "sparsity=block"),
    "layers that constants alone reach": ("test_vit_relpos", "+model.kwargs.img_size=32"),
    "weights that another module reads": (
        "beit_base_patch16_224", *(f"+model.kwargs.{one}" for one in BEIT), "hw=aie2_4x4", "sparsity=block",
    ),
    "two classifiers": (
        "deit_tiny_distilled_patch16_224", *(f"+model.kwargs.{one}" for one in BEIT), "sparsity=channel",
    ),
    "a layer that is called twice": ("called_twice", "sparsity=nm"),
}  # fmt: skip


class CalledTwice(nn.Module):
    """A network of timm's that calls one convolution twice."""

    def __init__(self, num_classes: int = 10, in_chans: int = 1) -> None:
        super().__init__()
        self.stem, self.same = nn.Conv2d(in_chans, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.same(self.same(self.stem(x).relu()).relu()).relu()
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


@register_model
def called_twice(num_classes: int = 10, in_chans: int = 1, **_: object) -> CalledTwice:
    """Make the network; timm knows it by the name of this function."""
    return CalledTwice(num_classes, in_chans)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if "twice" in case else pytest.mark.nightly) for case in NAMED]
)
def test_those_that_one_side_did_not_know_are_searched(case: str, compose: Compose) -> None:
    name, *overrides = NAMED[case]
    device = [] if any(one.startswith("hw=") for one in overrides) else ["hw=zcu104", "hw.limits=[dsp]"]
    config = compose("debug=fdr", "model=timm", f"model.name={name}", "search.penalty=0.1", *device, *overrides)
    result, objects = pipeline.search(config)
    assert result.sparse.profile is not None
    result.sparse.profile.check_covers(objects["workload"])
    layers = dict(sparse_layers(objects["module"].model))
    if "classifiers" in case:
        assert not any(layers[head].prune_weights for head in ("head", "head_dist"))
        assert result.sparse.weight_sparsity > 0
    if "twice" in case:
        assert {"same", "same#2"} <= {*result.sparse.profile.layers}
        assert layers["same"].operations == ("same", "same#2")


@pytest.mark.nightly
def test_convolutions_that_blocks_share_are_trained_and_saved(compose: Compose) -> None:
    small = ("debug=fdr", "model=timm", "model.name=coat_tiny", "+model.kwargs.img_size=32")
    accuracies, _ = pipeline.train(compose(*small, config_name="train"))
    plain = timm.create_model("coat_tiny", img_size=32, num_classes=10, in_chans=1)
    assert initialise(plain, accuracies["model"]).missing == ()
    uses = trace(plain, (1, 32, 32), "coat_tiny").uses
    assert any(len(calls) > 1 for calls in uses.values())
