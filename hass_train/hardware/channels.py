"""Dead channels, which are zero for every image: they are followed through a network and left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, OperationKind, Workload

_KEEP_ZERO = frozenset(
    {"relu", "relu6", "leaky_relu", "hardswish", "silu", "gelu", "elu", "hardtanh", "selu", "mish", "tanh", "prelu"}
)
"""Activation functions f with f(0) = 0."""
_POOLS = frozenset({OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL, OperationKind.GLOBAL_POOL, OperationKind.PAD})


def without_dead_channels(workload: Workload, profile: SparsityProfile) -> tuple[Workload, SparsityProfile]:
    """The network without the filters that patterns have emptied, and without the channels that this leaves zero.

    A dead filter makes a channel of zeros. So do functions with f(0) = 0 and pools of such a channel, sums of nothing
    but such channels, and products with one. Layers that read a dead channel read one less. Of grouped convolutions
    only depthwise ones lose channels, those whose own filters are dead.

    Args:
        workload: the network.
        profile: the sparsity of its compute layers.

    Returns:
        The network and the profile with fewer channels; densities and histograms are those of the pairs that are left.
        Where nothing is dead they are the arguments themselves.
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
    """The dead channels of an operation's largest input, and those of its result.

    Args:
        operation: the operation.
        sparsity: its sparsity, if it is a compute layer.
        dead: the dead channels of all earlier results, by name.
    """
    nothing: frozenset[int] = frozenset()
    inputs = [dead[name] for name in operation.inputs]
    same = operation.source.channels == operation.result.channels
    if operation.is_compute:
        structure = sparsity.structure if sparsity else None
        made = frozenset(structure.dead_filters) if structure else nothing
        if operation.groups > 1:  # without dead channels other groups would differ in size, which is no convolution
            return (made, made) if _depthwise(operation) else (nothing, nothing)
        whole = inputs and len(inputs) == 1 and max(inputs[0], default=-1) < operation.source.channels
        flattened = whole and operation.source.pixels != 1 and operation.window == 1 and operation.result.pixels == 1
        return (inputs[0] if whole and not flattened else nothing), made
    if not same or not inputs:
        return nothing, nothing
    if operation.kind is OperationKind.ACTIVATION:
        kept = inputs[0] if operation.function in _KEEP_ZERO else nothing
        return inputs[0], kept
    if operation.kind in _POOLS and operation.function != "constant":
        return inputs[0], inputs[0]
    if operation.kind is OperationKind.ADD and len(inputs) > 1:
        both = frozenset.intersection(*inputs)
        return both, both
    if operation.kind is OperationKind.MULTIPLY and len(inputs) > 1:
        either = frozenset.union(*inputs)
        return either, either
    return nothing, nothing


def _smaller(operation: Operation, read: int, made: int) -> Operation:
    """The operation with fewer channels read and made."""

    def less(shape: FeatureMap, count: int) -> FeatureMap:
        return replace(shape, channels=max(shape.channels - count, 1))

    if not read and not made:
        return operation
    smaller = replace(operation, source=less(operation.source, read), result=less(operation.result, made))
    return replace(smaller, groups=smaller.result.channels) if _depthwise(operation) else smaller


def _depthwise(operation: Operation) -> bool:
    """Whether an operation is depthwise: every channel is a group of its own."""
    return 1 < operation.groups == operation.source.channels == operation.result.channels


def _denser(sparsity: LayerSparsity, operation: Operation, read: frozenset[int], made: frozenset[int]) -> LayerSparsity:
    """The sparsity of the pairs that are left without the dead channels, whose pairs were all zero."""
    window, single = operation.window, _depthwise(operation)
    whole = 1 if single else operation.source.channels, operation.result.channels
    # one stays where all are dead, as of the operation
    channels, filters = 1 if single else max(whole[0] - len(read), 1), max(whole[1] - len(made), 1)
    by_filter, by_channel = whole[1] / filters, whole[0] / channels
    # windows of single channels lose those of dead filters and dead channels; whole dot products those of filters, and
    # all that they could count beyond the channels left; activations are those of windows, whatever filters there are
    # bundles between are only those of live channels where there are no others
    sizes = {*sparsity.histograms, *sparsity.activation_histograms} if not read else ()
    pairs, activations = (
        {size: (size, 1 / copies) for size in sizes}
        | {1: (1, 1 / (by_channel * copies)), whole[0]: (channels, 1 / copies)}
        for copies in (by_filter, 1.0)
    )
    densities = tuple(
        min(one * (1.0 if single else by_filter), 1.0)
        for index, one in enumerate(sparsity.channel_densities)
        if index not in read
    )
    reads = tuple(one for index, one in enumerate(sparsity.channel_activations) if index not in read)
    structure = sparsity.structure and replace(sparsity.structure, dead_filters=())
    if structure and read and not single:  # what is left lies in other groups and blocks than the pattern's
        structure = replace(structure, nm=None, bank=None, block=None, blocks=None)
    return replace(
        sparsity, weight_density=min(sparsity.weight_density * by_filter, 1.0),
        activation_density=min(sparsity.activation_density * by_channel, 1.0),
        pair_density=min(sparsity.pair_density * by_filter * by_channel, 1.0),
        histograms=_left(sparsity.histograms, pairs, window), channel_densities=densities, structure=structure,
        channel_activations=reads,
        activation_histograms=_left(sparsity.activation_histograms, activations, window),
        filter_nonzeros=tuple(  # weights of dead channels are taken to be as dense as others
            round(count / by_channel) for index, count in enumerate(sparsity.filter_nonzeros) if index not in made
        ),
    )  # fmt: skip


def _left(
    histograms: Mapping[int, tuple[float, ...]], kept: Mapping[int, tuple[int, float]], window: int
) -> dict[int, tuple[float, ...]]:
    """The histograms of what is left without the dead channels, which added nothing but zeros.

    Args:
        histograms: by bundle size, with the dead channels.
        kept: for the bundle sizes that can be told, what is left of them: the size, and the share of their windows.
        window: kernel positions.
    """
    found = {}
    for bundle, histogram in histograms.items():
        size, share = kept.get(bundle, (0, 0.0))
        left = [max(histogram[0] - (1 - share), 0.0), *histogram[1:]][: window * size + 1]
        total = sum(left)
        if share > 0 and total > 0:
            found[size] = tuple(one / total for one in left)
    return found


def prices_asked(
    prices: Mapping[str, float], kind: str, shrunk: SparsityProfile, profile: SparsityProfile
) -> Mapping[str, float]:
    """The prices of the network that was asked about, from those of the network without dead channels.

    What a layer costs, price · density, is the same whether dead channels count in its density or not. That a layer's
    dead filters also save channels in the layers that read it is not included.

    Args:
        prices: the prices of the network without dead channels, by layer.
        kind: the density that they are for, `pair_density`, `weight_density` or `activation_density`.
        shrunk, profile: the profiles without dead channels and with them.
    """
    if shrunk is profile:
        return prices
    counted = {name: getattr(layer, kind) for name, layer in profile.layers.items()}
    return {
        name: price * getattr(shrunk.layers[name], kind) / counted[name] if counted[name] > 0 else price
        for name, price in prices.items()
    }
