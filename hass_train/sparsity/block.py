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
    """Blocks of weights; the best block of every row and of every column of blocks always lives.

    Channel counts that the size does not divide leave smaller blocks at the edges. A grouped convolution has blocks in
    each of its groups; in a depthwise one every kernel is its own row and column, so none is ever taken.

    Args:
        size: output channels × input channels.
        score: of a block: root of the mean square (`l2`), mean magnitude (`l1`) or `variance` of its weights. Means,
            not sums, so that edge blocks are judged like all others; where sizes divide the order is the paper's.

    Raises:
        ValueError: a size that is not two numbers ≥ 1, or an unknown score.
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
        """(groups, rows, columns of blocks): rank among the layer's blocks."""
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
        """Sum over each block, (groups, rows, columns)."""
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

    def promise(self) -> Structure:
        """See `Pattern`."""
        return Structure(block=(self.size[0], self.size[1]))

    def __str__(self) -> str:
        return f"{self.size[0]}×{self.size[1]} blocks by {self.score}"
