"""Cycles that one operation takes for an image (hardware-model, sections 2 and 3). Folds may be numbers or arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _ints(values: ArrayLike) -> Ints:
    return np.asarray(values, np.int64)


def rounds(layer: Operation, i: ArrayLike, o: ArrayLike, g: ArrayLike, p: ArrayLike = 1) -> Ints:
    """Initiations of every compute engine per image, H'·⌈W'/p⌉·⌈G/g⌉·⌈Cg/i⌉·⌈Fg/o⌉, with p output columns at once."""
    return np.asarray(layer.result.height * ceil_div(layer.result.width, _ints(p)) * passes(layer, i, o, g))


def passes(layer: Operation, i: ArrayLike, o: ArrayLike, g: ArrayLike) -> Ints:
    """Initiations of every compute engine per output pixel: ⌈G/g⌉·⌈Cg/i⌉·⌈Fg/o⌉."""
    return np.asarray(
        ceil_div(layer.groups, _ints(g))
        * ceil_div(layer.channels_per_group, _ints(i))
        * ceil_div(layer.filters_per_group, _ints(o))
    )


def compute_cycles(
    layer: Operation, i: ArrayLike, o: ArrayLike, g: ArrayLike, t: ArrayLike, p: ArrayLike = 1
) -> Floats:
    """Cycles of computing: rounds times t, the mean cycles of a round."""
    return np.asarray(rounds(layer, i, o, g, p) * np.asarray(t, float))


def input_cycles(layer: Operation, i: ArrayLike, g: ArrayLike, q: ArrayLike = 1) -> Ints:
    """Cycles of reading a map and its border, q words per stream and cycle: (H+padH)·⌈(W+padW)/q⌉·⌈C/(i·g)⌉.

    padH and padW are what is streamed in of the padding (`Operation.border`): half of it for windows that are centred
    on the map, less what a stride leaves out.
    """
    streams = _ints(i) * _ints(g)
    return np.asarray(map_words(*layer.rows_read, _ints(q), ceil_div(layer.source.channels, streams)))


def output_cycles(layer: Operation, o: ArrayLike, g: ArrayLike, p: ArrayLike = 1) -> Ints:
    """Cycles of writing the result, p words per stream and cycle: H'·⌈W'/p⌉·⌈F/(o·g)⌉."""
    streams, result = _ints(o) * _ints(g), layer.result
    return np.asarray(map_words(result.height, result.width, _ints(p), ceil_div(result.channels, streams)))


def interval(compute: ArrayLike, read: ArrayLike, write: ArrayLike) -> Ints:
    """The interval of a layer: the longest of computing, reading and writing, rounded up to whole cycles."""
    slowest = np.maximum(np.maximum(np.asarray(compute, float), read), write)
    # an expectation such as 3·(1/3) must not round up by an ulp
    return np.asarray(np.maximum(np.ceil(slowest * (1 - 1e-12)), 1), np.int64)


def streaming_cycles(operation: Operation, streams: ArrayLike) -> Ints:
    """The interval of an operation without weights: H·W·⌈C/s⌉, with the border for pools (hardware-model, section 3).

    Reading or writing counts, whichever takes longer: a concatenation writes more words than any of its operands has.
    """
    read = operation.pixels_read * ceil_div(operation.source.channels, _ints(streams))
    return np.asarray(np.maximum(read, operation.result.pixels * ceil_div(operation.result.channels, _ints(streams))))


def dsp_of_multipliers(multipliers: ArrayLike, activation_bits: int, weight_bits: int, products: int = 1) -> Ints:
    """DSP48 slices of some multipliers: ⌈a/18⌉·⌈b/27⌉ for each, or for each `products` that share them (section 5)."""
    each = ceil_div(min(activation_bits, weight_bits), 18) * ceil_div(max(activation_bits, weight_bits), 27)
    return np.asarray(ceil_div(_ints(multipliers) * each, products))
