"""What a hardware model answers, and the protocol it answers by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import Workload
from hass_train.runtime.plain import from_plain, layout, to_plain


class CannotFit(ValueError):
    """No design of the network fits the device; the message names layer and resource."""


class TooSlow(CannotFit):
    """What fits does not reach the throughput that was asked for."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a design spends.

    Args:
        dsp: DSP48 slices.
        bram18: 18-kbit block RAMs.
        uram: 288-kbit UltraRAMs.
        lut: look-up tables.
        ff: flip-flops.
        offchip_bits: bits moved off-chip for one image beside itself: weights read, deep FIFOs written and read.
    """

    dsp: int = 0
    bram18: int = 0
    uram: int = 0
    lut: int = 0
    ff: int = 0
    offchip_bits: int = 0

    @classmethod
    def of(cls, counts: Sequence[float] | NDArray[np.float64]) -> Resources:
        """From numbers in the order of the fields."""
        return cls(*(round(float(count)) for count in counts))

    def scaled(self, copies: int) -> Resources:
        return Resources(*(getattr(self, item.name) * copies for item in fields(self)))

    @classmethod
    def most(cls, several: Iterable[Resources]) -> Resources:
        """The largest of each: what a device must have that is reconfigured from one to the next."""
        rows = list(several)
        return cls(*(max(getattr(row, item.name) for row in rows) for item in fields(cls)))


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """One operation in the chosen design.

    Args:
        name, kind: of the operation.
        interval_cycles: cycles per image when this operation is never starved or blocked.
        bound: what its interval is made of: `compute`, `input`, `output` or `stream`.
        engine: `dense`, `sparse`, or `stream` for operations without weights.
        folds: the design's parallelism by name (`i o g m N q p`, or `s` streams).
        initiation_interval: mean cycles per initiation, t = E[max(t_min, ⌈nnz/N⌉)], waiting for other engines included.
        initiation_interval_of_mean: ⌈mean nnz / N⌉, the approximation that t replaces; for comparison.
        imbalance: slowest parallel stream over the mean of all; contained in t.
        engine_fifo: rounds that each engine may be ahead of the slowest; 0 = in lock-step (or alone, or dense).
        waiting: mean cycles of a round over those that one engine alone would take; contained in t.
        resources: of one replica.
        weights_in: where its weights live, or the FIFOs of a stream: `lutram`, `bram`, `uram`, `off_chip`, or empty.
        bands: how often off-chip weights are read for one image.
        urgency: how many times faster than the pipeline it has to be, because whole maps wait for it.
        macs, pair_density: of the layer (0 and 1 for streaming operations).
        part: which part of a partitioned network it belongs to, from 0.
    """

    name: str
    kind: str
    interval_cycles: int
    bound: str
    engine: str
    folds: Mapping[str, int]
    resources: Resources
    weights_in: str = ""
    bands: int = 1
    initiation_interval: float = 1.0
    initiation_interval_of_mean: float = 1.0
    imbalance: float = 1.0
    engine_fifo: int = 0
    waiting: float = 1.0
    urgency: int = 1
    macs: int = 0
    pair_density: float = 1.0
    part: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One configuration of the device: a stretch of the pipeline that fits it.

    Args:
        first, last: names of its first and last operation.
        interval_cycles, replicas: as in `Estimate`.
        resources: of all its replicas.
    """

    first: str
    last: str
    interval_cycles: int
    replicas: int
    resources: Resources


