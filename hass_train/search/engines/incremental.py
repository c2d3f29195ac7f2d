"""The recipe whose sparsity grows while the network trains."""

from __future__ import annotations

import math

from torch import nn

from hass_train.search.engines.one_shot import OneShot
from hass_train.sparsity import sparse_layers


class Incremental(OneShot):
    """The pruned fraction grows by an increment every few search epochs while the network trains (Weight Block
    Sparsity: 5 % every two epochs). Pruned weights can return until the network is frozen.

    Args:
        sparsity, activation_sparsity: the final fractions, as in `OneShot`.
        increment: fraction of the weights that one step adds.
        every: number of epochs between two steps.
    """

    name = "incremental"

    def __init__(
        self, sparsity: float | None, activation_sparsity: float = 0.0, increment: float = 0.05, every: int = 2
    ) -> None:
        super().__init__(sparsity, activation_sparsity)
        self.increment, self.every = increment, every

    def epochs(self, planned: int) -> int:
        """See `SearchEngine`: sparsity and increment determine the number, whatever is planned."""
        return self.every * math.ceil(round(self.sparsity / self.increment, 6))

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """See `SearchEngine`."""
        present = min(self.increment * (epoch // self.every + 1), self.sparsity)
        for _, layer in sparse_layers(model):
            layer.set_sparsity(present if layer.prune_weights else 0.0, 0.0)
