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
        ValueError: the folds or the order of filters are not those of such an operation, or engines that wait for none
            have FIFOs.
    """
    wanted = "iogmNqp" if operation.multiplies else "s"
    if not all(design.folds.get(name, 0) >= 1 for name in wanted):
        folds = ", ".join(f"{name}={value}" for name, value in design.folds.items())
        needs = f"{design.name} is a {operation.kind.value} and needs the folds {' '.join(wanted)}, each ≥ 1"
        raise ValueError(f"{needs}; it has {folds or 'none'}")
    if design.engine_fifo and not design.sees_activations:
        raise ValueError(
            f"{design.name} has engine_fifo={design.engine_fifo}, but {design.engine} engines never wait; it must be 0"
        )
    if design.filter_order:
        _check_order(operation, design)
    return (compute_stage if operation.multiplies else stream_stage)(operation, design, maps)


def _check_order(operation: Operation, design: StageDesign) -> None:
    """Check that a design's order of filters has all filters of an operation, group after group.

    Raises:
        ValueError: it has not.
    """
    filters = operation.result.channels
    if not operation.multiplies or sorted(design.filter_order) != list(range(filters)):
        raise ValueError(f"filter_order of {design.name} is no permutation of its {filters} filters")
    of_group = np.reshape(design.filter_order, (operation.groups, -1)) // operation.filters_per_group
    if (of_group != of_group[:, :1]).any():
        raise ValueError(f"filter_order of {design.name} mixes filters of different groups")


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
