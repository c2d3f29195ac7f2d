"""Sparsity profiles of a network, from running averages or by exact measurement on images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.runtime import ranks
from hass_train.sparsity.convert import sparse_layers
from hass_train.sparsity.counting import NonzeroCounter
from hass_train.sparsity.layers import SparseLayer


def running_profile(model: nn.Module) -> SparsityProfile:
    """The sparsity as training steps see it: weight densities, running activation densities, and their product as pair
    density, as if zeros of weights and of activations were independent."""
    layers: dict[str, LayerSparsity] = {}
    for _, layer in sparse_layers(model):
        weight, activation = layer.weight_density(), float(layer.activation_density)
        seen = LayerSparsity(weight, min(activation, 1.0), min(weight * activation, 1.0))
        layers |= dict.fromkeys(layer.operations, seen)
    return SparsityProfile(layers)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


@contextmanager
def _called(layers: Iterable[SparseLayer], seen: Callable[[str, Tensor], None]) -> Iterator[dict[str, int]]:
    """Call a function with the operation and the input of every call of some layers, and count the calls."""
    counts = {name: 0 for layer in layers for name in layer.operations}

    def note(layer: SparseLayer, inputs: tuple[Tensor, ...]) -> None:
        name = min(layer.operations, key=counts.__getitem__)  # the first of those that were called least
        counts[name] += 1
        seen(name, inputs[0])

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def calibrate(
    model: nn.Module,
    batches: Iterable[Tensor],
    together: bool = False,
    closely: bool = True,
    like: SparsityProfile | None = None,
) -> SparsityProfile:
    """Measure sparsity exactly on images: the calibration pass.

    Each layer's histogram of non-zero pairs per dot product is found by convolving the two indicator tensors
    (activation ≠ 0, weight ≠ 0), which costs one more convolution (sparsity-and-search, section 3). Windows larger than
    one pixel also have a histogram per input channel. So do the non-zero activations of windows. Padding counts as
    zeros, and so does what is rounded to zero where the network computes with integers.

    Args:
        model: a network with sparse layers, in any mode.
        batches: (n, channels, height, width) batches of images, on the model's device.
        together: whether to add up the counts of all processes that train together. Each measures its own images (at
            least one), and all of them must call this; only the first one measures what `closely` adds.
        closely: whether to measure single channels, and the independence of compute engines, too. This takes most of
            the time; where the hardware gains nothing from zero activations, whole dot products are enough.
        like: what was measured of the same network nearby. Its histograms, brought to the means that are measured now,
            and its independence of compute engines are taken over, which takes a tenth to a quarter of the time.

    Raises:
        ValueError: there are no images.
    """
    samples = not together or ranks.rank() == 0
    layers = [layer for _, layer in sparse_layers(model)]
    known = like.layers if like is not None else {}
    images = passes = 0
    with _evaluating(model):  # before counters look at weights, which layers keep in evaluation
        counters = {
            name: NonzeroCounter(layer, name, samples, closely, known.get(name))
            for layer in layers
            for name in layer.operations
        }
        with _called(layers, lambda name, x: counters[name].observe(x)) as calls:
            for batch in batches:
                images, passes = images + len(batch), passes + 1
                model(batch)
    if not images:
        raise ValueError("calibration needs at least one image")
    if odd := [name for name, count in calls.items() if count != passes]:
        raise RuntimeError(f"{odd[0]} ran {calls[odd[0]]} times in {passes} passes, unlike when it was traced")
    if not together or not ranks.together():
        return SparsityProfile({name: counter.result() for name, counter in counters.items()})
    for counter in counters.values():
        counter.gather()
    return ranks.from_first(lambda: SparsityProfile({name: counter.result() for name, counter in counters.items()}))
