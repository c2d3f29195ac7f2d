"""The dataflow accelerator as a search asks it, profile after profile, each a little away from the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace, Table
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.estimate import Estimate
from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.structure import Structure
from hass_train.hardware.workload import Operation, Workload

_NEAR = 0.65  # how far a density may fall, or grow by the inverse, until designs are found anew
_DENSITIES = ("pair_density", "weight_density", "activation_density")


class SteeringAccelerator(DataflowAccelerator):
    """Answers for a profile near one that was asked before look only at the designs that were worth building then.

    Answers therefore depend on what was asked before, which `anchors` tells as plain data, for a checkpoint.

    Args:
        device, options: as of `DataflowAccelerator`.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._anchors: dict[
            str, tuple[int, ComputeDesigns]
        ] = {}  # with the interval of the pipeline they were found in
        self._fresh: dict[str, ComputeDesigns] = {}

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """See `DataflowAccelerator`."""
        emptied = any(layer.structure and layer.structure.dead_filters for layer in profile.layers.values())
        found = super().estimate(workload, profile)
        # what is left of a layer whose channels other layers emptied cannot be told from its own sparsity
        for name, table in () if emptied else self._fresh.items():
            self._anchors[name] = found.interval_cycles, table.candidates(found.interval_cycles)
        self._forget()
        return found

    def steering(self) -> SteeringAccelerator:
        """See `Accelerator`: one that was asked nothing yet."""
        return SteeringAccelerator(self.device, self.options)

    def anchors(self) -> dict[str, Any]:
        """See `Accelerator`: for each layer the sparsity at which its designs were found, and the interval then."""
        return {
            name: {"sparsity": table.sparsity.to_dict(), "interval": interval}
            for name, (interval, table) in self._anchors.items()
        }

    def anchor(self, workload: Workload, anchors: Mapping[str, Any]) -> None:
        """See `Accelerator`."""
        self._anchors, fifos, space = {}, self._fifos(workload), self._space(workload)
        for operation in workload:
            if (anchor := anchors.get(operation.name)) is not None:
                sparsity, interval = LayerSparsity.from_dict(anchor["sparsity"]), int(anchor["interval"])
                table = self._designs(operation, sparsity, fifos[operation.name], space)
                assert isinstance(table, ComputeDesigns)  # only such were anchored
                self._anchors[operation.name] = interval, table.candidates(interval)
        self._forget()

    def _forget(self) -> None:
        """Drop what a question kept for itself: whether it is asked again must not matter."""
        self._fresh.clear()
        self._tables.clear()
        self._explored.clear()

    def _designs(
        self, operation: Operation, sparsity: LayerSparsity | None, fifos: OperandFifos, space: DesignSpace
    ) -> Table:
        """See `DataflowAccelerator`: from designs found at a sparsity nearby, where there are."""
        if sparsity is None:
            return super()._designs(operation, sparsity, fifos, space)
        _, anchor = self._anchors.get(operation.name, (0, None))
        same = anchor is not None and (anchor.layer.geometry, anchor.fifos) == (operation.geometry, fifos)
        if anchor is not None and same and _near(anchor.sparsity, sparsity):
            return anchor.moved(sparsity)
        table = super()._designs(operation, sparsity, fifos, space)
        if isinstance(table, ComputeDesigns):
            self._fresh[operation.name] = table
        return table


def _near(before: LayerSparsity, after: LayerSparsity) -> bool:
    """Whether designs found at one sparsity tell what another one is worth."""
    if _kind_of(before.structure) != _kind_of(after.structure):
        return False
    pairs = ((getattr(before, name), getattr(after, name)) for name in _DENSITIES)
    return all((one < 1) == (other < 1) and _NEAR * one <= other <= one / _NEAR for one, other in pairs)


def _kind_of(structure: Structure | None) -> Structure | None:
    """A structure without the number of weights that it keeps of a group or bank, which moves with the density."""
    if structure is None:
        return None
    nm, bank = ((1, bound[1]) if bound else None for bound in (structure.nm, structure.bank))
    return replace(structure, nm=nm, bank=bank)
