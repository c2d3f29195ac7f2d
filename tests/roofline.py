"""An accelerator whose answers cost nothing, for tests of what happens between them, and searches on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from hass_train.hardware import Accelerator, Energy, Estimate, LayerEstimate, Resources, SparsityProfile, Workload
from tests.conftest import composed

NETWORK = (
    "model=timm", "model.name=resnet10t", "+model.kwargs.channels=[4,4,8,8]", "+model.kwargs.stem_width=4",
    "+model.kwargs.drop_rate=0.2", "data.size=8", "data.batch_size=16", "search.target_speedup=2",
    "search.calibration_images=8", "search.learning_steps=4", "search.queries=4", "debug=limit",
)  # fmt: skip


@dataclass(frozen=True)
class Roofline(Accelerator):
    """One multiplication a cycle, and none for zeros."""

    name: str = "roofline"

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """All layers in turn."""
        rows, prices = [], {}
        for one in workload:
            pairs = profile.layers[one.name].pair_density if one.is_compute else 1.0
            cycles, name = round(one.macs * pairs), one.name
            rows.append(
                LayerEstimate(
                    name, str(one.kind), cycles, "compute", "core", {}, Resources(), macs=one.macs, pair_density=pairs
                )
            )
            if one.is_compute:
                prices[one.name] = one.macs
        cycles = max(sum(row.interval_cycles for row in rows), 1)
        by_pairs = {name: macs / cycles for name, macs in prices.items()}
        return Estimate.of_layers(
            rows, 100.0, by_pairs, dict.fromkeys(prices, 0.0), Energy(1.0, 0.0, 0.0, 0.0), cores=1
        )


def quick(output: Path, *overrides: str, config_name: str = "search", **more: Any) -> DictConfig:
    """The configuration of a small search on the roofline, every phase of it with dropout."""
    config = composed(*NETWORK, *overrides, output=output, config_name=config_name, hardware=False, **more)
    with open_dict(config):
        config.hw = {"_target_": "tests.roofline.Roofline"}
    return config
