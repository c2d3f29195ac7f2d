"""The table of designs of any operation."""

from __future__ import annotations

from hass_train.hardware.dataflow.compute_designs import ComputeDesigns
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.dataflow.stream_designs import StreamDesigns
from hass_train.hardware.dataflow.tables import Designs
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation


def designs_of(operation: Operation, sparsity: LayerSparsity | None, options: DataflowOptions) -> Designs:
    """Enumerate an operation's designs; compute layers need their sparsity."""
    if operation.is_compute:
        assert sparsity is not None
        return ComputeDesigns(operation, sparsity, options)
    return StreamDesigns(operation, options)
