"""What an accelerator answers: `Estimate` and its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.runtime.plain import from_plain, layout, to_plain

FORMER_ENGINES = {"sparse": "crossbar"}
"""Kinds of compute engine by the names that files of earlier versions have, and their names now."""


class CannotFit(ValueError):
    """No design of the network fits the device; the message names the layer and the resource."""


class TooSlow(CannotFit):
    """No design that fits reaches the throughput that was asked for."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources that a design takes.

    Args:
        dsp: DSP48 slices.
        bram18: 18-kbit block RAMs.
        uram: 288-kbit UltraRAMs.
        lut: look-up tables.
        ff: flip-flops.
        offchip_bits: bits moved off-chip for one image beside the image: weights, and FIFOs kept there.
    """

    dsp: int = 0
    bram18: int = 0
    uram: int = 0
    lut: int = 0
    ff: int = 0
    offchip_bits: int = 0

    @classmethod
    def of(cls, counts: Sequence[float] | NDArray[np.float64]) -> Resources:
        """Resources from numbers in the order of the fields, rounded."""
        return cls(*(round(float(count)) for count in counts))

    def scaled(self, copies: int) -> Resources:
        """The resources of `copies` copies."""
        return Resources(*(getattr(self, item.name) * copies for item in fields(self)))

    @classmethod
    def most(cls, several: Iterable[Resources]) -> Resources:
        """The largest amount of each, which a device must have that is reconfigured from one design to the next."""
        rows = list(several)
        return cls(*(max(getattr(row, item.name) for row in rows) for item in fields(cls)))


@dataclass(frozen=True, slots=True)
class LayerEstimate:
    """One operation in the chosen design. Fields that mean nothing on an accelerator keep their defaults.

    Args:
        name, kind: name and kind of the operation.
        interval_cycles: cycles per image when this operation is never starved or blocked.
        bound: what sets its interval: `compute`, `input`, `output` or `stream`; on an array `compute`, `tile`, `store`
            or `ddr`.
        engine: kind of its compute engines (`ComputeEngine`), or `array`; `stream` for operations without weights.
        lanes: whether each multiplier takes only positions of its own, and not any of the window's.
        multiplier: what its multipliers are made of, `dsp` or `lut`.
        filter_order: the order in which its filters are computed, where that is not the network's; else empty.
        folds: the design's parallelism by name (`i o g m N q p`, or `s` streams), or the tiles of an array.
        resources: resources of one replica.
        weights_in: where its weights are stored, or the FIFOs of a stream: `lutram`, `bram`, `uram`, `off_chip`, on an
            array `tile`, or empty.
        bands: how often off-chip weights are read for one image.
        initiation_interval: mean cycles of an initiation, t = E[max(t_min, ⌈nnz/N⌉)], waiting for other compute engines
            included.
        initiation_interval_of_mean: ⌈mean nnz / N⌉, the approximation that t replaces, for comparison.
        imbalance: the slowest parallel stream over the mean of all; contained in t.
        engine_fifo: rounds that a compute engine may be ahead of the slowest; 0 = in lock-step (or alone, or dense).
        waiting: mean cycles of a round over those that one compute engine by itself would take; contained in t.
        urgency: how many times faster than the pipeline it has to be, because whole maps wait for it.
        macs: multiply-accumulates of an image; 0 for streaming operations.
        pair_density: fraction of its pairs of weights and activations of which neither is zero.
        part: index of the part of a partitioned network that it belongs to.
        block_density: fraction of its blocks of weights that an array computes; None where zeros are not skipped so.
        block_imbalance: the block density of the busiest row of cores over that of the layer; None likewise.
        reason: why it is built with its kind of compute engine, in a few words; empty where there is no choice.
        weight_bits, activation_bits: bits of its weights, 0 where it has none, and of what it reads; 0 = unknown.
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
    block_density: float | None = None
    block_imbalance: float | None = None
    lanes: bool = False
    multiplier: str = "dsp"
    filter_order: tuple[int, ...] = ()
    reason: str = ""
    weight_bits: int = 0
    activation_bits: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the pipeline that the device is configured with at one time.

    Args:
        first, last: names of its first and last operation.
        interval_cycles, replicas: cycles between two images in one replica, and the number of replicas.
        resources: resources of all replicas.
    """

    first: str
    last: str
    interval_cycles: int
    replicas: int
    resources: Resources


@layout(also=("total_j",))
@dataclass(frozen=True, slots=True)
class Energy:
    """Joules per image, estimated from constants per operation and bit; only ratios should be trusted.

    Args:
        compute_j: for multiply-accumulates whose operands are both non-zero (for all of them in dense engines).
        onchip_j: for weights and activations moved on chip.
        offchip_j: for images in, results out, and weights read from off-chip memory.
        static_j: for static power over the time of one image.
    """

    compute_j: float
    onchip_j: float
    offchip_j: float
    static_j: float

    @property
    def total_j(self) -> float:
        """The sum of all terms, in joules."""
        return self.compute_j + self.onchip_j + self.offchip_j + self.static_j


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The reason why a design is not faster.

    Args:
        layer: name of the slowest operation.
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
    """Answer of an accelerator for one network and one sparsity profile.

    Args:
        throughput_ips: images/s of all replicas together, reconfiguration included.
        interval_cycles: cycles between two images in one replica; for a partitioned network, mean cycles per image of
            the whole device, reconfiguration included.
        latency_ms: time from an image's first pixel to its result in an empty pipeline, ms; for a partitioned network,
            the time of a whole batch.
        replicas: copies of the pipeline on the device; 1 if the network is partitioned (see `parts`).
        clock_mhz: clock, MHz.
        resources: resources of all replicas; with several parts, the largest of each.
        utilization: used fractions of the device's resources and off-chip bandwidth, by name.
        bottleneck: the slowest layer, the binding resource, and why.
        layers: one row per operation, in topological order.
        prices: −∂ log(throughput)/∂(pair density) of each compute layer, ≥ 0: what computing its pairs costs.
        weight_prices: −∂ log(throughput)/∂(weight density), ≥ 0: what its weights cost in addition, in memory, in
            bandwidth, and in the cycles of compute engines that skip zero weights alone.
        activation_prices: −∂ log(throughput)/∂(activation density), ≥ 0: what its activations cost in addition, in the
            cycles of compute engines that skip zero activations alone. Empty = zeros, as where zeros among activations
            gain nothing, and in answers of earlier versions.
        energy: energy per image.
        parts: the configurations that run one after another; one, unless the network is partitioned.
        slack: how much faster a design could be that the exploration did not rule out, as a fraction: its tolerance,
            or more where it left questions open; 0 = the optimum. For a rough answer only the folds looked at count.
        limits: the resources that count, and the fraction of the device's that a design may use; empty where a device
            is taken whole, as an array is.
        available: what the device has of each resource, by name, and its off-chip `bandwidth` in Gbit/s; empty where
            nothing can be said.
        objective: what the design is the best in: `throughput`, `latency`, `efficiency` or `energy`.
        sequential: whether layers run one after another, so that their intervals add up, as on an array of cores. Else
            all run at once, and the slowest sets the pace.
        cores: number of cores of an array; 0 elsewhere.
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
    activation_prices: Mapping[str, float] = field(default_factory=dict, repr=False)

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
        activation_prices: Mapping[str, float] = MappingProxyType({}),
    ) -> Estimate:
        """The estimate of an accelerator that runs layers one after another, so that their cycles add up.

        Args:
            layers: one row per operation, in topological order.
            clock_mhz, prices, weight_prices, energy, utilization, cores, activation_prices: as in the class.
            bottleneck: why it is not faster; by default the layer that takes longest.
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
            activation_prices=dict(activation_prices),
        )  # fmt: skip

    @property
    def area(self) -> float:
        """The fraction of the device's DSPs that the design takes; an array of cores is always taken whole."""
        return 1.0 if self.sequential else float(self.utilization.get("dsp", 1.0))

    @property
    def efficiency(self) -> float:
        """Throughput in images/s per DSP, on an array per core."""
        units = self.cores or self.resources.dsp
        return self.throughput_ips / units if units else 0.0

    @property
    def energy_j(self) -> float:
        """Energy of an image, J."""
        return self.energy.total_j

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
