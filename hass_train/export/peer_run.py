"""What the exporters for other tools read of a run directory: the design, the integers, and the measured sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hass_train.export.design import DESIGN, design_rows, load_design, only_part
from hass_train.export.integers import load_integers
from hass_train.export.profile import load_profile
from hass_train.hardware import LayerSparsity
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.precision import IntegerNetwork
from hass_train.precision.graph import Kind
from hass_train.precision.integer_network import INTEGERS_JSON
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath


@dataclass(frozen=True)
class PeerRun:
    """A finished search, as other tools are told of it.

    Args:
        network: its integer network.
        hardware: device and design rules.
        designs: how each operation is built, by name.
        memories: where each operation's weights or FIFOs are stored, by name (`LayerEstimate.weights_in`).
        sparsity: the measured sparsity of layers, by name.
        interval: cycles per image of the pipeline.
    """

    network: IntegerNetwork
    hardware: Mapping[str, object]
    designs: Mapping[str, StageDesign]
    memories: Mapping[str, str]
    sparsity: Mapping[str, LayerSparsity]
    interval: int

    @classmethod
    def read(cls, folder: AnyPath, tool: str) -> PeerRun:
        """Read a run's directory.

        Args:
            folder: the directory.
            tool: name of the tool that is exported to, for messages.

        Raises:
            UserError: a file is missing or contradicts another one, the network computes with floating-point numbers,
                or the design has parts or copies, which no tool here has; one line.
        """
        folder = Path(folder)
        design = load_design(folder)
        network = load_integers(folder, f"{tool} is given integers")
        part = only_part(design, folder, f"{tool} is given one")
        if part.replicas > 1:
            raise UserError(
                f"the design of {folder} is {part.replicas} copies of a pipeline, and {tool} builds one; search with "
                "hw.max_replicas=1"
            )
        return cls(
            network, design.hardware, {one.name: one for one in part.designs},
            {row["name"]: str(row.get("weights_in", "")) for row in design_rows(folder)}, load_profile(folder).layers,
            part.interval_cycles,
        )  # fmt: skip

    def check_plain(self, tool: str) -> None:
        """Check that the network has nothing that readers of QONNX models do not know.

        Args:
            tool: name of the tool that is exported to, for messages.

        Raises:
            UserError: an operation is a table, or a layer has an activation threshold; one line.
        """
        for one in self.network.operations:
            if one.kind is Kind.TABLE:
                raise UserError(f"{one.name} is a look-up table, which {tool} does not read; take a network with ReLU")
            if one.threshold:
                raise UserError(
                    f"{one.name} has an activation threshold, which {tool} does not read; search with "
                    "sparsity.rules.all.activation=false"
                )

    def design(self, name: str) -> StageDesign:
        """How an operation of the integer network is built.

        Raises:
            UserError: the design has no such operation.
        """
        if name not in self.designs:
            raise UserError(f"{DESIGN} and {INTEGERS_JSON} are of different networks: the design has no {name}")
        return self.designs[name]
