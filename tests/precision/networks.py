"""Small networks with every operation that has an integer meaning, and how tests make quantised ones of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers import DropPath
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.precision import Precision, PrecisionRule, integer_graph, quantise
from hass_train.sparsity import LayerRule, Mode, sparse_layers, sparsify, watching


class Convolutions(nn.Module):
    """Convolutions of every geometry, with batch norms behind them or without."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(16, 8, (1, 3), groups=4, dilation=(1, 2), padding=(0, 2), bias=False)
        self.twice = nn.BatchNorm2d(8)
        self.even = nn.Conv2d(8, 8, 4, padding="same")
        self.same = Conv2dSame(8, 12, 3, stride=2, bias=False)
        self.last = nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu6(self.depthwise(x))
        x = self.twice(self.grouped(x))
        x = F.hardtanh(self.even(x), -0.5, 0.75)
        return self.last(self.same(x)).mean((2, 3))


class Pools(nn.Module):
    """Every pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.largest = nn.MaxPool2d(3, 2, 1)
        self.same = MaxPool2dSame(2, 1)
        self.average = nn.AvgPool2d(3, 1, 1)
        self.adaptive = nn.AdaptiveAvgPool2d(2)
        self.conv = nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.average(self.same(self.largest(self.stem(x))))
        return self.head(self.conv(self.adaptive(F.avg_pool2d(x, 2, 1))).mean((-1, -2)))


class Sums(nn.Module):
    """Residual sums and differences, one of them of a value that is read three times, and a layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.own, self.before = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.drop_path, self.drop = DropPath(0.5), nn.Dropout(0.5)
        self.head = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.drop_path(self.own(self.shared(x)))
        y = F.relu_(self.before(x))
        x = x - self.shared(y)
        x += x
        return self.norm(self.head(self.drop(x.mean((2, 3)))))


class Gates(nn.Module):
    """Squeeze and excitation, concatenations of values of different ranges, and a channel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.fine = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(16 * 144, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = x * torch.sigmoid(self.expand(x.mean((2, 3), keepdim=True)))
        left, right = x.chunk(2, 1)
        x = torch.cat([right, left, self.fine(left), x[:, 1:8:2]], 1)
        x = x.view(x.shape[0], 2, 8, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        return self.head(x.flatten(1))


class Pointwise(nn.Module):
    """A pointwise function between two layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.head, self.function = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 4, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.stem(x))).mean((2, 3))


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "tanh": torch.tanh,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "mish": F.mish,
    "relu": F.relu,
}
ENDS = {"first": PrecisionRule("@first", weight_bits=8), "last": PrecisionRule("@last", weight_bits=8)}
PRESETS = {"fixed16": Precision(16, 16, accumulator_bits=48), "int4": Precision(4, rules=ENDS)}
"""What `conf/precision/` has beside 8 bits."""
TOYS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": Convolutions, "pools": Pools, "sums": Sums, "gates": Gates,
    **{name: (lambda one=one: Pointwise(one)) for name, one in FUNCTIONS.items()},
}  # fmt: skip


def images(count: int, size: int, seed: int = 0) -> Tensor:
    """Random images (count, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def settled(model: nn.Module, size: int) -> nn.Module:
    """Give batch norms the statistics of some images, and scales and shifts that differ."""
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
    with torch.no_grad():
        for seed in range(8):
            model.train()(images(16, size, seed))
    return model.eval()


def quantised(
    model: nn.Module, size: int, precision: Precision | None = None, weights: float = 0.5, level: float = 0.3
) -> nn.Module:
    """Turn a dense network into one with calibrated fake quantisers, masks and activation thresholds.

    Args:
        model: the network, which is changed and returned in evaluation mode.
        size: height and width of its images.
        precision: how many bits; 8 by default.
        weights: fraction of weights that are pruned.
        level: activation thresholds, in mean magnitudes of the inputs.
    """
    graph = integer_graph(settled(model, size), (3, size, size))
    sparsify(model, {"all": LayerRule("*")}, None, graph.workload)
    layers = [layer for _, layer in sparse_layers(model)]
    with watching(model), torch.no_grad():
        model.train()(images(8, size))
    for layer in layers:
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(weights, level)
        layer.set_mode(Mode.FROZEN)
    model.eval()
    quantise(model, graph, precision or Precision()).calibrate([images(16, size, 1), images(16, size, 2)])
    return model
