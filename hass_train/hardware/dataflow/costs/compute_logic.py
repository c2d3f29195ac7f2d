"""The logic of all designs of a layer with multipliers: modules that any of them has, and those of its engines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hass_train.hardware.dataflow.costs import logic
from hass_train.hardware.dataflow.costs.compute_engine import EngineKind
from hass_train.hardware.dataflow.costs.engine_kinds import by_kind
from hass_train.hardware.workload import Operation, OperationKind


def compute_logic(layer: Operation, folds: logic.Folds, bits: logic.Widths) -> logic.Logic:
    """The LUTs and flip-flops of every design of a convolution or linear layer, without its memories.

    Args:
        layer: the operation.
        folds: (n,) the folds of all designs.
        bits: word widths.

    Returns:
        (n,) LUTs and flip-flops.
    """
    total = logic.Logic(np.zeros(len(folds)), np.zeros(len(folds)))
    for kind, rows in by_kind(folds.engine):
        for module in _modules(layer, folds[rows], bits, kind):
            total.lut[rows] += module.lut
            total.ff[rows] += module.ff
    return total


def _modules(layer: Operation, folds: logic.Folds, bits: logic.Widths, kind: EngineKind) -> Iterator[logic.Logic]:
    """All modules of designs with engines of one kind."""
    read, written = folds.i * folds.g, folds.o * folds.g * folds.p
    yield logic.PAD.times(np.full(len(folds), float(layer.kind is OperationKind.CONV)))
    if layer.window > 1:
        yield logic.sliding_window(read * folds.q, layer.kernel, layer.source.channels / read, bits)
    yield from kind.modules(layer, folds, bits)
    yield logic.glue(written, folds.bundles, bits).times(folds.bundles > 1)
    yield logic.bias(written, bits).times(np.full(len(folds), float(layer.bias)))
