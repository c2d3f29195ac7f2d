"""One choice of thresholds, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hass_train.search import front as pareto


@dataclass(frozen=True, slots=True)
class Trial:
    """What one choice of thresholds is worth.

    Args:
        number: number of the trial in its study.
        val_acc: fraction of the validation split that is classified rightly.
        throughput_ips: images/s of the best design.
        dsp: share of the device's DSPs that this design takes.
        pair_sparsity: mean over the layers, weighted by MACs.
        seconds: how long the trial took.
        images: how many images it was evaluated on.
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
