"""The results of a trial, and the Pareto front of several."""

from __future__ import annotations

from collections.abc import Iterable
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

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return asdict(self)


def front(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that no other one matches or beats in both accuracy and throughput, the fastest first."""
    in_order = sorted(trials, key=lambda one: one.number)
    return pareto.front(in_order, lambda one: one.throughput_ips, lambda one: one.val_acc)
