"""The thresholding gate: x·1[|x| > τ] with a surrogate gradient to τ (sparsity-and-search, section 2).

The forward pass is the hard threshold, a single fused operation (`hardshrink`). In the backward pass the step at τ is
smoothed by a rectangular window of half-width T: dL/dτ = −Σ g·x·1[||x|−τ|<T]/(2T). The gate also returns the density d
of its output, with dd/dτ = −mean(1[||x|−τ|<T])/(2T) and dd/dx = sign(x)·1[||x|−τ|<T]/(2T·n). The density is a mean, and
the threshold gradient scales with the number of values, so both can be estimated on a slice of the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 0.3
"""Half-width T of the surrogate window, in units of the tensor's scale."""


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        threshold: Tensor,
        level: float,
        half_width: float,
        first: int,
        sample: int,
        straight_through: bool,
    ) -> tuple[Tensor, Tensor]:
        y = keep_strides(F.hardshrink(x, level), x)
        some = None if sample >= x.shape[0] else slice(first, first + sample)
        part = y if some is None else y[some]
        # the 0-norm counts and converts in one pass; half precision cannot count beyond 2,048
        wide = None if x.dtype.itemsize > 2 else torch.float32
        density = torch.linalg.vector_norm(part, 0, dtype=wide).div_(part.numel())
        ctx.save_for_backward(x)
        ctx.level, ctx.half_width, ctx.straight_through, ctx.some = level, half_width, straight_through, some
        return y, density

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        grad, grad_density = gradients
        (x,) = ctx.saved_tensors
        part, grad_part = (x, grad) if ctx.some is None else (x[ctx.some], grad[ctx.some])
        slope, share = 0.5 / ctx.half_width, part.shape[0] / x.shape[0]
        low, high = max(ctx.level - ctx.half_width, 0.0), ctx.level + ctx.half_width
        window = F.hardshrink(part, low).sub_(F.hardshrink(part, high))  # x within the window, 0 beyond it
        # the sum over the slice is scaled up to estimate the sum over the whole tensor
        by_value = (grad_part * window).sum().mul_(-slope / share)
        inside = torch.linalg.vector_norm(window, 0, dtype=grad_density.dtype)
        to_threshold = by_value.addcmul(inside, grad_density, value=-slope / part.numel())
        pull = slope / part.numel()
        if ctx.straight_through and ctx.some is None:
            to_x = grad.addcmul(window.sign_(), grad_density.to(grad.dtype), value=pull)
        else:
            to_x = grad.clone() if ctx.straight_through else torch.ops.aten.hardshrink_backward(grad, x, ctx.level)
            reached = to_x if ctx.some is None else to_x[ctx.some]
            reached.addcmul_(window.sign_(), grad_density.to(grad.dtype), value=pull)
        return to_x, to_threshold, None, None, None, None, None


def traceable_gate(x: Tensor, threshold: Tensor, half_width: Tensor, straight_through: bool) -> tuple[Tensor, Tensor]:
    """The same gate for `torch.compile`: made of differentiable operations, without reading the value of any tensor.

    Args:
        x, threshold, straight_through: see `gate`. Nothing is sampled, since the compiler fuses everything into one
            pass over x.
        half_width: scalar, half-width of the surrogate window in the units of x.

    Returns:
        The gated tensor and its density (scalar), as `gate` returns them.
    """
    with torch.no_grad():
        magnitude = x.abs()
        kept = (magnitude > threshold).to(x.dtype)
        near = ((magnitude - threshold).abs() < half_width) & (magnitude > 0)  # zeros have no gradient
        window = near.to(x.dtype) / (2 * half_width)
    change = threshold - threshold.detach()  # its value is zero, its gradient one
    y = (x + (x * kept - x).detach()) if straight_through else x * kept
    y = y - change * (x.detach() * window)
    by_x = ((x - x.detach()) * x.detach().sign() * window).mean()
    return y, kept.mean() + by_x - change * window.mean()


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, level: float) -> Tensor:
        return keep_strides(F.hardshrink(x, level), x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(x: Tensor, level: float) -> Tensor:
    """Zero the elements with |x| ≤ `level`. The gradient to x passes everywhere; the level has none."""
    gated: Tensor = _StraightThrough.apply(x, level)
    return gated


def keep_strides(value: Tensor, like: Tensor) -> Tensor:
    """Give a tensor the strides of another one of the same shape.

    An element-wise operation on a 1×1 or depthwise weight drops its channels-last strides, because such shapes count as
    contiguous in both layouts; the convolution is then 2.7× slower (sparsity-and-search, section 2). Where both
    layouts have the same order in memory, only the strides are changed; otherwise the values are copied.
    """
    if value.stride() == like.stride():
        return value
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
    level: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Zero the elements with |x| ≤ threshold, with a surrogate gradient to the threshold.

    Args:
        x: tensor of any shape.
        threshold: scalar ≥ 0, in the units of x.
        scale: typical magnitude of x, which sets the width of the surrogate window.
        sample: number of entries of axis 0 on which the density and the threshold gradient are estimated; all by
            default.
        straight_through: whether the gradient to x also passes where the output is zero, so that pruned weights can
            return.
        first: index of the sample's first entry; a sample that reaches beyond the end of x is cut off there.
        level: the value of the threshold, if the caller knows it; reading it from the tensor would stall a GPU.

    Returns:
        The gated tensor, with the strides of x, and its density (scalar).
    """
    half_width = max(WINDOW * scale, 1e-12)
    value = float(threshold.detach()) if level is None else level
    taken = sample or x.shape[0]
    return _Gate.apply(x, threshold, value, half_width, first, taken, straight_through)  # type: ignore[no-any-return]
