"""Tables of designs laid end to end, so that one compiled pass looks at all of them.

A network has a hundred tables, most of them small, or small once a bound has ruled out most designs: a call for each
would take longer than what is looked at. Large tables are passed where they are, without a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs import passes
from hass_train.hardware.dataflow.designs.tables import Table
from hass_train.runtime.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LARGE = 4096  # designs from which on a table is not copied


class Laid(NamedTuple):
    """Tables laid end to end.

    Args:
        copies: (tables,) the operations that each table serves.
        first: (tables + 1,) where the designs of each begin, and where the last end.
        held: (tables + 1,) the same of their cells of memory.
        places: (tables,) in how many places the memories of each table's designs can be.
        interval: (designs,) cycles per image, ascending within a table.
        logic: (designs, 3) DSPs, LUTs and flip-flops.
        memory: (cells, 3) block RAMs, UltraRAMs and off-chip bits: place after place, and design after design in each.
        name: (designs,) the design's index in its table.
    """

    copies: Ints
    first: Ints
    held: Ints
    places: Ints
    interval: Ints
    logic: Floats
    memory: Floats
    name: Ints


def by_size(tables: Sequence[Table]) -> list[list[Table]]:
    """The tables, those that are worth copying together and first."""
    small = [table for table in tables if len(table) < _LARGE]
    return [small] * bool(small) + [[table] for table in tables if len(table) >= _LARGE]


def lay(tables: Sequence[Table], copies: Sequence[int]) -> Laid:
    """Lay tables end to end; a single one is not copied."""
    sizes, places = [len(table) for table in tables], [len(table.memory) for table in tables]
    first = np.cumsum([0, *sizes], dtype=np.int64)
    held = np.cumsum([0, *(size * count for size, count in zip(sizes, places, strict=True))], dtype=np.int64)
    interval, logic, memory = (
        _joined(parts)
        for parts in (
            [table.interval for table in tables],
            [table.logic for table in tables],
            [table.memory.reshape(-1, 3) for table in tables],
        )
    )
    name = np.arange(first[-1]) - np.repeat(first[:-1], sizes)
    return Laid(np.array(copies), first, held, np.array(places), interval, logic, memory, name)


def joined(parts: Sequence[Laid]) -> Laid:
    """Lay what is laid already end to end."""
    if len(parts) == 1:
        return parts[0]
    copies, _, _, places, *rest = (_joined(list(one)) for one in zip(*parts, strict=True))
    first, held = (
        np.cumsum(np.concatenate([[0], *(np.diff(getattr(part, bounds)) for part in parts)]))
        for bounds in ("first", "held")
    )
    return Laid(copies, first, held, places, *rest)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@compiled
def memory_of(laid, table):  # type: ignore[no-untyped-def]
    """(places, designs, 3) the memories of a table."""
    own = laid.memory[laid.held[table] : laid.held[table + 1]]
    return own.reshape((laid.places[table], laid.first[table + 1] - laid.first[table], 3))


@compiled
def ends_at(laid, interval):  # type: ignore[no-untyped-def]
    """(tables,) how many designs of each table keep an interval."""
    ends = np.empty(len(laid.copies), np.int64)
    for table in range(len(ends)):
        own = laid.interval[laid.first[table] : laid.first[table + 1]]
        ends[table] = np.searchsorted(own, interval, side="right")
    return ends


@compiled
def cheapest(laid, ends, weights, least, spent):  # type: ignore[no-untyped-def]
    """Find the least weighted sum of resources of all operations.

    Args:
        laid: the tables.
        ends: (tables,) how many designs of each count, at least one.
        weights: (6,) of the resources.
        least: (tables,) becomes the least of a design of each.
        spent: (6,) to which what all operations take is added.

    Returns:
        The sum over all operations.
    """
    bound = 0.0
    for table in range(len(ends)):
        logic, copies = laid.logic[laid.first[table] : laid.first[table + 1]], laid.copies[table]
        least[table] = passes.cheapest(logic, memory_of(laid, table), ends[table], weights, copies, spent)
        bound += copies * least[table]
    return bound


@compiled
def survivors(laid, ends, weights, limits, most, columns):  # type: ignore[no-untyped-def]
    """List the designs and places near the cheapest, without those that others of their table dominate.

    Args:
        laid, ends, weights: as of `cheapest`.
        limits: (tables,) weighted sums that are not exceeded.
        most: how many of each table to look at, the cheapest.
        columns: the resources that count.

    Returns:
        (tables + 1,) where the rows of each table begin, and where the last end; (rows,) designs, ascending, and
        places; (rows, 6) what they take; and whether none were too many.
    """
    complete, rows = True, 0
    begin = np.zeros(len(ends) + 1, np.int64)
    designs, wheres, taken = np.empty(64, np.int64), np.empty(64, np.int64), np.empty((64, 6))
    for table in range(len(ends)):
        logic, memory = laid.logic[laid.first[table] : laid.first[table + 1]], memory_of(laid, table)
        design, place, cost = passes.near(logic, memory, ends[table], weights, limits[table])
        if len(cost) > most:
            complete = False
            near = np.flatnonzero(cost <= np.partition(cost, most - 1)[most - 1])[:most]
            design, place, cost = design[near], place[near], cost[near]
        order = np.argsort(cost, kind="mergesort")
        own = passes.gathered(logic, memory, design, place)
        kept = np.sort(order[passes.alive(np.ascontiguousarray(own[order][:, columns]))])
        while rows + len(kept) > len(designs):
            designs, wheres = np.concatenate((designs, designs)), np.concatenate((wheres, wheres))
            taken = np.concatenate((taken, taken))
        for row in kept:
            designs[rows], wheres[rows], taken[rows] = design[row], place[row], own[row]
            rows += 1
        begin[table + 1] = rows
    return begin, designs[:rows].copy(), wheres[:rows].copy(), taken[:rows].copy(), complete


@compiled
def within(laid, ends, weights, limits):  # type: ignore[no-untyped-def]
    """Lay the designs whose weighted sum of resources is at most a limit in some place end to end.

    Arguments are those of `survivors`.
    """
    tables = len(ends)
    first, held = np.zeros(tables + 1, np.int64), np.zeros(tables + 1, np.int64)
    kept = np.empty(ends.sum(), np.int64)
    for table in range(tables):
        logic = laid.logic[laid.first[table] : laid.first[table + 1]]
        designs = passes.within(logic, memory_of(laid, table), ends[table], weights, limits[table])
        first[table + 1] = first[table] + len(designs)
        held[table + 1] = held[table] + len(designs) * laid.places[table]
        kept[first[table] : first[table + 1]] = laid.first[table] + designs
    kept = kept[: first[tables]]
    memory = np.empty((held[tables], 3))
    for table in range(tables):
        own, cell = memory_of(laid, table), held[table]
        for place in range(laid.places[table]):
            for row in range(first[table], first[table + 1]):
                design = kept[row] - laid.first[table]
                for column in range(3):
                    memory[cell, column] = own[place, design, column]
                cell += 1
    return first, held, laid.interval[kept], laid.logic[kept], memory, laid.name[kept]


@compiled
def steps(laid, weights):  # type: ignore[no-untyped-def]
    """Find how the least weighted sum of resources of all operations falls with the interval.

    Returns:
        (changes,) intervals, ascending within a table, and (changes,) by how much the sum over a table's operations
        changes there, from 0; and the fastest interval that every table has a design for.
    """
    fastest, count = 0, 0
    at, change = np.empty(1024, np.int64), np.empty(1024)
    for table in range(len(laid.copies)):
        begin, end, copies = laid.first[table], laid.first[table + 1], laid.copies[table]
        own, costs = passes.steps(laid.interval[begin:end], laid.logic[begin:end], memory_of(laid, table), weights)
        fastest = max(fastest, own[0])
        while count + len(own) > len(at):
            at, change = np.concatenate((at, at)), np.concatenate((change, change))
        before = 0.0
        for step in range(len(own)):
            at[count], change[count] = own[step], copies * (costs[step] - before)
            before = costs[step]
            count += 1
    return at[:count].copy(), change[:count].copy(), fastest
