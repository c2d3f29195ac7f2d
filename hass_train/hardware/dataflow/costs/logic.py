"""LUTs and flip-flops of a layer's modules, by regressions over synthesis runs (hardware-model, section 5).

The coefficients are those that the public repository AlexMontgomerie/fpgaconvnet-model (commit edfbeb6, its "chisel"
back end) stores as results of non-negative least squares over its synthesis runs; they are kept here as data. LUTs are
those of logic, LUTRAM and shift registers together. The terms are widths in bits and counts.

Four extrapolations are ours and not synthesis results:

- the crossbar of a `crossbar` engine is fitted on windows, most of them 3×3. An engine that bundles m channels picks
  its N operands from Kh·Kw·m words, so its crossbar terms are scaled by max(1, Kh·Kw·m/9);
- a bundle of 1×1 windows needs no squeeze from M words to N: in such an engine the crossbar does that, and a dense one
  with N < M is charged for the same crossbar;
- windows of more than 7×7 pixels (patch embeddings) are beyond the fitted ones too. Their N operands are picked by a
  crossbar, where the regression of a squeeze would ask for hundreds of LUTs a pixel;
- p output columns take p times the compute engines, and q pixels a cycle q times the window registers.

Compared with the rows of `tests/data/peer_layers.json`, LUTs of dense layers are 0 to 6 % above the peer's (which
counts about a quarter as much for shallow window buffers) and flip-flops within 0.3 %. Sparse layers come out above the
peer's totals, which are less than the sum of its own modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


FITTED_WINDOW = 49
"""Pixels of the largest window for which the regressions are taken to hold."""


class Logic(NamedTuple):
    """LUTs and flip-flops of a module, as numbers or arrays over designs."""

    lut: Floats
    ff: Floats

    def __add__(self, other: object) -> Logic:  # a sum of modules, not a longer tuple
        assert isinstance(other, Logic)
        return Logic(self.lut + other.lut, self.ff + other.ff)

    def times(self, count: ArrayLike) -> Logic:
        """The logic of `count` copies; 0 where the module is absent."""
        copies = np.asarray(count, float)
        return Logic(self.lut * copies, self.ff * copies)


@dataclass(frozen=True, slots=True)
class Widths:
    """Word widths in bits, of data (activations), weights and accumulators."""

    data: int
    weight: int
    accumulator: int


def log2_ceil(value: ArrayLike) -> Ints:
    """⌈log2 x⌉ for x ≥ 1."""
    return np.asarray(np.ceil(np.log2(np.maximum(np.asarray(value, float), 1.0)) - 1e-12), np.int64)


LUTS_PER_SLICE = 8


def queue(depth: ArrayLike, width: ArrayLike) -> Floats:
    """The slices of a small FIFO in LUTRAM: ⌈(w+1)/16⌉ up to 32 deep, else ⌈(w+1)/8⌉·⌈d/64⌉."""
    deep, wide = np.asarray(depth, float), np.asarray(width, float) + 1
    return np.asarray(np.where(deep <= 32, np.ceil(wide / 16), np.ceil(wide / 8) * np.ceil(deep / 64)))


def vector_dot(n: Ints, streams: Ints, bits: Widths) -> Logic:
    """The dense dot products of N multipliers in each of `streams` streams."""
    wide, levels = streams * float(bits.accumulator), log2_ceil(n) + 1
    lut = 2.5713 * n + 0.9729 * wide * n + 4.5246 * queue(levels, wide) + 0.1677 * levels
    return Logic(lut, 21.3686 * levels + 1.4860 * wide * n + 0.1820 * wide)


def sparse_vector_dot(n: Ints, pairs: Ints, bundle: Ints, filters: Ints, bits: Widths) -> Logic:
    """One engine that skips zero pairs: a crossbar from M = `pairs` words to N multipliers, and their adders."""
    levels, wide = log2_ceil(n) + 1, float(bits.accumulator)
    lut = (
        crossbar(n, pairs, bundle, bits)
        + 0.0295 * wide * n + 0.0016 * filters + 0.5349 * queue(levels + 2, wide) + 15.0159 + 0.2049 * levels
    )  # fmt: skip
    return Logic(lut, 33.0512 * levels + 0.5680 * wide * n)


def crossbar(n: Ints, pairs: Ints, bundle: Ints, bits: Widths) -> Floats:
    """The LUTs of a crossbar that picks N operand pairs from M = `pairs`."""
    beyond = (bundle > 1) | (pairs // bundle > FITTED_WINDOW)
    scale = np.where(beyond, np.maximum(pairs / 9.0, 1.0), 1.0)
    return np.asarray((0.0744 * bits.data + 0.9101 * bits.weight) * n * scale)


def sliding_window(streams: ArrayLike, kernel: tuple[int, int], channels: ArrayLike, bits: Widths) -> Logic:
    """The line and window registers of `streams` streams, through each of which `channels` channels pass in turn."""
    rows, columns = kernel
    wide = np.asarray(streams, float) * bits.data
    lut = wide * (6.4684 + 3.9266 * (rows - 1) + 2.4508 * rows * (columns - 1))
    return Logic(lut, 20.7715 * log2_ceil(channels) + wide * (5.2124 * (rows - 1) + 3.4402 * rows * (columns - 1)))


def accumulate(streams: ArrayLike, depth: ArrayLike, filters: ArrayLike, bits: Widths) -> Logic:
    """The accumulators that sum up `filters` filters over `depth` channels."""
    wide, f = np.asarray(streams, float) * bits.accumulator, np.asarray(filters, float)
    lut = 0.8535 * f + 3.5104 * wide + 13.6738 * queue(2, wide) + 0.0168 * wide * f + 0.9252 * wide
    return Logic(lut, 3.2098 * wide + 0.0073 * np.asarray(depth, float) + 0.2889 * f)


def fork(streams: ArrayLike, words: ArrayLike, bits: Widths) -> Logic:
    """The fork that copies windows of `words` words to the parallel filters."""
    each = np.asarray(streams, float) * np.asarray(words, float)
    return Logic(0.5 * bits.data * each + 5, 12 * each + 3)


def glue(streams: ArrayLike, inputs: Ints, bits: Widths) -> Logic:
    """The adder trees over `inputs` parallel input channels, one for each of `streams` parallel filters."""
    wide, levels = np.asarray(streams, float) * bits.accumulator, log2_ceil(inputs)
    lut = 1.2617 * wide * inputs + 8.8787 * queue(levels + 1, wide) + 0.1609 * levels + 0.1953
    return Logic(lut, 9.5375 * inputs + 0.3608 * wide + 0.0511 * wide * 2.0**levels + 1.0281 * wide * inputs)


def bias(streams: ArrayLike, bits: Widths) -> Logic:
    """The adders of one bias per filter."""
    wide = np.asarray(streams, float) * bits.data
    return Logic(0.8125 * wide, 2.1875 * wide)


def squeeze(streams: ArrayLike, inputs: Ints, outputs: Ints, bits: Widths) -> Logic:
    """The converters from `inputs` parallel words to `outputs` words a cycle."""
    wide, common = np.asarray(streams, float) * bits.data, np.lcm(inputs, outputs).astype(float)
    lut = (
        2.2269 * wide * common + 235.586 * inputs + 3.2930 * wide * outputs
        + 48.8293 * common * queue(common / inputs + 1, wide)
    )  # fmt: skip
    ff = 15.8739 * common + 3.4849 * wide * outputs + 5.6949 * outputs * log2_ceil(common / outputs) + 1084.90
    return Logic(lut, ff)


def decoupling(depth: Ints, pairs: Ints, bits: Widths) -> Logic:
    """The FIFOs of windows and of sums between which a compute engine can run ahead by `depth` rounds.

    They are two queues in LUTRAM, and none at depth 0. This is an extrapolation of ours: the peer has no such FIFOs.
    """
    lut = LUTS_PER_SLICE * (queue(depth, pairs * bits.data) + queue(depth, bits.accumulator))
    return Logic(np.where(depth > 0, lut, 0.0), np.zeros(np.shape(lut)))


PAD = Logic(np.float64(16.0), np.float64(35.0))  # type: ignore[arg-type]
"""The padding of one layer; or an activation (ReLU, thresholded ReLU, hard-swish), per stream."""
ELEMENTWISE = Logic(np.float64(49.0), np.float64(23.0))  # type: ignore[arg-type]
"""The addition or multiplication of two operands, per stream."""


def max_pool(streams: ArrayLike, window: int, bits: Widths) -> Logic:
    """The comparators of a max pool, without the sliding window before them."""
    wide = np.asarray(streams, float) * bits.data
    levels = int(log2_ceil(window))
    lut = 2.5048 * window + 0.8852 * wide * window + LUTS_PER_SLICE * queue(levels + 1, wide)
    return Logic(lut, 0.1867 * wide + 2.1568 * wide * window + 5.3721 * levels)


def global_pool(streams: ArrayLike, channels: int, bits: Widths) -> Logic:
    """The accumulators of a pool over a whole map."""
    s = np.asarray(streams, float)
    lut = 28.1439 * bits.accumulator + LUTS_PER_SLICE * queue(4, bits.data)
    return Logic(lut * s, 0.6411 * bits.accumulator * channels * np.ones_like(s))


def lutram(words: ArrayLike, word_bits: int, depth: ArrayLike) -> Floats:
    """The LUTs of `words` parallel memories of `word_bits`; a LUT holds 64×1 bit (UltraScale and 7-series alike)."""
    return np.asarray(np.asarray(words, float) * word_bits * np.ceil(np.asarray(depth, float) / 64))


@dataclass(frozen=True, slots=True)
class Folds:
    """The folds of many designs of one layer, as equally long arrays (hardware-model, section 2).

    Args:
        i, o, g: parallel input channels, filters and groups.
        m: channels bundled in one compute engine.
        n: multipliers of a compute engine.
        q, p: pixels read, and output columns computed, at once.
        engine: codes of the kind of compute engine (`ComputeEngine.code`).
        fifo: rounds that fit in the FIFOs before and behind a compute engine; 0 = they run in lock-step.
    """

    i: Ints
    o: Ints
    g: Ints
    m: Ints
    n: Ints
    q: Ints
    p: Ints
    engine: Ints
    fifo: Ints

    def __getitem__(self, rows: Ints | NDArray[np.bool_]) -> Folds:
        return Folds(*(getattr(self, name)[rows] for name in self.__slots__))

    def __len__(self) -> int:
        return len(self.i)

    @property
    def compute_engines(self) -> Ints:
        """The number of compute engines, those of all columns together."""
        return self.g * self.o * self.bundles * self.p

    @property
    def bundles(self) -> Ints:
        """The compute engines side by side whose results are summed up for a filter."""
        return self.i // self.m

    def rounds_summed(self, layer: Operation) -> Ints:
        """The rounds of an output pixel that a compute engine sums up."""
        return np.asarray(ceil_div(layer.source.channels, self.i * self.g), np.int64)
