"""The dataflow accelerator as a hardware model: best design, its estimate, its bottleneck, its prices."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from hass_train.hardware.dataflow.bottleneck import explain
from hass_train.hardware.dataflow.cycles import dsp_of_multipliers
from hass_train.hardware.dataflow.designs import designs_of
from hass_train.hardware.dataflow.explore import RESOURCES, Exploration, Limits, explore
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.dataflow.prices import LayerDemand, Usage, smooth_prices
from hass_train.hardware.dataflow.tables import Designs
from hass_train.hardware.device import Device
from hass_train.hardware.estimate import Estimate, LayerEstimate, Resources
from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, Operation, OperationKind, Workload

_TABLES = 512  # design tables kept between queries; large layers take a few MB each
_BRAM18_BITS, _URAM_BITS = 18 * 1024, 288 * 1024


class DataflowAccelerator:
    """A layer-pipelined accelerator of sparse vector dot-product engines on an FPGA.

    Args:
        device: what may be spent.
        options: design rules.
        tolerance: how far below the optimum the throughput may be, as a fraction; 0 = exact. A small one saves the
            last steps of proof, for those who ask often.
    """

    def __init__(self, device: Device, options: DataflowOptions | None = None, tolerance: float = 0.0) -> None:
        self.device = device
        self.tolerance = tolerance
        self.options = options or DataflowOptions()
        self._tables: OrderedDict[tuple[object, ...], Designs] = OrderedDict()

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """Fastest design at this sparsity.

        Raises:
            CannotFit: no design fits the device.
            ValueError: the profile's layers do not match the workload's.
        """
        profile.check_covers(workload)
        tables = [self._designs(operation, profile.layers.get(operation.name)) for operation in workload]
        limits = self.limits(workload)
        found = explore(tables, limits, self.options.max_replicas, self.tolerance)
        chosen = zip(tables, workload, found.designs, found.weights_in, strict=True)
        rows = tuple(table.describe(operation, design, place) for table, operation, design, place in chosen)
        utilization = self._utilization(limits, found)
        prices, weight_prices = self._prices(workload, profile, tables, rows, found, utilization)
        clock = self.device.clock_mhz * 1e6
        return Estimate(
            throughput_ips=found.replicas * clock / found.interval,
            interval_cycles=found.interval,
            latency_ms=latency_cycles(workload, rows, found.interval) / clock * 1e3,
            replicas=found.replicas,
            clock_mhz=self.device.clock_mhz,
            resources=Resources(*found.resources.tolist()).scaled(found.replicas),
            utilization=utilization,
            bottleneck=explain(rows, found, limits, self.options.max_replicas),
            layers=rows,
            prices=prices,
            weight_prices=weight_prices,
        )

    def limits(self, workload: Workload) -> Limits:
        """What a design of this network may spend on the device."""
        device, options = self.device, self.options
        usable = (
            device.dsp * options.max_dsp_utilization,
            device.bram18 * options.max_bram_utilization,
            device.uram * options.max_uram_utilization,
        )
        words = math.prod(workload.input_shape) + workload.operations[-1].result.words
        bits_per_cycle = device.bandwidth_gbps * 1e3 / device.clock_mhz
        return Limits(np.array(usable).astype(np.int64), bits_per_cycle, words * options.activation_bits)

    def _designs(self, operation: Operation, sparsity: LayerSparsity | None) -> Designs:
        """The operation's design table, from the cache if its geometry was seen at this sparsity."""
        key = (operation.geometry, _sparsity_key(sparsity))
        if key in self._tables:
            self._tables.move_to_end(key)
            return self._tables[key]
        table = designs_of(operation, sparsity, self.options)
        self._tables[key] = table
        if len(self._tables) > _TABLES:
            self._tables.popitem(last=False)
        return table

    def _utilization(self, limits: Limits, found: Exploration) -> dict[str, float]:
        available = (self.device.dsp, self.device.bram18, self.device.uram)
        used = {
            name: float(count * found.replicas / max(limit, 1))
            for name, count, limit in zip(RESOURCES, found.resources, available, strict=False)
        }
        bits = (found.resources[3] + limits.image_bits) * found.replicas / found.interval
        return {**used, "bandwidth": float(bits / limits.bits_per_cycle) if limits.bits_per_cycle else 0.0}

    def _prices(
        self,
        workload: Workload,
        profile: SparsityProfile,
        tables: Sequence[Designs],
        rows: Sequence[LayerEstimate],
        found: Exploration,
        utilization: dict[str, float],
    ) -> tuple[dict[str, float], dict[str, float]]:
        options, device = self.options, self.device
        per_mac = float(dsp_of_multipliers(4, options.activation_bits, options.weight_bits)) / 4
        layers = []
        for operation, table in zip(workload, tables, strict=True):
            if not operation.is_compute:
                continue
            sparsity, bits = profile.layers[operation.name], operation.weights * options.weight_bits
            stored = options.stored_fraction(sparsity.weight_density)
            layers.append(
                LayerDemand(
                    operation.name,
                    operation.macs * per_mac,
                    sparsity.pair_density,
                    int(table.staircase[1][-1]),
                    bits,
                    bits * stored,
                    options.weights == "compressed",
                )
            )
        memory = device.bram18 * _BRAM18_BITS + device.uram * _URAM_BITS
        held = int(found.resources[1]) * _BRAM18_BITS + int(found.resources[2]) * _URAM_BITS
        may_copy = not options.max_replicas or found.replicas < options.max_replicas
        usage = Usage(
            dsp=utilization["dsp"] / options.max_dsp_utilization,
            memory=held * found.replicas / max(memory, 1),
            bandwidth=utilization["bandwidth"],
            parallelism=0.0 if may_copy else int(found.demand.intervals[0]) / found.interval,
        )
        other = sum(row.resources.dsp for row in rows if row.engine == "stream")
        pairs, weights = smooth_prices(layers, found.interval, other, float(found.resources[3]), usage)
        return dict(pairs), dict(weights)


def _sparsity_key(sparsity: LayerSparsity | None) -> tuple[object, ...]:
    if sparsity is None:
        return ()
    return (sparsity.pair_density, sparsity.weight_density, tuple(sorted(sparsity.histograms.items())))


def latency_cycles(workload: Workload, rows: Sequence[LayerEstimate], interval: int) -> float:
    """Cycles from an image's first pixel to its last result.

    Every operation waits for the pixels of its first window, which arrive at the pipeline's rate, and takes one pixel's
    share of its own interval; a global pool waits for the whole map. The longest path through the graph, plus one
    interval for the image itself.
    """
    ready = {NETWORK_INPUT: 0.0}
    for operation, row in zip(workload, rows, strict=True):
        start = max(ready[name] for name in operation.inputs)
        ready[operation.name] = start + _fill(operation, row) * interval + row.interval_cycles / operation.result.pixels
    return max(ready.values()) + interval


def _fill(operation: Operation, row: LayerEstimate) -> float:
    """Fraction of the input map that must arrive before the first output pixel."""
    if operation.kind is OperationKind.GLOBAL_POOL or row.weights_in == "off_chip":
        return 1.0
    rows = operation.kernel[0] - 1 - operation.padding[0]
    columns = operation.kernel[1] - 1 - operation.padding[1]
    return max(rows * operation.source.width + columns, 0) / operation.source.pixels
