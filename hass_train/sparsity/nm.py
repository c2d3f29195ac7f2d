"""N:M sparsity: of the weights of M consecutive input channels N are kept (Zhou et al., 2021, SR-STE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hass_train.hardware.structure import Structure
from hass_train.sparsity.group_ranks import GroupRanks


@dataclass(frozen=True)
class NM(GroupRanks):
    """Of every `m` consecutive input channels of a filter, at one kernel position, the `n` largest weights are kept.

    The threshold of a layer chooses one number of weights to keep in all of its groups: m, m − 1, … down to n.

    Args:
        n: least number of weights that a group keeps.
        m: number of weights in a group.
        pull: SR-STE's decay of pruned weights in the search, as in `Grouped`.

    Raises:
        ValueError: not 1 ≤ n < m, or the pull lies outside [0, 1).
    """

    whole_kernel: ClassVar[bool] = False

    n: int = 2
    m: int = 4
    pull: float = 2e-4

    def __post_init__(self) -> None:
        if not 1 <= self.n < self.m:
            raise ValueError(f"n:m is {self.n}:{self.m}; 1 ≤ n < m is wanted, as 2:4")
        super().__post_init__()

    @property
    def least(self) -> int:
        """See `GroupRanks`."""
        return self.n

    def group_channels(self, weight: Tensor) -> int:
        """See `GroupRanks`."""
        return self.m

    def structure(self, mask: Tensor, groups: int) -> Structure:
        """See `Pattern`: n is the number of weights that the fullest group keeps."""
        return Structure(nm=(self._fullest(mask), self.m))

    def promise(self, weight: Tensor, groups: int, density: float) -> Structure:
        """See `Pattern`."""
        return Structure(nm=(self._kept(weight, groups, density), self.m))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"
