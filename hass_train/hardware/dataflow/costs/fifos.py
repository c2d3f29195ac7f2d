"""How deep the FIFOs of an operation are: a rule that needs no simulation (hardware-model, section 10).

- *input*: results of a pixel come in a burst, and while padding is read words go on coming: one pixel of the producer,
  and the padding's share of the map as far as reading fills the interval;
- *rows*: at the start of an image, and between rows of a strided window, words are read and no window is complete; the
  engines live on rows read ahead: Kh − 1 + stride − 1 of them and a window;
- *join*: the operand that comes first waits for the other one (`branches.waiting`).

`benchmarks/truth.py` holds the rule against simulations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.workload import Operation, OperationKind

Ints = NDArray[np.int64]


def input_depth(operation: Operation, streams: ArrayLike, pixels: ArrayLike, load: ArrayLike) -> Ints:
    """Entries of the FIFO before an operation, each `streams` words of `pixels` pixels.

    Args:
        operation: the reader.
        streams, pixels: words and pixels of an entry.
        load: cycles of reading / interval.
    """
    s, q, source = np.asarray(streams, np.int64), np.asarray(pixels, np.int64), operation.source
    burst = ceil_div(source.channels, s) + 2
    if operation.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
        return np.asarray(burst)
    padding = 1 - source.pixels / operation.padded_pixels
    waiting = np.asarray(load, float) * padding * source.pixels * ceil_div(source.channels, s) / q
    return np.asarray(burst + np.ceil(waiting), np.int64)


def rows_depth(operation: Operation, streams: ArrayLike, pixels: ArrayLike) -> Ints:
    """Entries that a line buffer is longer than its windows reach.

    Args:
        operation: the reader.
        streams, pixels: words and pixels of an entry.
    """
    s, q = np.asarray(streams, np.int64), np.asarray(pixels, np.int64)
    steps = ceil_div(operation.source.channels, s)
    width = operation.source.width + 2 * operation.padding[1]
    rows = operation.kernel[0] - 1 + operation.stride[0] - 1
    whole = operation.padded_pixels
    if operation.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
        rows, width, whole = 0, 0, operation.result.pixels
    ahead = np.minimum(rows * width + operation.kernel[1], whole) * steps / q
    return np.asarray(np.ceil(ahead) + 2, np.int64)
