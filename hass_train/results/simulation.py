"""What a simulation of a design found: simulation.json, and a part of result.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hass_train.hardware.dataflow.simulator.results import Simulation
from hass_train.runtime.plain import layout, to_plain

SCHEMA = 1


@layout(also=("error",))
@dataclass(frozen=True)
class PartSimulation:
    """One configuration of the device, simulated.

    Args:
        analytical_cycles: cycles between two images by the analytical model.
        simulated: what the simulation measured with the design's FIFOs.
        unlimited_cycles: simulated cycles between two images with infinite FIFOs.
        fifos: depths of the design's FIFOs, in entries, by their names.
        sized: the smallest depths that keep the interval, where they were asked for.
    """

    analytical_cycles: int
    simulated: Simulation
    unlimited_cycles: float
    fifos: Mapping[str, int] = field(repr=False)
    sized: Mapping[str, int] | None = field(default=None, repr=False)

    @property
    def error(self) -> float:
        """Simulated over analytical interval, less one; positive where the model promised too much."""
        return self.simulated.interval_cycles / self.analytical_cycles - 1


@layout(also=("error",))
@dataclass(frozen=True)
class DesignSimulation:
    """A whole design, simulated.

    Args:
        network, device: their names.
        clock_mhz: the device's clock in MHz.
        images: how many real images were played.
        parts: the configurations that run one after another; one, unless the network is partitioned.
    """

    network: str
    device: str
    clock_mhz: float
    images: int
    parts: tuple[PartSimulation, ...]

    @property
    def error(self) -> float:
        """The error of the part that the analytical model judged worst, as a fraction."""
        return max((part.error for part in self.parts), key=abs)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the content of simulation.json."""
        return {"schema": SCHEMA, **to_plain(self)}
