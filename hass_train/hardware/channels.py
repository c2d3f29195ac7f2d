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
    zeros, and products with one. Layers that read such a channel read one less. Of grouped convolutions only depthwise
    ones lose any, those that are dead themselves.

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
        if operation.is_compute and (read or made):
            layers[operation.name] = _denser(layers[operation.name], operation, read, made)
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
        if operation.groups > 1:  # of others' groups some would be smaller, which is no convolution
            return (made, made) if _depthwise(operation) else (nothing, nothing)
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
    smaller = replace(operation, source=less(operation.source, read), result=less(operation.result, made))
    return replace(smaller, groups=smaller.result.channels) if _depthwise(operation) else smaller


def _depthwise(operation: Operation) -> bool:
    """Whether every channel is a group of its own."""
    return 1 < operation.groups == operation.source.channels == operation.result.channels


def _denser(sparsity: LayerSparsity, operation: Operation, read: frozenset[int], made: frozenset[int]) -> LayerSparsity:
    """The sparsity of the pairs that are left: those that went were all zero."""
    window, single = operation.window, _depthwise(operation)
    whole = 1 if single else operation.source.channels, operation.result.channels
    channels, filters = 1 if single else whole[0] - len(read), whole[1] - len(made)
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
        min(one * (1.0 if single else by_filter), 1.0)
        for index, one in enumerate(sparsity.channel_densities)
        if index not in read
    )
    structure = sparsity.structure and replace(sparsity.structure, dead_filters=())
    return replace(
        sparsity, weight_density=min(sparsity.weight_density * by_filter, 1.0),
        pair_density=min(sparsity.pair_density * grown, 1.0), histograms=histograms, channel_densities=densities,
        structure=structure,
    )  # fmt: skip


def prices_asked(
    prices: Mapping[str, float], kind: str, shrunk: SparsityProfile, profile: SparsityProfile
) -> Mapping[str, float]:
    """Prices of a network without dead channels, for the densities of the one that was asked about.

    A price is worth price · density whichever way density is counted; that a layer's dead filters also save its
    readers' channels is not in it.

    Args:
        prices: by layer.
        kind: `pair_density` or `weight_density`.
        shrunk, profile: without dead channels, and with them.
    """
    if shrunk is profile:
        return prices
    counted = {name: getattr(layer, kind) for name, layer in profile.layers.items()}
    return {
        name: price * getattr(shrunk.layers[name], kind) / counted[name] if counted[name] > 0 else price
        for name, price in prices.items()
    }
