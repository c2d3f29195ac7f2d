"""Compiled loops over blocks of filters (`weight_rounds`)."""

from __future__ import annotations

from math import exp

import numpy as np

from hass_train.runtime.compiled import compiled

_BLOCKS = 64  # blocks of filters that are looked at
_NEVER = -1e-11  # logarithms of probabilities that are as good as 1; levels are cumulative, so those above are closer


@compiled
def running_sums(logs, place, beside):  # type: ignore[no-untyped-def]
    """Sums over the first filters of every group, of as many groups together as lie side by side.

    Args:
        logs: (cases, levels) what is added up.
        place: (groups, filters) the case of each filter.
        beside: groups side by side.

    Returns:
        (blocks of groups, filters + 1, levels) sums over the first 0, 1, … filters.
    """
    groups, filters = place.shape
    sums = np.zeros(((groups + beside - 1) // beside, filters + 1, logs.shape[1]))
    for group in range(groups):
        for one in range(filters):
            for level in range(logs.shape[1]):
                sums[group // beside, one + 1, level] += logs[place[group, one], level]
    for block in range(len(sums)):
        for one in range(filters):
            for level in range(logs.shape[1]):
                sums[block, one + 1, level] += sums[block, one, level]
    return sums


@compiled
def mean_cycles(logs, first, last, step, engines, folds):  # type: ignore[no-untyped-def]
    """The mean over blocks of 1 + Σ (1 − P(no engine of a block has more)), over the levels of each row.

    Args:
        logs: (blocks of groups, filters + 1, levels) cumulative logarithms of probabilities.
        first, last, step: (rows,) the levels of each row.
        engines: (rows,) engines side by side for each filter.
        folds: (folds,) filters side by side.

    Returns:
        (rows, folds) cycles.
    """
    filters = logs.shape[1] - 1
    result = np.ones((len(first), len(folds)))
    for fold in range(len(folds)):
        o = folds[fold]
        across = (filters + o - 1) // o
        blocks = across * logs.shape[0]
        looked = min(blocks, _BLOCKS)
        for row in range(len(first)):
            total = 0.0
            for sample in range(looked):
                block = (2 * sample + 1) * blocks // (2 * looked)
                group, start = block // across, block % across * o
                end = min(start + o, filters)
                for level in range(first[row], last[row], step[row]):
                    below = engines[row] * (logs[group, end, level] - logs[group, start, level])
                    if below > _NEVER:
                        break
                    total += 1.0 - exp(below)
            result[row, fold] += total / looked
    return result


@compiled
def alike_cycles(logs, first, last, step, engines, folds, filters, groups, counts):  # type: ignore[no-untyped-def]
    """The same where all filters are alike, so that only the size of a block matters.

    Args:
        logs: (levels,) logarithms of probabilities of one engine.
        first, last, step, engines, folds: as of `mean_cycles`.
        filters: filters of a group.
        groups, counts: (sizes,) groups side by side, and how many blocks there are of so many.

    Returns:
        (rows, folds) cycles.
    """
    result = np.ones((len(first), len(folds)))
    for fold in range(len(folds)):
        o = min(folds[fold], filters)
        whole, rest = filters // o, filters % o
        blocks = (whole + (rest > 0)) * counts.sum()
        for row in range(len(first)):
            total = 0.0
            for size in range(len(groups)):
                side = engines[row] * groups[size]
                for level in range(first[row], last[row], step[row]):
                    if side * filters * logs[level] > _NEVER:
                        break
                    more = whole * (1.0 - exp(side * o * logs[level]))
                    if rest:
                        more += 1.0 - exp(side * rest * logs[level])
                    total += counts[size] * more
            result[row, fold] += total / blocks
    return result
