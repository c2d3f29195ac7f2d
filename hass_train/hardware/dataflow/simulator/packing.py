"""Real zeros for the simulator: windows and kernels as packed bits, in the order in which compute engines take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.balance import deal
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_rounds import pooled_cycles
from hass_train.hardware.dataflow.simulator.stages import SKIPPING, StageDesign
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation, OperationKind

Ints = NDArray[np.int64]
Bits = NDArray[np.uint64]
Bools = NDArray[np.bool_]

_CHUNK = 2**26  # window bits that are unpacked at a time


@dataclass(frozen=True)
class NonZeros:
    """Where the operands of one layer are not zero.

    Args:
        activations: (images, H, W, C) the padded input as the layer sees it, after its threshold; for a linear layer
            (images, 1, tokens, C).
        weights: (F, C/G, Kh, Kw); for a linear layer (F, C, 1, 1).
    """

    activations: Bools
    weights: Bools


@dataclass(frozen=True)
class Packed:
    """One layer's operands as its compute engines take them: one bit for each word, lane by lane.

    Where several lanes fit into 64 bits, each word holds `lanes` whole ones, the first in its lowest bits; else a lane
    begins with a word. Multipliers that take any position are a single lane.

    Args:
        activations: (images, groups of pixels, blocks of groups, blocks of channels, p, g, i/m, words); None = rounds
            do not depend on them.
        weights: (blocks of groups and channels, blocks of filters, g, i/m, o, words); None likewise.
        lanes: lanes in a word; 1 = a lane takes one word or more.
        lane_size: positions of a lane where a word holds several; else words of a lane.
        lookup: (positions of a lane + 1,) cycles of a round by the non-zeros in the fullest lane.
    """

    activations: Bits | None
    weights: Bits | None
    lanes: int
    lane_size: int
    lookup: Ints


def pack(
    operation: Operation, design: StageDesign, nonzeros: NonZeros, sparsity: LayerSparsity | None, t_min: int
) -> Packed:
    """Give channels, filters and groups to the compute engines, and pack the operands.

    They are dealt as `costs.balance` assumes. `weight` engines take them as `costs.weight_rounds` has them: channels in
    their order, filters and groups in the design's.

    Args:
        operation: convolution or linear layer.
        design: how it is built, with compute engines that skip zeros.
        nonzeros: where its operands are not zero.
        sparsity: its channel densities decide which engine takes which channel; None = in their order.
        t_min: least cycles of a round of multipliers that take any pair.

    Raises:
        ValueError: the operands have another shape than the operation's.
    """
    folds, groups = design.folds, operation.groups
    i, o, g, m, n, p = (folds[name] for name in ("i", "o", "g", "m", "N", "p"))
    expected = (operation.result.channels, operation.channels_per_group)
    if nonzeros.weights.shape[:2] != expected or nonzeros.weights[0, 0].size != operation.window:
        raise ValueError(
            f"weights of {operation.name} are {nonzeros.weights.shape}, not {(*expected, *operation.kernel)}"
        )
    per_channel = np.zeros((groups, operation.channels_per_group))
    alone = design.engine == ComputeEngine.ACTIVATION and sparsity is not None and sparsity.channel_activations
    if sparsity is not None and (dealt_by := alone or sparsity.channel_densities):
        per_channel = np.reshape(dealt_by, per_channel.shape)
    kernels = nonzeros.weights.reshape(groups, operation.filters_per_group, operation.channels_per_group, -1)
    skipping = SKIPPING[design.engine]
    if skipping.activations:
        channel_order = bundled(per_channel.mean(axis=0), i // m, m)  # (blocks, bundles, m)
    else:
        channel_order = in_turn(np.arange(operation.channels_per_group), i).reshape(-1, i // m, m)
    if design.filter_order or not skipping.activations:
        order = np.reshape(design.filter_order or np.arange(operation.result.channels), (groups, -1))
        first, filter_order = np.divmod(order, operation.filters_per_group)
        group_order = in_turn(first[:, 0], g)  # (blocks, g)
        filter_order = in_turn(filter_order[np.argsort(first[:, 0])], o)  # (groups, blocks, o)
    else:
        group_order = dealt(per_channel.mean(axis=1), g)
        filter_order = np.tile(dealt(kernels.mean(axis=(0, 2, 3)), o), (groups, 1, 1))
    by_lanes = design.lanes if skipping.lanes is None else skipping.lanes
    lanes = n if by_lanes else 1
    positions = ceil_div(operation.window * m, lanes)
    least = t_min if design.engine == ComputeEngine.CROSSBAR else 1
    windows = weights = None
    if skipping.activations:
        windows = _windows(operation, nonzeros.activations, group_order, channel_order, p, lanes)
    if skipping.weights:
        weights = _kernels(kernels, group_order, channel_order, filter_order, lanes)
    lookup = pooled_cycles(np.arange(positions + 1), 1 if by_lanes else n, least)
    together = _lanes_in_word(lanes, positions)
    return Packed(windows, weights, together, positions if together > 1 else ceil_div(positions, 64), lookup)


def bundled(densities: NDArray[np.float64], side_by_side: int, bundle: int) -> Ints:
    """(blocks, side_by_side, bundle) the channels of each engine: dealt one by one, or in bundles equally dense."""
    if bundle == 1:
        return dealt(densities, side_by_side)[:, :, None]
    blocks = ceil_div(len(densities), side_by_side * bundle)
    hands = dealt(densities, blocks * side_by_side)  # (cards, bundles)
    cards = np.full((bundle, blocks * side_by_side), -1)
    cards[: len(hands)] = hands
    return cards.T.reshape(blocks, side_by_side, bundle)


def dealt(densities: NDArray[np.float64], side_by_side: int) -> Ints:
    """(rounds, side_by_side) indices, the densest first in snake order, as `balance.deal` deals; −1 where none is left.

    Equal densities keep their order.
    """
    order = np.argsort(-densities, kind="stable")
    hands = deal(np.arange(len(order), 0, -1, dtype=float), side_by_side)
    return np.where(np.isnan(hands), -1, order[np.where(np.isnan(hands), 0, len(order) - hands).astype(np.int64)])


def in_turn(order: Ints, side_by_side: int) -> Ints:
    """(…, rounds, side_by_side) the last axis of an order in rounds, one after another; −1 where none is left."""
    return _filled(order, -order.shape[-1] % side_by_side, -1).reshape(*order.shape[:-1], -1, side_by_side)


def _words(bits: Bools, lanes: int) -> Bits:
    """The positions of the last axis, of which lane j has every `lanes`-th one from j, packed as `Packed` says."""
    positions = ceil_div(bits.shape[-1], lanes)
    together = _lanes_in_word(lanes, positions)
    in_turn_ = _filled(bits, lanes * positions - bits.shape[-1]).reshape(*bits.shape[:-1], positions, lanes)
    by_lane = _filled(in_turn_, -lanes % together).swapaxes(-1, -2).reshape(*bits.shape[:-1], -1, together * positions)
    bytes_ = np.packbits(by_lane, axis=-1, bitorder="little")
    words = np.ascontiguousarray(_filled(bytes_, -bytes_.shape[-1] % 8)).view("<u8")
    return words.reshape(*bits.shape[:-1], -1)


def _lanes_in_word(lanes: int, positions: int) -> int:
    """How many of some lanes of so many positions a word of 64 bits holds."""
    return min(lanes, max(64 // positions, 1))


def _filled(values: NDArray[Any], more: int, value: int = 0) -> NDArray[Any]:
    """The last axis made longer by so many equal values."""
    if not more:
        return values
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, more)], constant_values=value)


def _windows(operation: Operation, activations: Bools, groups: Ints, channels: Ints, columns: int, lanes: int) -> Bits:
    """The windows of all images, packed as `Packed.activations`.

    Args:
        operation: convolution or linear layer.
        activations: as in `NonZeros`.
        groups: (blocks, g) the groups that are computed at once; −1 = none.
        channels: (blocks, bundles, m) the channels of a group that are taken at once; −1 = none.
        columns: output columns that are computed at once.
        lanes: lanes of an engine.
    """
    pixel = _pixels(operation, columns)
    chosen = groups[:, None, :, None, None] * operation.channels_per_group + channels[None, :, None, :, :]
    chosen = np.where((groups[:, None, :, None, None] >= 0) & (channels[None, :, None, :, :] >= 0), chosen, -1)
    packed = []
    for image in activations:
        taps = _taps(operation, image)
        taps = np.concatenate([taps, np.zeros((len(taps), 1, taps.shape[2]), bool)], axis=1)  # channel −1
        taps = np.concatenate([taps, np.zeros((1, *taps.shape[1:]), bool)])  # pixel −1
        step = max(1, _CHUNK // max(chosen.size * taps.shape[2] * columns, 1))
        parts = []
        for start in range(0, len(pixel), step):
            some = taps[pixel[start : start + step]]  # (groups of pixels, p, C, window)
            taken = some[:, :, chosen]  # (…, p, blocks of groups, blocks of channels, g, bundles, m, window)
            bits = taken.reshape(*taken.shape[:-2], -1)
            parts.append(_words(bits, lanes).transpose(0, 2, 3, 1, 4, 5, 6))
        packed.append(np.concatenate(parts))
    return np.ascontiguousarray(np.stack(packed))


def _taps(operation: Operation, image: Bools) -> Bools:
    """(pixels, channels, window) the word of one image that each kernel position of each output pixel reads.

    Raises:
        ValueError: the image has another shape than the operation's input.
    """
    result, (rows, columns) = operation.result, operation.kernel
    stride, dilation = operation.stride, operation.dilation
    if operation.kind is OperationKind.LINEAR:
        taps = image.reshape(-1, image.shape[-1])[:, :, None]
    else:
        bottom = (result.height - 1) * stride[0] + 1
        right = (result.width - 1) * stride[1] + 1
        if image.shape[0] < bottom + (rows - 1) * dilation[0] or image.shape[1] < right + (columns - 1) * dilation[1]:
            raise ValueError(f"activations of {operation.name} are {image.shape[:2]}, too few for its windows")
        corners = [(y * dilation[0], x * dilation[1]) for y in range(rows) for x in range(columns)]
        taps = np.stack(
            [
                image[y : y + bottom : stride[0], x : x + right : stride[1]].reshape(result.pixels, -1)
                for y, x in corners
            ],
            axis=-1,
        )
    if taps.shape[:2] != (result.pixels, operation.source.channels):
        raise ValueError(
            f"activations of {operation.name} have {taps.shape[0]}×{taps.shape[1]} words, not "
            f"{result.pixels}×{operation.source.channels}"
        )
    return taps


def _pixels(operation: Operation, columns: int) -> Ints:
    """(groups of pixels, p) the output pixels that are computed at once; −1 beyond the end of a row."""
    result = operation.result
    across = ceil_div(result.width, columns)
    column = np.arange(across * columns).reshape(across, columns)
    pixel = np.arange(result.height)[:, None, None] * result.width + column
    return np.asarray(np.where(column < result.width, pixel, -1).reshape(-1, columns))


def _kernels(kernels: Bools, groups: Ints, channels: Ints, filters: Ints, lanes: int) -> Bits:
    """All kernels, packed as `Packed.weights`.

    Args:
        kernels: (groups, filters, channels, window) which weights are not zero.
        groups, channels, lanes: as of `_windows`.
        filters: (groups, blocks, o) the filters of each group that are computed at once; −1 = none.
    """
    widened = np.pad(kernels, ((0, 1), (0, 1), (0, 1), (0, 0)))  # −1 takes the zeros at the end
    own = filters[groups].swapaxes(1, 2)  # (γ, f, g, o), of some group where there is none
    g, f, c = (
        groups[:, None, None, :, None, None, None],
        own[:, None, :, :, None, :, None],
        channels[None, :, None, None, :, None, :],
    )
    chosen = widened[g, f, c]  # (γ, c, f, g, bundles, o, m, window)
    bits = chosen.reshape(*chosen.shape[:-2], -1)
    words = _words(bits, lanes)
    return np.ascontiguousarray(words.reshape(-1, *words.shape[2:]))
