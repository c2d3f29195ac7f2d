"""Operations of a design as stages: what each step of an image waits for, as arrays (hardware-model, section 10).

A stage reads its operands step by step, a step being what its parallel streams read in a cycle: i·g words of q pixels,
padding included. Its engines compute *rounds*; a round needs the window of one block of channels, so it waits for one
read step. For each output pixel (or p of them at once, a *group*) the rounds run over blocks of groups, of channels and
of filters, in this order, since partial sums of all filters are kept. The rounds of the last block of channels emit
results, which are written one step of o·g words of p pixels a cycle.

Words pass between stages in raster order, pixel by pixel; the order of channels within a pixel is the producer's, and
the consumer's weights are sorted to it. Where several pixels are written at once, words are counted, whatever their
order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.estimate import LayerEstimate
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, OperationKind, Workload

Ints = NDArray[np.int64]

REGISTERS = 2
"""Entries of a FIFO that is nothing but registers; two let a word pass in every cycle."""
_WHOLE_PIXELS = frozenset({OperationKind.LAYER_NORM, OperationKind.SOFTMAX})
_POOLS = frozenset({OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL})


@dataclass(frozen=True, slots=True)
class StageDesign:
    """How one operation is built.

    Args:
        name: of the operation.
        engine: `dense`, `sparse`, or `stream` for operations without multipliers.
        folds: `i o g m N q p`, or `s` streams.
        bands: how often off-chip weights are read for one image; 0 = they are on chip.
        engine_fifo: rounds that a sparse engine may be ahead of the slowest; 0 = in lock-step.
    """

    name: str
    engine: str
    folds: Mapping[str, int]
    bands: int = 0
    engine_fifo: int = 0

    @classmethod
    def of(cls, row: LayerEstimate) -> StageDesign:
        """From an estimate's row."""
        fetched = row.weights_in == "off_chip" and row.engine != "stream"
        return cls(row.name, row.engine, row.folds, row.bands if fetched else 0, row.engine_fifo)


@dataclass(frozen=True)
class Operand:
    """What one operand of a stage is read for.

    Args:
        producer: which operation's result (or `NETWORK_INPUT`).
        used: (reads,) words of its map used up after each read step of an image, none of them twice.
        needed: (reads,) words that must have arrived before each read step; 0 = none.
    """

    producer: str
    used: Ints
    needed: Ints

    @property
    def together(self) -> int:
        """Words that must be there at once: needed for a step, and not yet used up before it."""
        return int((self.needed - np.append(0, self.used[:-1])).max())


@dataclass(frozen=True)
class Stage:
    """One operation in the pipeline; numbers are per image.

    Args:
        name: of the operation.
        operands: what it reads.
        reads: read steps.
        base: (groups,) of each group of output pixels, the first read step of the last pixel of its window.
        offset: (blocks,) of each block of channels, the read step within that pixel.
        release: (reads,) the last block (group · blocks + block) that needs what a read step brought; −1 = none.
        filters: blocks of filters, rounds for each block of channels.
        depth: how many blocks of channels are summed up; the last of them emits.
        written: (writes,) words written after each step.
        window: read steps that the sliding window reaches back.
        band: write steps that are computed together before any is written (off-chip weights); 1 else.
        words_per_read: words of a read step that takes all streams.
        words_per_write: the same of a write step.
        burst: words that leave together: a group of pixels.
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
        return len(self.base)

    @property
    def blocks(self) -> int:
        return len(self.offset)


def stage_of(operation: Operation, design: StageDesign, maps: Mapping[str, FeatureMap]) -> Stage:
    """The stage of one operation.

    Args:
        operation: of the network.
        design: how it is built.
        maps: results by name, the network's input included.

    Raises:
        ValueError: folds that do not belong to such an operation.
    """
    wanted = "iogmNqp" if operation.multiplies else "s"
    if not all(design.folds.get(name, 0) >= 1 for name in wanted):
        folds = ", ".join(f"{name}={value}" for name, value in design.folds.items())
        needs = f"{design.name} is a {operation.kind.value} and needs the folds {' '.join(wanted)}, each ≥ 1"
        raise ValueError(f"{needs}; it has {folds or 'none'}")
    return _multiplying(operation, design, maps) if operation.multiplies else _streaming(operation, design, maps)


def source_stage(shape: tuple[int, int, int], words: int) -> Stage:
    """The network's input, `words` of it a cycle."""
    total = shape[0] * shape[1] * shape[2]
    steps = ceil_div(total, words)
    none = np.zeros(0, np.int64)
    written = np.minimum(np.arange(1, steps + 1) * words, total)
    base, offset = np.zeros(steps, np.int64), np.zeros(1, np.int64)
    return Stage(NETWORK_INPUT, (), 0, base, offset, none, 1, 1, written, 0, 1, words, words)


# ---- compute layers --------------------------------------------------------------------------------------------------


