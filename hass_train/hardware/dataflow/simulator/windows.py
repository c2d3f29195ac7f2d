"""Sliding windows over maps: which read step completes a window, and which one is its oldest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.workload import Operation

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """The sliding windows of an operation over its map, in steps of the pixels that are read at once.

    Args:
        base: (groups,) for each group of output pixels, the pixel step that completes its windows.
        oldest: (groups,) the first pixel step that its windows need.
        pixels_before: (groups + 1,) output pixels before each group.
        reach: pixel steps from the oldest to the newest of a window.
    """

    base: Ints
    oldest: Ints
    pixels_before: Ints
    reach: int

    @property
    def groups(self) -> int:
        """Number of groups of output pixels."""
        return len(self.base)

    @classmethod
    def of(cls, operation: Operation, pixels: int, columns: int) -> Windows:
        """The windows of an operation that reads `pixels` pixels a step and computes `columns` columns at once."""
        result, (height, width) = operation.result, operation.rows_read
        steps = ceil_div(width, pixels)  # every row begins a step
        across = ceil_div(result.width, columns)
        group = np.arange(result.height * across)
        row, first = group // across, (group % across) * columns
        last = np.minimum(first + columns, result.width) - 1
        span = [size - 1 for size in operation.reach]
        window, within = np.divmod(row, result.height // operation.windows)
        above, beside = operation.lead
        top = window * (operation.source.height // operation.windows) + within * operation.stride[0] - above
        left = first * operation.stride[1] - beside
        bottom = np.minimum(top + span[0], height - 1)
        right = np.minimum(last * operation.stride[1] - beside + span[1], width - 1)
        oldest = np.minimum(np.maximum(top, 0) * steps + np.maximum(left, 0) // pixels, height * steps - 1)
        base = np.maximum.accumulate(bottom * steps + right // pixels)
        before = np.append(row * result.width + first, result.pixels)
        return cls(base, oldest, before, span[0] * steps + ceil_div(span[1], pixels))

    def release(self, offset: Ints, steps: int, reads: int) -> Ints:
        """The last block that needs what each read step brings.

        Args:
            offset: (blocks,) for each block of channels, the read step within a pixel that completes it.
            steps: read steps of a pixel.
            reads: read steps of an image.

        Returns:
            (reads,) group · blocks + block; −1 for a step that no window needs.
        """
        step, blocks = np.arange(reads), len(offset)
        # windows above the map all begin in its first row: those of a later group may need a word that came before
        needed = np.minimum.accumulate(self.oldest[::-1])[::-1]
        group = np.searchsorted(needed * steps, step // steps * steps, side="right") - 1
        block = np.searchsorted(offset, step % steps, side="right") - 1
        block = np.where(block < 0, blocks - 1, block)
        return np.where(group < 0, -1, group * blocks + block)
