"""Depth-wise tiling: the map between two fused layers stays in the memory tiles, where both layers fit."""

from __future__ import annotations

from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.aie.layers import Fusion, layer_cost, rows_of
from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import Operation, OperationKind, Workload


def fusions(workload: Workload, profile: SparsityProfile, array: AieArray) -> dict[str, Fusion]:
    """Decide which layers are fused, by the name of each operation.

    Without `array.depth_tiling` every map goes through DDR. With it, a convolution whose only reader is another one is
    fused with it, its result staying in the memory tiles, if the column's input, these rows and the reader's result fit
    there and the two take less time so. Rows that neighbouring columns both need are computed by both.
    """
    plan = {operation.name: Fusion() for operation in workload}
    if not array.depth_tiling:
        return plan
    readers: dict[str, list[Operation]] = {}
    for operation in workload:
        for name in operation.inputs:
            readers.setdefault(name, []).append(operation)
    for operation in workload:
        if operation.kind is not OperationKind.CONV:
            continue
        after = readers.get(operation.name, [])
        while len(after) == 1 and after[0].kind is OperationKind.ACTIVATION:
            after = readers.get(after[0].name, [])
        if len(after) != 1 or after[0].kind is not OperationKind.CONV or len(after[0].inputs) != 1:
            continue
        follower = after[0]
        before, own = plan[operation.name], rows_of(follower, array)
        rows = min((own - 1) * follower.stride[0] + follower.reach[0], operation.result.height)
        first, second = Fusion(before.reads_ddr, False, rows), Fusion(False, True, 0)
        if not _fit(operation, follower, rows, own, array):
            continue

        def cycles(one: Operation, fusion: Fusion) -> float:
            return layer_cost(one, profile.layers.get(one.name), array, fusion).cycles

        apart = cycles(operation, before) + cycles(follower, plan[follower.name])
        if cycles(operation, first) + cycles(follower, second) < apart:
            plan[operation.name], plan[follower.name] = first, second
    return plan


def _fit(operation: Operation, follower: Operation, rows: int, own: int, array: AieArray) -> bool:
    """Whether a column's input, the map between and the result fit half a memory tile; the rest is for weights."""
    first, second = (array.of(one).activation_bits / 8 for one in (operation, follower))
    seen = min((rows - 1) * operation.stride[0] + operation.reach[0], operation.source.height)
    held = first * seen * operation.source.width * operation.source.channels
    held += second * rows * operation.result.width * operation.result.channels
    held += second * own * follower.result.width * follower.result.channels
    return held <= array.tile_kb * 1024 / 2
