"""What of a map's padding is streamed in, and what windows have without it."""

from __future__ import annotations


def streamed(size: int, before: int, after: int, reach: int, stride: int) -> tuple[int, int]:
    """The rows of padding before and after a map that are streamed in; likewise columns.

    Windows that begin before the map see a constant there without reading it, as `sliding_window` makes them; where
    even the last row of a window lies before the map, that row is read. After the map are read those rows that windows
    reach.

    Args:
        size: rows of the map.
        before, after: rows of padding.
        reach: rows that a window spans.
        stride: rows from a window to the next.
    """
    last = (size + before + after - reach) // stride * stride  # where the last window begins, from the padding's on
    return max(before - reach + 1, 0), min(max(last + reach - before - size, 0), after)
