"""Networks that are trained in one form and deployed in another are costed and searched as they are deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import build_model_with_cfg, register_model
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from torch import nn

from hass_train import pipeline
from hass_train.estimation import EstimateExperiment
from hass_train.experiment import Experiment
from hass_train.export.weights import load_sparse, save_dense
from hass_train.results.result import Result
from hass_train.runtime.errors import UserError
from hass_train.training.networks import deployed, merges, traced
from tests.conftest import Compose

SMALL = {
    "mobileone_s0": {}, "repvgg_a0": {}, "repvit_m1": {}, "repghostnet_050": {}, "fastvit_t8": {}, "levit_128s": {},
    "efficientvit_m0": {}, "tiny_vit_5m_224": {}, "shvit_s1": {}, "lcnetv2_small": {}, "efficientvim_m1": {},
    "nextvit_small": {}, "ghostnetv3_050": {}, "iformer_m": {},
}  # fmt: skip
"""A small network of each of timm's families whose networks are merged."""
QUICK = ("mobileone_s0", "levit_128s")


def trained(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """A network whose batch-norms do something, and the shape of its images."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    size = model.default_cfg["input_size"] if model.default_cfg.get("fixed_input_size") else (3, 64, 64)
    return model.eval(), size


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.nightly) for name in SMALL]
)
def test_the_deployed_form_computes_the_same_with_less(name: str) -> None:
    if not timm.is_model(name):
        pytest.skip(f"this timm has no {name}")
    model, size = trained(name)
    merged = deployed(model).eval()
    assert merges(model)
    images = torch.randn(2, *size)
    with torch.no_grad():
        before, after = model(images), merged(images)
    assert float((before - after).norm() / before.norm()) < 1e-3  # in single precision
    parameters = [sum(p.numel() for p in one.parameters()) for one in (merged, model)]
    assert parameters[0] < parameters[1]


def test_other_networks_are_left_alone() -> None:
    for name in ("resnet18", "test_vit", "mobilenetv3_small_100", "test_efficientnet"):
        model = timm.create_model(name)
        assert not merges(model)
        assert deployed(model) is model


def test_an_estimate_is_of_the_deployed_form(compose: Compose) -> None:
    """MobileOne-S0 has 275 M multiply-accumulates (Vasu et al., 2023, table 9), and 1,052 M while it is trained."""
    config = compose("model=timm", "model.name=mobileone_s0", "hw=u250", config_name="estimate", logger=False)
    workload = EstimateExperiment.of(config).workload
    assert round(workload.macs / 1e6) == 275
    assert workload.macs < traced(timm.create_model("mobileone_s0"), (3, 224, 224), "").macs / 3


SEARCH = ("model=timm", "model.name=tiny_repvgg", "hw=zcu104", "hw.limits=[dsp]", "debug=fdr", "search.penalty=0.1")


@register_model
def tiny_repvgg(pretrained: bool = False, **arguments: Any) -> ByobNet:
    """A RepVGG of three blocks."""
    blocks = (ByoBlockCfg("rep", d=1, c=16, s=2), ByoBlockCfg("rep", d=1, c=16, s=1))
    cfg = ByoModelCfg(blocks, stem_type="rep", stem_chs=16)
    return build_model_with_cfg(ByobNet, "tiny_repvgg", pretrained, model_cfg=cfg, **arguments)  # type: ignore[no-any-return]


def test_it_is_searched_in_the_deployed_form_from_weights_in_either(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"merged where it is deployed.*init_from=RUN_DIR/model\.safetensors"):
        Experiment.of(compose(*SEARCH)).network  # noqa: B018
    torch.manual_seed(1)
    theirs = timm.create_model("tiny_repvgg", num_classes=10, in_chans=1).eval()
    save_dense(theirs, tmp_path / "trained.safetensors")
    save_dense(deployed(theirs), tmp_path / "deployed.safetensors")
    images = torch.randn(2, 1, 32, 32)
    for file in ("trained", "deployed"):
        experiment = Experiment.of(compose(*SEARCH, f"init_from={tmp_path / file}.safetensors"))
        assert torch.allclose(experiment.network.eval()(images), theirs(images), atol=1e-4)
        assert experiment.loaded is not None
        assert experiment.loaded.missing == ()
    merged = compose(*SEARCH, f"init_from={tmp_path / 'deployed.safetensors'}")
    with pytest.raises(UserError, match="holds tiny_repvgg as it is deployed"):
        Experiment.of(merged).starting_network(search=False)
    config = compose(*SEARCH, f"init_from={tmp_path / 'trained.safetensors'}")
    result, objects = pipeline.search(config)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in objects["module"].model.modules())
    folder = Path(config.paths.output)
    arguments = Result.load(str(folder)).model.arguments
    assert Experiment.of(compose(*SEARCH, f"init_from={folder}")).init_from == folder / "model.safetensors"
    again = load_sparse(deployed(timm.create_model("tiny_repvgg", **arguments)), folder).eval()
    with torch.no_grad():
        assert torch.allclose(again(images), objects["module"].model.eval()(images), atol=1e-5)
    assert result.model.macs == traced(deployed(theirs), (1, 32, 32), "").macs
