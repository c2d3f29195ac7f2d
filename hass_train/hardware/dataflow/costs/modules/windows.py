"""Modules that cut maps into windows: padding and the sliding window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.memory import BRAM18_CLASSES, in_lutram
from hass_train.hardware.dataflow.costs.modules.memories import address_bits, lutram
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters


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
        if family == "ecp5":
            return lutram(self.width, self.depth, family)
        words = max(32, 1 << (self.depth - 1).bit_length())  # four LUTs are 8 bits × 32 words, 4 × 64, 2 × 128, 1 × 256
        return 4 * ceil_div(self.width * words, 256)

    @property
    def flip_flops(self) -> int:
        if self.in_block_ram:
            return address_bits(self.depth) + (self.shape[1] - 1).bit_length()
        return self.width * self.depth if self.depth <= 2 else 0


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(ModuleParameters):
    """The windows of a kernel on a map that is padded below and on the right.

    Args:
        streams, pixels: channels and columns in a word.
        bits: of a value.
        depth: words of a group of columns.
        height, width: of the map, with what pads it below and on its right.
        kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width: of the windows.
        top, left: rows above the map and columns beside it that windows see, though nobody streams them in.
        value: the bits of what they see there.
    """

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
    top: int
    left: int
    value: int

    def least(self, parameter: str) -> int:
        return 0 if parameter in ("TOP", "LEFT", "VALUE") else 1

    def check(self) -> None:
        if self.pixels not in (1, 2, 4):
            raise self.refused("PIXELS", "it must be 1, 2 or 4")
        if self.value >= 1 << self.bits:
            raise self.refused("VALUE", f"it must have at most BITS={self.bits} bits")
        if self.pixels > 1 and self.depth > 1:
            raise self.refused("DEPTH", f"it must be 1 if PIXELS={self.pixels} is more than 1")
        for parameter, value in self.parameters.items():
            if parameter.startswith(("STRIDE", "DILATION")) and value > 2:
                raise self.refused(parameter, "it must be 1 or 2")
        for size, before, reach in (("height", "top", self.reach[0]), ("width", "left", self.reach[1])):
            seen = getattr(self, before)
            if seen >= reach:
                raise self.refused(before.upper(), f"it must be less than {reach}, which the kernel reaches over")
            if reach > seen + getattr(self, size):
                least = reach - seen
                raise self.refused(size.upper(), f"it must be at least {least}, which the kernel reaches over")

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
        return (
            (self.top + self.height - rows) // self.stride_height + 1,
            (self.left + self.width - columns) // self.stride_width + 1,
        )

    @property
    def groups(self) -> int:
        """Groups of columns in a row."""
        return -(-self.width // self.pixels)

    @property
    def columns(self) -> int:
        """Windows side by side in a word."""
        return -(-self.pixels // self.stride_width)

    @property
    def first(self) -> tuple[int, int]:
        """The row, and the group of columns in it, that complete the first word of windows."""
        column = self.stride_width * (self.columns - 1) + self.reach[1] - 1 - self.left
        return self.reach[0] - 1 - self.top, column // self.pixels

    @property
    def before(self) -> int:
        """Groups of columns that a word of windows sees beside the one that completes it."""
        return self.first[1] + -(-self.left // self.pixels)

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
        first = self.first[1]
        across = -(-self.windows[1] // self.columns) + first  # beyond the row, if it has a tail
        lanes = dict.fromkeys(range(self.pixels), 0)  # the words that its registers hold
        masked = set()  # lanes of the newest word that a tail must not see
        for window in range(self.columns):
            for column in range(self.kernel_width):
                place = window * self.stride_width + column * self.dilation_width - self.left - first * self.pixels
                lane = place % self.pixels
                lanes[lane] = max(lanes[lane], 1 - place // self.pixels)
                if across > self.groups and place >= 0:
                    masked.add(lane)
        return self.kernel_height * (sum(lanes.values()) + len(masked))

    @property
    def merged(self) -> int:
        """Values of a channel that synthesis keeps once, where a line is registers that take what a window's take."""
        if self.delays[0].depth > 2:
            return 0
        alike = sum(k * self.dilation_height <= self.first[0] for k in range(self.kernel_height - 1))
        return alike * (self.width - (self.groups - 1) * self.pixels)

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

    @property
    def edges(self) -> int:
        """Kernel rows and columns, or groups of them in registers, that take `value` instead of what is there."""
        rows, columns = self.first
        above = sum(k * self.dilation_height > rows for k in range(self.kernel_height))
        if not self.delays[1].width:
            return above + (self.left > 0)
        return above + sum(k * self.dilation_width > columns for k in range(self.kernel_width))

    def lut_terms(self, family: Family) -> dict[str, float]:
        return {
            "memory": sum(delay.luts(family) for delay in self.delays), **self.counters, "edges": self.edges,
            "strides": (self.stride_height > 1) + (self.stride_width > 1), "fixed": 1,
        }  # fmt: skip

    def ff_terms(self, family: Family) -> dict[str, float]:
        return {
            "values": self.streams * self.bits * (self.registered - self.merged)
            + sum(delay.flip_flops for delay in self.delays),
            "counters": sum(self.counters.values()), "fixed": 1,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Padding(ModuleParameters):
    """A map surrounded by constant rows and columns; `value` is the constant's bits."""

    name: ClassVar[str] = "padding"
    vectorised: ClassVar[bool] = True
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
