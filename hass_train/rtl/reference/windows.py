"""Modules that cut maps into windows: padding and the sliding window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from hass_train.hardware.dataflow.costs.modules import windows as costs
from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.rtl.module import Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range


def _map(words: Ints, height: int, groups: int, depth: int, pixels: int) -> Ints:
    """The (frames, height, columns, channels) map that words hold, surplus columns included."""
    split = words.reshape(-1, height, groups, depth, pixels, words.shape[1] // pixels)
    return split.transpose(0, 1, 2, 4, 3, 5).reshape(len(split), height, groups * pixels, -1)


def _words(values: Ints, depth: int, pixels: int) -> Ints:
    """The (words, values) of a (frames, height, columns, channels) map; columns are a multiple of `pixels`."""
    frames, height, columns, channels = values.shape
    split = values.reshape(frames, height, columns // pixels, pixels, depth, channels // depth)
    return split.transpose(0, 1, 2, 4, 3, 5).reshape(-1, pixels * channels // depth)


def any_values(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> Ints:
    """Random bit patterns as two's-complement values; the extremes are frequent."""
    low, high = signed_range(bits)
    extremes = rng.choice(np.array([low, high]), shape)
    return np.where(rng.random(shape) < 0.1, extremes, rng.integers(low, high, shape, endpoint=True))


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(costs.SlidingWindow, Module):
    """The windows of a kernel on a map that is padded below and on the right."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams * self.pixels, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.columns * self.streams * self.kernel_height * self.kernel_width, self.bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        down, across = self.windows
        across = -(-across // self.columns) * self.columns  # those beyond the last see zeros beyond the map
        beyond = max((across - 1) * self.stride_width + self.reach[1] - self.left - self.width, 0)
        values = _map(words["in"], self.height, self.groups, self.depth, self.pixels)[:, :, : self.width]
        seen = ((0, 0), (self.top, 0), (self.left, 0), (0, 0))
        values = np.pad(values, seen, constant_values=self.value)
        values = np.pad(values, ((0, 0), (0, 0), (0, beyond), (0, 0)))
        rows = np.arange(down)[:, None] * self.stride_height + np.arange(self.kernel_height) * self.dilation_height
        columns = np.arange(across)[:, None] * self.stride_width + np.arange(self.kernel_width) * self.dilation_width
        cut = values[:, rows[:, None, :, None], columns[None, :, None, :]]  # frames, down, across, kernel, channels
        cut = cut.transpose(0, 1, 2, 5, 3, 4).reshape(len(values), down, across, -1)
        return {"out": _words(cut, self.depth, self.columns)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        frame = map_words(self.height, self.width, self.pixels, self.depth)
        return len(words["in"]) // frame * frame

    @property
    def latency(self) -> int:
        """One, less the words of a frame that come after the one that completes its last window."""
        (down, across), (first_row, first) = self.windows, self.first
        row = first_row + (down - 1) * self.stride_height
        if self.pixels == 1:
            column = first + (across - 1) * self.stride_width
        else:
            column = first + -(-across // self.columns) - 1
        read = (row * self.groups + column + 1) * self.depth
        return 1 + read - map_words(self.height, self.width, self.pixels, self.depth)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        pixels = int(rng.choice([1, 1, 2, 4]))
        kernel = rng.choice([1, 2, 3, 3, 3, 4, 5, 7], 2)
        dilation = rng.choice([1, 1, 2], 2)
        reach = (kernel - 1) * dilation + 1
        before = rng.integers(reach) * rng.integers(2, size=2)
        size = reach - before + rng.choice([0, 1, 2, 3, 5, 8], 2)
        if rng.random() < 0.2:
            size[1] += 60
        bits = int(rng.choice([1, 4, 8, 16]))
        return cls(
            streams=int(rng.integers(1, 4)), pixels=pixels, bits=bits,
            depth=int(rng.choice([1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 5, 64])) if pixels == 1 else 1,
            height=int(size[0]), width=int(size[1]), kernel_height=int(kernel[0]), kernel_width=int(kernel[1]),
            stride_height=int(rng.integers(1, 3)), stride_width=int(rng.integers(1, 3)),
            dilation_height=int(dilation[0]), dilation_width=int(dilation[1]), top=int(before[0]), left=int(before[1]),
            value=int(rng.integers(1 << bits)) * int(rng.integers(2)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        frame = map_words(self.height, self.width, self.pixels, self.depth)
        frames = max(2, -(-words // frame))
        return {"in": any_values(rng, self.bits, (frames * frame, self.streams * self.pixels))}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        kernel = int(rng.choice([2, 3, 3, 3, 3, 5, 7]))
        stride = int(rng.choice([1, 1, 2]))
        dilation = int(rng.choice([1, 1, 1, 1, 2])) if stride == 1 else 1
        pixels = int(rng.choice([1, 1, 1, 2, 4])) if kernel < 5 else 1
        reach = (kernel - 1) * dilation + 1
        before = (reach - 1) // 2 * int(rng.integers(4) > 0)  # most maps are padded on all sides
        size = int(rng.choice([7, 8, 14, 16, 28, 32, 56, 64, 112, 224])) + reach - stride - before
        streams = int(rng.choice([1, 2, 3, 4, 6, 8, 12, 16, 24, 32]))
        return cls(
            streams=max(1, streams // (pixels * (1 if kernel < 4 else 4))), pixels=pixels,
            bits=int(rng.choice([4, 6, 8, 8, 16])),
            depth=int(rng.choice([1, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64])) if pixels == 1 else 1,
            height=size, width=size, kernel_height=kernel, kernel_width=kernel,
            stride_height=stride, stride_width=stride, dilation_height=dilation, dilation_width=dilation, top=before,
            left=before, value=0,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Padding(costs.Padding, Module):
    """A map surrounded by constant rows and columns; `value` is the constant's bits."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams * self.pixels, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": self.inputs["in"]}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        groups = -(-self.width // self.pixels)
        values = _map(words["in"], self.height, groups, self.depth, self.pixels)[:, :, : self.width]
        right = self.right + -(self.left + self.width + self.right) % self.pixels
        sides = ((0, 0), (self.top, self.bottom), (self.left, right), (0, 0))
        return {"out": _words(np.pad(values, sides, constant_values=self.value), self.depth, self.pixels)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        frames = len(words["in"]) // map_words(self.height, self.width, self.pixels, self.depth)
        padded = self.top + self.height + self.bottom, self.left + self.width + self.right
        return frames * map_words(*padded, self.pixels, self.depth)

    @property
    def latency(self) -> int:
        return 1

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        pixels, bits = int(rng.choice([1, 1, 2, 3, 4])), int(rng.integers(1, 17))
        top, bottom, left, right = (int(side) for side in rng.choice([0, 0, 1, 1, 2, 3, 5], 4))
        return cls(
            streams=int(rng.integers(1, 4)), pixels=pixels, bits=bits,
            depth=int(rng.integers(1, 6)) if pixels == 1 else 1,
            height=int(rng.integers(1, 8)), width=int(rng.integers(1, 12)),
            top=top, bottom=bottom, left=left, right=right, value=int(rng.integers(1 << bits)) * int(rng.integers(2)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        frame = map_words(self.height, self.width, self.pixels, self.depth)
        return {"in": any_values(rng, self.bits, (max(2, -(-words // frame)) * frame, self.streams * self.pixels))}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        pixels = int(rng.choice([1, 1, 1, 2, 4]))
        size, side = int(rng.choice([7, 8, 14, 16, 28, 32, 56, 64, 112, 224])), int(rng.choice([1, 1, 1, 2, 3]))
        far = side - int(rng.integers(2))
        return cls(
            streams=int(rng.choice([1, 2, 3, 4, 6, 8, 12, 16, 24, 32])), pixels=pixels,
            bits=int(rng.choice([4, 6, 8, 8, 16])),
            depth=int(rng.choice([1, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64])) if pixels == 1 else 1,
            height=size, width=size, top=side, bottom=far, left=side, right=far, value=0,
        )  # fmt: skip
