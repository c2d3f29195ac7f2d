"""Distributions measured on few images, brought to a mean that is known from many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.initiation import binomial
from hass_train.runtime.compiled import compiled

Floats = NDArray[np.float64]

_SEED = 1e-6
"""Share of independent zeros that is mixed in where the mean is beyond everything that was seen."""
_STEPS = 60
_CLOSE = 1e-13  # how near the mean is reached, as a fraction


def tilted(counts: Floats, mean: float) -> Floats:
    """The distribution with a given mean that is nearest to a measured one, in Kullback and Leibler's sense.

    That is the measured one times exp(θ·k), normalised: the I-projection onto the distributions of that mean (Csiszár,
    Annals of Probability 3, 1975). It keeps the shape, where drawing anew would make zeros independent.

    Args:
        counts: (M + 1,) how often 0, 1, … M were seen; at least once in all.
        mean: the mean to reach, from 0 to M.

    Returns:
        (M + 1,) probabilities.

    Raises:
        ValueError: nothing was seen, or the mean is beyond 0 … M.
    """
    most, total = len(counts) - 1, counts.sum()
    if not total > 0:
        raise ValueError("a distribution of which nothing was seen")
    if not 0 <= mean <= most * (1 + 1e-9):
        raise ValueError(f"a mean of {mean} of at most {most}")
    if mean == 0 or mean >= most:
        certain = np.zeros(most + 1)
        certain[0 if mean == 0 else -1] = 1.0
        return certain
    seen = counts / total
    met = np.flatnonzero(seen)
    if not met[0] < mean < met[-1]:
        seen = (1 - _SEED) * seen + _SEED * binomial(most, mean / most)
    return np.asarray(_tilted(seen, mean))


@compiled
def _tilted(seen, mean):  # type: ignore[no-untyped-def]
    """(M + 1,) the probabilities seen · exp(θ·k), normalised, with the θ that gives them a mean.

    That mean rises with θ, and its derivative is the variance: Newton's method, and halving where it leaves the bounds.
    """
    k, logs = np.arange(len(seen)) - mean, np.log(seen)
    theta, low, high = 0.0, -40.0, 40.0  # beyond them all mass lies on one number
    found = seen
    for _ in range(_STEPS):
        found = logs + theta * k
        found = np.exp(found - found.max())
        found /= found.sum()
        excess = (found * k).sum()
        if abs(excess) <= _CLOSE * mean:
            break
        if excess < 0:
            low = theta
        else:
            high = theta
        theta -= excess / max((found * k**2).sum() - excess**2, 1e-300)
        if not low < theta < high:
            theta = (low + high) / 2
    return found