def _multiplying(operation: Operation, design: StageDesign, maps: Mapping[str, FeatureMap]) -> Stage:
    i, o, g, q, p = (design.folds[name] for name in ("i", "o", "g", "q", "p"))
    channels, filters = ceil_div(operation.channels_per_group, i), ceil_div(operation.filters_per_group, o)
    groups = ceil_div(operation.groups, g)
    steps = ceil_div(operation.source.channels, i * g)
    block = np.arange(groups * channels)
    reached = (block // channels) * g * operation.channels_per_group
    reached = reached + np.minimum((block % channels + 1) * i * g, g * operation.channels_per_group)
    offset = np.minimum(ceil_div(np.minimum(reached, operation.source.channels), i * g), steps) - 1
    windows = _Windows.of(operation, q, p)
    result = operation.result
    write = np.arange(windows.groups * groups * filters)
    pixels = windows.pixels_before[write // (groups * filters) + 1]
    before = windows.pixels_before[write // (groups * filters)]
    part = write % (groups * filters)
    done = (part // filters) * g * operation.filters_per_group
    done = np.minimum(done + np.minimum((part % filters + 1) * o * g, g * operation.filters_per_group), result.channels)
    written = before * result.channels + (pixels - before) * done
    operands = [_padded(operation, operation.inputs[0], maps, i * g, q)]
    base, band, held = windows.base * steps, 1, 0
    if design.bands:
        base, band, held = _banded(windows, operation, base, design.bands)
        held = ceil_div(held, q)
        band *= groups * filters
    if operation.kind is OperationKind.MATMUL:
        operands.append(_whole(operation.inputs[1], maps, operation.operand_words, len(operands[0].used)))
    reads = len(operands[0].used)
    return Stage(
        operation.name, tuple(operands), reads, base, offset,
        _release(windows.oldest * steps, offset, steps, reads, len(block)), filters, channels, written,
        windows.reach * steps + held * steps, i * g * q, o * g * p, p * result.channels, band,
    )  # fmt: skip


def _banded(windows: _Windows, operation: Operation, base: Ints, bands: int) -> tuple[Ints, int, int]:
    """Off-chip weights: a band of rows is read as a whole before it is computed, and the next one while it is.

    Returns:
        Read steps that each group waits for, groups of a band, and pixels read ahead of the window.
    """
    result = operation.result
    tall = result.height > 1
    lines = ceil_div(result.height if tall else result.width, bands)
    per_line = windows.groups // result.height if tall else 1
    size = lines * per_line
    last = np.minimum((np.arange(windows.groups) // size + 1) * size, windows.groups) - 1
    width = operation.source.width + 2 * operation.padding[1] if tall else 1
    step = operation.stride[0] if tall else 1
    return base[last], size, 2 * lines * step * width


@dataclass(frozen=True)
class _Windows:
    """Sliding windows of an operation over its padded map.

    Args:
        base: (groups,) the pixel step that completes each group's windows.
        oldest: (groups,) the first pixel step that they need.
        pixels_before: (groups + 1,) output pixels before each group.
        reach: pixel steps from the oldest to the newest of a window.
    """

    base: Ints
    oldest: Ints
    pixels_before: Ints
    reach: int

    @property
    def groups(self) -> int:
        return len(self.base)

    @classmethod
    def of(cls, operation: Operation, pixels: int, columns: int) -> _Windows:
        result = operation.result
        if operation.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
            height, width = result.height, result.width  # a linear layer's pixels are its tokens
        else:
            height = operation.source.height + 2 * operation.padding[0]
            width = operation.source.width + 2 * operation.padding[1]
        across = ceil_div(result.width, columns)
        group = np.arange(result.height * across)
        row, first = group // across, (group % across) * columns
        last = np.minimum(first + columns, result.width) - 1
        span = [(size - 1) * step for size, step in zip(operation.kernel, operation.dilation, strict=True)]
        top, left = row * operation.stride[0], first * operation.stride[1]
        bottom = np.minimum(top + span[0], height - 1)
        right = np.minimum(last * operation.stride[1] + span[1], width - 1)
        oldest = np.minimum(top * width + left, height * width - 1) // pixels
        base = np.maximum.accumulate((bottom * width + right) // pixels)
        before = np.append(row * result.width + first, result.pixels)
        return cls(base, oldest, before, int((span[0] * width + span[1] + pixels - 1) // pixels))


def _release(oldest: Ints, offset: Ints, steps: int, reads: int, blocks: int) -> Ints:
    """The last block that needs each read step."""
    step = np.arange(reads)
    group = np.searchsorted(oldest, step // steps * steps, side="right") - 1
    block = np.searchsorted(offset, step % steps, side="right") - 1
    block = np.where(block < 0, blocks - 1, block)
    return np.where(group < 0, -1, group * blocks + block)


# ---- operands --------------------------------------------------------------------------------------------------------


def _padded(operation: Operation, name: str, maps: Mapping[str, FeatureMap], streams: int, pixels: int) -> Operand:
    """An operand read pixel by pixel, padding included, `streams` channels of `pixels` pixels a step."""
    source = operation.source
    if operation.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
        inside = np.ones(operation.result.pixels, bool)
    else:
        rows, columns = operation.padding
        grid = np.zeros((source.height + 2 * rows, source.width + 2 * columns), bool)
        grid[rows : rows + source.height, columns : columns + source.width] = True
        inside = grid.ravel()
    ends = np.minimum(np.arange(1, ceil_div(len(inside), pixels) + 1) * pixels, len(inside))
    seen = np.append(0, np.cumsum(inside))
    steps = ceil_div(source.channels, streams)
    part = np.minimum((np.arange(steps) + 1) * streams, source.channels)
    before = seen[np.append(0, ends[:-1])]
    used = (before[:, None] * source.channels + (seen[ends] - before)[:, None] * part).ravel()
    taken = np.repeat(seen[ends] > before, steps)
    return _scaled(name, maps, used, np.where(taken, used, 0), source.words)


def _scaled(name: str, maps: Mapping[str, FeatureMap], used: Ints, needed: Ints, words: int) -> Operand:
    """An operand of `words` words; where the producer's map has more or fewer (slices, repeats), in proportion."""
    there = maps[name].words
    if there != words:
        used, needed = ceil_div(used * there, words), ceil_div(needed * there, words)
        used[-1:] = there
    return Operand(name, used, needed)


def _whole(name: str, maps: Mapping[str, FeatureMap], words: int, reads: int) -> Operand:
    """An operand that must be there as a whole before the first read step, and is needed to the last."""
    used, needed = np.zeros(reads, np.int64), np.full(reads, words, np.int64)
    used[-1] = words
    return _scaled(name, maps, used, needed, words)


# ---- operations without multipliers ----------------------------------------------------------------------------------


def _streaming(operation: Operation, design: StageDesign, maps: Mapping[str, FeatureMap]) -> Stage:
    streams, source, result = design.folds["s"], operation.source, operation.result
    steps, out = ceil_div(source.channels, streams), ceil_div(result.channels, streams)
    write = np.arange(result.pixels * out)
    written = write // out * result.channels + np.minimum((write % out + 1) * streams, result.channels)
    if operation.kind in _POOLS or operation.kind is OperationKind.GLOBAL_POOL:
        operand = _padded(operation, operation.inputs[0], maps, streams, 1)
        reads = len(operand.used)
        if operation.kind is OperationKind.GLOBAL_POOL:
            base, offset = np.array([reads - steps]), np.full(out, steps - 1)
            release, window = np.full(reads, out - 1), 2 * reads  # one image's sums are emitted while the next's form
        else:
            windows = _Windows.of(operation, 1, 1)
            base, offset, window = windows.base * steps, np.arange(steps), windows.reach * steps
            release = _release(windows.oldest * steps, offset, steps, reads, steps)
        return Stage(
            operation.name, (operand,), reads, base, offset, release, 1, 1, written, window,
            streams, streams, out * streams,
        )  # fmt: skip
    # one read step for each write step; a reshaped or padded map is read in proportion
    reads, base, offset = result.pixels * out, np.arange(result.pixels) * out, np.arange(out)
    release, window = np.arange(reads), 0
    if operation.kind in _WHOLE_PIXELS:
        offset, window = np.full(out, out - 1), 2 * out  # one pixel is written while the next is read
        release = (release // out) * out + out - 1
    operands = tuple(_element(operation, k, maps, written) for k in range(len(operation.inputs)))
    return Stage(
        operation.name, operands, reads, base, offset, release, 1, 1, written, window, streams, streams, streams
    )


def _element(operation: Operation, k: int, maps: Mapping[str, FeatureMap], written: Ints) -> Operand:
    """One operand of an operation that goes through its result word by word."""
    name, result = operation.inputs[k], operation.result
    own = maps[name]
    if operation.kind is OperationKind.CONCAT:
        before = sum(maps[other].channels for other in operation.inputs[:k])
        pixel, channel = (written - 1) // result.channels, (written - 1) % result.channels + 1
        used = np.minimum(pixel, own.pixels) * own.channels + np.clip(channel - before, 0, own.channels)
        fresh = np.diff(used, prepend=0) > 0
        return _scaled(name, maps, used, np.where(fresh, used, 0), own.words)
    if own.words < result.words and len(operation.inputs) > 1 and result.channels and own.channels == result.channels:
        channel = (written - 1) % result.channels + 1  # one value for each channel of all pixels
        used = np.zeros(len(written), np.int64)
        used[written > result.words - own.channels] = channel[written > result.words - own.channels]
        return Operand(name, used, channel)
    used = written * own.words // result.words
    needed = ceil_div(written * own.words, result.words)
    used[-1:] = own.words
    return Operand(name, used, needed)


def maps_of(workload: Workload) -> dict[str, FeatureMap]:
    """Every value of the network by the name of what makes it."""
    channels, height, width = workload.input_shape
    return {NETWORK_INPUT: FeatureMap(height, width, channels)} | {o.name: o.result for o in workload}
