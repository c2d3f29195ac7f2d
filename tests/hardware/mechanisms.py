"""Small networks, one for each mechanism by which networks go beyond plain convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Between(nn.Module):
    """A function between two convolutions of one pixel, with what it may need: a constant, a parameter, and a layer.

    Args:
        function: called with this module and the first convolution's result, of 4 channels.
        channels: of what the function makes.
        layer: any module that the function calls as `own.layer`.
    """

    def __init__(
        self, function: Callable[[Between, Tensor], Tensor], channels: int = 4, layer: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(channels, 2, 1)
        self.layer, self.weight = layer, nn.Parameter(torch.ones(4, 4))
        self.constant = torch.ones(1, 4, 1, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self, self.first(x)))  # type: ignore[no-any-return]


def tokens(x: Tensor) -> Tensor:
    """A map as tokens: N×(H·W)×C."""
    return x.flatten(2).transpose(1, 2)


def image(x: Tensor, height: int, width: int) -> Tensor:
    """Tokens as a map."""
    return x.transpose(1, 2).unflatten(2, (height, width))


def _attention(own: Between, x: Tensor) -> Tensor:
    """Two heads of queries that share one of keys and values."""
    y = tokens(x)
    query = y.unflatten(2, (2, 2)).transpose(1, 2)
    key = y[:, None, :, :2]
    return image(F.scaled_dot_product_attention(query, key, key).transpose(1, 2).flatten(2), *x.shape[2:])


def _grouped_attention(own: Between, x: Tensor) -> Tensor:
    """Four heads of queries, of which two share a head of keys and values."""
    y = tokens(torch.cat([x, x], 1))
    query = y.unflatten(2, (4, 2)).transpose(1, 2)
    key = y[..., :4].unflatten(2, (2, 2)).transpose(1, 2)
    made = F.scaled_dot_product_attention(query, key, key, enable_gqa=True)
    return image(made.transpose(1, 2).flatten(2)[..., :4], *x.shape[2:])


def _channel_attention(own: Between, x: Tensor) -> Tensor:
    """Attention of channels to channels, whose sums run over all pixels."""
    y = F.normalize(x.flatten(2), dim=-1)
    return (F.softmax(y @ y.transpose(1, 2), -1) @ x.flatten(2)).unflatten(2, x.shape[2:])


def _split_attention(own: Between, x: Tensor) -> Tensor:
    """Two branches that a softmax between them weighs, as in selective kernels."""
    both = torch.stack([x, x.relu()], 1)
    weights = both.sum(1).mean((2, 3), keepdim=True)
    return (both * torch.stack([weights, -weights], 1).softmax(1)).sum(1)


def _windowed(own: Between, x: Tensor) -> Tensor:
    """A padded convolution in each of four windows of a map."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    y = x.unflatten(3, (2, width)).unflatten(2, (2, height)).permute(0, 2, 4, 1, 3, 5).reshape(4, -1, height, width)
    assert own.layer is not None
    y = own.layer(y).unflatten(0, (1, 2, 2)).permute(0, 3, 1, 4, 2, 5)
    return y.flatten(4, 5).flatten(2, 3)


def _normalised(own: Between, x: Tensor) -> Tensor:
    """The global response norm of ConvNeXt V2."""
    norm = x.norm(dim=(2, 3), keepdim=True)
    return torch.addcmul(x, x * (norm / norm.mean(1, keepdim=True)), own.constant)


def _rotated(own: Between, x: Tensor) -> Tensor:
    """Rotary positions: channels and their neighbours, negated, times constants."""
    y = tokens(x)
    turned = torch.stack([-y[..., 1::2], y[..., ::2]], -1).reshape(y.shape)
    return image(y * torch.ones(4) + turned * torch.ones(4), *x.shape[2:])


def _standardised(own: Between, x: Tensor) -> Tensor:
    """A convolution whose weights are standardised in every call."""
    weight = own.weight - own.weight.mean(1, keepdim=True)
    return F.conv2d(x, weight[:, :, None, None])


