"""How compute engines side by side depend on each other: those that share activations or weights meet similar zeros."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div

Floats = NDArray[np.float64]
Counts = tuple[tuple[int, ...], ...]

LEVELS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.999)
"""The quantiles at which dependence is measured."""
_AXES = ("bundles", "columns", "channels", "filters")


@dataclass(frozen=True)
class Lanes:
    """How many independent compute engines some engines side by side amount to, measured on real windows.

    L = `columns` × `channels` × `filters` engines of `bundles` channels each compute at once. All of them have at most
    x non-zero pairs with probability F(x)^k, where F is the layer's distribution and k the number of independent
    engines that they amount to at the quantile F(x): 1 if they are always alike, L if they are independent. (u^k is
    the diagonal section of their copula.) Filters share activations, neighbouring pixels are alike, and channels are
    zero together, all the more so the more extreme a window is: that is why k depends on the quantile.

    Args:
        bundles: channels of an engine, ascending grid points.
        columns, channels, filters: engines side by side, ascending grid points from 1.
        independent: (bundles, columns, channels, filters, levels) k as nested tuples, the last axis over `LEVELS`.
        lasting: (bundles,) the share of the variance of non-zero pairs that lies between kernels, whatever the pixel.
            An engine that always takes the same kernels is always slow or fast.
        fullest: (M + 1, rows) of some windows of a single channel, M positions each, how many have 0 … M non-zeros and
            no lane with more than x of them, for each number of lanes N = 1 … M and each x = 1 … ⌈M/N⌉, laid end to
            end. Multiplier j of N has the positions k with k mod N = j; neighbours tend to be zero
            together, which share a lane or not by N. Empty = unknown, zeros lie anywhere.

    Raises:
        ValueError: a shape is wrong, a grid does not ascend, or a number is out of range.
    """

    bundles: tuple[int, ...]
    columns: tuple[int, ...]
    channels: tuple[int, ...]
    filters: tuple[int, ...]
    independent: Any
    lasting: tuple[float, ...]
    fullest: Counts = ()

    def __post_init__(self) -> None:
        for name in _AXES:
            axis = getattr(self, name)
            if not axis or axis[0] < 1 or (axis[0] > 1 and name != "bundles") or list(axis) != sorted(set(axis)):
                raise ValueError(f"{name} of lanes are {axis}; they must ascend from 1")
        sizes = (*(len(getattr(self, name)) for name in _AXES), len(LEVELS))
        try:
            shape: tuple[int, ...] = np.shape(self.independent)
        except ValueError:
            shape = ()
        if shape != sizes:
            raise ValueError(f"independent lanes have the shape {shape}, not {sizes}")
        if not np.isfinite(self.independent).all() or np.min(self.independent) < 1:
            raise ValueError("independent lanes must be numbers ≥ 1")
        if len(self.lasting) != len(self.bundles) or not all(0 <= share <= 1 for share in self.lasting):
            raise ValueError(f"lasting shares of lanes are {self.lasting}; they must be {sizes[0]} numbers in [0, 1]")
        positions = len(self.fullest) - 1
        rows = sum(ceil_div(positions, lanes) for lanes in range(1, positions + 1))
        if any(len(one) != rows or min(one) < 0 for one in self.fullest):
            raise ValueError(
                f"fullest lanes of {positions} positions must be {rows} counts ≥ 0 for each number of non-zeros"
            )

    @classmethod
    def unknown(cls, columns: int, channels: int, filters: int) -> Lanes:
        """Independent engines, for a layer of which nothing was measured, up to the given numbers side by side."""
        return _unknown(columns, channels, filters)

    def lasting_of(self, bundle: int) -> float:
        """The share of the variance that lies between kernels, at one bundle size."""
        return float(interpolation(self.bundles, np.array([bundle]))[0] @ np.asarray(self.lasting))

    @cached_property
    def logs(self) -> Floats:
        """(bundles, columns, channels, filters, levels) log k."""
        return np.log(np.asarray(self.independent, float))

    def to_dict(self) -> dict[str, Any]:
        """The lanes as plain JSON data."""
        axes = {name: list(getattr(self, name)) for name in _AXES}
        independent = np.asarray(self.independent, float).tolist()
        fullest = [list(one) for one in self.fullest]
        return {**axes, "independent": independent, "lasting": list(self.lasting), "fullest": fullest}

    @classmethod
    def from_dict(cls, data: Any) -> Lanes:
        """The inverse of `to_dict`.

        Raises:
            ValueError: the data are something else; one line.
        """
        try:
            axes = [tuple(int(value) for value in data[name]) for name in _AXES]
            independent = nested(np.asarray(data["independent"], float))
            lasting = tuple(float(value) for value in data["lasting"])
            fullest = tuple(tuple(int(count) for count in one) for one in data.get("fullest", ()))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"lanes must hold {', '.join(_AXES)}, independent and lasting, and may hold fullest: lists of numbers"
            ) from error
        return cls(axes[0], axes[1], axes[2], axes[3], independent, lasting, fullest)


@lru_cache(maxsize=256)
def _unknown(columns: int, channels: int, filters: int) -> Lanes:
    """See `Lanes.unknown`."""
    sizes = ((columns, 2), (channels, 4), (filters, 4))
    axes = [sorted({*grid(size, ratio), size}) for size, ratio in sizes]  # beyond their ends nothing would grow
    product = np.multiply.outer(np.multiply.outer(axes[0], axes[1]), axes[2]).astype(float)
    table = nested(np.repeat(product[None, ..., None], len(LEVELS), axis=-1))
    return Lanes((1,), tuple(axes[0]), tuple(axes[1]), tuple(axes[2]), table, (0.0,))


def grid(size: int, ratio: int = 4) -> list[int]:
    """The grid points 1, 4, 16, … (or powers of another ratio) up to a size."""
    points = [1]
    while points[-1] * ratio <= size:
        points.append(points[-1] * ratio)
    return points


def nested(values: Floats) -> Any:
    """The array as nested tuples, which are hashable."""
    return _tuples(values.tolist())


def _tuples(values: Any) -> Any:
    return tuple(_tuples(value) for value in values) if isinstance(values, list) else values


def axis_place(axis: tuple[int, ...], at: NDArray[np.int64] | Floats) -> Floats:
    """(points,) places among the grid points of an axis, by its logarithm; constant beyond its ends."""
    points = np.log2(np.asarray(axis, float))
    return np.interp(np.log2(at), points, np.arange(len(axis), dtype=float))


def interpolation(axis: tuple[int, ...], at: NDArray[np.int64]) -> Floats:
    """(points, grid) weights that interpolate linearly over the logarithm of an axis, constant beyond its ends."""
    return _interpolation(axis, at.tobytes())


@lru_cache(maxsize=4096)
def _interpolation(axis: tuple[int, ...], at: bytes) -> Floats:
    """`interpolation` at points given as the bytes of an array, which are hashable."""
    place = axis_place(axis, np.frombuffer(at, np.int64))
    below = np.minimum(place.astype(np.int64), max(len(axis) - 2, 0))
    weights = np.zeros((len(place), len(axis)))
    rows = np.arange(len(place))
    weights[rows, below] = 1 - (place - below)
    if len(axis) > 1:
        weights[rows, below + 1] = place - below
    weights.flags.writeable = False
    return weights
