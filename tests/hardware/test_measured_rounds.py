"""Rounds that calibration leads the model to expect, against those that the simulator counts on the same images."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware import DataflowOptions, trace
from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.sparsity import LayerRule, calibrate, sparsify
from hass_train.sparsity.nonzeros import observe_nonzeros

IMAGES = 8


def uneven(channels: int, size: int, seed: int) -> Tensor:
    """Images of which some are denser, some channels are, and neighbours are alike, as real ones."""
    random = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    rough = F.interpolate(noise(IMAGES, channels, -(-size // 2), -(-size // 2)), scale_factor=2)[..., :size, :size]
    x = 0.6 * rough + 0.6 * noise(IMAGES, channels, size, size) + 0.4 * noise(IMAGES, 1, 1, 1)
    return F.relu(x + 0.5 * noise(1, channels, 1, 1))


LAYERS = {
    "windows": (nn.Conv2d(16, 16, 3, padding=1), 8),
    "windows in padding": (nn.Conv2d(32, 16, 3, padding=1), 2),
    "strided": (nn.Conv2d(16, 16, 3, stride=2, padding=1), 8),
    "depthwise": (nn.Conv2d(32, 32, 3, padding=1, groups=32), 4),
    "single pixels": (nn.Conv2d(48, 32, 1), 4),
    "one pixel": (nn.Conv2d(96, 48, 1), 1),
}
"""With the height and width of their maps."""


@pytest.mark.parametrize("engine", [ComputeEngine.ACTIVATION, ComputeEngine.PAIR, ComputeEngine.CROSSBAR])
@pytest.mark.parametrize("name", LAYERS)
def test_rounds_in_lock_step_take_as_long_as_is_counted(name: str, engine: ComputeEngine) -> None:
    torch.manual_seed(0)
    layer, size = copy.deepcopy(LAYERS[name])
    with torch.no_grad():  # filters of different density
        kept = torch.linspace(0.2, 0.7, layer.weight.shape[0]).reshape(-1, 1, 1, 1)
        layer.weight.copy_(torch.randn(layer.weight.shape) * (torch.rand(layer.weight.shape) < kept))
    model = sparsify(nn.Sequential(layer), {"all": LayerRule("*")})
    images = uneven(layer.in_channels, size, seed=1)
    workload, profile = trace(nn.Sequential(layer), images.shape[1:]), calibrate(model, [images])
    nonzeros = observe_nonzeros(model, workload, ["0"], images)
    options = DataflowOptions(engines="lockstep", compute_engines=(engine,), tolerance=0.02)
    operation = workload["0"]
    table = ComputeDesigns(
        operation, profile.layers["0"], OperandFifos((), 0), options, DesignSpace(np.full(6, np.inf))
    )
    columns = {"i": "i", "o": "o", "g": "g", "m": "m", "N": "n", "q": "q", "p": "p"}
    whole = (operation.channels_per_group % table.folds.i == 0) & (operation.groups % table.folds.g == 0)
    errors = []
    for row in np.random.default_rng(0).permutation(np.flatnonzero(whole))[:40]:
        folds = {key: int(getattr(table.folds, field)[row]) for key, field in columns.items()}
        assert VARIANTS[int(table.folds.engine[row])].engine is engine
        design = StageDesign("0", engine, folds)
        counted = Pipeline(workload, [design], nonzeros, profile).play(2 * IMAGES + 1, settle=IMAGES).interval_cycles
        errors.append(table.interval[row] / counted - 1)
    assert min(errors) > -0.05
    assert -0.01 < np.median(errors) < 0.11  # 0.105 for `pair` on one pixel; else below 0.06
