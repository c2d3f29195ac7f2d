"""How deep the FIFOs of an operation are: a rule that needs no simulation (hardware-model, section 10).

- *input*: the results of a pixel come in a burst, and words go on coming while the border is read. The FIFO holds
  one pixel of the producer, and the border's share of the map as far as reading fills the interval;
- *rows*: at the start of an image, and between the rows of a strided window, words are read although no window is
  complete. Compute engines then live on rows read ahead: as many as a window reaches back, stride − 1 more, and a
  window;
- *join*: the operand that comes first waits for the others (`branches.operand_fifos`).

`benchmarks/truth.py` compares the rule with simulations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.hardware.workload import Operation, OperationKind

Ints = NDArray[np.int64]


def input_depth(operation: Operation, streams: ArrayLike, pixels: ArrayLike, load: ArrayLike) -> Ints:
    """Depth of the FIFO before an operation, in entries of `streams` words of `pixels` pixels each.

    Args:
        operation: the operation that reads the FIFO.
        streams, pixels: parallel words, and pixels read at once.
        load: cycles that reading takes, as a fraction of the interval.
    """
    s, q, source = np.asarray(streams, np.int64), np.asarray(pixels, np.int64), operation.source
    burst = ceil_div(source.channels, s) + 2
    if operation.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
        return np.asarray(burst)
    border = 1 - source.pixels / operation.pixels_read
    waiting = np.asarray(load, float) * border * source.pixels * ceil_div(source.channels, s) / q
    return np.asarray(burst + np.ceil(waiting), np.int64)


def rows_depth(operation: Operation, streams: ArrayLike, pixels: ArrayLike) -> Ints:
    """How many entries longer than its windows reach a line buffer is.

    Args:
        operation: the operation that owns the line buffer.
        streams, pixels: parallel words, and pixels read at once.
    """
    s, q = np.asarray(streams, np.int64), np.asarray(pixels, np.int64)
    steps = ceil_div(operation.source.channels, s)
    height, width = operation.rows_read
    rows = operation.reach[0] - 1 + operation.stride[0] - 1
    if operation.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
        rows = 0
    ahead = map_words(rows, width, q, steps) + np.ceil(operation.reach[1] * steps / q)
    return np.asarray(np.minimum(ahead, map_words(height, width, q, steps)) + 2, np.int64)
