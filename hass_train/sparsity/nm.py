"""N:M sparsity: of the weights of M consecutive input channels N are kept (Zhou et al., 2021, SR-STE)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hass_train.hardware.structure import Structure
from hass_train.sparsity.pattern import ALWAYS, Grouped


@dataclass(frozen=True)
class NM(Grouped):
    """Of every `m` consecutive input channels of a filter, at one kernel position, the `n` largest weights are kept.

    A weight's score is its rank among its `m`. The threshold of a layer therefore chooses one number of weights to keep
    in all of its groups: m, m − 1, … down to n. Where `m` does not divide the channel count, the last group is smaller.

    Args:
        n: least number of weights that a group keeps.
        m: number of weights in a group.
        pull: SR-STE's decay of pruned weights in the search, as in `Grouped`.

    Raises:
        ValueError: not 1 ≤ n < m, or the pull lies outside [0, 1).
    """

    n: int = 2
    m: int = 4
    pull: float = 2e-4

    def __post_init__(self) -> None:
        if not 1 <= self.n < self.m:
            raise ValueError(f"n:m is {self.n}:{self.m}; 1 ≤ n < m is wanted, as 2:4")
        if not 0 <= self.pull < 1:
            raise ValueError(f"pull is {self.pull}; it must lie in [0, 1)")

    @property
    def step(self) -> float:
        """The distance between the scores of two neighbouring ranks, 1/m."""
        return 1 / self.m

    def scores(self, weight: Tensor, groups: int) -> Tensor:
        """One score for each weight, (filters, ⌈channels/m⌉, m, kernel positions).

        The score is (m − place)/m, where the largest weight of a group has place 0; the first n places always stay.
        """
        sizes = self._grouped(weight.abs())
        if self.m > 4:
            places = sizes.argsort(stable=True, dim=2, descending=True).argsort(2)
        else:  # comparing all pairs is several times as fast as sorting
            each = sizes.unbind(2)
            places = torch.zeros_like(sizes, dtype=torch.uint8)
            for j, one in enumerate(each):
                for k, other in enumerate(each):
                    if k != j:  # of equal weights the first has the lower place
                        places[:, :, j] += (other > one) if k > j else (other >= one)
        return torch.where(places < self.n, ALWAYS, (self.m - places) / self.m)

    def spread(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """See `Grouped`."""
        return values.flatten(1, 2)[:, : weight.shape[1]].reshape(weight.shape)

    def steps(self, weight: Tensor, groups: int) -> int:
        """See `Grouped`: there are m places."""
        return self.m

    def _grouped(self, sizes: Tensor) -> Tensor:
        """Magnitudes in groups of m, (filters, ⌈channels/m⌉, m, kernel positions).

        The last group is padded with −1, which is smaller than any magnitude.
        """
        flat = sizes.flatten(2) if sizes.dim() > 2 else sizes[..., None]
        return F.pad(flat, (0, 0, 0, -flat.shape[1] % self.m), value=-1.0).unflatten(1, (-1, self.m))

    def structure(self, mask: Tensor, groups: int) -> Structure:
        """See `Pattern`: n is the number of weights that the fullest group keeps."""
        most = int(self._grouped(mask.float()).clamp_min(0).sum(2).max())
        return Structure(nm=(max(most, 1), self.m))

    def promise(self) -> Structure:
        """See `Pattern`."""
        return Structure(nm=(self.n, self.m))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"
