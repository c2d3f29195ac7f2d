"""The thresholding gate: x·1[|x| > τ] with a surrogate gradient to τ (sparsity-and-search, section 2).

The forward pass is hard and fused (`hardshrink`). To the threshold flows the gradient of a rectangular window of
half-width T around it: dL/dτ = −Σ g·x·1[||x|−τ|<T]/(2T). The density of what passes is returned beside it, with
dd/dτ = −mean(1[||x|−τ|<T])/(2T) and dd/dx = sign(x)·1[…]/(2T·n). Threshold gradient and density are means, so
a slice of the batch estimates them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 0.3
"""Half-width of the surrogate window in units of the tensor's scale."""


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, threshold: Tensor, half_width: float, first: int, sample: int, straight_through: bool
    ) -> tuple[Tensor, Tensor]:
        level = float(threshold)
        y = F.hardshrink(x, level)
        if y.stride() != x.stride():  # or the convolution falls to a slow path: see `keep_strides`
            y = keep_strides(y, x)
        part = y[first : first + sample]
        density = torch.count_nonzero(part).to(x.dtype) / part.numel()
        ctx.save_for_backward(x)
        ctx.level, ctx.half_width, ctx.straight_through = level, half_width, straight_through
        ctx.some = slice(first, first + sample)
        return y, density

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        grad, grad_density = gradients
        (x,) = ctx.saved_tensors
        part, grad_part = x[ctx.some], grad[ctx.some]
        share = part.shape[0] / x.shape[0]
        # ±1/(2T) within the window, by the sign of x, and 0 beyond it
        signs = F.hardshrink(part, max(ctx.level - ctx.half_width, 0.0)).sign_()
        signs.masked_fill_(part.abs() >= ctx.level + ctx.half_width, 0.0).mul_(0.5 / ctx.half_width)
        window = signs.abs()
        # the slice stands for the whole tensor: its sum is scaled up
        to_threshold = -(grad_part * part * window).sum() / share - grad_density * window.mean()
        to_x = grad.clone() if ctx.straight_through else torch.ops.aten.hardshrink_backward(grad, x, ctx.level)
        to_x[ctx.some] += signs.mul_(grad_density / part.numel())
        return to_x, to_threshold, None, None, None, None


def keep_strides(value: Tensor, like: Tensor) -> Tensor:
    """`value` laid out as `like`.

    An element-wise operation on a 1×1 or depthwise weight drops its channels-last strides, because such shapes count as
    contiguous in both layouts; the convolution then takes a path 2.7× slower (sparsity-and-search, section 2).
    Where both strides address the same elements in memory order, the tensor is only relabelled.
    """
    if like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last) and value.is_contiguous():
        return value.as_strided(like.shape, like.stride())
    return torch.empty_strided(like.shape, like.stride(), dtype=value.dtype, device=value.device).copy_(value)


def gate(
    x: Tensor,
    threshold: Tensor,
    scale: float,
    sample: int | None = None,
    straight_through: bool = False,
    first: int = 0,
) -> tuple[Tensor, Tensor]:
    """Zero what is not larger in magnitude than the threshold.

    Args:
        x: any shape; axis 0 is what `sample` slices.
        threshold: scalar ≥ 0, in the units of x.
        scale: typical magnitude of x, which sets the surrogate's width.
        sample: entries of axis 0 that density and threshold gradient are estimated on; all by default.
        straight_through: let the gradient to x pass where the gate is closed too, so that pruned weights can return.
        first: where the sample begins; what is beyond the end of x is left out.

    Returns:
        The gated tensor, with the strides of x, and its density (scalar).
    """
    half_width = max(WINDOW * scale, 1e-12)
    return _Gate.apply(x, threshold, half_width, first, sample or x.shape[0], straight_through)  # type: ignore[no-any-return]
