"""Modules that cut maps into windows: padding and the sliding window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.memory import BRAM18_CLASSES, in_lutram
from hass_train.hardware.dataflow.costs.stream_cycles import map_words
from hass_train.rtl.module import Family, Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream, signed_range
from hass_train.rtl.weights import address_bits


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


@dataclass(frozen=True)
class DelayLines:
    """What the memory of `delay_lines` takes, by the same rules: registers, LUTs, or block RAM from 1024 bits a bank.

    Args:
        width: bits of a row, all delays together.
        depth: words of a delay.
        bits: bits of a value.
    """

    width: int
    depth: int
    bits: int

    @property
    def in_block_ram(self) -> bool:
        return bool(self.width > 0 and self.depth > 2 and not in_lutram(self.bits, self.depth))

    @property
    def shape(self) -> tuple[int, int]:
        """Block RAMs side by side, and banks of them one above the other."""
        shapes = [
            (ceil_div(self.width, wide), ceil_div(self.depth, deep))
            for wide, deep in BRAM18_CLASSES
            if self.depth <= 16 * deep
        ]
        return min(shapes, key=lambda shape: shape[0] * shape[1])  # the deepest come first

    @property
    def block_rams(self) -> int:
        return self.shape[0] * self.shape[1] if self.in_block_ram else 0

    def luts(self, family: Family) -> int:
        """LUTs of memories and of the choice among banks."""
        if self.in_block_ram:
            banks = self.shape[1]
            return self.width * ceil_div(1 << (banks - 1).bit_length(), 4) if banks > 1 else 0
        if self.depth <= 2 or not self.width:
            return 0
        if family == "ecp5":  # of four bits × 16 words
            return 4 * ceil_div(self.width, 4) * ceil_div(self.depth, 16)
        words = max(32, 1 << (self.depth - 1).bit_length())  # four LUTs are 8 bits × 32 words, 4 × 64, 2 × 128, 1 × 256
        return 4 * ceil_div(self.width * words, 256)

    @property
    def flip_flops(self) -> int:
        if self.in_block_ram:
            return address_bits(self.depth) + (self.shape[1] - 1).bit_length()
        return self.width * self.depth if self.depth <= 2 else 0


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
        for parameter, (size, reach) in {
            "HEIGHT": (self.height, self.reach[0]),
            "WIDTH": (self.width, self.reach[1]),
        }.items():
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
            depth=int(rng.choice([1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 5, 64])) if pixels == 1 else 1,
            height=int(size[0]), width=int(size[1]), kernel_height=int(kernel[0]), kernel_width=int(kernel[1]),
            stride_height=int(rng.integers(1, 3)), stride_width=int(rng.integers(1, 3)),
            dilation_height=int(dilation[0]), dilation_width=int(dilation[1]),
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
        size = (
            int(rng.choice([7, 8, 14, 16, 28, 32, 56, 64, 112, 224])) + kernel - stride + (kernel - 1) * (dilation - 1)
        )
        streams = int(rng.choice([1, 2, 3, 4, 6, 8, 12, 16, 24, 32]))
        return cls(
            streams=max(1, streams // (pixels * (1 if kernel < 4 else 4))), pixels=pixels,
            bits=int(rng.choice([4, 6, 8, 8, 16])),
            depth=int(rng.choice([1, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64])) if pixels == 1 else 1,
            height=size, width=size, kernel_height=kernel, kernel_width=kernel,
            stride_height=stride, stride_width=stride, dilation_height=dilation, dilation_width=dilation,
        )  # fmt: skip

    @property
    def delays(self) -> tuple[DelayLines, DelayLines]:
        """The memories of lines and, if they are not registers, of columns."""
        word, length = self.streams * self.pixels * self.bits, self.groups * self.depth
        across = self.dilation_width * self.depth
        columns = self.kernel_height * (self.kernel_width - 1) * word if across > 2 else 0
        return (
            DelayLines((self.kernel_height - 1) * word, self.dilation_height * length, self.bits),
            DelayLines(columns, across, self.bits),
        )

    def block_rams(self, family: Family) -> int:
        return sum(delay.block_rams for delay in self.delays)

    @property
    def registered(self) -> int:
        """Values of a channel in the registers of a window, those that only lead to others included."""
        if self.pixels == 1:
            words = self.kernel_width if self.delays[1].width else self.before * self.depth + 1
            return self.kernel_height * words
        across = -(-self.windows[1] // self.columns) + self.before  # beyond the row, if it has a tail
        lanes = dict.fromkeys(range(self.pixels), 0)  # the words that its registers hold
        masked = set()  # lanes of the newest word that a tail must not see
        for window in range(self.columns):
            for column in range(self.kernel_width):
                place = window * self.stride_width + column * self.dilation_width - self.before * self.pixels
                lane = place % self.pixels
                lanes[lane] = max(lanes[lane], 1 - place // self.pixels)
                if across > self.groups and place >= 0:
                    masked.add(lane)
        return self.kernel_height * (sum(lanes.values()) + len(masked))

    @property
    def counters(self) -> dict[str, float]:
        """Bits of the counters of words and rows; none where nothing is counted."""
        return {
            "positions": address_bits(self.groups * self.depth),
            "rows": address_bits(self.height) if self.reach[0] > 1 or self.stride_height > 1 else 0,
            "passes": address_bits(self.depth)
            if self.depth & (self.depth - 1) and self.dilation_width * self.depth > 2
            else 0,
        }

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {
            "memory": sum(delay.luts(family) for delay in self.delays), **self.counters,
            "strides": (self.stride_height > 1) + (self.stride_width > 1), "fixed": 1,
        }  # fmt: skip

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {
            "values": self.streams * self.bits * self.registered + sum(delay.flip_flops for delay in self.delays),
            "counters": sum(self.counters.values()), "fixed": 1,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Padding(Module):
    """A map surrounded by constant rows and columns; `value` is the constant's bits."""

    name: ClassVar[str] = "padding"
    streams: int
    pixels: int
    bits: int
    depth: int
    height: int
    width: int
    top: int
    bottom: int
    left: int
    right: int
    value: int

    def least(self, parameter: str) -> int:
        return 0 if parameter in ("TOP", "BOTTOM", "LEFT", "RIGHT", "VALUE") else 1

    def check(self) -> None:
        if self.pixels > 1 and self.depth > 1:
            raise self.refused("DEPTH", f"it must be 1 if PIXELS={self.pixels} is more than 1")
        if self.value >= 1 << self.bits:
            raise self.refused("VALUE", f"it must have at most BITS={self.bits} bits")

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

    @property
    def counters(self) -> dict[str, float]:
        """Bits of the counters of words and rows."""
        groups = -(-(self.left + self.width + self.right) // self.pixels)
        return {
            "positions": address_bits(groups * self.depth),
            "rows": address_bits(self.top + self.height + self.bottom),
        }

    def lut_terms(self, family: Family) -> dict[str, float]:
        written = -(-(self.left + self.width + self.right) // self.pixels)
        ends = self.left // self.pixels + -(-self.width // self.pixels) < written  # there is a comparison where it ends
        counters = self.counters
        return {
            **counters, "fixed": 1,
            "compared": counters["positions"] * ends + counters["rows"] * (self.bottom > 0),
        }  # fmt: skip

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {
            "values": self.streams * self.bits * (self.pixels + self.left % self.pixels),
            "counters": sum(self.counters.values()), "fixed": 1,
        }  # fmt: skip
