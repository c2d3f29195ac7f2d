"""What a hardware model answers, and the protocol it answers by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import Workload


class CannotFit(ValueError):
    """No design of the network fits the device; the message names layer and resource."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a design spends.

    Args:
        dsp: DSP48 slices.
        bram18: 18-kbit block RAMs.
        uram: 288-kbit UltraRAMs.
        offchip_bits: weight bits read from off-chip memory for one image.
    """

    dsp: int = 0
    bram18: int = 0
    uram: int = 0
    offchip_bits: int = 0

    def scaled(self, copies: int) -> Resources:
        return Resources(self.dsp * copies, self.bram18 * copies, self.uram * copies, self.offchip_bits * copies)


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """One operation in the chosen design.

    Args:
        name, kind: of the operation.
        interval_cycles: cycles per image when this operation is never starved or blocked.
        bound: what its interval is made of: `compute`, `input`, `output` or `stream`.
        engine: `dense`, `sparse`, or `stream` for operations without weights.
        folds: the design's parallelism by name (`i o g m N`, or `s` streams).
        initiation_interval: mean cycles per initiation, t = E[max(t_min, ⌈nnz/N⌉)].
        initiation_interval_of_mean: ⌈mean nnz / N⌉, the approximation that t replaces; for comparison.
        resources: of one replica.
        weights_in: where its weights live: `lutram`, `bram`, `uram`, `off_chip`, or empty if it has none.
        macs, pair_density: of the layer (0 and 1 for streaming operations).
    """

    name: str
    kind: str
    interval_cycles: int
    bound: str
    engine: str
    folds: Mapping[str, int]
    resources: Resources
    weights_in: str = ""
    initiation_interval: float = 1.0
    initiation_interval_of_mean: float = 1.0
    macs: int = 0
    pair_density: float = 1.0


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Why the design is not faster.

    Args:
        layer: the slowest operation.
        resource: the resource that binds, or `parallelism` if a layer is as parallel as it can be.
        reason: one sentence for people.
    """

    layer: str
    resource: str
    reason: str


@dataclass(frozen=True)
class Estimate:
    """Answer of a hardware model for one network and one sparsity profile.

    Args:
        throughput_ips: images/s, all replicas together.
        interval_cycles: cycles between two images in one replica.
        latency_ms: from an image's first pixel to its result, pipeline full of nothing else.
        replicas: copies of the pipeline on the device.
        clock_mhz: clock.
        resources: of all replicas.
        utilization: resources and off-chip bandwidth as fractions of the device's, by name.
        bottleneck: the slowest layer, the binding resource, and why.
        layers: one row per operation, in topological order.
        prices: −∂ log(throughput)/∂(pair density) of each compute layer, ≥ 0: what computing its pairs costs.
        weight_prices: −∂ log(throughput)/∂(weight density), ≥ 0: what keeping its weights costs, beside computing.
    """

    throughput_ips: float
    interval_cycles: int
    latency_ms: float
    replicas: int
    clock_mhz: float
    resources: Resources
    utilization: Mapping[str, float]
    bottleneck: Bottleneck
    layers: tuple[LayerEstimate, ...] = field(repr=False)
    prices: Mapping[str, float] = field(repr=False)
    weight_prices: Mapping[str, float] = field(repr=False)

    @property
    def efficiency(self) -> float:
        """Images/s per DSP."""
        return self.throughput_ips / self.resources.dsp if self.resources.dsp else 0.0

    def slowest(self, count: int) -> list[LayerEstimate]:
        """The `count` operations with the longest intervals, longest first."""
        return sorted(self.layers, key=lambda layer: -layer.interval_cycles)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers], "efficiency": self.efficiency}


class HardwareModel(Protocol):
    """An accelerator family behind `hw=`: one question, one answer."""

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """Best design for the network at this sparsity.

        Raises:
            CannotFit: no design fits the device.
            ValueError: the profile's layers do not match the workload's.
        """
        ...
