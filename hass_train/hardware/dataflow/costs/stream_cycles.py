"""Words of maps in streams, and the cycles for which they occupy the modules of `hass_train/rtl/` (one each)."""

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
