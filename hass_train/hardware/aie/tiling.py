"""The loop of one core: which tiles of a layer fit in its memory, and which of them take least time.

A core computes some rows of the result for some filters, in tiles of rows × columns × input channels × filters.
Activations and results are double-buffered, so that loading, computing and storing overlap. Weights are not, and
loading them blocks (Weight Block Sparsity: time = iterations × max(load, compute, store), core weight loads block).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.arithmetic import ceil_div, spaced, useful_folds
from hass_train.hardware.estimate import CannotFit

_CORE = 1024  # bytes of a KB
_RATIO = 1.05  # between neighbouring tile sizes that are looked at where there are more than twenty


@dataclass(frozen=True, slots=True)
class CoreLoop:
    """The part of a layer that one core computes.

    Args:
        height, width: rows and columns of the result.
        filters, channels: output and input channels, padded to the lanes.
        kernel, stride: (rows, columns).
        reach: (rows, columns) that a window spans, which dilation makes larger than the kernel.
        density: fraction of the skippable tiles of weights that are computed, on the busiest core.
    """

    height: int
    width: int
    filters: int
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    reach: tuple[int, int]
    density: float


@dataclass(frozen=True, slots=True)
class Tiling:
    """The tiles of a core's loop, and where its cycles go.

    Args:
        rows, columns, channels, filters: size of a tile.
        compute, load, store: cycles of multiplying, of loading activations and of storing results, which overlap.
        weights: cycles of loading weights, which do not overlap.
        moved_bytes: bytes moved into and out of the core.
    """

    rows: int
    columns: int
    channels: int
    filters: int
    compute: float
    load: float
    store: float
    weights: float
    moved_bytes: float

    @property
    def cycles(self) -> float:
        """The cycles of the whole loop."""
        return max(self.compute, self.load, self.store) + self.weights


@lru_cache(maxsize=4096)
def best_tiling(loop: CoreLoop, array: AieArray) -> Tiling:
    """The tiles that fit in a core's memory and take least time.

    Two orders are tried for each size. Either a tile of the map stays while filters pass by, so that weights are read
    again for every tile of the map; or filters stay while the map passes by, so that activations are read again for
    every tile of filters. With all input channels in one tile, what stays is read once; else partial sums stay, and
    both are read again.

    Raises:
        CannotFit: not even the smallest tile fits.
    """
    pixels, lanes_in, lanes_out = array.lanes
    axes = (
        _sizes(loop.height), _sizes(loop.width),
        [lanes_in * one for one in _sizes(ceil_div(loop.channels, lanes_in))],
        [lanes_out * one for one in _sizes(ceil_div(loop.filters, lanes_out))],
    )  # fmt: skip
    rows, columns, channels, filters = np.meshgrid(*map(np.array, axes), indexing="ij", sparse=True)
    of_rows, of_columns, of_channels, of_filters = (
        ceil_div(whole, part)
        for whole, part in zip(
            (loop.height, loop.width, loop.channels, loop.filters), (rows, columns, channels, filters), strict=True
        )
    )
    maps, window = of_rows * of_columns, loop.kernel[0] * loop.kernel[1]
    stored = loop.density if array.weights == "compressed" else 1.0
    activation, weight = array.activation_bits / 8, array.weight_bits / 8
    seen = ((rows - 1) * loop.stride[0] + loop.reach[0]) * ((columns - 1) * loop.stride[1] + loop.reach[1])
    image, kernels = seen * channels * activation, channels * filters * window * weight * stored
    results = rows * columns * filters * np.where(of_channels > 1, array.accumulator_bits / 8, activation)
    fits = 2 * image + 2 * results + kernels <= array.core_kb * _CORE
    if not fits.any():
        raise CannotFit(f"a core's {array.core_kb} KB hold no tile of the layer")
    rounds = maps * of_channels * of_filters
    padded = ceil_div(columns, pixels) * pixels
    compute = rounds * (rows * padded * channels * filters * window * loop.density / array.macs)
    load, kernel_load = image / array.stream_bytes, kernels / array.stream_bytes
    store = maps * of_filters * (rows * columns * filters * activation / array.stream_bytes)
    whole = of_channels == 1
    best: Tiling | None = None
    for loads, weight_loads in (
        (np.where(whole, maps, rounds), np.where(whole & (of_filters == 1), 1, rounds)),
        (np.where(whole & (maps == 1), 1, rounds), np.where(whole, of_filters, rounds)),
    ):
        loading, weighing = loads * load, weight_loads * kernel_load
        cycles = np.maximum(np.maximum(compute, loading), store) + weighing
        cycles, compute_, loading, weighing, store_ = np.broadcast_arrays(
            np.where(fits, cycles, np.inf), compute, loading, weighing, store
        )
        place = np.unravel_index(int(np.argmin(cycles)), cycles.shape)
        if best is None or cycles[place] < best.cycles:
            spent, loaded, stored_, weighed = (float(one[place]) for one in (compute_, loading, store_, weighing))
            tile = [axis[index] for axis, index in zip(axes, place, strict=True)]
            moved = (loaded + stored_ + weighed) * array.stream_bytes
            best = Tiling(tile[0], tile[1], tile[2], tile[3], spent, loaded, stored_, weighed, moved)
    assert best is not None
    return best


def _sizes(count: int) -> list[int]:
    """The tile sizes along one dimension that are worth a look."""
    folds = useful_folds(count)
    return folds if len(folds) <= 20 else spaced(folds, _RATIO)
