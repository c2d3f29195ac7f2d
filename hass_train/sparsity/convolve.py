"""Convolutions on processors, where oneDNN is slow at what small maps ask of it (sparsity-and-search, section 2).

Deep layers of networks for small images have maps of a few pixels. Much of a kernel then reads nothing but padding, and
is left out; a kernel that covers the map is a product of matrices. Depthwise kernels that are larger than the map have
a gradient that oneDNN finds by a loop without vectors, and it is slow for all from 5×5 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hass_train.sparsity.depthwise_kernel import weight_gradient

_QUICK = 3  # rows and columns up to which oneDNN has a quick gradient of depthwise kernels that fit the map


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """`F.conv2d`, up to rounding.

    Args:
        x: (n, channels, height, width).
        weight, bias, stride, padding, dilation, groups: as of `F.conv2d`.
    """
    padding = (0, 0) if padding == "valid" else padding
    if x.device.type != "cpu" or isinstance(padding, str) or torch.compiler.is_compiling():
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)  # type: ignore[arg-type]
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    (top, bottom, *rows), (left, right, *columns) = (_reach(*axis) for axis in axes)
    kept = (bottom - top, right - left)
    if kept != weight.shape[2:]:
        weight = _Part.apply(weight, slice(top, bottom), slice(left, right))
        padding = (rows[0], columns[0])
        if (rows[1], columns[1]) != padding or min(padding) < 0:  # a negative one leaves out what no window reads
            x, padding = F.pad(x, (*columns, *rows)), (0, 0)
    if groups == 1 and kept == x.shape[2:] and not any(padding):
        maps, filters = (one.permute(0, 2, 3, 1).flatten(1) for one in (x, weight))  # channels last: no copies
        return F.linear(maps, filters, bias)[:, :, None, None]
    if groups == len(weight) == x.shape[1] and _slow(x, weight):
        result: Tensor = _Depthwise.apply(x, weight, bias, tuple(stride), padding, tuple(dilation))
        return result
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)  # type: ignore[arg-type]


class Conv2d(nn.Conv2d):
    """torch's convolution, computed by `convolve`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros":
            return super()._conv_forward(input, weight, bias)
        return convolve(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def quicken(model: nn.Module) -> None:
    """Let a dense network compute its convolutions by `convolve`, in place; its state dict stays as it is."""
    for module in model.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = Conv2d


@lru_cache(maxsize=1024)
def _reach(size: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[int, int, int, int]:
    """The part of a kernel that reads the map in some window, along one axis.

    Returns:
        The first position that does, the one behind the last, and the padding before and behind the map with which
        this part alone has the same results.
    """
    results = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    starts = [result * stride - padding for result in range(results)]
    used = [tap for tap in range(kernel) if any(0 <= start + tap * dilation < size for start in starts)]
    first, end = (used[0], used[-1] + 1) if used else (0, kernel)
    before = padding - first * dilation
    behind = (results - 1) * stride + (end - first - 1) * dilation + 1 - size - before
    return first, end, before, behind


def _slow(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's gradient of a depthwise kernel is slow, and the compiled one can be had instead."""
    trained = weight.requires_grad and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
    if not trained or x.dtype != weight.dtype or x.dtype not in (torch.float32, torch.float64):
        return False
    return any(side > min(size, _QUICK) for side, size in zip(weight.shape[2:], x.shape[2:], strict=True))


class _Part(torch.autograd.Function):
    """A part of kernels, whose gradient keeps the strides of the whole: torch's is copied once more for that."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: slice, columns: slice) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.part = ..., rows, columns
        return weight[ctx.part].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        whole = torch.zeros_like(ctx.saved_tensors[0])
        whole[ctx.part] = gradients[0]
        return whole, None, None


class _Depthwise(torch.autograd.Function):
    """A convolution of one filter for each channel, whose weights get the compiled gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps = stride, padding, dilation
        return F.conv2d(x, weight, bias, stride, padding, dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        (stride, padding, dilation), (needs_x, _, has_bias, *_) = ctx.steps, ctx.needs_input_grad
        to_x, _, to_bias = torch.ops.aten.convolution_backward(
            gradient, x, weight, weight.shape[:1] if has_bias else None, stride, padding, dilation, False, (0, 0),
            len(weight), (needs_x, False, has_bias),
        )  # fmt: skip
        to_weight = weight_gradient(x, gradient, weight.shape[2:], stride, padding, dilation)
        return to_x, to_weight, to_bias, None, None, None
