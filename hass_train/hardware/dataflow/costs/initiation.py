"""The initiation interval of a compute engine that skips zero pairs: t = E[max(t_min, ⌈nnz/N⌉)] cycles.

nnz is the number of non-zero pairs among the M of an initiation and N the number of multipliers (hardware-model,
section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.structure import Structure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ATOMS = 48  # support points to which a long histogram is condensed before it is thinned


@lru_cache(maxsize=4096)
def _log_choose(pairs: int) -> Floats:
    """(pairs + 1,) log C(pairs, k) for k = 0 … pairs."""
    k = np.arange(pairs + 1)
    return np.asarray(gammaln(pairs + 1) - gammaln(k + 1) - gammaln(pairs - k + 1))


def binomial(pairs: int, density: float) -> Floats:
    """(pairs + 1,) the probabilities of 0 … `pairs` non-zero pairs if each is non-zero independently."""
    if density in (0.0, 1.0):
        result = np.zeros(pairs + 1)
        result[-1 if density else 0] = 1.0
        return result
    k = np.arange(pairs + 1)
    result = np.exp(_log_choose(pairs) + k * np.log(density) + (pairs - k) * np.log1p(-density))
    return np.asarray(result / result.sum())


def thinned(histogram: Floats, pairs: int) -> Floats:
    """The histogram of non-zeros among `pairs` pairs drawn without replacement from an initiation of a given histogram.

    It is exact if the pairs of an initiation are exchangeable: given n non-zeros among K, those among M ≤ K drawn are
    hypergeometric. Unlike a binomial it preserves that windows differ in density. Histograms with many support points
    are first condensed to 48 of equal probability.

    Args:
        histogram: (K + 1,) probabilities of 0 … K non-zero pairs.
        pairs: how many are drawn, M ≤ K.

    Returns:
        (M + 1,) probabilities.
    """
    total = len(histogram) - 1
    if pairs == total:
        return histogram
    support, weight = _condensed(histogram)
    return np.asarray(weight @ hypergeometric(total, support, pairs))


def hypergeometric(total: int, nonzeros: Ints, drawn: int) -> Floats:
    """The distribution of the non-zeros among M positions drawn without replacement from K.

    Args:
        total: K.
        nonzeros: (n,) how many of them are not zero, in each case.
        drawn: M ≤ K.

    Returns:
        (n, M + 1) probabilities, C(M, k)·C(K − M, nnz − k) / C(K, nnz).
    """
    k, rest = np.arange(drawn + 1), nonzeros[:, None] - np.arange(drawn + 1)
    possible = (rest >= 0) & (rest <= total - drawn)
    logs = _log_choose(drawn)[k] + _log_choose(total - drawn)[np.clip(rest, 0, total - drawn)]
    rows = np.exp(np.where(possible, logs - _log_choose(total)[nonzeros, None], -np.inf))
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def _condensed(histogram: Floats) -> tuple[Ints, Floats]:
    """Support points and their probabilities; past 48 points, the rounded means of slices of equal probability."""
    support = np.flatnonzero(histogram > 0)
    weight = histogram[support]
    if len(support) <= _ATOMS:
        return support, weight / weight.sum()
    middle = np.cumsum(weight) - weight / 2
    slices = np.minimum((middle / weight.sum() * _ATOMS).astype(int), _ATOMS - 1)
    mass = np.bincount(slices, weights=weight, minlength=_ATOMS)
    mean = np.bincount(slices, weights=weight * support, minlength=_ATOMS)
    used = mass > 0
    return np.rint(mean[used] / mass[used]).astype(np.int64), mass[used] / mass.sum()


def nonzero_pairs(sparsity: LayerSparsity, window: int, bundle: int, channels: int | None = None) -> Floats:
    """The distribution of non-zero pairs in an initiation of `bundle` channels × `window` weights.

    It is the measured histogram of that bundle size if there is one, else that of the next larger size, thinned, else a
    binomial. N:M and balanced patterns bound the weights that are left in a group of channels; where a bundle holds
    whole groups, pairs are drawn from these only, so that with dense activations their number is known exactly.

    Args:
        sparsity: the layer's sparsity.
        window: number of kernel positions.
        bundle: input channels of an initiation.
        channels: input channels of a filter; a bundle of all of them holds whole groups even if the last is smaller.

    Returns:
        (pairs + 1,) probabilities of 0 … bundle·window non-zero pairs.
    """
    return _nonzeros(sparsity.histograms, sparsity.pair_density, sparsity.structure, window, bundle, channels)


def nonzero_activations(sparsity: LayerSparsity, window: int, bundle: int) -> Floats:
    """The distribution of non-zero activations in an initiation, (pairs + 1,) like that of pairs, without a bound."""
    return _nonzeros(sparsity.activation_histograms, sparsity.activation_density, None, window, bundle)


def nonzero_weights(sparsity: LayerSparsity, window: int, bundle: int, channels: int | None = None) -> Floats:
    """The distribution of non-zero weights in an initiation, (pairs + 1,), from their density: a binomial, within the
    bound of an N:M or balanced pattern."""
    return _nonzeros({}, sparsity.weight_density, sparsity.structure, window, bundle, channels)


def _nonzeros(
    histograms: Mapping[int, tuple[float, ...]],
    density: float,
    structure: Structure | None,
    window: int,
    bundle: int,
    channels: int | None = None,
) -> Floats:
    """The distribution of non-zeros in an initiation, (pairs + 1,); see `nonzero_pairs`."""
    pairs = most = window * bundle
    larger = min((size for size in histograms if size >= bundle), default=None)
    whole = pairs if larger is None else window * larger
    if structure is not None and structure.holds_whole(bundle, channels):
        most = structure.most(bundle, window)
        whole = whole if larger is None else structure.most(larger, window)
    if larger is None:
        bounded = binomial(most, min(density * pairs / most, 1.0))
    else:
        held = np.asarray(histograms[larger][: whole + 1], dtype=float)
        bounded = thinned(held / held.sum(), most)
    return np.pad(bounded, (0, pairs - most)) if most < pairs else bounded


@lru_cache(maxsize=4096)
def multiplier_choices(pairs: int) -> Ints:
    """The multiplier counts N worth exploring for M pairs: all up to 16, then steps of about 8 %, and M itself.

    For windows of up to 128 pairs the smallest N for each ⌈M/N⌉ is added, which is all that dense engines need.
    """
    if pairs <= 16:
        return np.arange(1, pairs + 1)
    steps = np.rint(np.geomspace(16, pairs, 2 + int(np.log(pairs / 16) / np.log(1.08)))).astype(np.int64)
    dense = ceil_div(pairs, np.arange(1, pairs + 1)) if pairs <= 128 else steps[-1:]
    return np.unique(np.concatenate([np.arange(1, 17), steps, dense]))


@lru_cache(maxsize=4096)
def _survival_indices(pairs: int) -> tuple[Ints, Ints]:
    """The indices 0, N, 2N, … < M for every N of `multiplier_choices`, laid end to end, and where each run starts."""
    runs = [np.arange(0, pairs, n) for n in multiplier_choices(pairs)]
    starts = np.cumsum([0] + [len(run) for run in runs[:-1]])
    return np.concatenate(runs), np.asarray(starts)


def initiation_intervals(histogram: Floats, t_min: int) -> Floats:
    """The initiation intervals t = E[max(t_min, ⌈nnz/N⌉)], in cycles, for each N of `multiplier_choices(M)`.

    E⌈nnz/N⌉ = Σ_k P(nnz > k·N), and a window without non-zeros adds t_min.

    Args:
        histogram: (…, M + 1) probabilities of 0 … M non-zero pairs, of one or several distributions.
        t_min: least cycles of an initiation, 0 or 1.

    Returns:
        (…, choices) cycles.
    """
    pairs = histogram.shape[-1] - 1
    survival = np.maximum(1.0 - np.cumsum(histogram, axis=-1), 0.0)
    indices, starts = _survival_indices(pairs)
    return np.asarray(np.add.reduceat(survival[..., indices], starts, axis=-1) + t_min * histogram[..., :1])
