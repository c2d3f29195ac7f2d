"""The sparse layer classes, and the dense class that each of them replaces."""

from __future__ import annotations

from timm.layers.conv2d_same import Conv2dSame
from timm.layers.linear import Linear as TimmLinear
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.sparsity.convolve import Conv2d, convolve
from hass_train.sparsity.layers import Compute, SparseLayer


class SparseConv2d(SparseLayer, Conv2d):  # type: ignore[misc]
    """A convolution with weight and activation thresholds."""

    def forward(self, x: Tensor, compute: Compute | None = None, gated: bool = False) -> Tensor:
        x, weight = self._operands(x, gated)
        if compute is not None:
            return compute(x, weight)
        return self._conv_forward(x, weight, self.bias)


class SparseConv2dSame(SparseLayer, Conv2dSame):
    """timm's convolution with TensorFlow's "same" padding, with weight and activation thresholds."""

    def forward(self, x: Tensor, compute: Compute | None = None, gated: bool = False) -> Tensor:
        x, weight = self._operands(x, gated)
        if compute is not None:
            return compute(x, weight)
        x = pad_same(x, weight.shape[2:], self.stride, self.dilation)
        return convolve(x, weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)  # type: ignore[arg-type]


class SparseLinear(SparseLayer, nn.Linear):  # type: ignore[misc]
    """A linear layer with weight and activation thresholds."""

    def forward(self, x: Tensor, compute: Compute | None = None, gated: bool = False) -> Tensor:
        x, weight = self._operands(x, gated)
        if compute is not None:
            return compute(x, weight)
        return F.linear(x, weight, self.bias)


SPARSE_CLASSES: dict[type[nn.Module], type[SparseLayer]] = {
    nn.Conv2d: SparseConv2d,
    Conv2d: SparseConv2d,  # of a network that `train.py` has trained
    Conv2dSame: SparseConv2dSame,
    nn.Linear: SparseLinear,
    TimmLinear: SparseLinear,  # differs from torch's only under TorchScript
}
