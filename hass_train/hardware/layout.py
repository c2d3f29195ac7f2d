"""Which axes of a tensor are pixels (or tokens) and which are channels, followed through reshapes and permutations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hass_train.hardware.workload import FeatureMap

PIXEL, CHANNEL = "pixel", "channel"

Axis = tuple[tuple[int, str], ...]
"""The factors of an axis, (size, role), outermost first. A merged axis has several, a batch of one has none."""
Layout = tuple[Axis, ...]
Shape = Sequence[int]


class MixedAxis(ValueError):
    """Pixels and channels would share an axis in a way that cannot be followed."""


def image_layout(shape: Shape) -> Layout:
    """The layout of a (1, channels, height, width) tensor."""
    _, channels, height, width = shape
    return ((), ((channels, CHANNEL),), ((height, PIXEL),), ((width, PIXEL),))


def channels_last(shape: Shape, channel_axes: int = 1) -> Layout:
    """The layout of a tensor whose last `channel_axes` axes are channels and whose other axes are pixels."""
    roles = [PIXEL] * (len(shape) - channel_axes) + [CHANNEL] * channel_axes
    axes: list[Axis] = [((size, role),) for size, role in zip(shape, roles, strict=True)]
    return (() if shape[0] == 1 and len(shape) > 1 else axes[0], *axes[1:])


def natural(shape: Shape) -> Layout:
    """The layout that a tensor is given where its own cannot be followed: one image's, or channels last."""
    return image_layout(shape) if len(shape) == 4 and shape[0] == 1 else channels_last(shape)


def reordered(layout: Layout, wanted: Layout) -> int:
    """How many words must be kept so that a tensor can be read in another layout; 0 where words come in that order.

    Words come pixel by pixel, the channels of each together. Pixels' order among themselves is not followed: windows
    and rolled maps are taken as they come. Inner channels of a pixel may be read as channels of smaller pixels, and
    inner pixels as channels of larger ones, without waiting. Else whole parts are kept, those of the outer axes that
    are pixels in both layouts.

    Args:
        layout, wanted: layouts of the same shape.
    """
    sizes = [math.prod(size for size, _ in axis) for axis in layout]
    places = [place for place, size in enumerate(sizes) if size > 1]
    own, other = ([place for place in places if is_all(one[place], CHANNEL)] for one in (layout, wanted))
    if layout == wanted or len(other) == len(places):  # all words of an only pixel are there before it is read
        return 0
    pixels = [place for place in places if is_all(layout[place], PIXEL)]
    if len(own) + len(pixels) == len(places):
        inner, outer = sorted({*other} - {*own}), sorted({*own} - {*other})
        joined = not outer and inner == pixels[len(pixels) - len(inner) :] and (not own or inner[-1:] < own[:1])
        if joined or (not inner and outer == own[: len(outer)]):
            return 0
    words = math.prod(sizes)
    for place in places:
        if place not in own:
            if place not in pixels or place in other:
                break
            words //= sizes[place]
    return words


def reordered_reshape(layout: Layout, new: Layout) -> int:
    """How many words must be kept for a reshape after which pixels and channels are others.

    Args:
        layout, new: layouts of the same words. Outer pixels that are equal in both are parts that words do not leave.
    """
    words = math.prod(size for axis in layout for size, _ in axis)
    for (one, role), (two, other) in zip(_factors(layout), _factors(new), strict=False):
        if role == CHANNEL or other == CHANNEL:
            break
        words //= math.gcd(one, two)
        if one != two:
            break
    return words


def _factors(layout: Layout) -> list[tuple[int, str]]:
    """The factors of all axes, outermost first, neighbours of one role as one."""
    found: list[tuple[int, str]] = []
    for size, role in (factor for axis in layout for factor in axis if factor[0] > 1):
        found.append((found.pop()[0] * size, role) if found and found[-1][1] == role else (size, role))
    return found


def size_of(axis: Axis, role: str) -> int:
    """The product of an axis's factors of one role."""
    return math.prod(size for size, of in axis if of == role)


def is_all(axis: Axis, role: str) -> bool:
    """Whether an axis has factors of one role only."""
    return all(of == role or size == 1 for size, of in axis)


def feature_map(layout: Layout) -> FeatureMap:
    """The feature map that a tensor holds: H×W pixels if it has two neighbouring axes of pixels, else 1×T."""
    if len(layout) == 2 and not layout[0]:  # flattened: what was a pixel is now one more channel
        return FeatureMap(1, 1, math.prod(size for size, _ in layout[1]))
    pixels, channels = (math.prod(size_of(axis, role) for axis in layout) for role in (PIXEL, CHANNEL))
    rows = [place for place, axis in enumerate(layout) if axis and all(role == PIXEL for _, role in axis)]
    if len(rows) == 2 and rows[0] + 1 == rows[1] and rows[0] > 0:
        height, width = (size_of(layout[place], PIXEL) for place in rows)
        if height * width == pixels:
            return FeatureMap(height, width, channels)
    return FeatureMap(1, pixels, channels)


def reshaped(layout: Layout, shape: Shape) -> Layout:
    """The layout after a reshape to `shape`.

    Raises:
        MixedAxis: an axis of the new shape would hold a part of the pixels or channels that does not divide them.
    """
    if tuple(math.prod(size for size, _ in axis) for axis in layout) == tuple(shape):
        return layout
    left = _factors(layout)  # neighbours of one role are one factor: no size of theirs is then a mix
    result: list[Axis] = []
    for size in shape:
        axis: list[tuple[int, str]] = []
        while size > 1:
            inner, role = left.pop(0)
            outer = math.gcd(inner, size)
            if outer not in (inner, size):
                raise MixedAxis(f"a reshape to {'×'.join(map(str, shape))} mixes pixels and channels")
            if outer < inner:
                left.insert(0, (inner // outer, role))
            axis.append((outer, role))
            size //= outer
        result.append(tuple(axis))
    return tuple(result)


def resized(layout: Layout, shape: Shape) -> Layout:
    """The layout after axes were cut, padded or repeated to a shape of the same rank; repeats of a batch are pixels.

    Raises:
        MixedAxis: a resized axis holds both pixels and channels.
    """
    axes = []
    for axis, size in zip(layout, shape, strict=True):
        if math.prod(factor for factor, _ in axis) == size:
            axes.append(axis)
            continue
        roles = {role for _, role in axis} or {PIXEL}
        if len(roles) > 1:
            raise MixedAxis("an axis that holds both pixels and channels is cut")
        axes.append(((size, roles.pop()),))
    return tuple(axes)


def broadcast(layouts: Sequence[Layout], shape: Shape) -> Layout:
    """The layout of an elementwise result: each axis is laid out as in the first operand that has it in full."""
    axes: list[Axis] = []
    for place, size in enumerate(shape, start=-len(shape)):
        full = [
            layout[place]
            for layout in layouts
            if -place <= len(layout) and math.prod(factor for factor, _ in layout[place]) == size
        ]
        axes.append(full[0] if full else ((size, PIXEL),) if size > 1 else ())
    return tuple(axes)
