"""Compiled passes over the designs of a table, each of which looks at every design and place once.

Tables of large networks have millions of rows together, and an exploration passes them a handful of times. In all
functions `logic` is (n, 3) and `memory` (places, n, 3), as in `Table`, only the first `end` designs count, and
`weights` are (6,) of the resources in the order of `LIMITS`.
"""

from __future__ import annotations

import numpy as np

from hass_train.runtime.compiled import compiled


@compiled
def cheapest(logic, memory, end, weights, copies, spent):  # type: ignore[no-untyped-def]
    """Find the least weighted sum of resources of a design and a place.

    Args:
        logic, memory, end, weights: the designs.
        copies: operations that take this design.
        spent: (6,) to which what they take is added.
    """
    best, found, where = np.inf, 0, 0
    for design in range(end - 1, -1, -1):  # the slowest are the cheapest: they leave few to look at
        own = logic[design, 0] * weights[0] + logic[design, 1] * weights[3] + logic[design, 2] * weights[4]
        if own > best:
            continue
        least, at = np.inf, 0
        for place in range(memory.shape[0]):
            cost = own + (
                memory[place, design, 0] * weights[1]
                + memory[place, design, 1] * weights[2]
                + memory[place, design, 2] * weights[5]
            )
            if cost < least:
                least, at = cost, place
        if least <= best:  # of equal ones the fastest
            best, found, where = least, design, at
    spent[0] += copies * logic[found, 0]
    spent[1] += copies * memory[where, found, 0]
    spent[2] += copies * memory[where, found, 1]
    spent[3] += copies * logic[found, 1]
    spent[4] += copies * logic[found, 2]
    spent[5] += copies * memory[where, found, 2]
    return best


@compiled
def near(logic, memory, end, weights, most):  # type: ignore[no-untyped-def]
    """List the designs and places whose weighted sum of resources is at most `most`.

    Returns:
        (rows,) designs, ascending; (rows,) places; (rows,) sums.
    """
    places = memory.shape[0]
    room, beside = 0, np.empty(places)
    for design in range(end):
        own = logic[design, 0] * weights[0] + logic[design, 1] * weights[3] + logic[design, 2] * weights[4]
        room += places * (own <= most)
    designs, wheres, costs = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
    rows = 0
    for design in range(end):
        own = logic[design, 0] * weights[0] + logic[design, 1] * weights[3] + logic[design, 2] * weights[4]
        if own > most:
            continue
        for place in range(places):
            beside[place] = own + (
                memory[place, design, 0] * weights[1]
                + memory[place, design, 1] * weights[2]
                + memory[place, design, 2] * weights[5]
            )
        for place in range(places):
            if beside[place] <= most:
                designs[rows], wheres[rows], costs[rows] = design, place, beside[place]
                rows += 1
    return designs[:rows], wheres[:rows], costs[:rows]


@compiled
def within(logic, memory, end, weights, most):  # type: ignore[no-untyped-def]
    """List the designs, ascending, whose weighted sum of resources is at most `most` in some place."""
    designs, rows = np.empty(end, np.int64), 0
    for design in range(end):
        own = logic[design, 0] * weights[0] + logic[design, 1] * weights[3] + logic[design, 2] * weights[4]
        if own > most:
            continue
        for place in range(memory.shape[0]):
            cost = own + (
                memory[place, design, 0] * weights[1]
                + memory[place, design, 1] * weights[2]
                + memory[place, design, 2] * weights[5]
            )
            if cost <= most:
                designs[rows] = design
                rows += 1
                break
    return designs[:rows].copy()


@compiled
def _held(memory, design, weights):  # type: ignore[no-untyped-def]
    """The weighted sum of a design's memories, in the place where it is least."""
    least = np.inf
    for place in range(memory.shape[0]):
        least = min(
            least,
            memory[place, design, 0] * weights[1]
            + memory[place, design, 1] * weights[2]
            + memory[place, design, 2] * weights[5],
        )
    return least


