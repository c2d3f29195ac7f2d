"""Counts of the non-zero pairs and activations of a layer, as compute engines meet them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.structure import Structure
from hass_train.runtime import ranks
from hass_train.sparsity.convolve import convolve
from hass_train.sparsity.count_kernel import occurrences
from hass_train.sparsity.independence import RUN, bundle_sizes, bundled, measure_lanes, sample_size, spread
from hass_train.sparsity.layers import SparseLayer
from hass_train.sparsity.padding import pad, pads
from hass_train.sparsity.tilt import tilted

_PAIRS = 2**19
"""Limit on the windows of single channels whose pairs are counted in an image; filters beyond it are left to the
others."""
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
        like: a measured sparsity nearby, whose histograms and independence of compute engines are taken over; only
            densities are counted, and histograms brought to their means.
    """

    def __init__(
        self,
        layer: SparseLayer,
        operation: str,
        samples: bool = True,
        closely: bool = True,
        like: LayerSparsity | None = None,
    ) -> None:
        self.layer, self.samples, self.like = layer, samples and closely, like
        self.weight = (layer.stored_weight(operation) != 0).float()
        window = self.weight[0, 0].numel() if self.weight.dim() == 4 else 1
        channels = self.weight.shape[1]
        sizes = bundle_sizes(channels, window) if closely else [channels]
        self.pairs, self.reads = (
            {size: torch.zeros(window * size + 1, dtype=torch.float64) for size in sizes} for _ in range(2)
        )  # how many windows of so many channels have 0, 1, … non-zero pairs, and non-zero activations
        self.activations = self.nonzero = self.images = self.windows = 0
        self.dealt: dict[int, tuple[Tensor, Tensor]] = {}  # the channels of bundles for pairs, and for activations
        self.runs: list[Tensor] = []  # sampled windows, for the independence of compute engines
        self.meetings: Tensor | None = None  # (input channels, kernel positions) non-zero activations read there

    def observe(self, x: Tensor) -> None:
        """Count the pairs and activations of a batch of inputs, given as the layer receives them."""
        x = self.layer.gated_input(x)
        self.activations += x.numel()
        present = (x != 0).float()
        channels = self.weight.shape[1]
        closely = max(0, _WINDOW_IMAGES - self.images) if self.samples else 0
        tokens = present.reshape(-1, channels, 1, 1) if self.weight.dim() == 2 else present
        self._meet(tokens.sum(0), len(tokens))
        if self.like is not None:
            return
        if self.samples:
            self._sample(present)
        if self.weight.dim() == 2:
            _count(self.pairs[channels], F.linear(present, self.weight))
            _count(self.reads[channels], present.sum(-1))
            if closely:
                self._deal(1)
                self._count_bundles(present[:closely].reshape(-1, channels))
            self.images += len(present)
            return
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        _count(self.pairs[channels], self._convolve(present, self.weight, layer.groups))
        _count(self.reads[channels], self._add_windows(present.unflatten(1, (layer.groups, channels)).sum(2)))
        if closely:
            self._deal(layer.groups)
        if not self.dealt or not closely:
            pass
        elif 1 in self.pairs or layer.groups > 1:
            self._count_windows(present[:closely], layer)
        else:
            some = present[:closely, :, :: layer.stride[0], :: layer.stride[1]]
            self._count_bundles(some.permute(0, 2, 3, 1).reshape(-1, channels))
        self.images += len(present)

    def _meet(self, images: Tensor, count: int) -> None:
        """Count the non-zero activations that each kernel position reads.

        Args:
            images: (channels, height, width) in how many images each word of the input is not zero; with the sum over
                images taken first, only the windows of a single map are left to go through.
            count: the number of images.
        """
        images = images.cpu().double()  # single precision would round the sums of large maps
        self.nonzero += int(images.sum())
        met = images
        if isinstance(self.layer, nn.Conv2d):
            layer = self.layer
            spans = [(size - 1) * step + 1 for size, step in zip(layer.kernel_size, layer.dilation, strict=True)]
            padded = pad(layer, images)
            windows = padded.unfold(1, spans[0], layer.stride[0]).unfold(2, spans[1], layer.stride[1])
            count *= windows.shape[1] * windows.shape[2]
            met = windows[..., :: layer.dilation[0], :: layer.dilation[1]].sum((1, 2))
        self.windows += count
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
            at = spread(runs, len(tokens)).to(present.device)
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
        at = spread(runs, images * height * across)
        column = (at % across * run)[:, None] + torch.arange(run)
        image, row = (at // (height * across))[:, None], (at // across % height)[:, None]
        picked = windows[image, :, row, column]  # (runs, run, C, Kh, Kw)
        self.runs.append(picked.flatten(3).unflatten(2, (layer.groups, channels)))

    def _lanes(self) -> dict[str, Lanes]:
        """How engines depend on each other, those that skip pairs and those that skip activations."""
        if self.like is not None:
            known = {name: getattr(self.like, name) for name in ("lanes", "activation_lanes")}
            return {name: lanes for name, lanes in known.items() if lanes is not None}
        if not self.runs:
            return {}
        windows = self.runs[0]
        groups, channels, taps = windows.shape[2:]
        kernels = self.weight.reshape(groups, -1, channels, taps)
        return {
            "lanes": measure_lanes(windows, kernels),
            "activation_lanes": measure_lanes(windows, torch.ones_like(kernels[:, :1])),
        }

    def _channel_densities(self) -> tuple[float, ...]:
        """The fraction of each input channel's pairs that are not zero, (input channels,).

        At every kernel position all activations meet all weights, so the number of pairs is a product.
        """
        assert self.meetings is not None
        groups = self.layer.groups if isinstance(self.layer, nn.Conv2d) else 1
        reads = self.windows * self.meetings.shape[1]
        return tuple((self._met_pairs() / (len(self.weight) // groups * reads)).tolist())

    def _met_pairs(self) -> Tensor:
        """(input channels,) non-zero pairs of each."""
        assert self.meetings is not None
        groups = self.layer.groups if isinstance(self.layer, nn.Conv2d) else 1
        channels, window = self.meetings.shape
        readers = self.weight.reshape(groups, -1, channels // groups, window).sum(1).cpu().double()
        return (readers.reshape(channels, window) * self.meetings).sum(1)

    def _channel_activations(self) -> tuple[float, ...]:
        """The fraction of what each input channel is read of that is not zero, padding included, (input channels,)."""
        assert self.meetings is not None
        reads = self.windows * self.meetings.shape[1]
        return tuple((self.meetings.sum(1) / reads).clamp(max=1.0).tolist())

    def _deal(self, groups: int) -> None:
        """Give channels to bundles as a design does, by what the first images say of their densities."""
        if self.dealt:
            return
        assert self.meetings is not None
        channels = self.weight.shape[1]
        for size in self.pairs:
            if size < channels:
                pairs, reads = (
                    bundled(one.reshape(groups, channels).mean(0), size).to(self.weight.device)
                    for one in (self._met_pairs(), self.meetings.sum(1))
                )
                self.dealt[size] = pairs, reads

    def _count_windows(self, present: Tensor, layer: nn.Conv2d) -> None:
        """Count the pairs and activations in windows of single channels and of bundles; the pairs by a depthwise
        convolution with every (filter, channel), or in each image with some of them if they are very many.

        Args:
            present: (images, channels, height, width) 1 where the input is not zero.
            layer: the convolution.
        """
        channels = self.weight.shape[1]
        reads = self._add_windows(present).unflatten(1, (layer.groups, channels))
        for size, (_, dealt) in self.dealt.items():
            _count(self.reads[size], reads[:, :, dealt].sum(3))
        kernels = self.weight.unflatten(0, (layer.groups, -1))
        apart = ceil_div(kernels[:, :, :, 0, 0].numel() * reads[0, 0, 0].numel(), _PAIRS)
        apart = min(apart, kernels.shape[1], _WINDOW_IMAGES)
        for place, image in enumerate(present, self.images):
            for group in range(layer.groups):
                own = image[None, group * channels : (group + 1) * channels]
                some = kernels[group, place % apart :: apart]
                one = some.transpose(0, 1).reshape(-1, 1, *kernels.shape[3:])
                pairs = self._convolve(own, one, channels)[0].unflatten(0, (channels, -1))
                for size, (dealt, _) in self.dealt.items():
                    _count(self.pairs[size], pairs[dealt].sum(1) if size > 1 else pairs)

    def _count_bundles(self, pixels: Tensor) -> None:
        """Count the pairs and activations in bundles of channels.

        Args:
            pixels: (pixels, channels) 1 where the input is not zero.
        """
        kernels = self.weight.flatten(1)
        for size, (dealt, read) in self.dealt.items():
            _count(self.pairs[size], torch.einsum("pbm,fbm->pbf", pixels[:, dealt], kernels[:, dealt]))
            _count(self.reads[size], pixels[:, read].sum(2))

    def _add_windows(self, maps: Tensor) -> Tensor:
        """The sums of the windows that the layer reads, map by map: (images, maps, height, width) of the result; a view
        of the maps where windows are single values."""
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        if self.weight[0, 0].numel() == 1 and not any(pads(layer, maps)):
            return maps[:, :, :: layer.stride[0], :: layer.stride[1]]
        ones = self.weight.new_ones((1, 1, *self.weight.shape[2:])).expand(maps.shape[1], -1, -1, -1)
        return self._convolve(maps, ones, maps.shape[1])

    def _convolve(self, present: Tensor, weight: Tensor, groups: int) -> Tensor:
        layer = self.layer
        assert isinstance(layer, nn.Conv2d)
        left, right, top, bottom = pads(layer, present)
        if (left, top) == (right, bottom) and layer.padding_mode == "zeros":
            return convolve(present, weight, None, layer.stride, (top, left), layer.dilation, groups)
        return F.conv2d(pad(layer, present), weight, None, layer.stride, 0, layer.dilation, groups)

    def gather(self) -> None:
        """Add the counts of the other processes."""
        assert self.meetings is not None
        counts = [*self.pairs.values(), *self.reads.values()]
        sums = torch.tensor([self.activations, self.nonzero, self.windows], dtype=torch.float64)
        parts = [*counts, self.meetings.flatten(), sums]
        whole = ranks.summed(torch.cat(parts)).split([len(part) for part in parts])
        self.pairs = dict(zip(self.pairs, whole, strict=False))
        self.reads = dict(zip(self.reads, whole[len(self.pairs) :], strict=False))
        self.meetings = whole[-2].reshape(self.meetings.shape)
        self.activations, self.nonzero, self.windows = (int(one) for one in whole[-1])

    def result(self) -> LayerSparsity:
        """The sparsity of the layer over all batches."""
        per_channel, read = self._channel_densities(), self._channel_activations()
        if self.like is None:
            histograms, activations = self._histograms(self.pairs, per_channel), self._histograms(self.reads, read)
        else:
            histograms = _brought(self.like.histograms, per_channel)
            activations = _brought(self.like.activation_histograms, read)
        widest, layer = histograms[max(histograms)], self.layer
        mean = sum(k * probability for k, probability in enumerate(widest))
        return LayerSparsity(
            weight_density=float(self.weight.mean()),
            activation_density=self.nonzero / self.activations,
            pair_density=min(mean / (len(widest) - 1), 1.0),
            histograms=histograms,
            channel_densities=per_channel,
            channel_activations=read,
            structure=self._structure() if layer.prune_weights else None,
            activation_histograms=activations,
            filter_nonzeros=tuple(self.weight.flatten(1).sum(1, dtype=torch.int64).tolist()),
            **self._lanes(),
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
        channels = self.weight.shape[1]
        parts = _brought({size: seen for size, seen in counts.items() if size < channels}, densities)
        return parts | {channels: tuple((counts[channels] / counts[channels].sum()).tolist())}


def _brought(
    seen: Mapping[int, Tensor | tuple[float, ...]], densities: tuple[float, ...]
) -> dict[int, tuple[float, ...]]:
    """Distributions by bundle size, brought to the mean that densities of channels say."""
    mean = sum(densities) / len(densities)
    return {size: tuple(tilted(np.asarray(one), mean * (len(one) - 1)).tolist()) for size, one in seen.items()}


def _count(histogram: Tensor, nonzeros: Tensor) -> None:
    """Add numbers of non-zeros to the counts of a histogram."""
    histogram += occurrences(nonzeros, len(histogram) - 1)
