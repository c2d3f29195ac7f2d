"""What other widths of weights are worth at the present design, layer by layer (hardware-model, section 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs.tables import Table
from hass_train.hardware.dataflow.exploration.estimate_builder import EstimateBuilder
from hass_train.hardware.workload import Operation


def width_gains(
    built: EstimateBuilder, choices: Mapping[str, Sequence[int]], table_at: Callable[[Operation, int], Table]
) -> dict[str, dict[int, float]]:
    """The log of the factor by which a network becomes faster with other widths of weights, to first order.

    A layer's designs are enumerated at each width. What the cheapest that keeps the pipeline's interval needs less than
    the cheapest at the present width, weighted by what a unit of each resource is worth, is free for all layers; the
    worths are shares of all that binds, so the log of the throughput grows by as much.

    Args:
        built: the present design.
        choices: the widths in question, bits, by the path of a layer's module.
        table_at: gives the designs of an operation with weights of so many bits.
    """
    network, found = built.network, {layer: dict.fromkeys(widths, 0.0) for layer, widths in choices.items()}
    for part, worth, share in zip(built.parts, built.worths(), built.shares(), strict=True):
        for place in range(part.start, part.end):
            operation = network.workload.operations[place]
            if operation.is_compute and operation.owner in choices:
                interval = part.design.interval
                now = _least(network.tables[place], interval, worth)
                for bits in choices[operation.owner]:
                    saved = now - _least(table_at(operation, bits), interval, worth)
                    found[operation.owner][bits] += share * saved
    return found


def _least(table: Table, interval: int, worth: NDArray[np.float64]) -> float:
    """The least that a design costs which keeps an interval; infinite if there is none."""
    end = int(np.searchsorted(table.interval, interval, side="right"))
    return float(table.cost(worth)[:end].min(initial=np.inf))
