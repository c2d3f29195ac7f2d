"""The structure of a layer's zero weights: what hardware may rely on before it sees an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a weight matrix, and which of them hold a non-zero weight.

    Args:
        size: output channels × input channels of a block, with the full kernel; blocks at the edges hold fewer.
        live: one text for each row of blocks, group after group: `1` = the block holds a non-zero weight, `0` = all of
            its weights are zero.
        groups: convolution groups.

    Raises:
        ValueError: a size is below 1, rows differ in length or hold other characters than 0 and 1, or the number of
            rows is no multiple of the groups.
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
        """The fraction of blocks that hold a non-zero weight."""
        return sum(row.count("1") for row in self.live) / (len(self.live) * len(self.live[0]))


@dataclass(frozen=True, slots=True)
class Structure:
    """What a pattern promises about a layer's weights; None or empty = nothing.

    Args:
        nm: (n, m) at every kernel position at most n weights of m consecutive input channels are not zero.
        block: (output, input channels) zeros come in whole blocks of this size. Which ones is not known; their fraction
            is 1 − weight density.
        blocks: the blocks, where it is known which of them are zero.
        filters: whether zeros come in whole filters, whose output channels are then zero too.
        dead_filters: the filters that are zero, ascending.

    Raises:
        ValueError: not 1 ≤ n ≤ m, a block size is below 1, or the number of a filter is negative.
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
        """The most weights that are not zero in a window of consecutive input channels, the first one a multiple of m.

        Args:
            channels: number of channels.
            window: number of kernel positions.
        """
        if self.nm is None:
            return channels * window
        n, m = self.nm
        return (channels // m * n + min(channels % m, n)) * window

    def to_dict(self) -> dict[str, Any]:
        """The structure as plain JSON data."""
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
            ValueError: the data are something else; one line.
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
