"""Which layers a rule is about; the rules of sparsity and those of precision say it alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from torch import nn

from hass_train.runtime.errors import UserError

FIRST, LAST = "@first", "@last"
"""What a rule's `match` says for the layers that read the image, and for those whose filters are the classes."""


class Matching(Protocol):
    """A rule."""

    @property
    def match(self) -> str:
        """The layers: a glob on module paths, `@first`, `@last`, or a class name."""


def matches(rule: Matching, name: str, module: nn.Module, ends: Mapping[str, Collection[str]]) -> bool:
    """Whether a rule is about a layer.

    Args:
        rule: the rule.
        name, module: the layer's path, and the layer.
        ends: the paths of the layers that `FIRST` and `LAST` stand for.
    """
    if rule.match in ends:
        return name in ends[rule.match]
    return fnmatchcase(name, rule.match) or any(base.__name__ == rule.match for base in type(module).__mro__)


def check_used(group: str, rules: Mapping[str, Matching], used: Collection[str], layers: Sequence[str]) -> None:
    """Check that every rule matched a layer, but for general exceptions such as `*.se.*`, which need not occur in every
    network.

    Args:
        group: where the rules stand in the configuration.
        rules: the rules by name.
        used: the names of those that matched.
        layers: the paths of all layers.

    Raises:
        UserError: a rule matches no layer.
    """
    for key, rule in rules.items():
        if key not in used and not rule.match.startswith("*"):
            some = ", ".join(layers[:2])
            raise UserError(f"{group}.rules.{key} matches no layer ({rule.match!r}); layers are {some}, …")
