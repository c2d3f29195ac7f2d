"""Convolutions, those of single pixels as products of matrices."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """`F.conv2d`. On processors, kernels of a pixel on maps of a pixel are a product of matrices: they are frequent, in
    squeeze-excite and behind global pools, and oneDNN takes twice as long for such a convolution and its gradients
    (sparsity-and-search, section 2).

    Args:
        x: (n, channels, height, width).
        weight, bias, stride, padding, dilation, groups: as of `F.conv2d`.
    """
    single = x.shape[2:] == weight.shape[2:] == (1, 1) and groups == 1
    if single and x.device.type == "cpu" and (isinstance(padding, str) or not any(padding)):
        return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)  # type: ignore[arg-type]
