"""Which rows and columns of a map are behind each of a result's, where the map is resized or pooled adaptively."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.workload import Operation

Ints = NDArray[np.int64]

_BESIDE = {"bilinear": (0, 1), "bicubic": (-1, 2)}
"""The first and the last neighbour that an interpolation takes, from the one at or before its position."""


def pooled(source: int, result: int) -> tuple[Ints, Ints]:
    """The first and the last row that an adaptive pool of `source` rows to `result` takes for each: (H',) positions.

    All from ⌊i·H/H'⌋ until ⌈(i + 1)·H/H'⌉.
    """
    place = np.arange(result)
    return place * source // result, -(-(place + 1) * source // result) - 1


def spans(operation: Operation, axis: int) -> tuple[Ints, Ints]:
    """The first and the last row of the source behind each row of the result, or columns.

    Positions are torch's, where pixels are areas (`align_corners=False`): result i lies at (i + ½)·H/H' − ½, of which
    bilinear resizing takes two neighbours and bicubic four; nearest takes ⌊i·H/H'⌋. For adaptive pools see `pooled`.

    Args:
        operation: a resizing, or an adaptive pool.
        axis: 0 for rows, 1 for columns.

    Returns:
        (H',) or (W',) positions, both ascending.
    """
    source, result = ((one.height, one.width)[axis] for one in (operation.source, operation.result))
    place = np.arange(result)
    if operation.function == "nearest":
        first = place * source // result
        return first, first
    if beside := _BESIDE.get(operation.function):
        middle = ((2 * place + 1) * source - result) // (2 * result)
        low, high = (np.clip(middle + one, 0, source - 1) for one in beside)
        return low, high
    return pooled(source, result)
