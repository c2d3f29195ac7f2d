"""What folds of a design.json can be, so that one that was edited by hand is refused by name and value."""

from __future__ import annotations

import math

from hass_train.build.errors import refused
from hass_train.hardware.dataflow.design import Design
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.precision.graph import LAYERS
from hass_train.precision.integer_network import IntegerNetwork
from hass_train.precision.operation import IntegerOperation

_LAYER, _STREAM = ("i", "o", "g", "m", "N", "q", "p"), ("s",)
_INSTEAD = "take the design.json that the search wrote"


def check_folds(design: Design, network: IntegerNetwork) -> None:
    """Check the folds of all operations against the shapes of the network (hardware-model, section 4).

    Raises:
        UserError: a fold is missing or cannot be; the operation is named, and the fold with its value.
    """
    operations = {one.name: one for one in network.operations}
    for stage in (stage for part in design.parts for stage in part.designs):
        operation = operations.get(stage.name)
        layer = operation is not None and operation.kind in LAYERS
        for name in _LAYER if layer else _STREAM:
            if name not in stage.folds:
                raise refused(stage.name, f"it has no fold {name}", _INSTEAD)
            if stage.folds[name] < 1:
                raise refused(stage.name, f"{name}={stage.folds[name]} must be at least 1", _INSTEAD)
        if operation is not None and layer:
            _check_layer(operation, stage, network)


def _check_layer(operation: IntegerOperation, stage: StageDesign, network: IntegerNetwork) -> None:
    filters, channels, *window = network.tensors_of(operation)["weight"].shape
    folds, groups = stage.folds, operation.groups
    most = {
        "i": (channels, "channels that a filter reads"), "o": (filters // groups, "filters of a group"),
        "g": (groups, "groups"), "N": (math.prod(window) * folds["m"], "pairs of a round"),
    }  # fmt: skip
    for name, (limit, what) in most.items():
        if folds[name] > limit:
            raise refused(stage.name, f"{name}={folds[name]} is more than the {limit} {what}", _INSTEAD)
    if folds["i"] % folds["m"]:
        raise refused(stage.name, f"m={folds['m']} does not divide i={folds['i']}", _INSTEAD)
