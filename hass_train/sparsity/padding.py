"""The padding that convolutions read."""

from __future__ import annotations

from timm.layers import get_same_padding
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F


def pad(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Images (…, height, width) with the padding that a convolution reads: of zeros, or as its padding mode says."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(images, pads(layer, images), mode=mode)


def pads(layer: nn.Conv2d, images: Tensor) -> tuple[int, int, int, int]:
    """The pixels of padding left, right, above and below images (…, height, width), in the order of `F.pad`.

    TensorFlow's "same" padding is as large as ⌈size/stride⌉ outputs need; an odd pixel is added right or below.
    """
    padding = layer.padding
    if padding == "valid":
        return 0, 0, 0, 0
    if not isinstance(padding, str) and not isinstance(layer, Conv2dSame):
        return padding[1], padding[1], padding[0], padding[0]
    found: list[int] = []
    for axis in (1, 0):
        whole = get_same_padding(
            images.shape[axis - 2], layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
        )
        found += [whole // 2, whole - whole // 2]
    left, right, top, bottom = found
    return left, right, top, bottom
