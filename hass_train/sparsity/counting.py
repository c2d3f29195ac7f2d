"""Counts of the non-zero pairs and activations of a layer, as compute engines meet them."""

from __future__ import annotations

from dataclasses import replace

import torch
from timm.layers import get_same_padding
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware.lanes import Lanes
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.structure import Structure
from hass_train.runtime import ranks
from hass_train.sparsity.independence import RUN, bundle_sizes, bundled, measure_lanes, sample_size
from hass_train.sparsity.layers import SparseLayer
from hass_train.sparsity.tilt import tilted

_CHUNK_WORDS = 2**25
"""Limit on the outputs of one per-channel indicator convolution; filters beyond it are convolved afterwards."""
_WINDOW_IMAGES = 16
"""Number of images for the histograms of single-channel windows and bundles; each gives filters × channels × pixels
of them. What all images say of their means is put in afterwards."""


class NonzeroCounter:
    """Counts the non-zero weight–activation pairs of one layer, and its non-zero activations, window by window.

    Args:
        layer: the layer that is measured.
        operation: the name of that of its operations.
        samples: whether this process measures single channels and windows on the first images.
        closely: whether anybody does; otherwise only whole dot products are counted.
    """

    def __init__(self, layer: SparseLayer, operation: str, samples: bool = True, closely: bool = True) -> None:
        self.layer, self.samples = layer, samples and closely
        self.weight = (layer.stored_weight(operation) != 0).float()
        window = self.weight[0, 0].numel() if self.weight.dim() == 4 else 1
        channels = self.weight.shape[1]
        # a single pair has no distribution beyond its density, and engines take bundles of channels
        sizes = sorted({1, channels}) if window > 1 else bundle_sizes(channels)
        if not closely:
            sizes = [channels]
        self.pairs, self.reads = (
            {size: torch.zeros(window * size + 1, dtype=torch.float64) for size in sizes} for _ in range(2)
        )  # how many windows of so many channels have 0, 1, … non-zero pairs, and non-zero activations
        self.activations = self.nonzero = self.images = 0
        self.dealt: dict[int, Tensor] = {}  # the channels of each size's bundles, as they were dealt
        self.runs: list[Tensor] = []  # sampled windows, for the independence of compute engines
        self.meetings: Tensor | None = None  # (input channels, kernel positions) non-zero activations read there

    def observe(self, x: Tensor) -> None:
        """Count the pairs and activations of a batch of inputs, given as the layer receives them."""
        x = self.layer.gated_input(x)
        self.activations += x.numel()
        present = (x != 0).float()
        channels = self.weight.shape[1]
        closely = max(0, _WINDOW_IMAGES - self.images) if self.samples else 0
        if self.samples:
            self._sample(present)
        if self.weight.dim() == 2:
            self._meet(present.reshape(-1, channels, 1, 1).sum(0))
            _count(self.pairs[channels], F.linear(present, self.weight))
            _count(self.reads[channels], present.sum(-1))
            self._count_bundles(present[:closely].reshape(-1, channels))
            self.images += len(present)
            return
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        self._meet(present.sum(0))
        _count(self.pairs[channels], self._convolve(present, self.weight, layer.groups))
        _count(self.reads[channels], self._add_windows(present.unflatten(1, (layer.groups, channels)).sum(2)))
        if 1 in self.pairs and channels > 1:
            self._count_windows(present[:closely], layer)
        elif len(self.pairs) > 1 and layer.groups == 1:
            some = present[:closely, :, :: layer.stride[0], :: layer.stride[1]]
            self._count_bundles(some.permute(0, 2, 3, 1).reshape(-1, channels))
        self.images += len(present)

    def _meet(self, images: Tensor) -> None:
        """Count the non-zero activations that each kernel position reads.

        Args:
            images: (channels, height, width) in how many images each word of the input is not zero; with the sum over
                images taken first, only the windows of a single map are left to go through.
        """
        images = images.cpu().double()  # single precision would round the sums of large maps
        self.nonzero += int(images.sum())
        met = images
        if isinstance(self.layer, nn.Conv2d):
            layer = self.layer
            spans = [(size - 1) * step + 1 for size, step in zip(layer.kernel_size, layer.dilation, strict=True)]
            padded = pad(layer, images)
            windows = padded.unfold(1, spans[0], layer.stride[0]).unfold(2, spans[1], layer.stride[1])
            met = windows[..., :: layer.dilation[0], :: layer.dilation[1]].sum((1, 2))
        met = met.flatten(1)
        self.meetings = met if self.meetings is None else self.meetings + met

    def _sample(self, present: Tensor) -> None:
        """Keep some runs of neighbouring windows of the first images, evenly spaced over their maps."""
        if self.runs:
            return
        filters, channels = self.weight.shape[:2]
        layer = self.layer
        if not isinstance(layer, nn.Conv2d):
            tokens = present.reshape(-1, channels)
            runs = sample_size(filters, len(tokens))
            at = torch.linspace(0, len(tokens) - 1, runs, device=present.device).long()
            # neighbouring tokens are not columns: engines compute the results of one token at a time
            self.runs.append(tokens[at[:, None]][:, :, None, :, None])
            return
        padded = pad(layer, present[:_WINDOW_IMAGES])
        spans = [(size - 1) * step + 1 for size, step in zip(layer.kernel_size, layer.dilation, strict=True)]
        windows = padded.unfold(2, spans[0], layer.stride[0]).unfold(3, spans[1], layer.stride[1])
        windows = windows[..., :: layer.dilation[0], :: layer.dilation[1]]  # (n, C, H', W', Kh, Kw), no copy
        images, _, height, width = windows.shape[:4]
        run = min(RUN, width)
        across = width // run
        runs = sample_size(filters * channels, images * height * width)
        at = torch.linspace(0, images * height * across - 1, runs).long()
        column = (at % across * run)[:, None] + torch.arange(run)
        image, row = (at // (height * across))[:, None], (at // across % height)[:, None]
        picked = windows[image, :, row, column]  # (runs, run, C, Kh, Kw)
        self.runs.append(picked.flatten(3).unflatten(2, (layer.groups, channels)))

    def _lanes(self) -> Lanes:
        windows = self.runs[0]
        groups, channels = windows.shape[2:4]
        kernels = self.weight.reshape(groups, -1, channels, windows.shape[4])
        return measure_lanes(windows, kernels)

    def _channel_densities(self) -> tuple[float, ...]:
        """The fraction of each input channel's pairs that are not zero, (input channels,).

        At every kernel position all activations meet all weights, so the number of pairs is a product.
        """
        assert self.meetings is not None
        groups = self.layer.groups if isinstance(self.layer, nn.Conv2d) else 1
        channels, window = self.meetings.shape
        readers = self.weight.reshape(groups, -1, channels // groups, window).sum(1).cpu().double()
        nonzero = (readers.reshape(channels, window) * self.meetings).sum(1)
        dots = self.pairs[max(self.pairs)].sum()  # each filter of the channel's group has one per output pixel
        return tuple((nonzero / (dots / groups * window)).tolist())

    def _channel_activations(self) -> tuple[float, ...]:
        """The fraction of what each input channel is read of that is not zero, padding included, (input channels,)."""
        assert self.meetings is not None
        dots = self.pairs[max(self.pairs)].sum()  # each filter has one per output pixel
        read = dots / len(self.weight) * self.meetings.shape[1]
        return tuple((self.meetings.sum(1) / read).clamp(max=1.0).tolist())

    def _count_windows(self, present: Tensor, layer: nn.Conv2d) -> None:
        """Count the pairs and activations in windows of single channels; the pairs by a depthwise convolution with
        every (filter, channel).

        Args:
            present: (images, channels, height, width) 1 where the input is not zero.
            layer: the convolution.
        """
        _count(self.reads[1], self._add_windows(present))
        filters, channels = self.weight.shape[:2]
        for image in present:
            for group in range(layer.groups):
                own = image[None, group * channels : (group + 1) * channels]
                kernels = self.weight[group * filters // layer.groups : (group + 1) * filters // layer.groups]
                step = max(1, _CHUNK_WORDS // max(own.numel(), 1))
                for start in range(0, len(kernels), step):
                    some = kernels[start : start + step].transpose(0, 1).reshape(-1, 1, *kernels.shape[2:])
                    _count(self.pairs[1], self._convolve(own, some, channels))

    def _count_bundles(self, pixels: Tensor) -> None:
        """Count the pairs and activations in bundles of channels.

        Args:
            pixels: (pixels, channels) 1 where the input is not zero.
        """
        if not len(pixels):
            return
        channels, kernels = pixels.shape[1], self.weight.flatten(1)
        for size in self.pairs:
            if size < channels:
                dealt = bundled(pixels.mean(0) * kernels.mean(0), size)
                self.dealt[size] = dealt.flatten().cpu()
                bundles = pixels[:, dealt]
                _count(self.pairs[size], torch.einsum("pbm,fbm->pbf", bundles, kernels[:, dealt]))
                _count(self.reads[size], bundles.sum(2))

    def _add_windows(self, maps: Tensor) -> Tensor:
        """The sums of the windows that the layer reads, map by map: (images, maps, height, width) of the result."""
        ones = self.weight.new_ones((1, 1, *self.weight.shape[2:])).expand(maps.shape[1], -1, -1, -1)
        return self._convolve(maps, ones, maps.shape[1])

    def _convolve(self, present: Tensor, weight: Tensor, groups: int) -> Tensor:
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        left, right, top, bottom = _pads(layer, present)
        if (left, top) == (right, bottom) and layer.padding_mode == "zeros":
            return F.conv2d(present, weight, None, layer.stride, (top, left), layer.dilation, groups)
        return F.conv2d(pad(layer, present), weight, None, layer.stride, 0, layer.dilation, groups)

    def gather(self) -> None:
        """Add the counts of the other processes."""
        assert self.meetings is not None
        counts = [*self.pairs.values(), *self.reads.values()]
        sums = torch.tensor([self.activations, self.nonzero], dtype=torch.float64)
        parts = [*counts, self.meetings.flatten(), sums]
        whole = ranks.summed(torch.cat(parts)).split([len(part) for part in parts])
        self.pairs = dict(zip(self.pairs, whole, strict=False))
        self.reads = dict(zip(self.reads, whole[len(self.pairs) :], strict=False))
        self.meetings = whole[-2].reshape(self.meetings.shape)
        self.activations, self.nonzero = (int(one) for one in whole[-1])

    def result(self) -> LayerSparsity:
        """The sparsity of the layer over all batches."""
        per_channel, read = self._channel_densities(), self._channel_activations()
        histograms = self._histograms(self.pairs, per_channel)
        activations = self._histograms(self.reads, read)
        widest, layer = histograms[max(histograms)], self.layer
        mean = sum(k * probability for k, probability in enumerate(widest))
        return LayerSparsity(
            weight_density=float(self.weight.mean()),
            activation_density=self.nonzero / self.activations,
            pair_density=min(mean / (len(widest) - 1), 1.0),
            histograms=histograms,
            channel_densities=per_channel,
            channel_activations=read,
            lanes=self._lanes() if self.runs else None,
            structure=self._structure() if layer.prune_weights else None,
            activation_histograms=activations,
            filter_nonzeros=tuple(self.weight.flatten(1).sum(1, dtype=torch.int64).tolist()),
        )

    def _structure(self) -> Structure | None:
        """Where the pattern leaves zeros. Filters are dead where it prunes them, not where they are rounded to zero."""
        pattern, groups = self.layer.pattern, self.layer.kernel_groups
        found = pattern.structure(self.weight != 0, groups)
        if found is None or not found.dead_filters:
            return found
        pruned = pattern.structure(self.layer.gated_weight().detach() != 0, groups)
        return replace(found, dead_filters=pruned.dead_filters if pruned else ())

    def _histograms(self, counts: dict[int, Tensor], densities: tuple[float, ...]) -> dict[int, tuple[float, ...]]:
        """The distributions by bundle size; those of some images have the mean that all images say.

        Args:
            counts: by size, how often so many were seen.
            densities: (input channels,) of what was counted.
        """
        result: dict[int, tuple[float, ...]] = {}
        channels, each = self.weight.shape[1], torch.tensor(densities, dtype=torch.float64)
        for size, seen in counts.items():
            if size < channels:
                own = each[self.dealt[size]] if size in self.dealt else each
                result[size] = tuple(tilted(seen, float(own.mean()) * (len(seen) - 1)).tolist())
            else:
                result[size] = tuple((seen / seen.sum()).tolist())
        return result


def _count(histogram: Tensor, nonzeros: Tensor) -> None:
    """Add numbers of non-zeros to the counts of a histogram."""
    histogram += torch.bincount(nonzeros.round().long().flatten().cpu(), minlength=len(histogram))


def pad(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Images (…, height, width) with the padding that a convolution reads: of zeros, or as its padding mode says."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(images, _pads(layer, images), mode=mode)


def _pads(layer: nn.Conv2d, images: Tensor) -> tuple[int, int, int, int]:
    """The pixels of padding left, right, above and below images (…, height, width), in the order of `F.pad`.

    TensorFlow's "same" padding is as large as ⌈size/stride⌉ outputs need; an odd pixel is added right or below.
    """
    padding = layer.padding
    if padding == "valid":
        return 0, 0, 0, 0
    if not isinstance(padding, str) and not isinstance(layer, Conv2dSame):
        return padding[1], padding[1], padding[0], padding[0]
    pads: list[int] = []
    for axis in (1, 0):
        whole = get_same_padding(
            images.shape[axis - 2], layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
        )
        pads += [whole // 2, whole - whole // 2]
    left, right, top, bottom = pads
    return left, right, top, bottom
