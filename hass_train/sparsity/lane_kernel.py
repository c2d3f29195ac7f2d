"""Compiled maxima over compute engines side by side, and over the lanes of one, which tensor operations would take one
by one."""

from __future__ import annotations

import numpy as np

from hass_train.runtime.compiled import compiled


@compiled
def count_largest(pairs, columns, channels, filters):  # type: ignore[no-untyped-def]
    """How often 0, 1, … is the largest number of non-zero pairs among so many neighbouring engines.

    Args:
        pairs: (runs, columns, engines, filters) numbers of non-zero pairs, of an integer type, contiguous.
        columns, channels, filters: ascending grid points from 1, int64; each is a multiple of the one before it, except
            that the last may be all there are. Those of channels do not exceed the engines there are.

    Returns:
        (columns, channels, filters, most + 1) int64 counts over whole groups; most is the largest of all pairs.
    """
    size = int(pairs.max()) + 1
    counts = np.zeros((len(columns), len(channels), len(filters), size), np.int64)
    width, depth, height = pairs.shape[1:]
    by_columns = pairs
    for c in range(len(columns)):
        if c:
            by_columns = _largest(by_columns, 1, columns[c - 1], columns[c])
        by_channels = by_columns
        for b in range(len(channels)):
            if b:
                by_channels = _largest(by_channels, 2, channels[b - 1], channels[b])
            by_filters = by_channels
            for a in range(len(filters)):
                if a:
                    by_filters = _largest(by_filters, 3, filters[a - 1], filters[a])
                found = counts[c, b, a]
                for run in range(len(pairs)):
                    for column in range(width // columns[c]):
                        for engine in range(depth // channels[b]):
                            for number in by_filters[run, column, engine, : height // filters[a]]:
                                found[number] += 1
    return counts


@compiled
def _largest(pairs, axis, before, lanes):  # type: ignore[no-untyped-def]
    """The maximum over groups of `lanes` neighbours along an axis, where groups of `before` are reduced already.

    The last group may have fewer; it is all there is where `before` does not divide `lanes`.
    """
    shape = pairs.shape
    outer, inner = 1, 1
    for place in range(4):
        if place < axis:
            outer *= shape[place]
        elif place > axis:
            inner *= shape[place]
    there = shape[axis]
    step = there if lanes % before else lanes // before
    groups = (there + step - 1) // step
    flat = pairs.reshape(outer, there, inner)
    reduced = np.zeros((outer, groups, inner), pairs.dtype)
    for one in range(outer):
        for place in range(there):
            group = place // step
            for lane in range(inner):
                reduced[one, group, lane] = max(reduced[one, group, lane], flat[one, place, lane])
    sides = (groups if axis == 1 else shape[1], groups if axis == 2 else shape[2], groups if axis == 3 else shape[3])
    return reduced.reshape((shape[0], sides[0], sides[1], sides[2]))


@compiled
def count_fullest(nonzero):  # type: ignore[no-untyped-def]
    """How many windows have so many non-zeros and, of so many lanes, none with more than x of them.

    Args:
        nonzero: (windows, M) uint8, 1 where a position is not zero. Of N lanes, j has the positions k with k mod N = j.

    Returns:
        (M + 1, rows) int64 counts by non-zeros, for N = 1 … M and each x = 1 … ⌈M/N⌉, laid end to end.
    """
    windows, positions = nonzero.shape
    rows = 0
    for lanes in range(1, positions + 1):
        rows += (positions + lanes - 1) // lanes
    counts = np.zeros((positions + 1, rows), np.int64)
    load = np.zeros(positions, np.int64)
    places = np.zeros(positions, np.int64)
    for window in range(windows):
        held = 0
        for place in range(positions):
            if nonzero[window, place]:
                places[held] = place
                held += 1
        first = 0  # row of this N and x = 1
        for lanes in range(1, positions + 1):
            load[:lanes] = 0
            fullest = 1
            for place in places[:held]:
                load[place % lanes] += 1
                fullest = max(fullest, load[place % lanes])
            counts[held, first + fullest - 1] += 1
            first += (positions + lanes - 1) // lanes
    first = 0
    for lanes in range(1, positions + 1):  # so far, those whose fullest lane has x
        most = (positions + lanes - 1) // lanes
        for x in range(1, most):
            counts[:, first + x] += counts[:, first + x - 1]
        first += most
    return counts
