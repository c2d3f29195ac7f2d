"""Designs of operations without weights, which differ in their parallel streams (hardware-model, section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div, useful_folds
from hass_train.hardware.dataflow.costs import cycles, memory
from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.costs.cost_model import CostModel
from hass_train.hardware.dataflow.costs.fifos import input_depth, rows_depth
from hass_train.hardware.dataflow.costs.stream_logic import POOLS, WHOLE_PIXELS
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, DesignSpace, Table, WeightsIn
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.estimate import LayerEstimate, Resources
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DEEP_BITS = 16 * 18 * 1024
"""A FIFO of more bits than sixteen block RAMs hold may go through off-chip memory."""
_BURST_WORDS = 512  # of each buffer between a FIFO and off-chip memory


class StreamDesigns(Table):
    """The designs of an operation without weights, one for each number of parallel streams.

    Args:
        operation: any but a convolution, a linear layer or a matrix product.
        fifos: the FIFOs of its operands.
        options: design rules.
        space: the bounds of the design space.
    """

    def __init__(self, operation: Operation, fifos: OperandFifos, options: DataflowOptions, space: DesignSpace) -> None:
        self.operation, self.options = operation, options
        self.urgency = fifos.urgency
        streams = np.array(
            useful_folds(max(operation.source.channels, operation.result.channels), options.folding == "divisors"),
            np.int64,
        )
        fast = cycles.streaming_cycles(operation, streams) * self.urgency <= space.floor
        streams = streams[np.r_[True, ~fast[:-1]]]  # the first that is fast enough is the last worth building
        interval = cycles.streaming_cycles(operation, streams)
        bits = options.activation_bits
        costs = options.cost_model(space.family, fifos.unsigned)
        columns = costs.stream(operation, streams)
        held = _buffers(operation, fifos, streams, costs, interval)
        columns[:, 1] += held.lut
        columns[:, 2] += held.ff
        none = np.zeros(len(streams))
        places = [np.stack([held.bram18, none, none], 1)]
        if space.budget[2] > 0:
            places.append(np.stack([none, held.uram, none], 1))
        held_back = sum(fifos.words) * bits
        outside = held_back > _DEEP_BITS and space.budget[BANDWIDTH] > 0 and not options.buildable
        if outside:  # written out and read back, a burst at a time
            burst = memory.bram18(bits * streams, _BURST_WORDS) * 2 * len(fifos.words)
            places.append(np.stack([burst, none, none + 2 * held_back], 1))
        super().__init__(interval * self.urgency, columns, np.stack(places), space)
        self.streams = streams[self.kept]

    def _describe(self, design: int, place: int) -> LayerEstimate:
        """See `Table.describe`."""
        resources = Resources.of(self.resources(design, place))
        if resources.offchip_bits:
            where = WeightsIn.OFF_CHIP
        else:
            where = WeightsIn.URAM if resources.uram else WeightsIn.BRAM if resources.bram18 else WeightsIn.NONE
        return LayerEstimate(
            name=self.operation.name,
            kind=self.operation.kind.value,
            interval_cycles=int(self.interval[design]) // self.urgency,
            urgency=self.urgency,
            bound="stream",
            engine="stream",
            folds={"s": int(self.streams[design])},
            resources=resources,
            weights_in=str(where),
            activation_bits=self.options.activation_bits,
        )


def _buffers(
    operation: Operation, fifos: OperandFifos, streams: Ints, costs: CostModel, interval: Ints
) -> memory.Buffer:
    """The line buffers and FIFOs of an operation without weights, at each number of parallel streams."""
    held = costs.fifo(streams, 0)
    if operation.kind in POOLS or operation.slides:
        held = costs.window(operation, streams, np.ones_like(streams))
        held = held + costs.rows(operation, streams, rows_depth(operation, streams, 1))
    elif operation.kind in WHOLE_PIXELS:
        held = costs.fifo(streams, ceil_div(operation.source.channels, streams))
    elif operation.kept:
        held = costs.fifo(streams, ceil_div(operation.kept, streams))
    load = operation.pixels_read * ceil_div(operation.source.channels, streams) / interval
    entries = input_depth(operation, streams, 1, load)
    if not fifos.words:
        held = held + costs.fifo(streams, entries)
    for words in fifos.words:
        held = held + costs.fifo(streams, np.maximum(ceil_div(words, streams), entries))
    return held
