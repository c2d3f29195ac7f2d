"""Weight Block Sparsity: blocks of output × input channels with the full kernel (arXiv 2407.09453)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from hass_train.hardware.structure import Blocks, Structure
from hass_train.sparsity.pattern import Grouped, ranked

Score = Literal["l2", "l1", "variance"]


@dataclass(frozen=True)
class Block(Grouped):
    """Weights are pruned in blocks of channels; the best block of every row and of every column of blocks is kept.

    Where the size does not divide the channel counts, the blocks at the edges are smaller. The blocks of a grouped
    convolution lie within its groups. In a depthwise convolution every kernel is the only block of its row and column,
    so none is ever pruned.

    Args:
        size: output channels × input channels of a block.
        score: how blocks are ranked: by the mean square (`l2`), the mean magnitude (`l1`) or the `variance` of their
            weights. Means rather than sums, so that the smaller blocks at the edges are ranked fairly; among blocks of
            equal size the order is the paper's.

    Raises:
        ValueError: the size is not two numbers ≥ 1, or the score is unknown.
    """

    simulated = False

    size: Sequence[int] = (8, 8)
    score: Score = "l2"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))  # a list would make the pattern unhashable
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size is {list(self.size)}; two numbers ≥ 1 are wanted, as [8,8]")
        if self.score not in get_args(Score):
            raise ValueError(f"score is {self.score!r}; choose l2, l1 or variance")

    def scores(self, weight: Tensor, groups: int) -> Tensor:
        """The rank of each block among all blocks of the layer, (groups, rows of blocks, columns of blocks)."""
        ones = self._sums(torch.ones_like(weight), groups)
        if self.score == "l1":
            values = self._sums(weight.abs(), groups) / ones
        else:
            values = self._sums(weight.square(), groups) / ones
            if self.score == "variance":
                values = values - (self._sums(weight, groups) / ones).square()
        best = torch.zeros_like(values, dtype=torch.bool)
        for axis in (1, 2):
            best.scatter_(axis, values.argmax(axis, keepdim=True), True)
        return ranked(values, best)

    def spread(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """See `Grouped`."""
        filters, channels = weight.shape[0] // groups, weight.shape[1]
        rows, columns = self.size
        wide = values.repeat_interleave(rows, 1)[:, :filters].repeat_interleave(columns, 2)[:, :, :channels]
        wide = wide.reshape(weight.shape[0], channels, *[1] * (weight.dim() - 2))
        return wide.expand(weight.shape)

    def _sums(self, weight: Tensor, groups: int) -> Tensor:
        """The sum of the weights of each block, (groups, rows of blocks, columns of blocks)."""
        kernels = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
        kernels = kernels.unflatten(0, (groups, -1))
        rows, columns = self.size
        missing = -kernels.shape[2] % columns, -kernels.shape[1] % rows
        padded = F.pad(kernels, (0, missing[0], 0, missing[1]))
        return padded.unflatten(2, (-1, columns)).unflatten(1, (-1, rows)).sum((2, 4))

    def structure(self, mask: Tensor, groups: int) -> Structure:
        """See `Pattern`."""
        live = self._sums(mask.float(), groups) > 0
        rows = ["".join("1" if one else "0" for one in row) for row in live.flatten(0, 1).tolist()]
        return Structure(blocks=Blocks((self.size[0], self.size[1]), tuple(rows), groups))

    def promise(self, weight: Tensor, groups: int, density: float) -> Structure:
        """See `Pattern`."""
        return Structure(block=(self.size[0], self.size[1]))

    def __str__(self) -> str:
        return f"{self.size[0]}×{self.size[1]} blocks by {self.score}"
