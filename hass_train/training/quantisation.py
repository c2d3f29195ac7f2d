"""When a network's exponents are chosen in training: at the start of a phase, after its epochs, and no more at the end.

A search begins with floating-point numbers, with which thresholds are learned. Its search phase ends with a
calibration, before thresholds are settled: recovery keeps these exponents, since with others the settled thresholds
would give other zeros. Where engines train no thresholds, the search phase begins with a calibration too, observes
values in some steps, chooses exponents anew after every epoch, and keeps them in its last quarter, as plain training
does. All that is of values; the exponents of filters follow their weights in all phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from hass_train.precision import QUANTISERS, Stage, quantisers_of
from hass_train.sparsity import SearchStep

BATCHES = 4
"""Number of training batches by which exponents are chosen."""
_KEEP = 0.5  # weight of what was observed in the epochs before
_FIXED = 0.25  # fraction of plain training or of a search phase, at its end, in which exponents stay


def calibrate_precision(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Choose the exponents of a network that has fake quantisers, which round from now on.

    Batch norms that never saw an image are given the statistics of these first: weights are folded by them.

    Args:
        model: the network.
        images: (n, channels, height, width) each, the same in all processes.
    """
    if quantisers := quantisers_of(model):
        batches = list(images)
        if any(not norm.num_batches_tracked for norm in model.modules() if isinstance(norm, _BatchNorm)):
            update_bn(batches, model)
        quantisers.calibrate(batches)


def renew_batch_norm(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Measure batch-norm statistics again, as the plain mean over some batches, at the present thresholds.

    A network with fake quantisers is measured as one of floats: while statistics are of few batches or of none, no
    weights can be rounded by them. Afterwards the exponents of filters are chosen anew, which these statistics scale;
    those of values stay.

    Args:
        model: the network; its training mode is restored afterwards.
        images: (n, channels, height, width) each, in the network's memory format.
    """
    with as_floats(model) as rounds, SearchStep(model)(learns=False):
        update_bn(images, model)
    if rounds and (quantisers := quantisers_of(model)):
        quantisers.choose_weights()


@contextmanager
def as_floats(model: nn.Module) -> Iterator[bool]:
    """Let a network compute without rounding in the body: its float twin, with the same weights, masks and thresholds.

    Yields:
        Whether that makes a difference: whether the network rounds otherwise.
    """
    quantisers = quantisers_of(model)
    if quantisers is None or quantisers.stage_now is Stage.FLOAT:
        yield False
        return
    stage = quantisers.stage_now
    quantisers.set_stage(Stage.FLOAT)
    try:
        yield True
    finally:
        quantisers.set_stage(stage)


def observing(model: nn.Module) -> AbstractContextManager[None]:
    """Return the context of a forward pass that observes values, if the network rounds them."""
    quantisers = quantisers_of(model)
    return nullcontext() if quantisers is None or quantisers.stage_now is Stage.FLOAT else quantisers.observed()


def follow_weights(model: nn.Module) -> None:
    """Choose the exponents of filters anew by their present weights, if the network rounds them."""
    quantisers = quantisers_of(model)
    if quantisers is not None and quantisers.stage_now is Stage.QUANTISED:
        quantisers.follow_weights()


def choose_exponents(model: nn.Module) -> None:
    """Choose exponents anew by what was observed, if the network rounds values."""
    quantisers = quantisers_of(model)
    if quantisers is not None and quantisers.stage_now is Stage.QUANTISED:
        quantisers.choose(_KEEP)


def layer_bits(model: nn.Module, state: Mapping[str, Any] | None = None) -> dict[str, int]:
    """The bits of the weights of those layers whose precision leaves them free (`Mixed`), by their paths.

    Args:
        model: the network.
        state: a state dict from a checkpoint that is about to be loaded into it; by default the present bits count.
    """
    quantisers = quantisers_of(model)
    if quantisers is None or not quantisers.free_layers:
        return {}
    if state is None:
        return quantisers.layer_bits()
    (saved,) = (value for key, value in state.items() if key.endswith(f"{QUANTISERS}.chosen_bits"))
    return dict(zip(quantisers.free_layers, saved.tolist(), strict=True))


def set_layer_bits(model: nn.Module, bits: Mapping[str, int]) -> None:
    """Change the bits of the weights of free layers, by their paths; none = nothing changes."""
    quantisers = quantisers_of(model)
    if quantisers is not None and bits:
        quantisers.set_layer_bits(bits)


def synchronize(model: nn.Module) -> None:
    """Update what fake quantisers know of their buffers, after a checkpoint was loaded."""
    if quantisers := quantisers_of(model):
        quantisers.synchronize()


def fixed(epoch: int, epochs: int) -> bool:
    """Whether exponents of values stay as they are in an epoch (from 0) of plain training or of a search phase.

    In the last one they always do. Other exponents than those with which it was trained can destroy a network, and
    change how many values are zero, so that thresholds no longer bring what the search has measured.
    """
    return epoch >= min((1 - _FIXED) * epochs, epochs - 1)
