"""Compiled loops that make a table of designs: which are worth building, which fit, and what they take."""

from __future__ import annotations

import numpy as np

from hass_train.runtime.compiled import compiled


@compiled
def worth_building(  # type: ignore[no-untyped-def]
    t, rounds, passes, read, written, blocks, wider, filters, fewest, fifos, floor
):
    """List the designs of a layer that are faster than narrower ones, or easier to build.

    Args:
        t: (FIFOs, rows, filters) mean cycles of a round.
        rounds: (rows,) rounds of an image where all filters are computed at once.
        passes: (filters,) blocks of so many filters.
        read: (rows,) cycles of reading.
        written: (blocks, filters) cycles of writing.
        blocks: (blocks + 1,) the first rows of each block of rows, and the number of rows.
        wider: (rows,) whether a row is only worth building where it is faster than the row before.
        filters: (filters,) numbers of filters side by side.
        fewest: (rows,) of how many filters more than these a row is worth building with FIFOs; −1 = of all, faster or
            not.
        fifos: (FIFOs,) their depths; 0 = none.
        floor: cycles below which no design has to go.

    Returns:
        (designs,) the index of the FIFOs, the row, the index of the filters and the interval of each.
    """
    count, size = 0, len(filters)
    depths, rows, places = np.empty(t.size, np.int64), np.empty(t.size, np.int64), np.empty(t.size, np.int64)
    intervals, before = np.empty(t.size, np.int64), np.empty(size, np.int64)
    for block in range(len(blocks) - 1):
        for depth in range(len(fifos)):
            for row in range(blocks[block], blocks[block + 1]):
                narrower = 2**62
                for place in range(size):
                    cycles = max(rounds[row] * passes[place] * t[depth, row, place], read[row], written[block, place])
                    interval = max(int(np.ceil(cycles * (1 - 1e-12))), 1)  # as `cycles.interval` rounds
                    bounded = max(interval, floor)
                    wanted = bounded < narrower and (bounded < before[place] or not wider[row])
                    if fifos[depth]:
                        wanted = (wanted and filters[place] > fewest[row]) or fewest[row] < 0
                    if wanted:
                        depths[count], rows[count], places[count] = depth, row, place
                        intervals[count] = interval
                        count += 1
                    narrower, before[place] = min(narrower, bounded), bounded
    return depths[:count].copy(), rows[:count].copy(), places[:count].copy(), intervals[:count].copy()


@compiled
def fitting(logic, memory, budget, least):  # type: ignore[no-untyped-def]
    """Say which designs fit a budget in some place, in whole units.

    Args:
        logic: (3, n) DSPs, LUTs and flip-flops of all designs.
        memory: (places, 3, n) block RAMs, UltraRAMs and off-chip bits.
        budget: (6,) of the whole device.
        least: (6,) becomes the least of each resource that any design takes.

    Returns:
        (n,) whether a design fits.
    """
    least[:] = np.inf
    fits = np.zeros(logic.shape[1], np.bool_)
    for place in range(memory.shape[0]):
        bram, uram, bits = memory[place, 0], memory[place, 1], memory[place, 2]
        for design in range(len(fits)):
            fits[design] |= (
                np.ceil(bram[design]) <= budget[1]
                and np.ceil(uram[design]) <= budget[2]
                and np.ceil(bits[design]) <= budget[5]
            )
            least[1], least[2] = min(least[1], bram[design]), min(least[2], uram[design])
            least[5] = min(least[5], bits[design])
    for design in range(len(fits)):
        dsp, lut, ff = logic[0, design], logic[1, design], logic[2, design]
        fits[design] &= np.ceil(dsp) <= budget[0] and np.ceil(lut) <= budget[3] and np.ceil(ff) <= budget[4]
        least[0], least[3], least[4] = min(least[0], dsp), min(least[3], lut), min(least[4], ff)
    least[:] = np.ceil(least)
    return fits


@compiled
def rounded(logic, memory, rows):  # type: ignore[no-untyped-def]
    """Gather what some designs take, in whole units, as `Table` has it; arguments are those of `fitting`."""
    places = memory.shape[0]
    own, held = np.empty((len(rows), 3)), np.empty((places, len(rows), 3))
    for row in range(len(rows)):
        for column in range(3):
            own[row, column] = np.ceil(logic[column, rows[row]])
    for place in range(places):
        for row in range(len(rows)):
            for column in range(3):
                held[place, row, column] = np.ceil(memory[place, column, rows[row]])
    return own, held
