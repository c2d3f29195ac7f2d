"""Sparsity profiles from running averages and by exact measurement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.workload import ceil_div
from hass_train.sparsity.convert import sparse_layers
from hass_train.sparsity.layers import SparseLayer

_CHUNK_WORDS = 2**25
"""Outputs of one per-channel indicator convolution; more filters are taken in turn."""
_WINDOW_IMAGES = 16
"""Images that the histogram of single-channel windows is taken from; each gives filters × channels × pixels of them."""


def running_profile(model: nn.Module) -> SparsityProfile:
    """Sparsity as the training step sees it: weight densities, running activation densities, independent pairs."""
    layers = {}
    for name, layer in sparse_layers(model):
        weight, activation = layer.weight_density(), float(layer.activation_density)
        layers[name] = LayerSparsity(weight, min(activation, 1.0), min(weight * activation, 1.0))
    return SparsityProfile(layers)


class _PairCounter:
    """Counts non-zero weight–activation pairs of one layer, dot product by dot product."""

    def __init__(self, layer: SparseLayer) -> None:
        self.layer = layer
        self.weight = (layer.gated_weight().detach() != 0).float()
        window = self.weight[0, 0].numel() if self.weight.dim() == 4 else 1
        channels = self.weight.shape[1]
        self.counts = {bundle: torch.zeros(window * bundle + 1, dtype=torch.float64) for bundle in {1, channels}}
        if window == 1:
            self.counts = {channels: self.counts[channels]}  # a single pair is binomial by itself
        self.activations = self.nonzero = self.images = 0

    def observe(self, x: Tensor) -> None:
        """Add a batch of inputs, as the layer receives them."""
        x = self.layer.gated_input(x)
        self.activations += x.numel()
        self.nonzero += int(torch.count_nonzero(x))
        present = (x != 0).float()
        channels = self.weight.shape[1]
        if self.weight.dim() == 2:
            self._count(channels, F.linear(present, self.weight))
            return
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        self._count(channels, self._convolve(present, self.weight, layer.groups))
        if 1 in self.counts and channels > 1:
            self._count_windows(present[: max(0, _WINDOW_IMAGES - self.images)], layer)
        self.images += len(present)

    def _count_windows(self, present: Tensor, layer: nn.Conv2d) -> None:
        """The windows of single channels: every (filter, channel) pair is a depthwise filter of its own."""
        filters, channels = self.weight.shape[:2]
        for image in present:
            for group in range(layer.groups):
                own = image[None, group * channels : (group + 1) * channels]
                kernels = self.weight[group * filters // layer.groups : (group + 1) * filters // layer.groups]
                step = max(1, _CHUNK_WORDS // max(own.numel(), 1))
                for start in range(0, len(kernels), step):
                    some = kernels[start : start + step].transpose(0, 1).reshape(-1, 1, *kernels.shape[2:])
                    self._count(1, self._convolve(own, some, channels))

    def _convolve(self, present: Tensor, weight: Tensor, groups: int) -> Tensor:
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        padding = layer.padding
        if isinstance(padding, str) or type(layer).__name__.endswith("Same"):
            return _convolve_same(present, weight, layer, groups)
        return F.conv2d(present, weight, None, layer.stride, padding, layer.dilation, groups)

    def _count(self, bundle: int, pairs: Tensor) -> None:
        histogram = self.counts[bundle]
        found = torch.bincount(pairs.round().long().flatten().cpu(), minlength=len(histogram))
        histogram += found

    def result(self) -> LayerSparsity:
        """The layer's sparsity over all batches."""
        histograms = {bundle: (counts / counts.sum()).tolist() for bundle, counts in self.counts.items()}
        widest = histograms[max(histograms)]
        mean = sum(k * probability for k, probability in enumerate(widest))
        return LayerSparsity(
            weight_density=float(self.weight.mean()),
            activation_density=self.nonzero / self.activations,
            pair_density=min(mean / (len(widest) - 1), 1.0),
            histograms={bundle: tuple(histogram) for bundle, histogram in histograms.items()},
        )


def _convolve_same(present: Tensor, weight: Tensor, layer: nn.Conv2d, groups: int) -> Tensor:
    """TensorFlow's padding: as much as ⌈size/stride⌉ outputs need, the odd pixel at the end."""
    pads: list[int] = []
    for axis in (1, 0):
        size, kernel = present.shape[2 + axis], weight.shape[2 + axis]
        stride, dilation = layer.stride[axis], layer.dilation[axis]
        whole = max((ceil_div(size, stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        pads += [whole // 2, whole - whole // 2]
    return F.conv2d(F.pad(present, pads), weight, None, layer.stride, 0, layer.dilation, groups)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def calibrate(model: nn.Module, batches: Iterable[Tensor]) -> SparsityProfile:
    """Measure sparsity exactly on images: the calibration pass.

    For each layer the histogram of non-zero pairs per dot product, from the convolution of the two indicator tensors
    (activation ≠ 0, weight ≠ 0), which costs one more convolution (hardware-model, section 10); for windows larger than
    one pixel also the histogram per input channel. Padding counts as zeros.

    Args:
        model: with sparse layers, in any mode.
        batches: of images, on the model's device.

    Raises:
        ValueError: no images.
    """
    counters = {name: _PairCounter(layer) for name, layer in sparse_layers(model)}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, counter=counters[name]: counter.observe(inputs[0]))
        for name, layer in sparse_layers(model)
    ]
    images = 0
    try:
        with _evaluating(model):
            for batch in batches:
                images += len(batch)
                model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not images:
        raise ValueError("calibration needs at least one image")
    return SparsityProfile({name: counter.result() for name, counter in counters.items()})
