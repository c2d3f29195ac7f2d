"""Load imbalance: parallel streams are never equally sparse, and the slowest one sets the pace.

Where the profile knows each channel's pair density, channels are sorted by it and dealt to the streams in snake order,
so that every stream gets its share of dense and of sparse ones (hardware-model, section 2). The imbalance is the
slowest stream's mean initiation interval over the mean of all, both with binomial windows at the channels' densities.
It multiplies the initiation interval that the layer's histogram gives.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.initiation import binomial, initiation_intervals, multiplier_choices
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]

_LEVELS = 64  # densities between which intervals are interpolated, which saves a binomial for every channel


def deal(values: Floats, streams: int) -> Floats:
    """Sort values in descending order and deal them to streams in snake order.

    Args:
        values: (n,) numbers to deal.
        streams: the number of streams.

    Returns:
        (⌈n/streams⌉, streams) the values by stream; where the last row falls short it is filled with NaN.
    """
    rounds = ceil_div(len(values), streams)
    padded = np.full(rounds * streams, np.nan)
    padded[: len(values)] = np.sort(values)[::-1]
    dealt = padded.reshape(rounds, streams)
    dealt[1::2] = dealt[1::2, ::-1]
    return dealt


def over_channels(layer: Operation, sparsity: LayerSparsity, i: int, m: int, t_min: int) -> Floats:
    """The imbalance between parallel channels: the slowest of i/m streams over their mean.

    Args:
        layer: convolution, linear layer or matrix product.
        sparsity: its sparsity; without `channel_densities` nothing is known of an imbalance.
        i, m: parallel input channels, and how many of them one compute engine bundles.
        t_min: least cycles of an initiation.

    Returns:
        (choices,) one factor ≥ 1 for each N of `multiplier_choices`.
    """
    pairs = layer.window * m
    if not sparsity.channel_densities or i == m:
        return np.ones(len(multiplier_choices(pairs)))
    by_group = np.reshape(sparsity.channel_densities, (layer.groups, layer.channels_per_group))
    return _slowest(by_group.mean(axis=0), i // m, m, pairs, t_min)


def over_groups(layer: Operation, sparsity: LayerSparsity, g: int, m: int, t_min: int) -> Floats:
    """The imbalance between g parallel groups (the channels of a depthwise layer), as `over_channels` gives it."""
    pairs = layer.window * m
    if not sparsity.channel_densities or g == 1:
        return np.ones(len(multiplier_choices(pairs)))
    by_group = np.reshape(sparsity.channel_densities, (layer.groups, layer.channels_per_group))
    return _slowest(by_group.mean(axis=1), g, 1, pairs, t_min)


def _slowest(densities: Floats, streams: int, bundle: int, pairs: int, t_min: int) -> Floats:
    """(choices,) the largest of the streams' mean initiation intervals over their mean, for each N."""
    if bundle > 1:  # channels are dealt to the bundles, and the bundles to the streams
        rounds = ceil_div(len(densities), streams * bundle)
        dealt = (np.nansum(deal(densities, rounds * streams), axis=0) / bundle).reshape(rounds, streams)
    else:
        dealt = deal(densities, streams)
    held = ~np.isnan(dealt)
    table, place = _levels(pairs, t_min), np.nan_to_num(dealt) * _LEVELS
    below = np.minimum(place.astype(int), _LEVELS - 1)
    share = (place - below)[..., None]
    cycles = np.where(held[..., None], table[below] * (1 - share) + table[below + 1] * share, 0.0)
    mean = cycles.sum(axis=(0, 1)) / held.sum()
    slowest = cycles.sum(axis=0).max(axis=0) / len(dealt)
    return np.asarray(np.divide(slowest, mean, out=np.ones_like(mean), where=mean > 0))


@lru_cache(maxsize=256)
def _levels(pairs: int, t_min: int) -> Floats:
    """(_LEVELS + 1, choices) initiation intervals of binomial windows, at the densities 0, 1/_LEVELS, … 1."""
    return np.stack([initiation_intervals(binomial(pairs, k / _LEVELS), t_min) for k in range(_LEVELS + 1)])
