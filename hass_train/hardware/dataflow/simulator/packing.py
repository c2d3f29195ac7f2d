"""Real zeros for the simulator: windows and kernels as packed bits, in the order in which compute engines take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.balance import deal
from hass_train.hardware.dataflow.simulator.stages import StageDesign
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
    """One layer's operands as its compute engines take them: one bit for each word, windows padded to 64 bits.

    Args:
        activations: (images, groups of pixels, blocks of groups, blocks of channels, p, g, i/m, words).
        weights: (blocks of groups and channels, blocks of filters, g, i/m, o, words).
        lookup: (pairs + 1,) cycles of an initiation by its non-zero pairs.
    """

    activations: Bits
    weights: Bits
    lookup: Ints


def pack(
    operation: Operation, design: StageDesign, nonzeros: NonZeros, sparsity: LayerSparsity | None, t_min: int
) -> Packed:
    """Deal channels, filters and groups to the compute engines as `costs.balance` assumes, and pack the operands.

    Args:
        operation: convolution or linear layer.
        design: how it is built, with compute engines that skip zeros.
        nonzeros: where its operands are not zero.
        sparsity: its channel densities decide which engine takes which channel; None = in their order.
        t_min: least cycles of an initiation.

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
    if sparsity is not None and sparsity.channel_densities:
        per_channel = np.reshape(sparsity.channel_densities, per_channel.shape)
    group_order = dealt(per_channel.mean(axis=1), g)  # (blocks, g)
    channel_order = bundled(per_channel.mean(axis=0), i // m, m)  # (blocks, lanes, m)
    kernels = nonzeros.weights.reshape(groups, operation.filters_per_group, operation.channels_per_group, -1)
    filter_order = dealt(kernels.mean(axis=(0, 2, 3)), o)  # (blocks, o)
    lookup = np.maximum(ceil_div(np.arange(operation.window * m + 1), n), t_min)
    return Packed(
        _windows(operation, nonzeros.activations, group_order, channel_order, p),
        _kernels(kernels, group_order, channel_order, filter_order),
        lookup,
    )


def bundled(densities: NDArray[np.float64], lanes: int, bundle: int) -> Ints:
    """(blocks, lanes, bundle) the channels of each lane: dealt one by one, or in bundles that are equally dense."""
    if bundle == 1:
        return dealt(densities, lanes)[:, :, None]
    blocks = ceil_div(len(densities), lanes * bundle)
    hands = dealt(densities, blocks * lanes)  # (cards, bundles)
    cards = np.full((bundle, blocks * lanes), -1)
    cards[: len(hands)] = hands
    return cards.T.reshape(blocks, lanes, bundle)


def dealt(densities: NDArray[np.float64], lanes: int) -> Ints:
    """(rounds, lanes) indices, the densest first in snake order, as `balance.deal` deals; −1 where none is left.

    Equal densities keep their order.
    """
    order = np.argsort(-densities, kind="stable")
    hands = deal(np.arange(len(order), 0, -1, dtype=float), lanes)
    return np.where(np.isnan(hands), -1, order[np.where(np.isnan(hands), 0, len(order) - hands).astype(np.int64)])


def _words(bits: Bools) -> Bits:
    """The last axis packed into 64-bit words."""
    packed = np.packbits(bits, axis=-1, bitorder="little")
    missing = -packed.shape[-1] % 8
    padded = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(padded).view("<u8")


def _windows(operation: Operation, activations: Bools, groups: Ints, channels: Ints, columns: int) -> Bits:
    """The windows of all images, packed as `Packed.activations`.

    Args:
        operation: convolution or linear layer.
        activations: as in `NonZeros`.
        groups: (blocks, g) the groups that are computed at once; −1 = none.
        channels: (blocks, lanes, bundle) the channels of a group that are taken at once; −1 = none.
        columns: output columns that are computed at once.
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
            lanes = some[:, :, chosen]  # (…, p, blocks of groups, blocks of channels, g, lanes, m, window)
            bits = lanes.reshape(*lanes.shape[:-2], -1)
            parts.append(_words(bits).transpose(0, 2, 3, 1, 4, 5, 6))
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


def _kernels(kernels: Bools, groups: Ints, channels: Ints, filters: Ints) -> Bits:
    """All kernels, (groups, filters, channels, window), packed as `Packed.weights`."""
    widened = np.pad(kernels, ((0, 1), (0, 1), (0, 1), (0, 0)))  # −1 takes the zeros at the end
    g, f, c = (
        groups[:, None, None, :, None, None, None],
        filters[None, None, :, None, None, :, None],
        channels[None, :, None, None, :, None, :],
    )
    chosen = widened[g, f, c]  # (γ, c, f, g, lanes, o, m, window)
    bits = chosen.reshape(*chosen.shape[:-2], -1)
    words = _words(bits)
    return np.ascontiguousarray(words.reshape(-1, *words.shape[2:]))
