"""Designs of operations without weights, which differ in their parallel streams (hardware-model, section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div, useful_folds
from hass_train.hardware.dataflow.costs import cycles, logic, memory
from hass_train.hardware.dataflow.costs.branches import URGENCY, OperandFifos, urgent
from hass_train.hardware.dataflow.costs.fifos import input_depth, rows_depth
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, DesignSpace, Table, WeightsIn
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.estimate import LayerEstimate, Resources
from hass_train.hardware.workload import Operation, OperationKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STREAM_DSP = {"hardswish": 5, "hardsigmoid": 4, "silu": 1, "gelu": 1, "mish": 1, "tanh": 0, "sigmoid": 0}
"""DSPs per stream of activation functions. Hard-swish is as the peer synthesised it (resource coefficients), and
hard-sigmoid the same without its last product. Smooth functions are table look-ups, with one product where they
multiply by x."""

_DEEP_BITS = 16 * 18 * 1024
"""A FIFO of more bits than sixteen block RAMs hold may go through off-chip memory."""
_BURST_WORDS = 512  # of each buffer between a FIFO and off-chip memory

_JOINS = frozenset({OperationKind.ADD, OperationKind.MULTIPLY})
_POOLS = frozenset({OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL})
_GLOBAL = frozenset({OperationKind.GLOBAL_POOL, OperationKind.LAYER_NORM, OperationKind.SOFTMAX})
_WHOLE_PIXELS = frozenset({OperationKind.LAYER_NORM, OperationKind.SOFTMAX})
"""Operations that read all channels of a pixel before they write its first one."""


def stream_dsp(operation: Operation) -> int:
    """The DSPs that each stream of an operation without weights takes.

    Layer norm squares, and scales by the deviation and by its gain. Softmax scales by the reciprocal of the sum; its
    exponential is a table look-up.
    """
    match operation.kind:
        case OperationKind.ACTIVATION:
            return STREAM_DSP.get(operation.function, 0)
        case OperationKind.MULTIPLY | OperationKind.SOFTMAX:
            return 1
        case OperationKind.GLOBAL_POOL | OperationKind.AVERAGE_POOL:
            return 2
        case OperationKind.LAYER_NORM:
            return 3
        case _:
            return 0


def stream_logic(operation: Operation, streams: Ints, bits: logic.Widths) -> logic.Logic:
    """The LUTs and flip-flops of an operation without weights, without its memories.

    Layer norm and softmax count as a global pool and an element-wise operation, average pools as an accumulator behind
    their window. These are extrapolations of ours.

    Args:
        operation: the operation.
        streams: (n,) numbers of parallel streams.
        bits: word widths.
    """
    kind = operation.kind
    if kind in _POOLS:
        window = logic.sliding_window(streams, operation.kernel, operation.source.channels / streams, bits)
        if kind is OperationKind.MAX_POOL:
            return window + logic.max_pool(streams, operation.window, bits) + logic.PAD
        return window + logic.global_pool(streams, operation.source.channels, bits) + logic.PAD
    if kind in _GLOBAL:
        pool = logic.global_pool(streams, operation.source.channels, bits)
        return pool + logic.ELEMENTWISE.times(streams * (kind in _WHOLE_PIXELS))
    if operation.window > 1:  # a padding that repeats the map
        return logic.sliding_window(streams, operation.kernel, operation.source.channels / streams, bits) + (
            logic.PAD.times(streams)
        )
    if kind in _JOINS:
        return logic.ELEMENTWISE.times(streams * max(len(operation.inputs) - 1, 1))
    return logic.PAD.times(streams)


class StreamDesigns(Table):
    """The designs of an operation without weights, one for each number of parallel streams.

    Args:
        operation: pool, activation, addition, multiplication, concatenation, padding, normalisation or softmax.
        fifos: the FIFOs of its operands.
        options: design rules.
        space: the bounds of the design space.
    """

    def __init__(self, operation: Operation, fifos: OperandFifos, options: DataflowOptions, space: DesignSpace) -> None:
        self.operation = operation
        self.urgency = URGENCY if urgent(operation, fifos.bypass) else 1
        streams = np.array(
            useful_folds(max(operation.source.channels, operation.result.channels), options.folding == "divisors"),
            np.int64,
        )
        fast = cycles.streaming_cycles(operation, streams) * self.urgency <= space.floor
        streams = streams[np.r_[True, ~fast[:-1]]]  # the first that is fast enough is the last worth building
        interval = cycles.streaming_cycles(operation, streams)
        bits = options.activation_bits
        used = stream_logic(operation, streams, logic.Widths(bits, options.weight_bits, options.accumulator_bits))
        held = _buffers(operation, fifos, streams, bits, interval)
        none = np.zeros(len(streams))
        places = [np.stack([held.bram18, none, none], 1)]
        if space.budget[2] > 0:
            places.append(np.stack([none, held.uram, none], 1))
        held_back = sum(fifos.words) * bits
        if held_back > _DEEP_BITS and space.budget[BANDWIDTH] > 0:  # written out and read back, a burst at a time
            burst = memory.bram18(bits * streams, _BURST_WORDS) * 2 * len(fifos.words)
            places.append(np.stack([burst, none, none + 2 * held_back], 1))
        columns = np.stack([stream_dsp(operation) * streams, used.lut + held.lut, used.ff], 1)
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
        )


def _buffers(operation: Operation, fifos: OperandFifos, streams: Ints, bits: int, interval: Ints) -> memory.Buffer:
    """The line buffers and FIFOs of an operation without weights, at each number of parallel streams."""
    held = memory.buffer(bits, streams, 0)
    if operation.kind in _POOLS or operation.window > 1:
        held = memory.window_buffers(operation, streams, bits)
        held = held + memory.buffer(bits, streams, rows_depth(operation, streams, 1))
    elif operation.kind in _WHOLE_PIXELS:
        held = memory.buffer(bits, streams, ceil_div(operation.source.channels, streams))
    load = operation.padded_pixels * ceil_div(operation.source.channels, streams) / interval
    entries = input_depth(operation, streams, 1, load)
    if not fifos.words:
        held = held + memory.buffer(bits, streams, entries)
    for words in fifos.words:
        held = held + memory.buffer(bits, streams, np.maximum(ceil_div(words, streams), entries))
    return held
