"""The mean cycles of a round of `weight` engines, which are known when the weights are: every pixel takes the same.

In a round g groups × o filters × some bundles of m channels begin and end together. Each engine takes
max(1, ⌈non-zeros/N⌉) cycles where its multipliers choose among all positions (*pooled*), or as many as its fullest lane
has non-zeros; the round takes the largest (`pooled_rounds` and `lane_rounds` of `engine_rounds`). Blocks at the edges
hold fewer filters or bundles and are rounds all the same.

Filters may be computed in any order. In the order of their non-zeros (`filter_order`), those of a block are about
equally dense, so that its slowest is close to its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs import weight_kernel
from hass_train.hardware.dataflow.costs.initiation import (
    hypergeometric,
    multiplier_choices,
    nonzero_weights,
)
from hass_train.hardware.dataflow.costs.lane_cycles import fullest_lane, loads
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


class FilterHistograms(NamedTuple):
    """The non-zero weights that engines meet, filter by filter in the order in which these are computed.

    Args:
        different: (cases, M + 1) probabilities of 0 … M non-zero weights.
        place: (filters,) the case of each filter.
    """

    different: Floats
    place: Ints


def filter_histograms(layer: Operation, sparsity: LayerSparsity, bundle: int) -> FilterHistograms:
    """What the profile says of the non-zero weights that engines meet, for `IndependentWeights`.

    A filter's non-zeros are taken to lie anywhere in it, so that those of an engine's M weights are hypergeometric.
    Where they are not known for each filter, or an N:M or balanced pattern bounds them for all, all filters are alike.

    Args:
        layer: convolution or linear layer.
        sparsity: its sparsity.
        bundle: m, channels of an engine.

    Returns:
        Those of filters in the order of `filter_order`.
    """
    channels, structure = layer.channels_per_group, sparsity.structure
    if not sparsity.filter_nonzeros or (structure is not None and structure.holds_whole(bundle, channels)):
        alike = nonzero_weights(sparsity, layer.window, bundle, channels)
        return FilterHistograms(alike[None], np.zeros(layer.result.channels, np.int64))
    different, place = _cases(sparsity.filter_nonzeros, layer.groups)
    return FilterHistograms(hypergeometric(layer.window * channels, different, layer.window * bundle), place)


@lru_cache(maxsize=256)
def _cases(nonzeros: tuple[int, ...], groups: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different numbers of non-zero weights of filters, and which each has, in the order of `filter_order`."""
    counts = np.asarray(nonzeros, np.int64)
    different, place = np.unique(counts[filter_order(counts, groups)], return_inverse=True)
    return different, place


def filter_order(nonzeros: Ints, groups: int = 1) -> NDArray[np.int64]:
    """The order in which filters are computed: groups, and the filters of each, from most non-zero weights to least.

    Args:
        nonzeros: (filters,) non-zero weights of each filter, group after group.
        groups: convolution groups; their filters stay together.

    Returns:
        (filters,) the number of the filter at each place, with which an array over filters is indexed.
    """
    by_group = np.asarray(nonzeros, np.int64).reshape(groups, -1)
    within = np.argsort(-by_group, axis=1, kind="stable")
    across = np.argsort(-by_group.sum(1), kind="stable")
    return np.asarray((within + np.arange(groups)[:, None] * by_group.shape[1])[across].ravel())


@dataclass(frozen=True)
class IndependentWeights:
    """The mean cycles of rounds where the weights are not known, but how many of each filter's are not zero.

    Args:
        histograms: the non-zero weights that an engine of each filter meets; engines are taken as independent.
        lanes: whether multipliers have lanes.
        groups: convolution groups.
        g: parallel groups.
    """

    histograms: FilterHistograms
    lanes: bool
    groups: int = 1
    g: int = 1

    def cycles(self, choice: Ints, engines: Ints, o: Ints) -> Floats:
        """The mean cycles of a round.

        Of more than 64 blocks only so many are looked at, evenly spaced: neighbours are about equally dense.

        Args:
            choice, engines: (rows,) the index of N in `multiplier_choices(M)`, and bundles side by side.
            o: (folds,) numbers of parallel filters.

        Returns:
            (rows, folds) cycles.
        """
        positions = self.histograms.different.shape[1] - 1
        if self.lanes:
            _, _, starts = loads(positions)
            first, step = starts, np.ones_like(starts)
            last = np.append(starts[1:], self._logs.shape[2])
        else:  # more than N, 2N, … non-zeros
            first = step = multiplier_choices(positions)
            last = np.full_like(first, positions)
        at = np.asarray(choice, np.int64)
        levels, many = (first[at], last[at], step[at]), np.asarray(engines, np.int64)
        if self._alike:
            filters = len(self.histograms.place) // self.groups
            side = np.add.reduceat(np.ones(self.groups, np.int64), np.arange(0, self.groups, self.g))
            sizes, blocks = np.unique(side, return_counts=True)
            return weight_kernel.alike_cycles(
                self._logs[0, 1], *levels, many, np.asarray(o, np.int64), filters, sizes, blocks
            )
        return weight_kernel.mean_cycles(self._logs, *levels, many, np.asarray(o, np.int64))

    @property
    def _alike(self) -> bool:
        """Whether all filters are equally dense, as where a pattern bounds them."""
        return len(self.histograms.different) == 1

    @cached_property
    def _logs(self) -> Floats:
        """(blocks of groups, filters of a group + 1, levels) sums over the first 0, 1, … filters of the logarithms of
        the probability that an engine has at most so many non-zeros, or that its fullest lane has; of filters that are
        all alike, of the first alone."""
        counts, place = self.histograms
        below = fullest_lane(counts) if self.lanes else np.clip(np.cumsum(counts, axis=1), 0.0, 1.0)
        logs = np.log(np.maximum(below, 1e-300))
        if self._alike:
            return np.stack([np.zeros_like(logs), logs], axis=1)
        return weight_kernel.running_sums(logs, place.reshape(self.groups, -1), self.g)
