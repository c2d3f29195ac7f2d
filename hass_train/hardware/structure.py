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
        bank: (k, channels) in every filter at most k weights of each bank, the whole kernel of so many consecutive
            input channels, are not zero.
        block: (output, input channels) zeros come in whole blocks of this size. Which ones is not known; their fraction
            is 1 − weight density.
        blocks: the blocks, where it is known which of them are zero.
        filters: whether zeros come in whole filters, whose output channels are then zero too.
        dead_filters: the filters that are zero, ascending.

    Raises:
        ValueError: not 1 ≤ n ≤ m, a size of a block or bank is below 1, groups and banks are both given, or the number
            of a filter is negative.
    """

    nm: tuple[int, int] | None = None
    bank: tuple[int, int] | None = None
    block: tuple[int, int] | None = None
    blocks: Blocks | None = None
    filters: bool = False
    dead_filters: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.block is not None and min(self.block) < 1:
            raise ValueError(f"blocks of {self.block[0]}×{self.block[1]} do not exist; sizes must be ≥ 1")
        if self.nm is not None and not 1 <= self.nm[0] <= self.nm[1]:
            raise ValueError(f"{self.nm[0]}:{self.nm[1]} is no N:M pattern; 1 ≤ N ≤ M is wanted")
        if self.bank is not None and min(self.bank) < 1:
            raise ValueError(f"a bank of {self.bank[1]} channels with {self.bank[0]} weights does not exist")
        if self.nm is not None and self.bank is not None:
            raise ValueError("a pattern has N:M groups or banks, not both")
        if any(index < 0 for index in self.dead_filters):
            raise ValueError("dead filters have negative numbers")

    @property
    def bounded(self) -> int | None:
        """The number of consecutive input channels, an N:M group or a bank, whose weights are bounded; None = none."""
        bound = self.nm or self.bank
        return bound[1] if bound else None

    def holds_whole(self, bundle: int, channels: int | None = None) -> bool:
        """Whether a bundle of input channels is made of whole groups or banks, so that their bound holds for it.

        Args:
            bundle: number of channels, of which the first begins a group or bank.
            channels: those of a filter; all of them hold whole groups even if the last one is smaller.
        """
        return self.bounded is not None and (bundle % self.bounded == 0 or bundle == channels)

    def most(self, channels: int, window: int) -> int:
        """The most weights of a filter that are not zero in a window of consecutive input channels.

        Args:
            channels: number of channels, of which the first begins a group or bank.
            window: number of kernel positions.
        """
        if self.nm is not None:
            n, m = self.nm
            return (channels // m * n + min(channels % m, n)) * window
        if self.bank is not None:
            k, size = self.bank
            return channels // size * min(k, size * window) + min(channels % size * window, k)
        return channels * window

    def to_dict(self) -> dict[str, Any]:
        """The structure as plain JSON data."""
        blocks = self.blocks
        return {
            "nm": list(self.nm) if self.nm else None,
            "bank": list(self.bank) if self.bank else None,
            "block": list(self.block) if self.block else None,
            "blocks": {"size": list(blocks.size), "live": list(blocks.live), "groups": blocks.groups}
            if blocks
            else None,
            "filters": self.filters,
            "dead_filters": list(self.dead_filters),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Structure:
        """The inverse of `to_dict`; structures written before there were banks have none.

        Raises:
            ValueError: the data are something else; one line.
        """
        try:
            blocks = data["blocks"]
            found = blocks and Blocks(_pair(blocks["size"]), tuple(map(str, blocks["live"])), int(blocks["groups"]))
            dead = tuple(int(one) for one in data["dead_filters"])
            nm, bank, block = (_pair(one) if one else None for one in (data["nm"], data.get("bank"), data["block"]))
            return cls(nm, bank, block, found, bool(data["filters"]), dead)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"structure is no object of nm, bank, block, blocks and dead_filters ({error})") from error


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return int(first), int(second)
