"""Patterns: how weights are grouped and scored; one threshold on the scores says which groups are kept.

`Unstructured` has groups of one weight and its own gate, one fused pass. All other patterns are `Grouped`: they define
the groups and their scores, and share everything else (gate, search, freezing, statistics and export).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from hass_train.hardware.structure import Structure
from hass_train.sparsity.gate import keep_strides
from hass_train.sparsity.thresholds import Level

ALWAYS = float("inf")
"""The score of a group that is kept at any threshold."""


class Pattern(ABC):
    """How the weights of a sparse layer are pruned: groups of weights whose score is not above a level become zero.

    In all methods `weight` is a layer's weight, (filters, channels of a group, *kernel) or (filters, channels);
    `groups` is the number of groups of the convolution; and a level is a threshold in the units of the scores.
    """

    prunes_norm: bool = False
    """Whether the bias and the batch-norm of a pruned filter are zeroed too, so that its output channel is zero."""
    refinable: bool = False
    """Whether single weights may be pruned later, to correct the throughput of a frozen network."""

    max_threshold: float | None = None
    """The threshold, in typical scores, at which all that can be pruned is; None = scores have no upper bound."""
    ranks: bool = False
    """Whether it takes more than a comparison to find which weights are kept, so that not every step does it anew."""
    pull: float = 0.0
    """Decay of pruned weights in the search, added to their gradient (SR-STE, Zhou et al., 2021, equation 9)."""
    simulated: bool = True
    """Whether the simulator can simulate the designs that result from this pattern."""

    @abstractmethod
    def scale(self, weight: Tensor) -> Tensor:
        """The typical score, scalar; thresholds are learned in units of it."""

    @abstractmethod
    def keep_mask(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """The weights that are kept at a level, bool of the weight's shape."""

    @abstractmethod
    def level_at(self, weight: Tensor, groups: int, fraction: float) -> float:
        """The level that prunes a fraction of the groups, or the next smaller fraction that the pattern allows."""

    @abstractmethod
    def apply(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """Zero the weights that are not kept at a level; the gradient passes everywhere."""

    @abstractmethod
    def apply_with_gradient(
        self, weight: Tensor, groups: int, level: Level, filters: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Prune as `apply` does, with a surrogate gradient to the threshold.

        Args:
            weight, groups: the layer's weight, and the number of its groups.
            level: the present threshold.
            filters: first index and number of the filters on which gradient and density may be estimated.

        Returns:
            The pruned weight, and its density (scalar); both differentiable.
        """

    @abstractmethod
    def apply_traceable(self, weight: Tensor, groups: int, level: Level) -> tuple[Tensor, Tensor]:
        """Do as `apply_with_gradient`, without reading the value of any tensor, for `torch.compile`."""

    def structure(self, mask: Tensor, groups: int) -> Structure | None:
        """The structure of the zeros that hardware may rely on; None = nothing but the density.

        Args:
            mask: bool of the weight's shape; True for the weights that are kept.
            groups: number of groups of the convolution.
        """
        return None

    def promise(self, weight: Tensor, groups: int, density: float) -> Structure | None:
        """The structure that hardware may rely on where a fraction `density` of the weights will be left, before
        anything is pruned; None = nothing."""
        return None

    @abstractmethod
    def __str__(self) -> str:
        """The pattern in words for messages, such as `8×8 blocks by l2`."""


class Grouped(Pattern):
    """A pattern whose groups hold several weights.

    Groups are scored by their rank rather than by their norm: the norms of a layer's groups lie so close together that
    nearly the same threshold would prune all of them. A rank is a fraction of the layer's groups, so a threshold is the
    fraction of groups that it prunes, and the 50 % of a recipe are exactly 50 %.
    """

    ranks = True
    max_threshold = 2.0  # in units of the mean rank, which is a half

    def step(self, weight: Tensor, groups: int) -> float:
        """The distance between neighbouring scores, for patterns where it is wide; 0 for all others. The surrogate
        window must reach the next score, or a threshold between two scores would have no gradient."""
        return 0.0

    @abstractmethod
    def scores(self, weight: Tensor, groups: int) -> Tensor:
        """One score in (0, 1] for each group, or `ALWAYS` for groups that must be kept; of any shape, and without a
        gradient."""

    @abstractmethod
    def spread(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """Give every weight the value of its group: from the shape of `scores` to the shape of the weight."""

    def steps(self, weight: Tensor, groups: int) -> int:
        """The number of different scores; where the pattern ranks all groups of a layer, the number of groups."""
        return self.scores(weight, groups).numel()

    def scale(self, weight: Tensor) -> Tensor:
        """See `Pattern`: the mean of all ranks, a half."""
        return weight.new_tensor(0.5)

    def keep_mask(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """See `Pattern`."""
        return self.spread(self.scores(weight.detach(), groups) > level, weight, groups)

    def level_at(self, weight: Tensor, groups: int, fraction: float) -> float:
        """See `Pattern`; the level lies half-way between two ranks, so that rounding does not matter."""
        steps = self.steps(weight.detach(), groups)
        pruned = int(fraction * steps + 1e-6)
        return (pruned + 0.5) / steps if pruned else 0.0

    def apply(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """See `Pattern`."""
        return masked(weight, self.keep_mask(weight, groups, level), self.pull)

    def apply_with_gradient(
        self, weight: Tensor, groups: int, level: Level, filters: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """See `Pattern`; all filters are used, since groups span several."""
        return self.apply_traceable(weight, groups, level)

    def apply_traceable(self, weight: Tensor, groups: int, level: Level) -> tuple[Tensor, Tensor]:
        """See `Pattern`: the surrogate of `hass_train.sparsity.gate`, with scores of groups in the place of |x|."""
        with torch.no_grad():
            scores, threshold = self.scores(weight.detach(), groups), level.threshold.detach()
            kept = self.spread(scores > threshold, weight, groups).to(weight.dtype)
            half_width = level.half_width.clamp_min(1.01 * self.step(weight, groups))
            near = self.spread((scores - threshold).abs() < half_width, weight, groups)
            slope = near.to(weight.dtype) / (2 * half_width)
            density, density_slope = kept.mean(), slope.mean()
            weight_slope = slope.mul_(weight.detach())
        change = level.threshold - level.threshold.detach()  # its value is zero, its gradient one
        gated = masked(weight, kept, self.pull)
        return keep_strides(gated - change * weight_slope, weight), density - change * density_slope


class _Masked(torch.autograd.Function):
    """Masks a weight. The gradient passes everywhere, plus a decay `pull` · w of the masked weights."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, kept: Tensor, pull: float) -> Tensor:
        ctx.pull = pull
        gated = keep_strides(weight * kept, weight)
        if pull:
            ctx.save_for_backward(weight, gated)
        return gated

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = gradients
        if ctx.pull:
            weight, gated = ctx.saved_tensors
            grad = grad.add(weight - gated, alpha=ctx.pull)
        return grad, None, None


def masked(weight: Tensor, kept: Tensor, pull: float) -> Tensor:
    """Zero the weights that are not kept. The gradient passes everywhere, and pruned weights decay by `pull`.

    Args:
        weight: of any shape.
        kept: of the same shape, True or 1 for what is kept.
        pull: see `Pattern`.
    """
    result: Tensor = _Masked.apply(weight, kept, pull)
    return result


def ranked(values: Tensor, always: Tensor | None = None) -> Tensor:
    """Rank values as fractions: 1/n for the smallest of n values, 1 for the largest; no two ranks are the same.

    Args:
        values: tensor of any shape.
        always: bool of the same shape; True for values that must be kept. They have the highest ranks, in the place of
            which `ALWAYS` is returned.
    """
    keys = values if always is None else values.masked_fill(always, ALWAYS)
    order = keys.flatten().argsort(stable=True)
    ranks = torch.empty(len(order), dtype=torch.float32, device=values.device)
    ranks[order] = torch.arange(1, len(order) + 1, dtype=torch.float32, device=values.device) / len(order)
    ranks = ranks.reshape(values.shape)
    return ranks if always is None else ranks.masked_fill(always, ALWAYS)
