"""The design behind an estimate: every fold and FIFO, for those who build or simulate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.estimate import Estimate
from hass_train.hardware.workload import Workload


@dataclass(frozen=True)
class PartDesign:
    """One configuration of the device.

    Args:
        start, end: its operations are start … end−1.
        designs: of them.
        intervals: cycles an image of each by itself, by name.
        fifos: depths in entries, by name (`Pipeline.fifos`).
        interval_cycles, replicas: of the part, as the analytical model has it.
        offchip_bits: moved for one image.
    """

    start: int
    end: int
    designs: tuple[StageDesign, ...]
    intervals: Mapping[str, int]
    fifos: Mapping[str, int]
    interval_cycles: int
    replicas: int
    offchip_bits: int


@dataclass(frozen=True)
class Design:
    """What design.json says.

    Args:
        network, input_shape: that it is for.
        hardware: device and design rules.
        parts: configurations that run one after another; usually one.
    """

    network: str
    input_shape: tuple[int, int, int]
    hardware: dict[str, Any]
    parts: tuple[PartDesign, ...]


def design_of(workload: Workload, estimate: Estimate, hardware: dict[str, Any]) -> Design:
    """The design of an estimate, FIFO depths by the rule.

    Args:
        workload, estimate: network and chosen design.
        hardware: device and design rules as plain data.
    """
    from hass_train.hardware.dataflow.simulator.depths import rule  # late: the simulator brings numba
    from hass_train.hardware.dataflow.simulator.pipeline import Pipeline

    parts = []
    start = 0
    for number, part in enumerate(estimate.parts):
        rows = [row for row in estimate.layers if row.part == number]
        end = start + len(rows)
        stretch = workload if len(estimate.parts) == 1 else workload.part(start, end)
        designs = tuple(StageDesign.of(row) for row in rows)
        intervals = {row.name: row.interval_cycles for row in rows}
        moved = sum(workload.crossing_bits(cut, int(hardware["activation_bits"])) for cut in (start, end))
        bits = moved + sum(row.resources.offchip_bits for row in rows)
        fifos = rule(Pipeline(stretch, designs), intervals, {row.name: row.urgency for row in rows})
        parts.append(PartDesign(start, end, designs, intervals, fifos, part.interval_cycles, part.replicas, bits))
        start = end
    return Design(workload.name, workload.input_shape, hardware, tuple(parts))
