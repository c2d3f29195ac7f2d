"""A network's design tables within a device's limits, and the parts that it may be cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.branches import fill
from hass_train.hardware.dataflow.designs.tables import Table
from hass_train.hardware.dataflow.exploration.demand import Limits
from hass_train.hardware.dataflow.exploration.explore import Explorer
from hass_train.hardware.dataflow.exploration.selection import PipelineDesign
from hass_train.hardware.dataflow.options import LIMITS, DataflowOptions
from hass_train.hardware.device import Device
from hass_train.hardware.workload import Workload


@dataclass(frozen=True, slots=True)
class ExploredPart:
    """A part of a network, operations start … end−1 in one configuration of the device, with its design."""

    start: int
    end: int
    design: PipelineDesign


def budget_of(device: Device, options: DataflowOptions) -> NDArray[np.float64]:
    """(6,) what a design may spend; infinite for a resource that does not count.

    The last, off-chip bits per image, depends on the interval (`Limits.budget`); here it only says whether they count.
    """
    usable = [
        np.floor(getattr(device, name) * options.usable(name)) if name in options.limits else np.inf
        for name in LIMITS[:-1]
    ]
    return np.array([*usable, np.finfo(float).max if "bandwidth" in options.limits else np.inf])


@dataclass(frozen=True)
class Network:
    """A network at one sparsity, as the exploration sees it.

    Args:
        workload: the network.
        tables: the designs of its operations, in the same order; each table has at least one.
        device: what may be spent.
        options: design rules.
    """

    workload: Workload
    tables: Sequence[Table]
    device: Device
    options: DataflowOptions

    def limits(self, start: int = 0, end: int | None = None) -> Limits:
        """What a design of operations start … end−1 may spend; the maps that cross its ends share the bandwidth."""
        ends = (start, len(self.workload.operations) if end is None else end)
        bits = sum(self.workload.crossing_bits(cut, self.options.activation_bits) for cut in ends)
        bits_per_cycle = np.inf
        if "bandwidth" in self.options.limits:
            bits_per_cycle = self.device.bandwidth_gbps * 1e3 / self.device.clock_mhz
        counts = budget_of(self.device, self.options)[:-1]
        return Limits(counts, bits_per_cycle, bits)

    def explorer(
        self, start: int, end: int, tolerance: float, prove: bool, proofs: Sequence[NDArray[np.float64]] = ()
    ) -> Explorer:
        """An explorer of operations start … end−1 as one configuration."""
        return Explorer(self.tables[start:end], self.limits(start, end), tolerance, prove, proofs)

    def useful_cuts(self) -> list[int]:
        """The cuts worth considering: of neighbouring ones without a multiplier between, that with the smallest map."""
        workload = self.workload
        kept: list[int] = []
        for cut in workload.cuts():
            between = workload.operations[kept[-1] if kept else 0 : cut]
            if any(operation.multiplies for operation in between):
                kept.append(cut)
            elif kept and workload.crossing(cut).words < workload.crossing(kept[-1]).words:
                kept[-1] = cut
        return kept

    @property
    def clock_hz(self) -> float:
        """The clock of the device, Hz."""
        return self.device.clock_mhz * 1e6

    def part_seconds(self, part: ExploredPart) -> float:
        """The seconds that a batch spends in one part: its images, and the depth of the pipeline to fill."""
        depth = sum(fill(o) for o in self.workload.operations[part.start : part.end])
        images = ceil_div(self.options.batch, part.design.replicas)
        return (images + depth) * part.design.interval / self.clock_hz

    def batch_seconds(self, parts: Sequence[ExploredPart]) -> float:
        """The seconds that a batch takes in all parts, one after another, with reconfiguration if there are several."""
        reconfigured = len(parts) if len(parts) > 1 else 0
        return sum(map(self.part_seconds, parts)) + reconfigured * self.device.reconfiguration_s
