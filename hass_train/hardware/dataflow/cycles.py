"""Cycles of one compute layer (hardware-model, section 2). Arguments may be arrays; results are cycles per image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _ceil(numerator: ArrayLike, denominator: ArrayLike) -> Ints:
    return np.asarray(-(-np.asarray(numerator, np.int64) // np.asarray(denominator, np.int64)))


def rounds(layer: Operation, i: ArrayLike, o: ArrayLike, g: ArrayLike) -> Ints:
    """Initiations of every SPE per image: H'·W'·⌈G/g⌉·⌈Cg/i⌉·⌈Fg/o⌉ (one output column at once)."""
    passes = _ceil(layer.groups, g) * _ceil(layer.channels_per_group, i) * _ceil(layer.filters_per_group, o)
    return np.asarray(layer.result.pixels * passes)


def compute_cycles(layer: Operation, i: ArrayLike, o: ArrayLike, g: ArrayLike, t: ArrayLike) -> Floats:
    """Rounds times the initiation interval t."""
    return np.asarray(rounds(layer, i, o, g) * np.asarray(t, float))


def input_cycles(layer: Operation, i: ArrayLike, g: ArrayLike) -> Ints:
    """(H+2·padH)·(W+2·padW)·⌈C/(i·g)⌉: the padded map, one word per stream and cycle."""
    streams = np.asarray(i, np.int64) * np.asarray(g, np.int64)
    return np.asarray(layer.padded_pixels * _ceil(layer.source.channels, streams))


def output_cycles(layer: Operation, o: ArrayLike, g: ArrayLike) -> Ints:
    """H'·W'·⌈F/(o·g)⌉: the result, one word per stream and cycle."""
    streams = np.asarray(o, np.int64) * np.asarray(g, np.int64)
    return np.asarray(layer.result.pixels * _ceil(layer.result.channels, streams))


def interval(compute: ArrayLike, read: ArrayLike, write: ArrayLike) -> Ints:
    """The layer's interval: the slowest of computing, reading and writing; whole cycles, rounded up."""
    slowest = np.maximum(np.maximum(np.asarray(compute, float), read), write)
    # an expectation such as 3·(1/3) must not round up by an ulp
    return np.asarray(np.maximum(np.ceil(slowest * (1 - 1e-12)), 1), np.int64)


def streaming_cycles(operation: Operation, streams: ArrayLike) -> Ints:
    """Operations without weights: H·W·⌈C/s⌉, pooling on the padded map (hardware-model, section 3)."""
    return np.asarray(operation.padded_pixels * _ceil(operation.source.channels, streams))


def dsp_of_multipliers(multipliers: ArrayLike, activation_bits: int, weight_bits: int) -> Ints:
    """DSP48 slices for so many multipliers: ⌈a/18⌉·⌈b/27⌉ each; two 8×8 or four 4×4 share one (section 5)."""
    wide = max(activation_bits, weight_bits)
    shared = 4 if wide <= 4 else 2 if wide <= 8 else 1
    each = -(-min(activation_bits, weight_bits) // 18) * -(-wide // 27)
    return np.asarray(_ceil(np.asarray(multipliers, np.int64) * each, shared))
