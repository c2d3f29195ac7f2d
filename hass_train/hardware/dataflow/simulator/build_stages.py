"""From a network and its design to the stages of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.simulator.compute_stages import compute_stage
from hass_train.hardware.dataflow.simulator.stages import Stage, StageDesign
from hass_train.hardware.dataflow.simulator.stream_stages import stream_stage
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation


def stage_of(operation: Operation, design: StageDesign, maps: Mapping[str, FeatureMap]) -> Stage:
    """The stage of one operation.

    Args:
        operation: an operation of the network.
        design: how it is built.
        maps: feature maps by the name of what makes them, the network's input included.

    Raises:
        ValueError: the folds are not those of such an operation.
    """
    wanted = "iogmNqp" if operation.multiplies else "s"
    if not all(design.folds.get(name, 0) >= 1 for name in wanted):
        folds = ", ".join(f"{name}={value}" for name, value in design.folds.items())
        needs = f"{design.name} is a {operation.kind.value} and needs the folds {' '.join(wanted)}, each ≥ 1"
        raise ValueError(f"{needs}; it has {folds or 'none'}")
    return (compute_stage if operation.multiplies else stream_stage)(operation, design, maps)


def source_stage(shape: tuple[int, int, int], words: int) -> Stage:
    """The stage of the network's input, which writes `words` words a cycle.

    Args:
        shape: (channels, height, width) of an image.
        words: words of a write step.
    """
    total = shape[0] * shape[1] * shape[2]
    steps = ceil_div(total, words)
    none = np.zeros(0, np.int64)
    written = np.minimum(np.arange(1, steps + 1) * words, total)
    base, offset = np.zeros(steps, np.int64), np.zeros(1, np.int64)
    return Stage(NETWORK_INPUT, (), 0, base, offset, none, 1, 1, written, 0, 1, words, words)
