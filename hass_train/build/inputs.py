"""What a run holds that an accelerator is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from hass_train.build.folds import check_folds
from hass_train.export.design import DESIGN, design_rows, load_design, only_part
from hass_train.export.integers import load_integers
from hass_train.hardware.dataflow.design import Design
from hass_train.hardware.dataflow.simulator.results import Simulation
from hass_train.hardware.device import Device
from hass_train.hardware.estimate import Resources
from hass_train.precision.integer_network import IntegerNetwork
from hass_train.results.result import Result
from hass_train.runtime.errors import UserError
from hass_train.runtime.plain import from_plain


@dataclass(frozen=True)
class Inputs:
    """The files of a finished search.

    Args:
        design: its design.
        device: the device that the design is for.
        network: its integer network.
        result: what it found.
        estimated: what the design says that each layer takes, by name.
    """

    design: Design
    device: Device
    network: IntegerNetwork
    result: Result
    estimated: Mapping[str, Resources]

    @classmethod
    def read(cls, folder: Path) -> Inputs:
        """Read a run's directory.

        Raises:
            UserError: a file is missing or contradicts another one, the network computes with floating-point numbers,
                or its accelerator has no design; one line.
        """
        if not folder.is_dir():
            raise UserError(f"there is no run directory {folder}")
        result = Result.load(folder)
        network = load_integers(folder, "accelerators are built of integers")
        design = load_design(folder)
        only_part(design, folder, "none of them is generated")
        check_folds(design, network)
        rows = design_rows(folder)
        try:
            own = {one.name: design.hardware[one.name] for one in fields(Device) if one.name in design.hardware}
            device = Device(**own)
            estimated = {str(row["name"]): from_plain(row["resources"], Resources) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder / DESIGN} is no design: {type(error).__name__} {error}") from error
        return cls(design, device, network, result, estimated)

    @property
    def latency_cycles(self) -> int:
        """Cycles of one image from its first word to its last answer, by the analytical model."""
        return round(self.result.sparse.estimate.latency_ms * 1e3 * self.device.clock_mhz)

    @property
    def simulation(self) -> Simulation | None:
        """What the simulator measured of the design, where the search simulated it."""
        found = self.result.simulation
        return None if found is None else found.parts[0].simulated
