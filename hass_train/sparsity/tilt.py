"""Distributions measured on few images, brought to a mean that is known from many."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hass_train.hardware.dataflow.costs.initiation import binomial
from hass_train.runtime.compiled import compiled

_SEED = 1e-6
"""Share of independent zeros that is mixed in where the mean is beyond everything that was seen."""
_STEPS = 60


def tilted(counts: Tensor, mean: float) -> Tensor:
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
    most = len(counts) - 1
    if not counts.sum() > 0:
        raise ValueError("a distribution of which nothing was seen")
    if not 0 <= mean <= most * (1 + 1e-9):
        raise ValueError(f"a mean of {mean} of at most {most}")
    if mean == 0 or mean >= most:
        certain = torch.zeros_like(counts)
        certain[0 if mean == 0 else -1] = 1.0
        return certain
    share, seen = mean / most, counts.double() / counts.sum()
    met = seen.nonzero()
    if not met[0] < mean < met[-1]:
        seen = (1 - _SEED) * seen + _SEED * torch.from_numpy(binomial(most, share))
    return torch.from_numpy(_tilted(seen.log().numpy(), mean))


@compiled
def _tilted(logs, mean):  # type: ignore[no-untyped-def]
    """(M + 1,) the probabilities exp(logs + θ·k), normalised, with the θ that gives them a mean."""
    k = np.arange(len(logs))
    found = np.empty(len(logs))
    low, high = -40.0, 40.0  # θ; beyond them all mass lies on one number
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found[:] = logs + middle * k
        found[:] = np.exp(found - found.max())
        if (found * k).sum() < mean * found.sum():
            low = middle
        else:
            high = middle
    return found / found.sum()
