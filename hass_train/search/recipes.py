"""The papers' recipes: the same fraction of every layer's weights, at once or step by step, then training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from hass_train.runtime.errors import UserError
from hass_train.search.engine import Choice, Subject
from hass_train.search.trials.evaluator import Evaluator
from hass_train.sparsity import SparseLayer, sparse_layers

_SHORT = 0.01  # of a sparsity, that small layers and groups that must live may miss


@dataclass(frozen=True)
class OneShot:
    """The lowest fraction of the groups of every layer goes, by score; then the network recovers.

    Args:
        sparsity: fraction of every layer's groups of weights.
        activation_sparsity: fraction of the inputs of every layer that may be gated.
    """

    sparsity: float
    activation_sparsity: float = 0.0

    name = "one_shot"
    learns = False

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """There are no search epochs."""

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`."""
        evaluator = Evaluator(subject)
        evaluator.apply(evaluator.at_sparsity(self.sparsity, self.activation_sparsity))
        return Choice()


@dataclass(frozen=True)
class Incremental(OneShot):
    """The fraction grows by an increment every few epochs of the search, while the network trains (Weight Block
    Sparsity: 5 % every two epochs). What is taken may come back until all is frozen.

    Args:
        increment: of the fraction.
        every: epochs.
    """

    increment: float = 0.05
    every: int = 2

    name = "incremental"

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """See `SearchEngine`."""
        present = min(self.increment * (epoch // self.every + 1), self.sparsity)
        for _, layer in sparse_layers(model):
            layer.set_sparsity(present if layer.prune_weights else 0.0, 0.0)


def sparsity_of(model: nn.Module) -> float:
    """Fraction of the weights of layers that may be pruned, that is zero."""
    layers = [layer for _, layer in sparse_layers(model) if layer.prune_weights]
    whole = sum(layer.weight.numel() for layer in layers)
    return 1 - sum(layer.weight_density() * layer.weight.numel() for layer in layers) / whole


def reaches(model: nn.Module, sparsity: float) -> bool:
    """Whether a frozen network is as sparse as it was to become."""
    return sparsity_of(model) >= sparsity - _SHORT


def check_possible(model: nn.Module, sparsity: float) -> None:
    """Raise UserError if the pattern of a network cannot become so sparse, with what it can."""
    layers: list[SparseLayer] = [layer for _, layer in sparse_layers(model) if layer.prune_weights]
    if not layers:
        raise UserError(f"search.sparsity is {sparsity:g}, but sparsity.rules let no layer's weights become sparse")
    whole = sum(layer.weight.numel() for layer in layers)
    left = 0.0
    for layer in layers:
        level = layer.pattern.level_at(layer.weight, layer.kernel_groups, sparsity)
        left += float(layer.pattern.keep_mask(layer.weight.detach(), layer.kernel_groups, level).sum())
    if 1 - left / whole < sparsity - _SHORT:
        raise UserError(
            f"search.sparsity is {sparsity:g}, but {layers[0].pattern} takes {1 - left / whole:.2f} of the weights "
            "that may be pruned; ask for that, or choose another pattern"
        )
