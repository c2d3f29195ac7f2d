"""Streams of words between modules, and the memories beside them, as numbers and as the text of memory files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stream:
    """A valid/ready stream whose words hold some values side by side, the first in the lowest bits.

    Args:
        values: values in a word.
        bits: bits of a value, at most 62; negative ones are in two's complement.
    """

    values: int
    bits: int

    @property
    def width(self) -> int:
        """The bits of a word."""
        return self.values * self.bits

    def hexadecimal(self, words: Ints) -> str:
        """The (words, values) integers as `$readmemh` reads them: one word a line."""
        digits, mask = -(-self.width // 4), (1 << self.bits) - 1
        lines = []
        for word in np.reshape(words, (-1, self.values)).tolist():
            packed = 0
            for value in reversed(word):
                packed = packed << self.bits | (value & mask)
            lines.append(f"{packed:0{digits}x}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Memory:
    """The content of a memory that a module reads through `ports` addresses of its own.

    Args:
        word: what a row holds.
        ports: rows that are read at once.
        rows: (rows, values) integers.
    """

    word: Stream
    ports: int
    rows: Ints

    @property
    def depth(self) -> int:
        """The number of rows."""
        return len(self.rows)


def signed_range(bits: int) -> tuple[int, int]:
    """The smallest and largest two's-complement integer of some bits."""
    return -(1 << bits - 1), (1 << bits - 1) - 1
