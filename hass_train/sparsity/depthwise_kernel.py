"""The gradient of a depthwise convolution's weights, compiled."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hass_train.runtime.compiled import compiled


def weight_gradient(
    x: Tensor,
    gradient: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """The gradient of the weights of a convolution of one filter for each channel, on the CPU.

    Args:
        x: (n, channels, height, width), float32 or float64; quickest in the channels-last format.
        gradient: that of the result, (n, channels, its height, its width), of the same type.
        kernel, stride, padding, dilation: two each; the padding is that of both sides.

    Returns:
        (channels, 1, *kernel).
    """
    found = x.new_zeros((*kernel, x.shape[1]))
    pixels, slopes = (one.detach().permute(0, 2, 3, 1).contiguous().numpy() for one in (x, gradient))
    _sum(pixels, slopes, found.numpy(), *stride, *padding, *dilation)
    return found.permute(2, 0, 1).unsqueeze(1)


@compiled
def _sum(pixels, slopes, found, down, right, above, before, apart, beside):  # type: ignore[no-untyped-def]
    """Add up what every window has seen of a channel, times the slope of its result.

    Args:
        pixels: (n, height, width, channels).
        slopes: (n, rows, columns, channels).
        found: (kernel rows, kernel columns, channels) to which it is added.
        down, right: the strides.
        above, before: the padding.
        apart, beside: the dilations.
    """
    images, height, width, channels = pixels.shape
    for image in range(images):
        for row in range(slopes.shape[1]):
            for i in range(found.shape[0]):
                y = row * down - above + i * apart
                if y < 0 or y >= height:
                    continue
                for column in range(slopes.shape[2]):
                    slope = slopes[image, row, column]
                    for j in range(found.shape[1]):
                        x = column * right - before + j * beside
                        if x < 0 or x >= width:
                            continue
                        pixel, total = pixels[image, y, x], found[i, j]
                        for channel in range(channels):
                            total[channel] += pixel[channel] * slope[channel]
