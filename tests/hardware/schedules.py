"""What `weight` engines take with known masks, exactly: what the model's estimates from densities are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.initiation import initiation_intervals, multiplier_choices

Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


def bundle_nonzeros(mask: Bools, bundle: int) -> Ints:
    """The non-zero weights that each engine meets in each of its rounds.

    Args:
        mask: (filters, channels of a group, window) which weights are not zero.
        bundle: m, consecutive channels of an engine; the last bundle may hold fewer.

    Returns:
        (filters, ⌈channels/m⌉) numbers of 0 … window·m, in the smallest type that holds them.
    """
    laid = _positions_first(mask, bundle)
    return np.asarray(laid.sum(0, dtype=np.min_scalar_type(len(laid))))


def fullest_lanes(mask: Bools, bundle: int) -> Ints:
    """The non-zero weights in the fullest lane of each engine and round, for each N of `multiplier_choices(window·m)`.

    Lane j of N owns the positions k with k mod N = j, where position k of a bundle is window element k mod window of
    its channel ⌊k/window⌋.

    Args:
        mask, bundle: as in `bundle_nonzeros`.

    Returns:
        (choices, filters, ⌈channels/m⌉) numbers, in the smallest type that holds them.
    """
    laid = _positions_first(mask, bundle)
    positions, kind = len(laid), np.min_scalar_type(len(laid))
    choices = multiplier_choices(positions)
    found = np.empty((len(choices), *laid.shape[1:]), kind)
    for row, lanes in enumerate(choices.tolist()):
        steps = ceil_div(positions, lanes)
        padded = np.zeros((steps * lanes, *laid.shape[1:]), bool)
        padded[:positions] = laid
        found[row] = padded.reshape(steps, lanes, *laid.shape[1:]).sum(0, dtype=kind).max(0)
    return found


def pooled_weight_cycles(
    nonzeros: Ints, positions: int, o: Ints, engines: int = 1, groups: int = 1, g: int = 1
) -> Floats:
    """The mean cycles of a round where multipliers take any position, exactly.

    Args:
        nonzeros: (filters, bundles) non-zero weights of each engine and round, filters in the order they are computed.
        positions: M of an engine.
        o: (folds,) numbers of parallel filters.
        engines: bundles side by side.
        groups: convolution groups.
        g: parallel groups.

    Returns:
        (folds, choices) cycles, for each N of `multiplier_choices(M)`.
    """
    histograms = []
    for largest in _largest_of_blocks(nonzeros, o, engines, groups, g):
        histograms.append(np.bincount(largest.ravel(), minlength=positions + 1) / largest.size)
    return initiation_intervals(np.stack(histograms), 1)


def lane_weight_cycles(fullest: Ints, o: Ints, engines: int = 1, groups: int = 1, g: int = 1) -> Floats:
    """The mean cycles of a round where multipliers have lanes, exactly.

    Args:
        fullest: (choices, filters, bundles) the fullest lane of each engine and round, for each N, filters in the order
            they are computed.
        o, engines, groups, g: as in `pooled_weight_cycles`.

    Returns:
        (folds, choices) cycles.
    """
    rounds = [one.mean((1, 2, 3)) for one in _largest_of_blocks(np.maximum(fullest, 1), o, engines, groups, g)]
    return np.stack(rounds)


def _positions_first(mask: Bools, bundle: int) -> Bools:
    """(window·m, filters, bundles): sums over positions are then sums of whole rows, which is many times as fast."""
    filters, channels, window = mask.shape
    bundles = ceil_div(channels, bundle)
    padded = np.zeros((bundle, window, filters, bundles), bool)
    for k in range(bundle):
        own = mask[:, k::bundle]
        padded[k, :, :, : own.shape[1]] = own.transpose(2, 0, 1)
    return padded.reshape(bundle * window, filters, bundles)


def _largest_of_blocks(values: Ints, o: Ints, engines: int, groups: int, g: int) -> list[Ints]:
    """The largest value of every block, (…, ⌈groups/g⌉, ⌈filters of a group/o⌉, ⌈bundles/engines⌉) for each fold o.

    Args:
        values: (…, filters, bundles).
        o, engines, groups, g: as in `pooled_weight_cycles`.
    """
    grouped = values.reshape(*values.shape[:-2], groups, -1, values.shape[-1])
    grouped = _largest(_largest(grouped, -1, engines), -3, g)
    return [_largest(grouped, -2, int(fold)) for fold in o]


def _largest(values: Ints, axis: int, size: int) -> Ints:
    """The largest of every `size` neighbours along an axis; the last ones may be fewer."""
    if size == 1:
        return values
    axis %= values.ndim
    shape, whole = values.shape, values.shape[axis] // size
    head, rest = np.split(values, [whole * size], axis)  # blocks of equal size are 20 times as fast as `reduceat`
    blocks = head.reshape(*shape[:axis], whole, size, *shape[axis + 1 :]).max(axis + 1)
    return np.concatenate([blocks, rest.max(axis, keepdims=True)], axis) if rest.shape[axis] else blocks
