"""Batch norms: free where they fold into the layer before them, else a product and a sum."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hass_train.hardware import (
    AieAccelerator,
    AieArray,
    DataflowAccelerator,
    OperationKind,
    SparsityProfile,
    UnsupportedOperation,
    Workload,
    load_device,
    trace,
)
from hass_train.hardware.dataflow.simulator.depths import rule
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline
from hass_train.hardware.dataflow.simulator.stages import StageDesign

SIZE = (3, 8, 8)


class Affine(nn.Module):
    """What a batch norm computes in the end, written out."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        shape = (-1, *[1] * (2 if isinstance(norm, nn.BatchNorm2d) else 0))
        self.scale = nn.Parameter(torch.ones(norm.num_features).reshape(shape))
        self.shift = nn.Parameter(torch.zeros(norm.num_features).reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Block(nn.Module):
    """A convolution, another one, and something between them with a batch norm in it."""

    def __init__(self, between: Callable[[Block, Tensor], Tensor], written_out: bool = False, **layer: object) -> None:
        super().__init__()
        self.first, self.other = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(3, 4, 1)
        self.norm: nn.Module = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 4, 3, **layer)  # type: ignore[arg-type]
        if written_out:
            self.norm = Affine(self.norm)  # type: ignore[arg-type]
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self, x))


def scales(workload: Workload) -> list[str]:
    return [o.name for o in workload if o.function == "constant" and o.kind is OperationKind.MULTIPLY]


FOLDED: dict[str, Callable[[Block, Tensor], Tensor]] = {
    "behind a convolution": lambda m, x: m.norm(m.first(x)),
    "and dropout": lambda m, x: m.norm(nn.functional.dropout(m.first(x), 0.5, training=False)),
    "behind another one": lambda m, x: m.norm(m.norm(m.first(x))),
    "behind a scalar": lambda m, x: m.norm(2.0 * m.first(x)),
    "behind convolutions side by side": lambda m, x: m.norm(torch.cat([m.first(x), m.other(x)], 2)),
}
COSTED: dict[str, Callable[[Block, Tensor], Tensor]] = {
    "behind an activation": lambda m, x: m.norm(m.first(x).relu()),
    "behind a sum": lambda m, x: m.norm(m.first(x) + m.other(x)),
    "of what others read": lambda m, x: m.norm(y := m.first(x)) + y.relu(),
    "side by side with what others read": lambda m, x: (
        m.norm(torch.cat([y := m.first(x), m.other(x)], 2)) + torch.cat([y, y], 2)
    ),
    "behind a pool": lambda m, x: m.norm(nn.functional.avg_pool2d(m.first(x), 2)),
}


@pytest.mark.parametrize("case", FOLDED)
def test_what_folds_is_free(case: str) -> None:
    workload = trace(Block(FOLDED[case]), SIZE)
    assert not scales(workload)
    assert {o.kind for o in workload} <= {OperationKind.CONV, OperationKind.CONCAT}


@pytest.mark.parametrize("case", COSTED)
def test_what_does_not_fold_costs_what_it_costs_written_out(case: str) -> None:
    """In the dataflow model, its simulator and on an array: the same operations, so the same everything."""
    normed, written = (trace(Block(COSTED[case], written, padding=1), SIZE) for written in (False, True))
    assert scales(normed) == ["norm.mul"]
    assert list(normed) == list(written)
    profile = SparsityProfile.dense(normed)
    accelerator = DataflowAccelerator(load_device("zcu104"))
    free = [o for o in normed if not o.name.startswith("norm.")]
    estimate = accelerator.estimate(normed, profile)
    rows = {row.name: row for row in estimate.layers}
    assert estimate == DataflowAccelerator(load_device("zcu104")).estimate(written, profile)
    assert rows["norm.mul"].resources.dsp > 0
    assert rows["norm.mul"].resources.lut > 0
    assert rows["norm.add"].resources.lut > 0
    assert len(free) == len(estimate.layers) - 2
    pipeline = Pipeline(normed, [StageDesign.of(row) for row in estimate.layers])
    depths = rule(
        pipeline,
        {row.name: row.interval_cycles for row in estimate.layers},
        {row.name: row.urgency for row in estimate.layers},
    )
    assert "norm.add" in [stage.name for stage in pipeline.play(6, depths, settle=3).stages]
    array = AieAccelerator(AieArray("x", 2, 2)).estimate(normed, profile)
    assert {row.name: row.interval_cycles for row in array.layers}["norm.mul"] > 0


def test_a_batch_norm_before_the_first_convolution() -> None:
    """It never folds forwards: the layer behind it skips zeros of what it makes, and pads that with zeros."""
    for padding in (0, 1):
        workload = trace(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=padding)), SIZE)
        assert [o.name for o in workload] == ["0.mul", "0.add", "1"]
        assert workload["0.mul"].inputs == ("input",)


def test_features_of_linear_layers() -> None:
    """One scale for each feature folds; one for each feature and pixel does not."""
    tokens = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(2), nn.BatchNorm1d(4))
    assert not scales(trace(tokens, SIZE))
    whole = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.BatchNorm1d(256), nn.Linear(256, 2), nn.BatchNorm1d(2))
    assert scales(trace(whole, SIZE)) == ["2.mul"]


def test_statistics_of_each_batch_are_refused() -> None:
    with pytest.raises(UnsupportedOperation, match="without running statistics"):
        trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)), SIZE)


@pytest.mark.parametrize(("name", "count"), [("densenet121", 4 + 1 + 1), ("test_resnet", 0), ("test_efficientnet", 0)])
def test_known_networks(name: str, count: int) -> None:
    """A DenseNet's dense layers and its transition begin with one, and one ends it; the others follow layers."""
    small = {"block_config": (2, 2), "growth_rate": 4} if name == "densenet121" else {}
    assert len(scales(trace(timm.create_model(name, **small), (3, 32, 32), name))) == count


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["conv", "norm", "relu", "join"]), min_size=1, max_size=6))
def test_chains(steps: list[str]) -> None:
    """All count but those behind a convolution, with nothing but others between."""
    modules: list[nn.Module] = []
    expected, foldable = 0, False
    for step in steps:
        modules.append(
            {"conv": nn.Conv2d(3, 3, 1), "norm": nn.BatchNorm2d(3), "relu": nn.ReLU(), "join": _Join()}[step]
        )
        expected += step == "norm" and not foldable
        foldable = step == "conv" or (foldable and step == "norm")
    assert len(scales(trace(nn.Sequential(*modules, nn.Conv2d(3, 2, 1)), (3, 4, 4)))) == expected


class _Join(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.relu()
