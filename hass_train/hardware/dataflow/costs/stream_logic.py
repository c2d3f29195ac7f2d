"""Logic of operations without weights, by the peer's regressions (hardware-model, section 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs import logic
from hass_train.hardware.workload import Operation, OperationKind

Ints = NDArray[np.int64]

STREAM_DSP = {"hardswish": 5, "hardsigmoid": 4, "silu": 1, "gelu": 1, "mish": 1, "prelu": 1, "square": 1,
              "reciprocal": 1}  # fmt: skip
"""DSPs per stream of activation functions that take any. Hard-swish is as the peer synthesised it, and hard-sigmoid the
same without its last product. Smooth functions are table look-ups, with one product where they multiply by x."""

_REDUCED_BY = {"mean": 2, "norm": 2, "moments": 3}
"""DSPs per stream of reductions that take any: a mean has a global pool's product, a norm the square of a word and of
its root, moments a square, the mean and its square. Their sums are formed in LUTs."""
_RESIZED_BY = {"bilinear": 3, "bicubic": 8}
"""DSPs per stream of resizing: a + w·(b − a) for rows and twice for columns; four products for rows and for columns."""

JOINS = frozenset({OperationKind.ADD, OperationKind.MULTIPLY, OperationKind.DIVIDE})
POOLS = frozenset({OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL})
GLOBAL = frozenset({OperationKind.GLOBAL_POOL, OperationKind.LAYER_NORM, OperationKind.SOFTMAX, OperationKind.REDUCE})
WHOLE_PIXELS = frozenset({OperationKind.LAYER_NORM, OperationKind.SOFTMAX})
"""Operations that read all channels of a pixel before they write its first one."""
NO_MODULE = frozenset(
    {*WHOLE_PIXELS, OperationKind.DIVIDE, OperationKind.REDUCE, OperationKind.RESIZE, OperationKind.UNFOLD}
    | {OperationKind.FOLD, OperationKind.REARRANGE}
)
"""Operations that have no module of our own yet."""


def stream_dsp(operation: Operation) -> int:
    """The DSPs that each stream of an operation without weights takes.

    Layer norm squares, and scales by the deviation and by its gain. Softmax scales by the reciprocal of the sum; its
    exponential is a table look-up. A quotient is the product with a reciprocal, which a table and a product refine.
    """
    match operation.kind:
        case OperationKind.ACTIVATION:
            return STREAM_DSP.get(operation.function, 0)
        case OperationKind.MULTIPLY | OperationKind.SOFTMAX:
            return 1
        case OperationKind.GLOBAL_POOL | OperationKind.AVERAGE_POOL | OperationKind.DIVIDE:
            return 2
        case OperationKind.REDUCE:
            return _REDUCED_BY.get(operation.function, 0)
        case OperationKind.RESIZE:
            return _RESIZED_BY.get(operation.function, 0)
        case OperationKind.LAYER_NORM:
            return 3
        case _:
            return 0


def stream_logic(operation: Operation, streams: Ints, bits: logic.Widths) -> logic.Logic:
    """The LUTs and flip-flops of an operation without weights, without its memories.

    Layer norm and softmax count as a global pool and an element-wise operation, average pools as an accumulator behind
    their window, reductions as a global pool, resizing as a window and an element-wise operation for each of its
    products, a fold as the additions of its rows. These are extrapolations of ours.

    Args:
        operation: the operation.
        streams: (n,) numbers of parallel streams.
        bits: word widths.
    """
    kind = operation.kind
    if kind in POOLS:
        window = logic.sliding_window(streams, operation.kernel, operation.source.channels / streams, bits)
        if kind is OperationKind.MAX_POOL:
            return window + logic.max_pool(streams, operation.window, bits) + logic.PAD
        return window + logic.global_pool(streams, operation.source.channels, bits) + logic.PAD
    if kind in GLOBAL:
        pool = logic.global_pool(streams, operation.source.channels, bits)
        return pool + logic.ELEMENTWISE.times(streams * (kind in WHOLE_PIXELS))
    if operation.slides:  # a padding that repeats the map, a resizing or an unfold
        products = logic.ELEMENTWISE.times(streams * _RESIZED_BY.get(operation.function, 0))
        window = logic.sliding_window(streams, operation.kernel, operation.source.channels / streams, bits)
        return window + products + logic.PAD.times(streams)
    if kind is OperationKind.FOLD:
        return logic.ELEMENTWISE.times(streams * operation.kernel[0])
    if kind in JOINS:
        return logic.ELEMENTWISE.times(streams * max(len(operation.inputs) - 1, 1))
    return logic.PAD.times(streams)
