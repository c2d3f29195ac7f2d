"""The page on extending runs as it stands: a pattern and an accelerator of one's own, through a whole search."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hass_train import pipeline
from hass_train.hardware import SparsityProfile
from hass_train.sparsity import Mode, sparse_layers
from tests.conftest import ROOT, composed

PAGE = (ROOT / "docs" / "extending.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SETTINGS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations, and the modules that they name."""
    for name, code in zip(("hass_train.sparsity.kernel", "hass_train.hardware.roofline"), CODE, strict=True):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(code, name, "exec"), module.__dict__)
        monkeypatch.setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module, raising=False)
    for name, text in zip(("sparsity/kernel", "hw/roofline"), SETTINGS, strict=True):
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def test_examples_are_as_short_as_they_claim() -> None:
    assert len(CODE) == len(SETTINGS) == 2
    for code in CODE:
        body = [line for line in code.splitlines() if line.strip() and not line.startswith(("from ", "import "))]
        assert len(body) <= 30


def test_a_search_with_both(extended: Path) -> None:
    config = composed(
        f"hydra.searchpath=[file://{extended / 'conf'}]", "sparsity=kernel", "hw=roofline", "search=one_shot",
        "search.sparsity=0.5", "debug=limit", "search.warmup.epochs=1", "search.recover.epochs=1",
        "search.default_density=0.2", "search.target_speedup=null", "report=true",
        output=extended / "run", hardware=False,
    )  # fmt: skip
    result, made = pipeline.search(config)
    assert result.goal.met
    assert result.hw.name == "roofline"
    assert result.gain.throughput > 1.2
    assert json.loads((extended / "run" / "result.json").read_text())["config"]["hw"]["model"]["macs"] == 512
    for _, layer in sparse_layers(made["module"].model):
        assert layer.mode_now is Mode.FROZEN
        if layer.prune_weights and layer.weight.dim() == 4:
            kernels = layer.mask.flatten(2)
            assert torch.equal(kernels.any(2), kernels.all(2))
    workload = made["workload"]
    model = sys.modules["hass_train.hardware.roofline"].Roofline(bytes=1e9)  # which its multipliers bind
    half, dense = SparsityProfile.uniform(workload, 0.5), SparsityProfile.dense(workload)
    assert model.estimate(workload, half).throughput_ips > 1.5 * model.estimate(workload, dense).throughput_ips
