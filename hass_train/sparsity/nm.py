"""N:M sparsity: of M consecutive input channels N weights stay (Zhou et al., 2021, SR-STE)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hass_train.hardware.structure import Structure
from hass_train.sparsity.pattern import ALWAYS, Grouped


@dataclass(frozen=True)
class NM(Grouped):
    """Of every `m` consecutive input channels of a filter, at one kernel position, the `n` largest weights live.

    A weight's score is its rank among its `m`, so a layer's threshold chooses one number of survivors for the whole
    layer: all m, m − 1, … down to n. The last channels of a count that `m` does not divide are a group of fewer.

    Args:
        n, m: survivors, and group.
        pull: SR-STE's decay of dead weights in the search.

    Raises:
        ValueError: not 1 ≤ n < m, or a negative pull.
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
        """One place of m."""
        return 1 / self.m

    def scores(self, weight: Tensor, groups: int) -> Tensor:
        """Like the weight with channels padded to (…, channels/m, m, kernel): (m − place)/m, place 0 the largest."""
        sizes = self._grouped(weight.abs())
        if self.m > 4:
            places = sizes.argsort(stable=True, dim=2, descending=True).argsort(2)
        else:  # comparing all pairs is several times as quick as sorting
            each = sizes.unbind(2)
            places = torch.zeros_like(sizes, dtype=torch.uint8)
            for j, one in enumerate(each):
                for k, other in enumerate(each):
                    if k != j:  # equals keep their order
                        places[:, :, j] += (other > one) if k > j else (other >= one)
        return torch.where(places < self.n, ALWAYS, (self.m - places) / self.m)

    def spread(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """See `Grouped`."""
        return values.flatten(1, 2)[:, : weight.shape[1]].reshape(weight.shape)

    def steps(self, weight: Tensor, groups: int) -> int:
        """As many as there are places."""
        return self.m

    def _grouped(self, sizes: Tensor) -> Tensor:
        """(filters, channels/m, m, kernel); what is padded is smaller than anything."""
        flat = sizes.flatten(2) if sizes.dim() > 2 else sizes[..., None]
        return F.pad(flat, (0, 0, 0, -flat.shape[1] % self.m), value=-1.0).unflatten(1, (-1, self.m))

    def structure(self, mask: Tensor, groups: int) -> Structure:
        """See `Pattern`: as many survivors as the fullest group has."""
        most = int(self._grouped(mask.float()).clamp_min(0).sum(2).max())
        return Structure(nm=(max(most, 1), self.m))

    def promise(self) -> Structure:
        """See `Pattern`."""
        return Structure(nm=(self.n, self.m))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"
