"""The peer's machine: its costs and the two kinds of compute engine that these know, as HASS has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hass_train.hardware import DataflowOptions
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS
from hass_train.hardware.dataflow.costs.logic import Folds

CODES = {kind: [one.engine for one in VARIANTS].index(kind) for kind in ComputeEngine}
"""The code in tables of designs of each kind's first variant."""
PEER: dict[str, Any] = {"costs": "peer", "compute_engines": ("dense", "crossbar")}


def peers(**options: Any) -> DataflowOptions:
    """Design rules with the peer's costs."""
    return DataflowOptions(**{**PEER, **options})


def one_design(engine: ComputeEngine | int, i: int = 1, o: int = 1, g: int = 1, **others: int) -> Folds:
    """The folds of a single design with engines of a kind, or of a code; m, n, q and p are 1 and fifo 0 by default."""
    m, n, q, p, fifo = (others.get(name, least) for name, least in zip(_REST, (1, 1, 1, 1, 0), strict=True))
    code = CODES[engine] if isinstance(engine, ComputeEngine) else engine
    return Folds(*(np.array([value]) for value in (i, o, g, m, n, q, p, code, fifo)))


_REST = ("m", "n", "q", "p", "fifo")