@compiled
def steps(interval, logic, memory, weights):  # type: ignore[no-untyped-def]
    """Find the least weighted sum of resources with which a design reaches each interval.

    Args:
        interval: (n,) cycles per image, ascending.
        logic, memory, weights: of the designs.

    Returns:
        (steps,) intervals, ascending, and (steps,) sums, strictly falling.
    """
    at, costs = np.empty(64, np.int64), np.empty(64)
    count, best = 0, np.inf
    for design in range(len(interval)):
        own = logic[design, 0] * weights[0] + logic[design, 1] * weights[3] + logic[design, 2] * weights[4]
        if own >= best:
            continue
        least = _held(memory, design, weights)
        if own + least >= best:
            continue
        best = own + least
        if count and at[count - 1] == interval[design]:
            count -= 1
        elif count == len(at):
            at, costs = np.concatenate((at, np.empty(count, np.int64))), np.concatenate((costs, np.empty(count)))
        at[count], costs[count] = interval[design], best
        count += 1
    return at[:count].copy(), costs[:count].copy()


@compiled
def worth_near(interval, logic, memory, group, worths, shortest):  # type: ignore[no-untyped-def]
    """Say which designs are the cheapest of their group at some interval, for some worth of the resources.

    Args:
        interval, logic, memory: the designs.
        group: (n,) the group of each of the first n designs, which are looked at.
        worths: (k, 6) of a unit of each resource.
        shortest: intervals up to which do not count.

    Returns:
        (n,) whether a design is.
    """
    kept = np.zeros(len(group), np.bool_)
    groups = 0 if len(group) == 0 else group.max() + 1
    best, last = np.empty(groups), np.empty(groups, np.int64)
    for worth in worths:
        best[:], last[:] = np.inf, -1
        for design in range(len(group)):
            own = logic[design, 0] * worth[0] + logic[design, 1] * worth[3] + logic[design, 2] * worth[4]
            one = group[design]
            if own >= best[one]:
                continue
            least = _held(memory, design, worth)
            if own + least >= best[one]:
                continue
            if last[one] >= 0 and interval[design] > shortest:
                kept[last[one]] = True  # from here on this one is cheaper
            best[one], last[one] = own + least, design
        for one in range(groups):
            if last[one] >= 0:
                kept[last[one]] = True
    return kept


@compiled
def lightest(logic, memory, end, worth, below, rest):  # type: ignore[no-untyped-def]
    """Find the design and place of the least worth among those that fit what is left.

    Args:
        logic, memory, end: the designs.
        worth: (6,) of a unit of each resource.
        below: worth that must be undercut.
        rest: (6,) what is left.

    Returns:
        The worth, the design, −1 if there is none, and the place.
    """
    best, found, where = below, -1, 0
    for design in range(end):
        dsp, lut, ff = logic[design, 0], logic[design, 1], logic[design, 2]
        own = dsp * worth[0] + lut * worth[3] + ff * worth[4]
        if own >= best or dsp > rest[0] or lut > rest[3] or ff > rest[4]:
            continue
        for place in range(memory.shape[0]):
            bram, uram, bits = memory[place, design, 0], memory[place, design, 1], memory[place, design, 2]
            value = own + (bram * worth[1] + uram * worth[2] + bits * worth[5])
            if value < best and bram <= rest[1] and uram <= rest[2] and bits <= rest[5]:
                best, found, where = value, design, place
    return best, found, where


@compiled
def gathered(logic, memory, designs, wheres):  # type: ignore[no-untyped-def]
    """Gather what designs take with their memories at some places, as (rows, 6)."""
    rows = np.empty((len(designs), 6))
    for row in range(len(designs)):
        design, place = designs[row], wheres[row]
        rows[row, 0], rows[row, 3], rows[row, 4] = logic[design, 0], logic[design, 1], logic[design, 2]
        rows[row, 1], rows[row, 2] = memory[place, design, 0], memory[place, design, 1]
        rows[row, 5] = memory[place, design, 2]
    return rows


@compiled
def alive(ordered):  # type: ignore[no-untyped-def]
    """Say which rows no earlier one matches or beats in every column.

    Args:
        ordered: (rows, k) in an order in which only earlier rows can beat one.
    """
    count, k = ordered.shape
    kept, left = np.empty(count, np.int64), 0
    result = np.zeros(count, np.bool_)
    for row in range(count):
        beaten = False
        for other in range(left):
            beaten = True
            for column in range(k):
                if ordered[kept[other], column] > ordered[row, column]:
                    beaten = False
                    break
            if beaten:  # what beats one row often beats the next: it is looked at earlier
                kept[other], kept[other // 2] = kept[other // 2], kept[other]
                break
        if not beaten:
            kept[left] = row
            left += 1
            result[row] = True
    return result
