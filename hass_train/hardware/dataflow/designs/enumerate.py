"""The table of designs of any operation, and the interval that no design of the network can beat."""

from __future__ import annotations

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.stream import StreamDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace, Table
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation, Workload


def floor_interval(workload: Workload, options: DataflowOptions) -> int:
    """The cycles per image that no design of the network can beat: reading and writing at full parallelism."""
    pixels = max(options.pixel_choices)
    fastest = []
    for operation in workload:
        if not operation.multiplies:
            fastest.append(operation.pixels_read)
            continue
        columns = min(ceil_div(pixels, operation.stride[1]), operation.result.width)
        fastest.append(map_words(*operation.rows_read, pixels))
        fastest.append(map_words(operation.result.height, operation.result.width, columns))
    return max(fastest)


def designs_of(
    operation: Operation,
    sparsity: LayerSparsity | None,
    fifos: OperandFifos,
    options: DataflowOptions,
    space: DesignSpace,
) -> Table:
    """Enumerate the designs of an operation; only those of operations with multipliers depend on its sparsity.

    Raises:
        CannotFit: nothing can be built for its widths, or with the kinds of compute engine that are allowed.
    """
    options = options.of(operation)
    if operation.multiplies:
        return ComputeDesigns(operation, sparsity or LayerSparsity(), fifos, options, space)
    return StreamDesigns(operation, fifos, options, space)
