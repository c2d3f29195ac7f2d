"""The few designs of a table that stay worth building while a search moves a little."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.designs import passes
from hass_train.hardware.dataflow.designs.tables import Table, per_unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WORTHS = 32  # worths of the resources that are tried
_SPARSE = 0.4  # of Dirichlet's distribution: mostly a few resources count
_REACH = 4  # how far an interval may move


def worth_near(table: Table, groups: Ints, interval: int, budget: Floats) -> Ints:
    """The designs that are cheapest of their group at some interval near one and at some worth of the resources.

    Worths are drawn at random, the same at every call.

    Args:
        table: the designs, by ascending interval.
        groups: (designs,) numbers of groups, each of which keeps its own.
        interval: cycles per image of the pipeline, which may become `_REACH` times as long or as short.
        budget: (6,) what the device offers.

    Returns:
        (rows,) ascending indices.
    """
    end = int(np.searchsorted(table.interval, _REACH * interval, side="right"))
    shares = np.random.default_rng(0).dirichlet(np.full(6, _SPARSE), _WORTHS)
    _, group = np.unique(groups[:end], return_inverse=True)
    worths = shares * per_unit(budget)
    return np.flatnonzero(
        passes.worth_near(table.interval, table.logic, table.memory, group, worths, interval / _REACH)
    )
