"""Cycles in which words of streams occupy the modules that pass them on, where nobody stalls."""

from __future__ import annotations

from typing import Any

from hass_train.hardware.arithmetic import ceil_div


def map_words(height: Any, width: Any, pixels: Any = 1, depth: Any = 1) -> Any:
    """The words of a map that is streamed with some pixels of a row side by side: H·⌈W/q⌉·depth.

    Every row begins a word; the last word of a row is filled up.

    Args:
        height, width: of the map.
        pixels: pixels of a row in a word.
        depth: words that the channels of a pixel take.

    Returns:
        A number for numbers, otherwise an array.
    """
    return height * ceil_div(width, pixels) * depth


def repacking_cycles(values: Any, in_values: Any, out_values: Any) -> Any:
    """Cycles in which a width converter repacks the values of a frame: a word read or written each, whichever are more.

    Where words become wider and two of them end within the last one read, the frame takes a cycle more; for numbers or
    arrays.
    """
    read, written = ceil_div(values, in_values), ceil_div(values, out_values)
    reading = read + ((written > 1) & ((written - 1) * out_values > (read - 1) * in_values))
    return reading + (written - reading) * (written > reading)


def concatenation_cycles(pixels: int, depth_a: int, depth_b: int) -> int:
    """Cycles in which two maps are joined, whose pixels have that many words each."""
    return pixels * (depth_a + depth_b)


def accumulation_cycles(pixels: int, groups: int, passes: int, rounds: int) -> int:
    """Cycles in which an accumulator sums the passes of all groups and filter blocks of some pixels."""
    return pixels * groups * passes * rounds
