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
        # a norm counts and converts in one pass; half precision cannot count beyond 2,048
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
        # the slice stands for the whole tensor: its sum is scaled up
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
    """The same gate in differentiable operations that no value of a tensor decides, for `torch.compile`.

    Args:
        x, threshold, straight_through: see `gate`; all of x is looked at, since a compiler fuses it into one pass.
        half_width: of the window, scalar.

    Returns:
        See `gate`.
    """
    with torch.no_grad():
        magnitude = x.abs()
        lives = (magnitude > threshold).to(x.dtype)
        near = ((magnitude - threshold).abs() < half_width) & (magnitude > 0)  # what is zero stays so
        window = near.to(x.dtype) / (2 * half_width)
    moves = threshold - threshold.detach()  # zero, with a gradient
    y = (x + (x * lives - x).detach()) if straight_through else x * lives
    y = y - moves * (x.detach() * window)
    by_x = ((x - x.detach()) * x.detach().sign() * window).mean()
    return y, lives.mean() + by_x - moves * window.mean()


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, level: float) -> Tensor:
        return keep_strides(F.hardshrink(x, level), x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(x: Tensor, level: float) -> Tensor:
    """Zero what is not larger in magnitude than `level`; the gradient passes everywhere. Nothing learns the level."""
    gated: Tensor = _StraightThrough.apply(x, level)
    return gated


def keep_strides(value: Tensor, like: Tensor) -> Tensor:
    """`value` laid out as `like`.

    An element-wise operation on a 1×1 or depthwise weight drops its channels-last strides, because such shapes count as
    contiguous in both layouts; the convolution then takes a path 2.7× slower (sparsity-and-search, section 2).
    Where both strides address the same elements in memory order, the tensor is only relabelled.
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
    """Zero what is not larger in magnitude than the threshold.

    Args:
        x: any shape; axis 0 is what `sample` slices.
        threshold: scalar ≥ 0, in the units of x.
        scale: typical magnitude of x, which sets the surrogate's width.
        sample: entries of axis 0 that density and threshold gradient are estimated on; all by default.
        straight_through: let the gradient to x pass where the gate is closed too, so that pruned weights can return.
        first: where the sample begins; what is beyond the end of x is left out.
        level: the threshold's value, where the caller knows it; reading it would stall a GPU.

    Returns:
        The gated tensor, with the strides of x, and its density (scalar).
    """
    half_width = max(WINDOW * scale, 1e-12)
    value = float(threshold.detach()) if level is None else level
    taken = sample or x.shape[0]
    return _Gate.apply(x, threshold, value, half_width, first, taken, straight_through)  # type: ignore[no-any-return]
