"""Designs of operations without weights: so many parallel streams (hardware-model, section 3)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow import cycles, memory
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.dataflow.tables import Choices, RememberingTable, lower_staircase, undominated, without_choices
from hass_train.hardware.estimate import LayerEstimate, Resources
from hass_train.hardware.workload import Operation, OperationKind, useful_folds

Ints = NDArray[np.int64]

STREAM_DSP = {"hardswish": 5, "hardsigmoid": 4, "silu": 1, "gelu": 1, "mish": 1, "tanh": 0, "sigmoid": 0}
"""DSPs per stream of activation functions. Hard-swish as the peer synthesised it (resource coefficients); hard-sigmoid
is that without its last product; smooth ones are table look-ups, with one product where they multiply by x."""


def stream_dsp(operation: Operation) -> int:
    """DSPs per stream of an operation without weights."""
    match operation.kind:
        case OperationKind.ACTIVATION:
            return STREAM_DSP.get(operation.function, 0)
        case OperationKind.MULTIPLY:
            return 1
        case OperationKind.GLOBAL_POOL | OperationKind.AVERAGE_POOL:
            return 2
        case _:
            return 0


class StreamDesigns(RememberingTable):
    """Designs of an operation without weights: so many parallel streams."""

    def __init__(self, operation: Operation, options: DataflowOptions) -> None:
        super().__init__()
        self.operation = operation
        divisors = options.folding == "divisors"
        self.streams = np.array(useful_folds(operation.source.channels, divisors), np.int64)
        self.interval = cycles.streaming_cycles(operation, self.streams)
        self.dsp = stream_dsp(operation) * self.streams
        pools = operation.kind in (OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL)
        buffers = memory.window_buffers(operation, self.streams, options.activation_bits)
        self.bram18 = buffers if pools else np.zeros_like(buffers)

    @cached_property
    def staircase(self) -> tuple[Ints, Ints]:
        return lower_staircase(self.interval, self.dsp)

    def _compute_choices(self, interval: int, spare_dsp: int) -> Choices:
        design = np.flatnonzero(self.interval <= interval)
        if not len(design):
            return without_choices()
        none = np.zeros(len(design), np.int64)
        resources = np.stack([self.dsp[design], self.bram18[design], none, none], 1)
        best = undominated(resources)
        return Choices(resources[best], design[best], none[best])

    def _row(self, design: int, weights_in: int) -> LayerEstimate:
        return LayerEstimate(
            name=self.operation.name,
            kind=self.operation.kind.value,
            interval_cycles=int(self.interval[design]),
            bound="stream",
            engine="stream",
            folds={"s": int(self.streams[design])},
            resources=Resources(int(self.dsp[design]), int(self.bram18[design]), 0),
        )
