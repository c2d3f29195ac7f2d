"""The latency of an image that passes an empty pipeline (hardware-model, section 6).

For every operation two times are followed along the graph: when the first word of its result leaves, and when the last
one does. Between them words leave evenly. A row of results can begin when the last pixel that its windows read has
arrived, and what is left of the map from there on takes its share of the operation's own interval:

    arrives(u) = first + u·(last − first)                     u = fraction of the operand's map
    first'     = arrives(u_0) + compute / pixels
    last'      = max over rows r of arrives(u_r) + max((1 − r/H')·compute, reading that is left),
                 arrives(1) + compute / (pixels · blocks),  and  first + interval

An operation that is faster than those before it so ends a little after them, with the results that the last pixels
complete; a slower one ends its own interval after it began. `compute` is what computing and writing take of its
interval; reading, of the border below the last pixels too, may take longer. The interval of the pipeline does not
matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import cycles
from hass_train.hardware.dataflow.costs.branches import held, operand_wait, operand_words
from hass_train.hardware.dataflow.costs.stream_logic import WHOLE_PIXELS
from hass_train.hardware.estimate import LayerEstimate
from hass_train.hardware.spans import spans
from hass_train.hardware.workload import NETWORK_INPUT, WINDOW_KINDS, Operation, OperationKind, Workload

Floats = NDArray[np.float64]


def latency_cycles(workload: Workload, rows: Sequence[LayerEstimate]) -> float:
    """Cycles from an image's first word to its last result.

    Args:
        workload: the network.
        rows: the rows of its operations.
    """
    channels, height, width = workload.input_shape
    streams = max(_streams(row) for one, row in zip(workload, rows, strict=True) if NETWORK_INPUT in one.inputs)
    times = {NETWORK_INPUT: (0.0, float(ceil_div(channels * height * width, streams)))}
    for operation, row in zip(workload, rows, strict=True):
        times[operation.name] = _times(operation, row, times, workload)
    return max(last for _, last in times.values())


def _times(
    operation: Operation, row: LayerEstimate, times: Mapping[str, tuple[float, float]], workload: Workload
) -> tuple[float, float]:
    """When the first and the last word of an operation's result leave."""
    result, own = operation.result, float(row.interval_cycles)
    operands = [times[name] for name in operation.inputs]
    if operation.kind is OperationKind.GLOBAL_POOL:
        (first, last), leaving = operands[0], result.words / _streams(row)
        done = max(last, first + own)
        return done + 1, done + leaving
    blocks = ceil_div(operation.source.channels, _streams(row))
    needs = _needs(operation, row, blocks)
    starts, ends = np.zeros(len(needs)), 0.0
    for k, (first, last) in enumerate(operands):
        read = workload.maps[operation.inputs[k]]
        whole = operand_wait(operation, k) or held(operation, k, operand_words(operation, k, read.words), read)
        starts = np.maximum(starts, last if whole else first + needs * (last - first))
        ends = max(ends, last)
    own, begun = _computing(operation, row), min(first for first, _ in operands) + own
    left = np.maximum((1 - np.arange(len(needs)) / len(needs)) * own, _reading(operation, row, blocks))
    computed = max(float((starts + left).max()), begun)
    if _fetched(row):  # a band is computed as a whole, and then written
        band, folds = own / row.bands, row.folds
        writing = min(result.words / (folds["o"] * folds["g"] * folds["p"]) / row.bands, band)
        return float(starts[0]) + band, max(computed, ends + band) + writing
    pixel = own / result.pixels
    before, behind = (pixel / blocks, pixel) if operation.kind in WHOLE_PIXELS else (pixel, pixel / blocks)
    return float(starts[0]) + before, max(computed, ends + behind)


def _computing(operation: Operation, row: LayerEstimate) -> float:
    """Cycles of computing and writing alone; reading the map, with its border, may take longer."""
    folds, result = row.folds, operation.result
    if "s" in folds:
        return float(min(row.interval_cycles, result.pixels * ceil_div(result.channels, folds["s"])))
    o, g, p = folds["o"], folds["g"], folds["p"]
    compute = cycles.compute_cycles(operation, folds["i"], o, g, row.initiation_interval, p)
    return float(min(row.interval_cycles, max(float(compute), float(cycles.output_cycles(operation, o, g, p)))))


def _reading(operation: Operation, row: LayerEstimate, blocks: int) -> Floats | float:
    """(rows of the result,) cycles of reading the map from the last pixel of each row's first window on."""
    if operation.kind not in WINDOW_KINDS or operation.function == "adaptive":
        return 0.0
    (down, across), (above, beside), (height, width) = operation.reach, operation.lead, operation.rows_read
    done = (np.arange(operation.result.height) * operation.stride[0] + down - above - 1) * width + across - beside
    return np.asarray(np.maximum(height * width - done, 0) * blocks / row.folds.get("q", 1))


def _needs(operation: Operation, row: LayerEstimate, blocks: int) -> Floats:
    """(rows of the result,) the fraction of the operand's map that must be there before each row begins."""
    source, result = operation.source, operation.result
    index = np.arange(result.height)
    if operation.kind is OperationKind.RESIZE or operation.function == "adaptive":
        rows, columns = (spans(operation, axis)[1] for axis in (0, 1))
        found = (rows * source.width + columns[0] + 1) / source.pixels
    elif operation.kind in WINDOW_KINDS:
        (down, across), (above, beside) = operation.reach, operation.padding
        rows = np.clip(index * operation.stride[0] + down - above, 1, source.height)
        pixels = (rows - 1) * source.width + min(max(across - beside, 1), source.width)
        found = pixels / source.pixels - (1 - 1 / blocks) / source.pixels  # the first block of channels of the last
    else:
        begun = 1.0 if operation.kind in WHOLE_PIXELS else 1 / blocks
        found = (index * result.width + begun) / result.pixels
    parts = row.bands if _fetched(row) else operation.blocks if operation.block else 0
    return np.asarray(np.minimum(np.ceil(found * parts) / parts, 1.0) if parts else found, float)


def _fetched(row: LayerEstimate) -> bool:
    """Whether an operation fetches its weights, band by band."""
    return row.weights_in == "off_chip" and row.engine != "stream"


def _streams(row: LayerEstimate) -> int:
    """Words that an operation reads a cycle."""
    folds = row.folds
    return folds["s"] if "s" in folds else folds["i"] * folds["g"] * folds["q"]
