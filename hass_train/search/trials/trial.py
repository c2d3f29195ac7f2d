"""The results of a trial, and the Pareto front of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hass_train.search import front as pareto


@dataclass(frozen=True, slots=True)
class Trial:
    """The results of a trial: of a network with certain thresholds, without any training.

    Args:
        number: number of the trial in its study.
        val_acc: fraction of the validation images that are classified correctly.
        throughput_ips: images/s of the best design.
        latency_ms: its latency, ms; infinite in studies of earlier versions, and so is the energy.
        energy_j: its energy of an image, J.
        dsp: fraction of the device's DSPs that this design uses.
        pair_sparsity: fraction of weight–activation pairs with a zero, weighted by multiply-accumulates.
        seconds: seconds that the trial took.
        images: number of images that it was evaluated on.
    """

    number: int
    val_acc: float
    throughput_ips: float
    dsp: float
    pair_sparsity: float
    seconds: float
    images: int
    latency_ms: float = math.inf
    energy_j: float = math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return asdict(self)


def front(trials: Iterable[Trial], rate: Callable[[Trial], float] = lambda one: one.throughput_ips) -> list[Trial]:
    """Return the trials that no other one matches or beats in both accuracy and throughput, or another rate, that of
    the highest first."""
    in_order = sorted(trials, key=lambda one: one.number)
    return pareto.front(in_order, rate, lambda one: one.val_acc)
