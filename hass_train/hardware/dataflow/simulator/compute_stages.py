"""Stages of operations with multipliers: convolutions, linear layers and matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.simulator.operands import padded_operand, whole_operand
from hass_train.hardware.dataflow.simulator.stages import Stage, StageDesign
from hass_train.hardware.dataflow.simulator.windows import Windows
from hass_train.hardware.workload import FeatureMap, Operation, OperationKind

Ints = NDArray[np.int64]


def compute_stage(operation: Operation, design: StageDesign, maps: Mapping[str, FeatureMap]) -> Stage:
    """The stage of an operation with multipliers.

    Args:
        operation: convolution, linear layer or matrix product.
        design: how it is built, with the folds `i o g m N q p`.
        maps: feature maps by the name of what makes them.
    """
    i, o, g, q, p = (design.folds[name] for name in ("i", "o", "g", "q", "p"))
    channels, filters = ceil_div(operation.channels_per_group, i), ceil_div(operation.filters_per_group, o)
    groups = ceil_div(operation.groups, g)
    steps = ceil_div(operation.source.channels, i * g)
    block = np.arange(groups * channels)
    reached = (block // channels) * g * operation.channels_per_group
    reached = reached + np.minimum((block % channels + 1) * i * g, g * operation.channels_per_group)
    offset = np.minimum(ceil_div(np.minimum(reached, operation.source.channels), i * g), steps) - 1
    windows = Windows.of(operation, q, p)
    operands = [padded_operand(operation, maps, i * g, q)]
    reads = len(operands[0].used)
    base, band, held = windows.base * steps, 1, 0
    if design.bands:
        base, band, held = _banded(windows, operation, base, design.bands)
        held = ceil_div(held, q)
        band *= groups * filters
    if operation.kind is OperationKind.MATMUL:
        operands.append(whole_operand(operation.inputs[1], maps, operation.operand_words, reads))
    return Stage(
        operation.name, tuple(operands), reads, base, offset, windows.release(offset, steps, reads), filters, channels,
        _written(operation, windows, g, o), windows.reach * steps + held * steps, i * g * q, o * g * p,
        p * operation.result.channels, band,
    )  # fmt: skip


def _written(operation: Operation, windows: Windows, g: int, o: int) -> Ints:
    """(writes,) the words written after each write step, with g groups and o filters of each in parallel."""
    result = operation.result
    groups, filters = ceil_div(operation.groups, g), ceil_div(operation.filters_per_group, o)
    write = np.arange(windows.groups * groups * filters)
    pixels = windows.pixels_before[write // (groups * filters) + 1]
    before = windows.pixels_before[write // (groups * filters)]
    part = write % (groups * filters)
    done = (part // filters) * g * operation.filters_per_group
    done = np.minimum(done + np.minimum((part % filters + 1) * o * g, g * operation.filters_per_group), result.channels)
    return before * result.channels + (pixels - before) * done


def _banded(windows: Windows, operation: Operation, base: Ints, bands: int) -> tuple[Ints, int, int]:
    """What off-chip weights change: a band of rows is read whole before it is computed, the next one meanwhile.

    Returns:
        (groups,) the read step that each group of output pixels waits for, the groups of a band, and the pixels that
        are read ahead of the window.
    """
    result = operation.result
    tall = result.height > 1
    lines = ceil_div(result.height if tall else result.width, bands)
    per_line = windows.groups // result.height if tall else 1
    size = lines * per_line
    last = np.minimum((np.arange(windows.groups) // size + 1) * size, windows.groups) - 1
    width = operation.rows_read[1] if tall else 1
    step = operation.stride[0] if tall else 1
    return base[last], size, 2 * lines * step * width
