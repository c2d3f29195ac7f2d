"""What an accelerator remembers that a search asks, profile after profile, each a little away from the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import Table
from hass_train.hardware.profile import DENSITIES, LayerSparsity
from hass_train.hardware.structure import Structure
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]

_NEAR = 0.65  # how far a density may fall, or grow by the inverse, until designs are found anew
_SAME = 0.97  # how far that of weights may where memories bind: the memories of designs that move stay


class Anchors:
    """The designs that were worth building at profiles asked before, layer by layer, and what proved the last answer.

    A profile near looks only at these designs. Answers therefore depend on what was asked before; `to_plain` tells all
    of it.

    Attributes:
        proofs: (6,) weights of resources that bounded the interval at the last profile.
        memories: whether memories, or what fetches weights from outside, bound it.
    """

    def __init__(self) -> None:
        self.proofs: list[Floats] = []
        self.memories = False
        self._kept: dict[str, tuple[int, ComputeDesigns]] = {}  # with the interval of the pipeline they were found in
        self._fresh: dict[str, ComputeDesigns] = {}

    def moved(self, operation: Operation, sparsity: LayerSparsity | None, fifos: OperandFifos) -> ComputeDesigns | None:
        """The designs of an operation, found at a sparsity nearby; None if there are none."""
        _, anchor = self._kept.get(operation.name, (0, None))
        if anchor is None or sparsity is None or not _near(anchor.sparsity, sparsity):
            return None
        if self.memories and not _within(anchor.sparsity.weight_density, sparsity.weight_density, _SAME):
            return None
        same = (anchor.layer.geometry, anchor.fifos) == (operation.geometry, fifos)
        return anchor.moved(sparsity) if same else None

    def found(self, operation: Operation, table: Table) -> None:
        """Take note of all designs of an operation."""
        if isinstance(table, ComputeDesigns):
            self._fresh[operation.name] = table

    def keep(self, intervals: Mapping[str, int]) -> None:
        """Keep those of the noted designs that are worth building near some intervals of the pipeline, by name."""
        for name, interval in intervals.items():
            if name in self._fresh:
                self._kept[name] = interval, self._fresh[name].candidates(interval)
        self._fresh.clear()

    def to_plain(self) -> dict[str, Any]:
        """For each layer the sparsity at which its designs were found, and the interval then; and what bound them."""
        designs = {
            name: {"sparsity": table.sparsity.to_dict(), "interval": interval}
            for name, (interval, table) in self._kept.items()
        }
        return {
            "designs": designs, "proofs": [weights.tolist() for weights in self.proofs], "memories": self.memories,
        }  # fmt: skip


def _near(before: LayerSparsity, after: LayerSparsity) -> bool:
    """Whether designs found at one sparsity tell what another one is worth."""
    if _kind_of(before.structure) != _kind_of(after.structure):
        return False
    pairs = ((getattr(before, name), getattr(after, name)) for name in DENSITIES)
    return all((one < 1) == (other < 1) and _within(one, other, _NEAR) for one, other in pairs)


def _within(before: float, after: float, share: float) -> bool:
    return share * before <= after <= before / share


def _kind_of(structure: Structure | None) -> Structure | None:
    """A structure without the number of weights that it keeps of a group or bank, which moves with the density."""
    if structure is None:
        return None
    nm, bank = ((1, bound[1]) if bound else None for bound in (structure.nm, structure.bank))
    return replace(structure, nm=nm, bank=bank)
