"""The recipe that prunes the same fraction of every layer's weights at once."""

from __future__ import annotations

from torch import nn

from hass_train.runtime.errors import UserError
from hass_train.search.engine import Choice, SearchEngine
from hass_train.search.goals import SHORT_BY
from hass_train.search.subject import Subject
from hass_train.search.trials.evaluator import Evaluator
from hass_train.sparsity import SparseLayer, sparse_layers


class OneShot(SearchEngine):
    """Prunes the groups of weights with the lowest scores, the same fraction in every layer; then the network recovers.

    Args:
        sparsity: fraction of groups to prune in every layer whose weights may be pruned.
        activation_sparsity: fraction of zeros in the input of every layer that may be gated.

    Raises:
        ValueError: the sparsity is 0 or not given.
    """

    name = "one_shot"
    recipe = True

    def __init__(self, sparsity: float | None, activation_sparsity: float = 0.0) -> None:
        if not sparsity:
            raise ValueError(f"search={self.name} takes a fraction of the weights; say search.sparsity=0.5")
        self.sparsity, self.activation_sparsity = sparsity, activation_sparsity

    def prepare(self, model: nn.Module) -> None:
        """See `SearchEngine`: the pattern must be able to reach the sparsity."""
        layers: list[SparseLayer] = [layer for _, layer in sparse_layers(model) if layer.prune_weights]
        if not layers:
            raise UserError(
                f"search.sparsity is {self.sparsity:g}, but sparsity.rules let no layer's weights become sparse"
            )
        weights = sum(layer.weight.numel() for layer in layers)
        left = 0.0
        for layer in layers:
            level = layer.pattern.level_at(layer.weight, layer.kernel_groups, self.sparsity)
            left += float(layer.pattern.keep_mask(layer.weight.detach(), layer.kernel_groups, level).sum())
        if 1 - left / weights < self.sparsity - SHORT_BY:
            raise UserError(
                f"search.sparsity is {self.sparsity:g}, but {layers[0].pattern} takes {1 - left / weights:.2f} of the "
                "weights that may be pruned; ask for that, or choose another pattern"
            )

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`."""
        evaluator = Evaluator(subject)
        evaluator.apply(evaluator.at_sparsity(self.sparsity, self.activation_sparsity))
        return Choice()