MECHANISMS: dict[str, Between] = {
    "group norm": Between(lambda own, x: F.group_norm(x, 2)),
    "instance norm": Between(lambda own, x: F.instance_norm(x)),
    "response norm": Between(_normalised),
    "mean of channels": Between(lambda own, x: x * x.mean(1, keepdim=True)),
    "maximum of channels": Between(lambda own, x: x * x.amax(1, keepdim=True)),
    "mean of rows": Between(lambda own, x: x * x.mean(2, keepdim=True)),
    "mean of columns": Between(lambda own, x: x * x.mean(3, keepdim=True)),
    "softmax of pixels": Between(lambda own, x: x.flatten(2).softmax(2).unflatten(2, x.shape[2:])),
    "nearest": Between(lambda own, x: F.interpolate(x, scale_factor=2, mode="nearest")),
    "bilinear": Between(lambda own, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "bicubic": Between(lambda own, x: F.interpolate(x, size=(12, 12), mode="bicubic")),
    "adaptive average": Between(lambda own, x: F.adaptive_avg_pool2d(x, 3)),
    "adaptive maximum": Between(lambda own, x: F.adaptive_max_pool2d(x, 3)),
    "unfold": Between(lambda own, x: F.unfold(x, 3, padding=1).unflatten(2, x.shape[2:]), 36),
    "fold": Between(lambda own, x: F.fold(F.unfold(x, 3, padding=1, stride=2), x.shape[2:], 3, padding=1, stride=2)),
    "windows of rows": Between(lambda own, x: x.unfold(2, 3, 1).mean(4)),
    "windows of rows and columns": Between(lambda own, x: x.unfold(2, 3, 1).unfold(3, 3, 1).amax((4, 5))),
    "repeated": Between(lambda own, x: x + x.amax(2, keepdim=True).repeat(1, 1, x.shape[2], 1)),
    "tiled": Between(lambda own, x: x.tile((1, 1, 2, 1))),
    "shaped after the image": Between(lambda own, x: x * own.constant.type_as(x).expand_as(x)),
    "larger than a constant": Between(lambda own, x: torch.maximum(own.constant, x)),
    "pixel shuffle": Between(lambda own, x: F.pixel_shuffle(x, 2), 1),
    "pixel unshuffle": Between(lambda own, x: F.pixel_unshuffle(x, 2), 16),
    "shared keys": Between(_attention),
    "grouped keys": Between(_grouped_attention),
    "attention of channels": Between(_channel_attention),
    "product with a constant": Between(lambda own, x: image(tokens(x) @ own.weight, *x.shape[2:])),
    "einsum": Between(lambda own, x: torch.einsum("bchw,oc->bohw", x, own.weight)),
    "split attention": Between(_split_attention),
    "windows of a batch": Between(_windowed, layer=nn.Conv2d(4, 4, 3, padding=1)),
    "rotary": Between(_rotated),
    "standardised weights": Between(_standardised),
    "weight norm": Between(
        lambda own, x: own.layer(x), layer=nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1))
    ),
    "transposed": Between(lambda own, x: own.layer(x), layer=nn.ConvTranspose2d(4, 4, 2, 2)),
    "transposed, overlapping": Between(lambda own, x: own.layer(x), layer=nn.ConvTranspose2d(4, 4, 4, 2, 1)),
    "transposed, dense": Between(lambda own, x: own.layer(x), layer=nn.ConvTranspose2d(4, 4, 3, 1, 1)),
    "dilated": Between(lambda own, x: own.layer(x), layer=nn.Conv2d(4, 4, 3, padding=2, dilation=2)),
    "volumes": Between(
        lambda own, x: own.layer(x[:, None]).flatten(1, 2), 8, nn.Conv3d(1, 2, (1, 3, 3), padding=(0, 1, 1))
    ),
    "one dimension": Between(
        lambda own, x: own.layer(x.flatten(2)).unflatten(2, x.shape[2:]), layer=nn.Conv1d(4, 4, 3, padding=1)
    ),
    "normalised input": Between(lambda own, x: (x - own.constant) / own.constant),
    "slopes": Between(lambda own, x: own.layer(x), layer=nn.PReLU(4)),
    "functions": Between(lambda own, x: F.selu(F.softplus(x.clamp(-1, 1) ** 2)).log_softmax(1)),
    "quotient": Between(lambda own, x: x / (1 + x.abs()) + x.sigmoid().reciprocal()),
}
"""Networks for maps of 3×8×8, by the mechanism that they try."""
