"""Patterns: how weights are grouped and scored; one threshold on the score says which groups live.

`unstructured` has groups of one weight and a gate of its own, one fused pass; all other patterns are `Grouped`: they
say what the groups are and what each is worth, and everything else (gate, search, freezing, statistics, export) is
shared.
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
"""Score of a group that no threshold takes."""


class Pattern(ABC):
    """What sparse layers ask of a pattern.

    `weight` is (filters, channels of a group, *kernel) or (filters, channels), `groups` the convolution's, and a level
    a threshold in the units of the pattern's scores.
    """

    prunes_norm: bool = False
    """Whether a filter that dies takes its bias and its batch-norm with it, so that its result is zero."""
    refinable: bool = False
    """Whether single weights can be taken beside the pattern, to put a frozen network right."""

    max_threshold: float | None = None
    """Threshold, in typical scores, that takes all that can be taken; None = there is none, sizes are open."""
    simulated: bool = True
    """Whether the simulator can play designs that this pattern leads to."""

    @abstractmethod
    def scale(self, weight: Tensor) -> Tensor:
        """Typical score, scalar: what thresholds are learned in units of."""

    @abstractmethod
    def keep_mask(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """Which weights live at a level: bool, like the weight."""

    @abstractmethod
    def level_at(self, weight: Tensor, groups: int, fraction: float) -> float:
        """The level that takes a fraction of the groups, as nearly as the pattern allows without exceeding it."""

    @abstractmethod
    def apply(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """The weight without what a level takes; the gradient passes everywhere."""

    @abstractmethod
    def apply_with_gradient(
        self, weight: Tensor, groups: int, level: Level, filters: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """As `apply`, with the surrogate gradient to the threshold; and the density, differentiable.

        Args:
            weight, groups: of the layer.
            level: present threshold.
            filters: first, and number, of those that gradient and density may be estimated on.
        """

    @abstractmethod
    def apply_traceable(self, weight: Tensor, groups: int, level: Level) -> tuple[Tensor, Tensor]:
        """As `apply_with_gradient`, in operations that no value of a tensor decides, for `torch.compile`."""

    def structure(self, mask: Tensor, groups: int) -> Structure | None:
        """What hardware may rely on; None = nothing but the density.

        Args:
            mask: bool, like the weight.
            groups: of the convolution.
        """
        return None

    def promise(self) -> Structure | None:
        """What hardware may rely on before anything is pruned; None = nothing."""
        return None

    @abstractmethod
    def __str__(self) -> str:
        """For people: `8×8 blocks by l2`."""


class Grouped(Pattern):
    """A pattern whose groups hold several weights.

    Groups are thresholded on their rank, not on the size of their norms: norms of groups lie so close together that all
    of a layer's groups would fall to nearly the same threshold. A rank is a fraction of the layer, so a threshold
    reads as the fraction of groups that it takes, and a recipe's 50 % are 50 % exactly.

    Attributes:
        pull: decay of weights that are dead in the search, added to their gradient (SR-STE, Zhou et al., 2021,
            equation 9); 0 = none.
    """

    pull: float = 0.0
    max_threshold = 2.0  # of ranks, whose mean is a half

    @property
    def step(self) -> float:
        """Distance between neighbouring scores, where it may be wide: the surrogate's window must reach the next, or
        a threshold between two would have no gradient."""
        return 0.0

    @abstractmethod
    def scores(self, weight: Tensor, groups: int) -> Tensor:
        """One number in (0, 1] for each group, any shape; `ALWAYS` for groups that must live. Not differentiated."""

    @abstractmethod
    def spread(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """Values of groups, shaped as `scores` gives them, laid over their weights: of the weight's shape."""

    def steps(self, weight: Tensor, groups: int) -> int:
        """How many different scores there are; where the pattern ranks all groups of a layer, how many groups."""
        return self.scores(weight, groups).numel()

    def scale(self, weight: Tensor) -> Tensor:
        """Mean of all ranks."""
        return weight.new_tensor(0.5)

    def keep_mask(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """See `Pattern`."""
        return self.spread(self.scores(weight.detach(), groups) > level, weight, groups)

    def level_at(self, weight: Tensor, groups: int, fraction: float) -> float:
        """See `Pattern`; half-way between two ranks, where rounding decides nothing."""
        steps = self.steps(weight.detach(), groups)
        taken = int(fraction * steps + 1e-6)
        return (taken + 0.5) / steps if taken else 0.0

    def apply(self, weight: Tensor, groups: int, level: float) -> Tensor:
        """See `Pattern`."""
        gated: Tensor = _Masked.apply(weight, self.keep_mask(weight, groups, level), self.pull)
        return gated

    def apply_with_gradient(
        self, weight: Tensor, groups: int, level: Level, filters: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """See `Pattern`; all filters are looked at, since groups span them."""
        return self.apply_traceable(weight, groups, level)

    def apply_traceable(self, weight: Tensor, groups: int, level: Level) -> tuple[Tensor, Tensor]:
        """See `Pattern`: the window of half-width T around τ, as in `hass_train.sparsity.gate`, over groups."""
        with torch.no_grad():
            scores, threshold = self.scores(weight.detach(), groups), level.threshold.detach()
            live = self.spread(scores > threshold, weight, groups)
            half_width = level.half_width.clamp_min(1.01 * self.step)
            near = self.spread((scores - threshold).abs() < half_width, weight, groups)
            slope = near.to(weight.dtype) / (2 * half_width)
            density, steepness = live.to(weight.dtype).mean(), slope.mean()
            lever = slope.mul_(weight.detach())
        moves = level.threshold - level.threshold.detach()  # zero, with a gradient
        gated: Tensor = _Masked.apply(weight, live, self.pull)
        return keep_strides(gated - moves * lever, weight), density - moves * steepness


class _Masked(torch.autograd.Function):
    """A masked weight whose gradient passes everywhere, and pulls what is masked towards zero."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, live: Tensor, pull: float) -> Tensor:
        ctx.pull = pull
        if pull:
            ctx.save_for_backward(weight, live)
        return keep_strides(weight * live, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = gradients
        if ctx.pull:
            weight, live = ctx.saved_tensors
            grad = grad + ctx.pull * weight * ~live
        return grad, None, None


def ranked(values: Tensor, always: Tensor | None = None) -> Tensor:
    """Ranks as fractions: 1/n for the smallest of n values, 1 for the largest; no two are the same.

    Args:
        values: any shape.
        always: bool, of those that must live; they get `ALWAYS`, and the highest ranks are theirs.
    """
    keys = values if always is None else values.masked_fill(always, ALWAYS)
    order = keys.flatten().argsort(stable=True)
    ranks = torch.empty(len(order), dtype=torch.float32, device=values.device)
    ranks[order] = torch.arange(1, len(order) + 1, dtype=torch.float32, device=values.device) / len(order)
    ranks = ranks.reshape(values.shape)
    return ranks if always is None else ranks.masked_fill(always, ALWAYS)
