"""Run directories with all that other tools are given, made without a search."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from hass_train.export.design import DESIGN, save_design
from hass_train.export.fpgaconvnet import blocks
from hass_train.export.profile import PROFILE, save_profile
from hass_train.hardware import (
    DataflowAccelerator,
    DataflowOptions,
    Estimate,
    LayerSparsity,
    SparsityProfile,
    load_device,
)
from hass_train.hardware.dataflow.design import design_of
from hass_train.precision import IntegerNetwork, integer_graph
from tests.precision.networks import quantised

EXPRESSIBLE = {
    name.removeprefix("hw."): yaml.safe_load(value)
    for name, value in (one.split("=") for one in shlex.split(blocks.EXPRESSIBLE))
}
"""What `hass_train.export` asks for in the name of fpgaConvNet."""


def finished(
    folder: Path, model: nn.Module, size: int, level: float = 0.0, signed: bool = True, **options: Any
) -> Estimate:
    """Write the design, the integers and the sparsity of a network, and return the estimate of the design.

    Args:
        folder: the directory.
        model: a dense network, which is made sparse.
        size: height and width of its images.
        level: activation thresholds, in mean magnitudes of the inputs.
        signed: whether values of both signs have thresholds too.
        options: of the accelerator.
    """
    torch.manual_seed(0)
    workload = integer_graph(model.eval(), (3, size, size)).workload
    network = IntegerNetwork.of(quantised(model, size, level=level))
    if not signed:
        kept = (replace(one, threshold=one.threshold * (not one.sources[0].signed)) for one in network.operations)
        network = replace(network, operations=tuple(kept))
    device = load_device("zcu104")
    own = {"weight_bits": 8, "activation_bits": 8, "tolerance": 0.05, "max_replicas": 1, "partitions": "never"}
    chosen = DataflowOptions(**{**own, **options})
    sparsity = {
        one.name: LayerSparsity(
            0.5, 0.8, 0.4, channel_densities=tuple(0.3 + 0.2 * k / max(one.source.channels - 1, 1)
                                                   for k in range(one.source.channels))
        ) for one in workload.compute_layers
    }  # fmt: skip
    profile = SparsityProfile(sparsity)
    estimate = DataflowAccelerator(device, chosen).estimate(workload, profile)
    design = design_of(workload, estimate, {**asdict(device), **asdict(chosen)})
    folder.mkdir(parents=True, exist_ok=True)
    save_design(folder / DESIGN, design, workload, estimate)
    save_profile(folder / PROFILE, workload, profile)
    network.save(folder)
    return estimate
