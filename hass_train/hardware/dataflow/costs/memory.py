"""On-chip memory: the block RAMs and UltraRAMs of weights, line buffers and FIFOs (hardware-model, section 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.logic import LUTS_PER_SLICE, queue
from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.hardware.workload import Operation
from hass_train.runtime.compiled import compiled

Ints = NDArray[np.int64]
Classes = tuple[tuple[int, int], ...]

BRAM18_CLASSES = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
"""Shapes, (width in bits, depth in words), that one 18-kbit block RAM can be configured to."""
URAM_CLASSES = ((9, 32768), (18, 16384), (36, 8192), (72, 4096))
"""Shapes of a 288-kbit UltraRAM: 72 bits natively, narrower words packed side by side, as the peer counts them."""
BRAM18_BITS, URAM_BITS = 18 * 1024, 288 * 1024
"""Bits of a block RAM, and of an UltraRAM."""
LUTRAM_BITS = 1024
"""A bank of fewer bits is put in LUTs."""


def bram18(width_bits: ArrayLike, depth: ArrayLike) -> Ints:
    """The 18-kbit block RAMs that a memory of `depth` words of `width_bits` takes, in the cheapest shape."""
    return _cheapest(BRAM18_CLASSES, width_bits, depth)


def uram(width_bits: ArrayLike, depth: ArrayLike) -> Ints:
    """The 288-kbit UltraRAMs that a memory of `depth` words of `width_bits` takes, in the cheapest shape."""
    return _cheapest(URAM_CLASSES, width_bits, depth)


def _cheapest(classes: Classes, width_bits: ArrayLike, depth: ArrayLike) -> Ints:
    width, deep = np.broadcast_arrays(np.asarray(width_bits, np.int64), np.asarray(depth, np.int64))
    shifts = np.array([(wide, words.bit_length() - 1) for wide, words in classes])  # depths are powers of two
    return np.asarray(_fewest(shifts, width.ravel(), deep.ravel()).reshape(width.shape))


@compiled
def _fewest(classes, width, depth):  # type: ignore[no-untyped-def]
    """(n,) the blocks of the cheapest of some shapes, given by their widths and the logarithms of their depths."""
    blocks = np.empty(len(width), np.int64)
    for one in range(len(width)):
        least = 2**62
        for wide, deep in classes:
            least = min(least, ((width[one] + wide - 1) // wide) * -(-depth[one] >> deep))
        blocks[one] = least
    return blocks


def in_lutram(word_bits: int, depth: ArrayLike) -> NDArray[np.bool_]:
    """Whether a bank of `depth` words of `word_bits` is small enough for LUTs."""
    return np.asarray(np.asarray(depth, np.int64) * word_bits < LUTRAM_BITS)


def banked_bram18(word_bits: int, words: ArrayLike, depth: ArrayLike) -> Ints:
    """The block RAMs of `words` parallel banks of `word_bits`, `depth` deep, read together as one wide memory.

    Banks that are small enough for LUTs take none.
    """
    count = bram18(np.asarray(words, np.int64) * word_bits, depth)
    return np.asarray(np.where(in_lutram(word_bits, depth), 0, count))


def banked_uram(word_bits: int, words: ArrayLike, depth: ArrayLike) -> Ints:
    """The UltraRAMs of the same memory as `banked_bram18` takes."""
    count = uram(np.asarray(words, np.int64) * word_bits, depth)
    return np.asarray(np.where(in_lutram(word_bits, depth), 0, count))


class Buffer(NamedTuple):
    """On-chip memory that does not hold weights, such as a line buffer or FIFO; the fields are numbers or arrays.

    Args:
        bram18: block RAMs that it takes if it is put there.
        uram: UltraRAMs that it takes if it is put there instead.
        lut: LUTs of its shallow parts, and of its control, in either case.
        ff: flip-flops likewise.
    """

    bram18: Ints
    uram: Ints
    lut: NDArray[np.float64]
    ff: NDArray[np.float64] | float = 0.0

    def __add__(self, other: object) -> Buffer:  # a sum of memories, not a longer tuple
        assert isinstance(other, Buffer)
        logic = self.lut + other.lut, self.ff + other.ff
        return Buffer(self.bram18 + other.bram18, self.uram + other.uram, *logic)

    def at(self, rows: Ints) -> Buffer:
        """Those of some rows of arrays."""
        return Buffer(*(np.asarray(side)[rows] if np.ndim(side) else side for side in self))  # type: ignore[arg-type]

    def times(self, count: int) -> Buffer:
        """`count` such memories."""
        return Buffer(self.bram18 * count, self.uram * count, self.lut * count, self.ff * count)


def buffer(word_bits: int, words: ArrayLike, depth: ArrayLike) -> Buffer:
    """The buffer of `words` parallel words of `word_bits`, `depth` deep; in LUTs if a single word's bank is small."""
    wide, deep = np.broadcast_arrays(np.asarray(words, np.int64), np.asarray(depth, np.int64))
    small = in_lutram(word_bits, deep)
    lut = np.where(small & (deep > 0), LUTS_PER_SLICE * queue(deep, wide * word_bits), 0.0)
    return Buffer(banked_bram18(word_bits, wide, deep), banked_uram(word_bits, wide, deep), lut)


def window_buffers(operation: Operation, streams: Ints, bits: int, pixels: ArrayLike = 1) -> Buffer:
    """The memories of a sliding window: Kh−1 lines of a row and Kh·(Kw−1) pixels, all streams side by side.

    With q `pixels` a cycle a line is q words wide and q times shallower. A dilated window has as many memories, and
    each holds as many lines or pixels as the dilation.
    """
    (rows, columns), (down, across) = operation.kernel, operation.dilation
    side = np.asarray(streams, np.int64) * np.asarray(pixels, np.int64)
    if rows * columns == 1:
        return buffer(bits, side, 0)
    deep = ceil_div(operation.source.channels, streams)
    width = operation.rows_read[1]
    lines = buffer(bits, side, down * map_words(1, width, np.asarray(pixels, np.int64), deep))
    return lines.times(rows - 1) + buffer(bits, streams, across * deep).times(rows * (columns - 1))
