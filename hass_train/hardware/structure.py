"""Where a pattern leaves a layer's zeros: what hardware may rely on before it sees an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which blocks of a weight matrix hold anything.

    Args:
        size: output channels × input channels of a block, with the full kernel; edge blocks hold fewer.
        live: for each convolution group a row of blocks after the other, as text: `1` = something is in it, `0` = all
            of its weights are zero.
        groups: convolution groups.

    Raises:
        ValueError: a size below 1, rows of different lengths or other signs than 0 and 1, or groups that do not divide
            the rows.
    """

    size: tuple[int, int]
    live: tuple[str, ...]
    groups: int = 1

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"blocks of {self.size[0]}×{self.size[1]} do not exist; sizes must be ≥ 1")
        if not self.live or len({len(row) for row in self.live}) > 1 or not self.live[0]:
            raise ValueError("rows of blocks must be there and equally long")
        if strange := set("".join(self.live)) - {"0", "1"}:
            raise ValueError(f"rows of blocks hold {min(strange)!r}; 0 and 1 are wanted")
        if self.groups < 1 or len(self.live) % self.groups:
            raise ValueError(f"{len(self.live)} rows of blocks are no {self.groups} groups")

    @property
    def density(self) -> float:
        """Fraction of blocks that hold anything."""
        return sum(row.count("1") for row in self.live) / (len(self.live) * len(self.live[0]))


@dataclass(frozen=True, slots=True)
class Structure:
    """What a pattern promises of a layer's weights; None or empty = nothing.

    Args:
        nm: (n, m): of m consecutive input channels at most n weights are not zero, at every kernel position.
        block: (output, input channels): zeros come in whole blocks of this size, no one knows which; their fraction is
            1 − weight density.
        blocks: which blocks hold anything.
        filters: zeros come in whole output channels, whose results are zero too.
        dead_filters: which ones, ascending.

    Raises:
        ValueError: n > m or n < 1, a block size below 1, or a negative filter.
    """

    nm: tuple[int, int] | None = None
    block: tuple[int, int] | None = None
    blocks: Blocks | None = None
    filters: bool = False
    dead_filters: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.block is not None and min(self.block) < 1:
            raise ValueError(f"blocks of {self.block[0]}×{self.block[1]} do not exist; sizes must be ≥ 1")
        if self.nm is not None and not 1 <= self.nm[0] <= self.nm[1]:
            raise ValueError(f"{self.nm[0]}:{self.nm[1]} is no N:M pattern; 1 ≤ N ≤ M is wanted")
        if any(index < 0 for index in self.dead_filters):
            raise ValueError("dead filters have negative numbers")

    def most(self, channels: int, window: int) -> int:
        """Largest number of weights that are not zero in the window of so many consecutive input channels, the first
        one a multiple of m.

        Args:
            channels: bundled.
            window: kernel positions.
        """
        if self.nm is None:
            return channels * window
        n, m = self.nm
        return (channels // m * n + min(channels % m, n)) * window

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        blocks = self.blocks
        return {
            "nm": list(self.nm) if self.nm else None,
            "block": list(self.block) if self.block else None,
            "blocks": {"size": list(blocks.size), "live": list(blocks.live), "groups": blocks.groups}
            if blocks
            else None,
            "filters": self.filters,
            "dead_filters": list(self.dead_filters),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Structure:
        """The inverse of `to_dict`.

        Raises:
            ValueError: anything else; one line.
        """
        try:
            blocks, nm, block = data["blocks"], data["nm"], data["block"]
            found = blocks and Blocks(_pair(blocks["size"]), tuple(map(str, blocks["live"])), int(blocks["groups"]))
            dead = tuple(int(one) for one in data["dead_filters"])
            return cls(_pair(nm) if nm else None, _pair(block) if block else None, found, bool(data["filters"]), dead)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"structure is no object of nm, block, blocks and dead_filters ({error})") from error


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return int(first), int(second)
