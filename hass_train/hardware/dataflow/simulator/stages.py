"""Stages: the operations of a design as the simulator plays them, step by step (hardware-model, section 10).

A stage reads its operands step by step, a step being what its parallel streams read in a cycle: i·g words of q pixels,
border included. Its compute engines work in *rounds*. A round needs the window of one block of channels, so it waits
for one read step. For each output pixel (or p of them at once, a *group*) the rounds run over blocks of groups, of
channels and of filters, in this order, since partial sums of all filters are kept. The rounds of the last block of
channels emit results, which are written one step of o·g words of p pixels a cycle.

Words pass between stages in raster order, pixel by pixel; the order of channels within a pixel is the producer's, and
the consumer's weights are sorted to it. Where several pixels are written at once, words are counted, whatever their
order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.estimate import LayerEstimate

Ints = NDArray[np.int64]

REGISTERS = 2
"""Entries of a FIFO that is nothing but registers; two let a word pass in every cycle."""


class Skipping(NamedTuple):
    """What the rounds of a kind of compute engine that skips zeros depend on.

    Args:
        activations, weights: whether on where activations, or weights, are not zero. Without activations the schedule
            is known beforehand, and is the same for all pixels and images.
        lanes: whether each multiplier takes only positions of its own; None = the design says so.
    """

    activations: bool
    weights: bool
    lanes: bool | None


SKIPPING: Mapping[str, Skipping] = MappingProxyType(
    {
        ComputeEngine.ACTIVATION: Skipping(activations=True, weights=False, lanes=True),
        ComputeEngine.WEIGHT: Skipping(activations=False, weights=True, lanes=None),
        ComputeEngine.PAIR: Skipping(activations=True, weights=True, lanes=True),
        ComputeEngine.CROSSBAR: Skipping(activations=True, weights=True, lanes=False),
    }
)
"""The kinds that skip zeros, by name; rounds of the others always take the same."""


@dataclass(frozen=True, slots=True)
class StageDesign:
    """How one operation is built.

    Args:
        name: name of the operation.
        engine: kind of its compute engines (`ComputeEngine`); `stream` for an operation without multipliers.
        folds: parallelism by name, `i o g m N q p`, or `s` streams.
        bands: how often off-chip weights are read for one image; 0 = they are on chip.
        engine_fifo: rounds that a compute engine may be ahead of the slowest; 0 = in lock-step.
        lanes: of `weight` engines, whether each multiplier takes only positions of its own; other kinds do or do not.
        filter_order: the order in which filters are computed, group after group; empty = the network's for `weight`
            engines, and dealt by density for other kinds.
        multiplier: what products are made in, `dsp` or `lut`.
    """

    name: str
    engine: str
    folds: Mapping[str, int]
    bands: int = 0
    engine_fifo: int = 0
    lanes: bool = False
    filter_order: tuple[int, ...] = ()
    multiplier: str = "dsp"

    @property
    def skips_zeros(self) -> bool:
        """Whether its rounds depend on where operands are zero, so that it can be played only with them."""
        return self.engine in SKIPPING

    @property
    def sees_activations(self) -> bool:
        """Whether its rounds depend on the image, so that its engines wait for each other or have FIFOs."""
        return self.skips_zeros and SKIPPING[self.engine].activations

    @classmethod
    def of(cls, row: LayerEstimate) -> StageDesign:
        """The design that a row of an estimate describes."""
        fetched = row.weights_in == "off_chip" and row.engine != "stream"
        return cls(
            row.name,
            row.engine,
            row.folds,
            row.bands if fetched else 0,
            row.engine_fifo,
            row.lanes,
            row.filter_order,
            row.multiplier,
        )


@dataclass(frozen=True)
class Operand:
    """When a stage needs the words of one of its operands, and when it is done with them.

    Args:
        producer: the operation whose result it is, or `NETWORK_INPUT`.
        used: (reads,) words of its map that are used up after each read step of an image.
        needed: (reads,) words that must have arrived before each read step; 0 = none.
    """

    producer: str
    used: Ints
    needed: Ints

    @property
    def together(self) -> int:
        """The most words that must be there at once: needed for a step, and not yet used up before it."""
        return int((self.needed - np.append(0, self.used[:-1])).max())


@dataclass(frozen=True)
class Stage:
    """One operation in the pipeline; all numbers are per image.

    Args:
        name: name of the operation.
        operands: what it reads.
        reads: number of read steps.
        base: (groups,) for each group of output pixels, the first read step of the last pixel of its window.
        offset: (blocks,) for each block of channels, the read step within that pixel.
        release: (reads,) the last block (group · blocks + block) that needs what a read step brought; −1 = none.
        filters: blocks of filters, which are rounds for each block of channels.
        depth: how many blocks of channels are summed up; the last of them emits results.
        written: (writes,) words written after each write step.
        window: read steps that the sliding window reaches back.
        words_per_read: words of a read step that takes all streams.
        words_per_write: words of a write step that takes all streams.
        burst: words that leave together, those of a group of pixels.
        band: write steps that are computed together before any is written (off-chip weights); else 1.
    """

    name: str
    operands: tuple[Operand, ...]
    reads: int
    base: Ints
    offset: Ints
    release: Ints
    filters: int
    depth: int
    written: Ints
    window: int
    words_per_read: int
    words_per_write: int
    burst: int
    band: int = 1

    @property
    def groups(self) -> int:
        """Number of groups of output pixels."""
        return len(self.base)

    @property
    def blocks(self) -> int:
        """Number of blocks of groups and channels for each group of output pixels."""
        return len(self.offset)