@layout(also=("total_j",))
@dataclass(frozen=True, slots=True)
class Energy:
    """Joules per image. An estimate from constants per operation and bit; only ratios should be trusted.

    Args:
        compute_j: multiply-accumulates whose operands are both non-zero (all of them in dense engines).
        onchip_j: weights and activations moved on chip.
        offchip_j: images in, results out, weights read from off-chip memory.
        static_j: static power over the time of one image.
    """

    compute_j: float
    onchip_j: float
    offchip_j: float
    static_j: float

    @property
    def total_j(self) -> float:
        return self.compute_j + self.onchip_j + self.offchip_j + self.static_j


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Why the design is not faster.

    Args:
        layer: the slowest operation.
        resource: the resource that binds, or `parallelism` if a layer is as parallel as it can be.
        reason: one sentence for people.
        hint: a setting that may help, in a sentence; empty if none is known.
    """

    layer: str
    resource: str
    reason: str
    hint: str = ""


@layout(also=("efficiency",))
@dataclass(frozen=True)
class Estimate:
    """Answer of a hardware model for one network and one sparsity profile.

    Args:
        throughput_ips: images/s, all replicas together, reconfiguration included.
        interval_cycles: cycles between two images in one replica; of a partitioned network, mean cycles per image of
            the whole device, reconfiguration included.
        latency_ms: from an image's first pixel to its result, pipeline full of nothing else; of a partitioned network,
            the time of a whole batch.
        replicas: copies of the pipeline on the device; 1 if partitioned, see `parts`.
        clock_mhz: clock.
        resources: of all replicas; the largest of all parts.
        utilization: resources and off-chip bandwidth as fractions of the device's, by name.
        bottleneck: the slowest layer, the binding resource, and why.
        layers: one row per operation, in topological order.
        prices: −∂ log(throughput)/∂(pair density) of each compute layer, ≥ 0: what computing its pairs costs.
        weight_prices: −∂ log(throughput)/∂(weight density), ≥ 0: what keeping its weights costs, beside computing.
        energy: joules per image.
        parts: the configurations that run one after another; one, unless the network is partitioned.
        sequential: layers run one after another and their intervals add up, as on an array of cores; else all at once,
            and the slowest sets the pace.
        cores: of an array; 0 elsewhere.
        slack: how much faster a design could be that the exploration did not rule out, as a fraction: its tolerance,
            or more where it left questions open; 0 = the optimum. Of a rough answer it speaks of the folds looked at.
        limits: the resources that count, and the fraction of the device's that a design may use; empty where a device
            is taken whole, as an array is.
        available: what the device has of each resource, by name, and its off-chip `bandwidth` in Gbit/s; empty where
            nothing can be said.
        objective: what the design is the best in: `throughput`, `latency`, `efficiency` or `energy`.
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
    energy: Energy
    parts: tuple[Part, ...] = field(repr=False)
    slack: float = 0.0
    sequential: bool = False
    cores: int = 0
    limits: Mapping[str, float] = field(default_factory=dict, repr=False)
    available: Mapping[str, float] = field(default_factory=dict, repr=False)
    objective: str = "throughput"

    @classmethod
    def of_layers(
        cls,
        layers: Sequence[LayerEstimate],
        clock_mhz: float,
        prices: Mapping[str, float],
        weight_prices: Mapping[str, float],
        energy: Energy,
        utilization: Mapping[str, float] = MappingProxyType({}),
        bottleneck: Bottleneck | None = None,
        cores: int = 0,
    ) -> Estimate:
        """Of an accelerator that runs layers one after another, one image at a time: their cycles add up.

        Args:
            layers: one row per operation, in topological order.
            clock_mhz, prices, weight_prices, energy, utilization, cores: as in the class.
            bottleneck: by default the layer that takes longest.
        """
        cycles = max(sum(row.interval_cycles for row in layers), 1)
        if bottleneck is None:
            slowest = max(layers, key=lambda row: row.interval_cycles)
            share = slowest.interval_cycles / cycles
            bottleneck = Bottleneck(slowest.name, slowest.bound, f"{slowest.name} takes {share:.0%} of the time")
        used = Resources(offchip_bits=sum(row.resources.offchip_bits for row in layers))
        hz = 1e6 * clock_mhz
        return cls(
            throughput_ips=hz / cycles, interval_cycles=cycles, latency_ms=1e3 * cycles / hz, replicas=1,
            clock_mhz=clock_mhz, resources=used, utilization=dict(utilization), bottleneck=bottleneck,
            layers=tuple(layers), prices=prices, weight_prices=weight_prices, energy=energy,
            parts=(Part(layers[0].name, layers[-1].name, cycles, 1, used),), sequential=True, cores=cores,
        )  # fmt: skip

    @property
    def area(self) -> float:
        """Share of the device's multipliers that the design takes: of the DSPs; what has none is taken whole."""
        return 1.0 if self.sequential else float(self.utilization.get("dsp", 1.0))

    @property
    def efficiency(self) -> float:
        """Images/s per DSP; of an array, per core."""
        units = self.cores or self.resources.dsp
        return self.throughput_ips / units if units else 0.0

    def slowest(self, count: int) -> list[LayerEstimate]:
        """The `count` operations with the longest intervals, longest first."""
        return sorted(self.layers, key=lambda layer: -layer.interval_cycles)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the efficiency and the whole energy for those who read it elsewhere."""
        return to_plain(self)  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, data: Any) -> Estimate:
        """The inverse of `to_dict`, exactly.

        Raises:
            ValueError: a key is missing, or a value is of another type; one line that names the place.
        """
        return from_plain(data, cls)


class HardwareModel(Protocol):
    """An accelerator family behind `hw=`: one question, one answer."""

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """Best design for the network at this sparsity.

        Raises:
            CannotFit: no design fits the device.
            ValueError: the profile's layers do not match the workload's.
        """
        ...
