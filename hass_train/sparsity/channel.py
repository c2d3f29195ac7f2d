"""Channel sparsity: whole filters are pruned with their bias and batch-norm, so that the next layer reads less."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hass_train.hardware.structure import Structure
from hass_train.sparsity.pattern import Grouped, ranked


@dataclass(frozen=True)
class Channel(Grouped):
    """Filters are pruned by the mean square of their weights; the best filter of every layer is kept."""

    prunes_norm = True
    simulated = False

    def scores(self, weight: Tensor, groups: int) -> Tensor:
        """The rank of each filter among the layer's filters, (filters,)."""
        values = weight.flatten(1).square().mean(1)
        best = torch.zeros_like(values, dtype=torch.bool)
        best[values.argmax()] = True
        return ranked(values, best)

    def spread(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """See `Grouped`."""
        return values.reshape(-1, *[1] * (weight.dim() - 1)).expand(weight.shape)

    def structure(self, mask: Tensor, groups: int) -> Structure:
        """See `Pattern`."""
        pruned = (~mask.flatten(1).any(1)).nonzero().flatten().tolist()
        return Structure(filters=True, dead_filters=tuple(pruned))

    def promise(self, weight: Tensor, groups: int, density: float) -> Structure:
        """See `Pattern`."""
        return Structure(filters=True)

    def __str__(self) -> str:
        return "channels"
