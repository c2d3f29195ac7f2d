"""Cycles of the modules between engines, which pass maps on word by word (rtl, section 3)."""

from __future__ import annotations

from hass_train.hardware.arithmetic import ceil_div


def map_words(height: int, width: int, pixels: int = 1, depth: int = 1) -> int:
    """The words of a map: what a sliding window or a global pool reads, and what a padding writes, one a cycle.

    Args:
        height: rows.
        width: columns; the last word of a row may hold fewer than `pixels` of them.
        pixels: columns in a word.
        depth: words, one after the other, that hold all channels of a group of columns.
    """
    return height * int(ceil_div(width, pixels)) * depth
