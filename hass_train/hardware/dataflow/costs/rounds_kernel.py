"""Compiled loops over compute engines that wait for each other (`rounds`)."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np

from hass_train.runtime.compiled import compiled

_KEPT = 0.5  # share of the channels' differences that a pixel's mean keeps where one block holds all channels
_ALIKE = 4.0  # pixels for which the density of activations lasts


@compiled
def slowest(  # type: ignore[no-untyped-def]
    below, at, logs, bundle, levels, least, empty, columns, channels, choice
):
    """The mean cycles of the slowest of some engines: least + Σ (1 − P(none has more)) + empty · P(none has any).

    Args:
        below: (levels,) probabilities that one engine has no more.
        at: (levels,) where they lie among the quantiles of k.
        logs: (bundles, columns, channels, filters, quantiles) log of how many independent engines those side by side
            amount to.
        bundle: (choices,) places among the bundles, between which logarithms are interpolated.
        levels: the first level, the one after the last, and the step between them, (choices,) each.
        least, empty: cycles of any round, and of one without work.
        columns, channels: (times · rows,) places among the points of these axes, between which cycles are interpolated.
        choice: (rows,) the choice of levels, the same every time.

    Returns:
        (times · rows, filters) cycles.
    """
    bundles, wide, deep, filters, quantiles = logs.shape
    many = np.empty(quantiles)
    first, last, step = levels
    known = np.full((wide, deep, len(first), filters), np.nan)
    rare = np.empty(len(below))
    for level in range(len(below)):
        rare[level] = log(below[level]) if below[level] > 0 else -np.inf
    result = np.zeros((len(columns), filters))
    for row in range(len(columns)):
        one = choice[row % len(choice)]
        for corner in range(4):
            column = max(min(int(columns[row]), wide - 2), 0)
            channel = max(min(int(channels[row]), deep - 2), 0)
            share, other = columns[row] - column, channels[row] - channel
            weight = (share if corner & 1 else 1 - share) * (other if corner & 2 else 1 - other)
            if weight == 0:
                continue
            column, channel = column + (corner & 1), channel + (corner >> 1)
            cycles = known[column, channel, one]
            if np.isnan(cycles[0]):
                small = max(min(int(bundle[one]), bundles - 2), 0)
                large, more = min(small + 1, bundles - 1), bundle[one] - small
                for point in range(filters):
                    few = logs[small, column, channel, point]
                    for level in range(quantiles):
                        many[level] = exp(few[level] + more * (logs[large, column, channel, point, level] - few[level]))
                    total = float(least)
                    for level in range(first[one], last[one], step[one]):
                        low = min(int(at[level]), quantiles - 2)
                        engines = many[low] + (at[level] - low) * (many[low + 1] - many[low])
                        total += 1.0 - exp(engines * rare[level])
                    if empty:
                        low = min(int(at[0]), quantiles - 2)
                        engines = many[low] + (at[0] - low) * (many[low + 1] - many[low])
                        total += empty * exp(engines * rare[0])
                    cycles[point] = total
            for point in range(filters):
                result[row, point] += weight * cycles[point]
    return result


@compiled
def waiting(  # type: ignore[no-untyped-def]
    alone, deviation, uneven, blocks, over_filters, over_channels, over_columns, largest, rounds, fifo
):
    """See `rounds.round_cycles`.

    Args:
        alone, deviation, uneven, blocks: (rows,) each.
        over_filters, over_channels, over_columns, rounds: (rows, filters) each.
        largest: (rows, filters) the expected maximum of as many normal draws as there are engines; not looked at where
            nothing deviates.
        fifo: rounds that an engine may be ahead of the slowest.
    """
    result = np.empty(over_columns.shape)
    for row in range(len(alone)):
        own, by = alone[row], blocks[row]
        mean, kept = own * uneven[row], _KEPT / sqrt(by)
        for o in range(result.shape[1]):
            most = over_filters[row, o]
            channels = max(over_channels[row, o], most)
            columns = max(over_columns[row, o], channels)
            if not fifo:
                result[row, o] = max(columns, mean)
                continue
            many = rounds[row, o]
            whole, lasting = max(columns - own, 1e-12), 0.0
            if deviation[row] > 0:
                lasting = min(largest[row, o] * deviation[row] / sqrt(many), whole)
            alike = sqrt(many / by)  # blocks of filters share a window
            passing = (1 - kept) / (1 + fifo / alike) + kept / (1 + fifo / (many * _ALIKE))
            lost = (most - own) / (1 + fifo) + (channels - most) * passing
            lost += (columns - channels) / (1 + fifo / sqrt(many))
            result[row, o] = mean + lasting + (1 - lasting / whole) * lost
    return result
