"""Cycles of modules that only move words of a stream, where nobody stalls; the modules' tests assert them exactly."""

from __future__ import annotations

# ---- plumbing ----------------------------------------------------------------------------------------------------


def repacking_cycles(values: int, in_values: int, out_values: int) -> int:
    """Cycles in which a width converter repacks the values of a frame: a word read or written each, whichever are more.

    Where words become wider and two of them end within the last one read, the frame takes a cycle more.
    """
    read, written = -(-values // in_values), -(-values // out_values)
    return max(written, read + (written > 1 and (written - 1) * out_values > (read - 1) * in_values))


def concatenation_cycles(pixels: int, depth_a: int, depth_b: int) -> int:
    """Cycles in which two maps are joined, whose pixels have that many words each."""
    return pixels * (depth_a + depth_b)


# ---- sums --------------------------------------------------------------------------------------------------------


def accumulation_cycles(pixels: int, groups: int, passes: int, rounds: int) -> int:
    """Cycles in which an accumulator sums the passes of all groups and filter blocks of some pixels."""
    return pixels * groups * passes * rounds
