"""Channels that are zero for every image, followed through a network: neither computed nor read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, OperationKind, Workload

_KEEP_ZERO = frozenset(
    {"relu", "relu6", "leaky_relu", "hardswish", "silu", "gelu", "elu", "hardtanh", "selu", "mish", "tanh", "prelu"}
)
"""Functions f with f(0) = 0."""
_POOLS = frozenset({OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL, OperationKind.GLOBAL_POOL, OperationKind.PAD})


def without_dead_channels(workload: Workload, profile: SparsityProfile) -> tuple[Workload, SparsityProfile]:
    """The network without the filters that patterns have emptied, and without the channels that this leaves zero.

    A filter that is dead makes a channel of zeros; so do functions with f(0) = 0 and pools of it, sums of nothing but
    zeros, and products with one. Layers that read such a channel read one less. Grouped convolutions keep theirs.

    Args:
        workload: network.
        profile: of its compute layers.

    Returns:
        Network and profile with fewer channels; densities and histograms are those of the pairs that are left. The
        arguments themselves where nothing is dead.
    """
    if not any(layer.structure and layer.structure.dead_filters for layer in profile.layers.values()):
        return workload, profile
    dead: dict[str, frozenset[int]] = {NETWORK_INPUT: frozenset()}
    operations, layers = [], dict(profile.layers)
    for operation in workload:
        read, made = _dead_channels(operation, layers.get(operation.name), dead)
        dead[operation.name] = made
        operations.append(_smaller(operation, len(read), len(made)))
        if operation.is_compute and (read or made) and operation.groups == 1:
            whole = operation.source.channels, operation.result.channels
            layers[operation.name] = _denser(layers[operation.name], whole, (read, made), operation.window)
    return Workload(workload.name, workload.input_shape, tuple(operations)), SparsityProfile(layers)


def _dead_channels(
    operation: Operation, sparsity: LayerSparsity | None, dead: Mapping[str, frozenset[int]]
) -> tuple[frozenset[int], frozenset[int]]:
    """Channels of the operation's largest input and of its result that are zero."""
    nothing: frozenset[int] = frozenset()
    inputs = [dead[name] for name in operation.inputs]
    same = operation.source.channels == operation.result.channels
    if operation.is_compute:
        structure = sparsity.structure if sparsity else None
        made = frozenset(structure.dead_filters) if structure else nothing
        if operation.groups > 1:
            return nothing, nothing  # groups of different sizes are no convolution
        whole = inputs and len(inputs) == 1 and max(inputs[0], default=-1) < operation.source.channels
        flattened = whole and operation.source.pixels != 1 and operation.window == 1 and operation.result.pixels == 1
        return (inputs[0] if whole and not flattened else nothing), made
    if not same or not inputs:
        return nothing, nothing
    if operation.kind is OperationKind.ACTIVATION:
        kept = inputs[0] if operation.function in _KEEP_ZERO else nothing
        return inputs[0], kept
    if operation.kind in _POOLS:
        return inputs[0], inputs[0]
    if operation.kind is OperationKind.ADD and len(inputs) > 1:
        both = frozenset.intersection(*inputs)
        return both, both
    if operation.kind is OperationKind.MULTIPLY and len(inputs) > 1:
        either = frozenset.union(*inputs)
        return either, either
    return nothing, nothing


def _smaller(operation: Operation, read: int, made: int) -> Operation:
    def less(shape: FeatureMap, count: int) -> FeatureMap:
        return replace(shape, channels=max(shape.channels - count, 1))

    if not read and not made:
        return operation
    return replace(operation, source=less(operation.source, read), result=less(operation.result, made))


def _denser(
    sparsity: LayerSparsity, whole: tuple[int, int], dead: tuple[frozenset[int], frozenset[int]], window: int
) -> LayerSparsity:
    """The sparsity of the pairs that are left: those that went were all zero."""
    channels, filters = whole[0] - len(dead[0]), whole[1] - len(dead[1])
    by_filter = whole[1] / max(filters, 1)
    grown = by_filter * whole[0] / max(channels, 1)
    histograms = {}
    for bundle, histogram in sparsity.histograms.items():
        # windows of single channels lose those of dead filters and dead channels; whole dot products those of filters,
        # and all that they could count beyond the channels left
        share = 1 / grown if bundle == 1 and whole[0] > 1 else 1 / by_filter
        if bundle not in (1, whole[0]) or share <= 0:
            continue
        left = [max(histogram[0] - (1 - share), 0.0), *histogram[1:]]
        size = 1 if bundle == 1 else channels
        left = left[: window * size + 1]
        total = sum(left)
        if total > 0:
            histograms[size] = tuple(one / total for one in left)
    densities = tuple(
        min(one * by_filter, 1.0) for index, one in enumerate(sparsity.channel_densities) if index not in dead[0]
    )
    structure = sparsity.structure and replace(sparsity.structure, dead_filters=())
    return replace(
        sparsity, weight_density=min(sparsity.weight_density * by_filter, 1.0),
        pair_density=min(sparsity.pair_density * grown, 1.0), histograms=histograms, channel_densities=densities,
        structure=structure,
    )  # fmt: skip
