"""Compiled loops over blocks of filters (`weight_rounds`)."""

from __future__ import annotations

from math import exp

import numpy as np
from numba import njit

_BLOCKS = 64  # blocks of filters that are looked at


@njit(cache=True)
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
                    total += 1.0 - exp(engines[row] * (logs[group, end, level] - logs[group, start, level]))
            result[row, fold] += total / looked
    return result
