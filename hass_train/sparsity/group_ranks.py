"""Patterns that rank each weight among a few others of its filter and keep equally many of each group."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hass_train.sparsity.pattern import ALWAYS, Grouped
from hass_train.sparsity.rank_kernel import gated_by_place, places_on_cpu
from hass_train.sparsity.thresholds import Level

Floats = NDArray[np.float32]

_FEW = 64  # members up to which a processor compares all pairs faster than it sorts them


class GroupRanks(Grouped):
    """A pattern that keeps the same number of weights, the largest, in every group of consecutive input channels.

    A weight's score is its rank in its group, so a layer's threshold chooses one number of weights to keep in all of
    the layer's groups. Where the channels of a group do not divide those of the layer, the last group is smaller: it
    keeps as many weights as the others, or all that it has.

    Attributes:
        whole_kernel: whether a group holds its channels at all kernel positions, or at one.

    Raises:
        ValueError: the pull lies outside [0, 1).
    """

    whole_kernel: ClassVar[bool]

    def __post_init__(self) -> None:
        if not 0 <= self.pull < 1:
            raise ValueError(f"pull is {self.pull}; it must lie in [0, 1)")

    @property
    @abstractmethod
    def least(self) -> int:
        """The number of weights that a group always keeps."""

    @abstractmethod
    def group_channels(self, weight: Tensor) -> int:
        """The number of consecutive input channels in a group."""

    def steps(self, weight: Tensor, groups: int) -> int:
        """See `Grouped`: a weight has one of as many places as its group has members."""
        return self.group_channels(weight) * (weight[0, 0].numel() if self.whole_kernel else 1)

    def step(self, weight: Tensor, groups: int) -> float:
        """See `Grouped`."""
        return 1 / self.steps(weight, groups)

    def scores(self, weight: Tensor, groups: int) -> Tensor:
        """One score for each weight, (members of a group, …).

        The score is (members − place)/members, where the largest weight of a group has place 0; the first `least`
        places always stay.
        """
        places, members = places_of(self._grouped(weight.abs())), self.steps(weight, groups)
        ranks = (members - places).float().div_(members)  # in place: new memory costs as much as the comparisons
        return ranks.masked_fill_(places < self.least, ALWAYS)

    def apply(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """See `Pattern`."""
        if not self._in_one_pass(weight, groups):
            return super().apply(weight, groups, level)
        kept = _scores_of_places(self.steps(weight, groups), self.least) > level
        (gated,), _ = gated_by_place(weight, self.group_channels(weight), self.whole_kernel, kept[None])
        result: Tensor = _ByPlace.apply(weight, None, gated, None, self.pull)
        return result

    def apply_with_gradient(
        self, weight: Tensor, groups: int, level: Level, filters: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """See `Pattern`: what `apply_traceable` computes, of the few scores that there are."""
        if not self._in_one_pass(weight, groups):
            return super().apply_with_gradient(weight, groups, level, filters)
        scores = _scores_of_places(self.steps(weight, groups), self.least)
        half_width = max(float(level.half_width), 1.01 * self.step(weight, groups))
        kept = scores > level.value
        slope = (np.abs(scores - level.value) < half_width) / (2 * half_width)
        factors = np.stack([kept, slope])
        (gated, sloped), counts = gated_by_place(weight, self.group_channels(weight), self.whole_kernel, factors)
        density, density_slope = (float(counts @ factor) / weight.numel() for factor in (kept, slope))
        change = level.threshold - level.threshold.detach()  # its value is zero, its gradient one
        result: Tensor = _ByPlace.apply(weight, change, gated, sloped, self.pull)
        return result, density - change * density_slope

    def _in_one_pass(self, weight: Tensor, groups: int) -> bool:
        """Whether the processor ranks and gates the weights in one pass over them."""
        if torch.compiler.is_compiling():
            return False
        known = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
        return known and self.steps(weight, groups) <= _FEW

    def spread(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """See `Grouped`."""
        filters, channels = weight.shape[:2]
        split = values.reshape(self.group_channels(weight), weight[0, 0].numel(), filters, -1)
        return split.permute(2, 3, 0, 1).flatten(1, 2)[:, :channels].reshape(weight.shape)

    def _grouped(self, sizes: Tensor) -> Tensor:
        """Magnitudes by group, (members of a group, …); the last group is padded with −1, below any magnitude."""
        flat, channels = sizes.reshape(*sizes.shape[:2], -1), self.group_channels(sizes)
        padded = F.pad(flat, (0, 0, 0, -flat.shape[1] % channels), value=-1.0)
        split = padded.unflatten(1, (-1, channels)).permute(2, 3, 0, 1)  # (channels, positions, filters, groups)
        return (split.flatten(0, 1) if self.whole_kernel else split).contiguous()

    def _fullest(self, mask: Tensor) -> int:
        """The number of weights that the fullest group of a mask keeps, at least 1."""
        return max(int(self._grouped(mask.float()).clamp_min(0).sum(0).max()), 1)

    def _kept(self, weight: Tensor, groups: int, density: float) -> int:
        """The number of weights that a group keeps where a fraction of a layer's weights is left, rounded up."""
        members = self.steps(weight, groups)
        return min(max(math.ceil(density * members - 1e-6), self.least), members)


@lru_cache(maxsize=256)
def _scores_of_places(members: int, least: int) -> Floats:
    """(members,) the score of a weight at each place of its group; see `GroupRanks.scores`."""
    places = np.arange(members)
    scores = np.where(places < least, np.float32(ALWAYS), (members - places).astype(np.float32) / np.float32(members))
    scores.flags.writeable = False
    return scores


class _ByPlace(torch.autograd.Function):
    """A gated weight. Its gradient passes everywhere, plus a decay `pull` · w of the weights that are zero, and the
    threshold's follows from the slope of the gate, as in `Grouped.apply_traceable`."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, change: Tensor | None, gated: Tensor, sloped: Tensor | None, pull: float
    ) -> Tensor:
        ctx.pull = pull
        ctx.save_for_backward(weight if pull else None, gated if pull else None, sloped)
        return gated.detach()  # a view would lose the strides of sides of one

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        weight, gated, sloped = ctx.saved_tensors
        change = None if sloped is None else -(grad * sloped).sum()
        return grad.add(weight - gated, alpha=ctx.pull) if ctx.pull else grad, change, None, None, None


def places_of(sizes: Tensor) -> Tensor:
    """The place of each value in its column, an integer: 0 for the largest; of equal values the first comes first.

    Args:
        sizes: (members, …) columns along the first axis; contiguous ones are quickest.
    """
    if len(sizes) <= _FEW and sizes.device.type == "cpu":
        return places_on_cpu(sizes)
    return places_by_sorting(sizes)


def places_by_sorting(sizes: Tensor) -> Tensor:
    """The same on any device, for any number of members."""
    numbers = torch.arange(len(sizes), device=sizes.device).reshape(-1, *[1] * (sizes.dim() - 1)).expand(sizes.shape)
    order = sizes.argsort(stable=True, dim=0, descending=True)
    return torch.empty_like(order).scatter_(0, order, numbers)
