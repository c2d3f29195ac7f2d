"""The table of designs of any operation."""

from __future__ import annotations

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.branches import Waiting
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.stream import StreamDesigns
from hass_train.hardware.dataflow.designs.tables import Space, Table
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation, Workload


def floor_interval(workload: Workload, options: DataflowOptions) -> int:
    """Cycles per image that no design of the network can go below: reading and writing at full parallelism."""
    pixels = max(options.pixel_choices)
    fastest = []
    for operation in workload:
        if not operation.multiplies:
            fastest.append(operation.padded_pixels)
            continue
        columns = min(ceil_div(pixels, operation.stride[1]), operation.result.width)
        fastest.append(ceil_div(operation.padded_pixels, pixels))
        fastest.append(ceil_div(operation.result.pixels, columns))
    return max(fastest)


def designs_of(
    operation: Operation, sparsity: LayerSparsity | None, waiting: Waiting, options: DataflowOptions, space: Space
) -> Table:
    """Enumerate an operation's designs; operations with multipliers need their sparsity."""
    if operation.multiplies:
        return ComputeDesigns(operation, sparsity or LayerSparsity(), waiting, options, space)
    return StreamDesigns(operation, waiting, options, space)
