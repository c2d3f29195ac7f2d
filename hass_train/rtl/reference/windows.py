"""Modules that see more than one place of a map: padding, sliding windows, and pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.rtl.module import Family, Module, Words
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


def _any(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> Ints:
    """Random bit patterns as two's-complement values; the extremes are frequent."""
    low, high = signed_range(bits)
    extremes = rng.choice(np.array([low, high]), shape)
    return np.where(rng.random(shape) < 0.1, extremes, rng.integers(low, high, shape, endpoint=True))


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Module):
    """The windows of a kernel on a map that is padded already."""

    name: ClassVar[str] = "sliding_window"
    block_ram: ClassVar[bool] = True
    streams: int
    pixels: int
    bits: int
    depth: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int

    def check(self) -> None:
        if self.pixels not in (1, 2, 4):
            raise self.refused("PIXELS", "it must be 1, 2 or 4")
        if self.pixels > 1 and self.depth > 1:
            raise self.refused("DEPTH", f"it must be 1 if PIXELS={self.pixels} is more than 1")
        for parameter, value in self.parameters.items():
            if parameter.startswith(("STRIDE", "DILATION")) and value > 2:
                raise self.refused(parameter, "it must be 1 or 2")
        for parameter, (size, reach) in {"HEIGHT": (self.height, self.reach[0]), "WIDTH": (self.width, self.reach[1])}.items():
            if reach > size:
                raise self.refused(parameter, f"it must be at least {reach}, which the kernel reaches over")

    @property
    def reach(self) -> tuple[int, int]:
        """The rows and columns that a window spans."""
        return (
            (self.kernel_height - 1) * self.dilation_height + 1,
            (self.kernel_width - 1) * self.dilation_width + 1,
        )

    @property
    def windows(self) -> tuple[int, int]:
        """Windows down and across a map."""
        rows, columns = self.reach
        return (self.height - rows) // self.stride_height + 1, (self.width - columns) // self.stride_width + 1

    @property
    def groups(self) -> int:
        """Groups of columns in a row."""
        return -(-self.width // self.pixels)

    @property
    def columns(self) -> int:
        """Windows side by side in a word."""
        return -(-self.pixels // self.stride_width)

    @property
    def before(self) -> int:
        """Groups of columns from the first one of a word of windows to the one that completes it."""
        return (self.stride_width * (self.columns - 1) + self.reach[1] - 1) // self.pixels

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.streams * self.pixels, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.columns * self.streams * self.kernel_height * self.kernel_width, self.bits)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        down, across = self.windows
        across = -(-across // self.columns) * self.columns  # those beyond the last see zeros beyond the map
        needed = (across - 1) * self.stride_width + self.reach[1]
        values = _map(words["in"], self.height, self.groups, self.depth, self.pixels)[:, :, : self.width]
        values = np.pad(values, ((0, 0), (0, 0), (0, max(needed - self.width, 0)), (0, 0)))
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
        (down, across), (rows, columns) = self.windows, self.reach
        row = rows - 1 + (down - 1) * self.stride_height
        if self.pixels == 1:
            column = columns - 1 + (across - 1) * self.stride_width
        else:
            column = self.before + -(-across // self.columns) - 1
        read = (row * self.groups + column + 1) * self.depth
        return 1 + read - map_words(self.height, self.width, self.pixels, self.depth)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        pixels = int(rng.choice([1, 1, 2, 4]))
        kernel = rng.choice([1, 2, 3, 3, 3, 4, 5, 7], 2)
        dilation = rng.choice([1, 1, 2], 2)
        reach = (kernel - 1) * dilation + 1
        size = reach + rng.choice([0, 1, 2, 3, 5, 8], 2)
        if rng.random() < 0.2:
            size[1] += 60
        return cls(
            streams=int(rng.integers(1, 4)), pixels=pixels, bits=int(rng.choice([1, 4, 8, 16])),
            depth=int(rng.choice([1, 1, 2, 3, 4, 5, 64], p=[0.2, 0.2, 0.15, 0.2, 0.1, 0.1, 0.05])) if pixels == 1 else 1,
            height=int(size[0]), width=int(size[1]), kernel_height=int(kernel[0]), kernel_width=int(kernel[1]),
            stride_height=int(rng.integers(1, 3)), stride_width=int(rng.integers(1, 3)),
            dilation_height=int(dilation[0]), dilation_width=int(dilation[1]),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        frame = map_words(self.height, self.width, self.pixels, self.depth)
        frames = max(2, -(-words // frame))
        return {"in": _any(rng, self.bits, (frames * frame, self.streams * self.pixels))}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        kernel = int(rng.choice([2, 3, 3, 3, 3, 5, 7]))
        stride = int(rng.choice([1, 1, 2]))
        dilation = int(rng.choice([1, 1, 1, 1, 2])) if stride == 1 else 1
        pixels = int(rng.choice([1, 1, 1, 2, 4])) if kernel < 5 else 1
        size = int(rng.choice([7, 8, 14, 16, 28, 32, 56, 64, 112, 224])) + kernel - stride + (kernel - 1) * (dilation - 1)
        streams = int(rng.choice([1, 2, 3, 4, 6, 8, 12, 16, 24, 32]))
        return cls(
            streams=max(1, streams // (pixels * (1 if kernel < 4 else 4))), pixels=pixels,
            bits=int(rng.choice([4, 6, 8, 8, 16])),
            depth=int(rng.choice([1, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64])) if pixels == 1 else 1,
            height=size, width=size, kernel_height=kernel, kernel_width=kernel,
            stride_height=stride, stride_width=stride, dilation_height=dilation, dilation_width=dilation,
        )  # fmt: skip

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {"fixed": 1}

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {"fixed": 1}
