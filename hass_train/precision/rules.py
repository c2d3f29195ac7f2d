"""How many bits the numbers of a network have: a precision, with rules for some of its layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from hass_train.hardware.workload import Workload
from hass_train.precision.formats import MOST_BITS
from hass_train.runtime.errors import UserError, suggested
from hass_train.sparsity.matching import FIRST, LAST, check_used, matches

LEAST_BITS = 2


@dataclass(frozen=True, slots=True)
class PrecisionRule:
    """Bits of some layers.

    Args:
        match: the layers: a glob on module paths, `@first` (those that read the image), `@last` (the classifiers), or
            a class name (`Conv2d`, `Linear`).
        weight_bits, activation_bits: bits of their weights, and of the tensors that they read; None leaves what holds
            otherwise. A tensor that several layers read has the most bits that any of them asks for.
    """

    match: str
    weight_bits: int | None = None
    activation_bits: int | None = None


class Numbers:
    """What a network computes with, as the group `precision` of the configuration names it."""


class Float(Numbers):
    """Floating-point numbers, as torch computes; such a network has no integers."""


@dataclass(frozen=True)
class Precision(Numbers):
    """The bits of a network's numbers.

    Args:
        weight_bits, activation_bits: bits of weights and activations that no rule is about, from 2 to 16.
        output_bits: bits of the network's answers.
        accumulator_bits: bits that no layer's accumulator may exceed, from 16 to 48.
        rules: rules by name, in order, or their arguments; of those that match a layer the last that says something
            holds.

    Raises:
        UserError: bits are out of range or not whole, or a rule has other arguments.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    output_bits: int = 16
    accumulator_bits: int = 32
    rules: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules = {key: _rule(key, rule) for key, rule in (self.rules or {}).items() if rule is not None}
        object.__setattr__(self, "rules", rules)
        for name in ("weight_bits", "activation_bits", "output_bits"):
            _check(f"precision.{name}", getattr(self, name), LEAST_BITS, MOST_BITS)
        _check("precision.accumulator_bits", self.accumulator_bits, 16, 48)
        for key, rule in self.rules.items():
            for name in ("weight_bits", "activation_bits"):
                if getattr(rule, name) is not None:
                    _check(f"precision.rules.{key}.{name}", getattr(rule, name), LEAST_BITS, MOST_BITS)

    def of_layers(self, model: nn.Module, workload: Workload, unset: int | None = None) -> dict[str, LayerBits]:
        """Return the bits of each layer of a network, by the path of its module.

        Args:
            model: the network.
            workload: the same, traced.
            unset: weight bits of layers that no rule is about; by default `weight_bits`.

        Raises:
            UserError: a rule matches no layer.
        """
        modules = dict(model.named_modules())
        ends = {FIRST: workload.first_layers, LAST: workload.last_layers}
        used, result = set[str](), dict[str, LayerBits]()
        for name in workload.uses:
            weight, activation = self.weight_bits if unset is None else unset, self.activation_bits
            for key, rule in self.rules.items():
                if matches(rule, name, modules[name], ends):
                    used.add(key)
                    weight, activation = rule.weight_bits or weight, rule.activation_bits or activation
            result[name] = LayerBits(weight, activation)
        check_used("precision", self.rules, used, [*result])
        return result


@dataclass(frozen=True)
class Mixed(Precision):
    """Integers whose weights have bits of each layer's own, chosen where a search freezes its thresholds.

    Until then all weights have `weight_bits`. Layers that rules give weight bits keep these.

    Args:
        choices: bits that a layer's weights may have; the most are `weight_bits`.
        output_error: squared error of the answers that fewer bits may add, as a fraction of the answers' variance over
            classes, summed over layers each of which is measured by itself; above 0.

    Raises:
        UserError: see `Precision`; or the choices do not begin at `weight_bits`, or the error is not above 0.
    """

    choices: Sequence[int] = (8, 4, 2)
    output_error: float = 0.05

    def __post_init__(self) -> None:
        Precision.__post_init__(self)
        for bits in self.choices:
            _check("precision.choices", bits, LEAST_BITS, MOST_BITS)
        object.__setattr__(self, "choices", tuple(sorted({*self.choices}, reverse=True)))
        if max(self.choices, default=0) != self.weight_bits:
            raise UserError(
                f"precision.choices is {list(self.choices)}; the most must be precision.weight_bits, which is "
                f"{self.weight_bits}, from which layers get fewer"
            )
        if not 0 < self.output_error < math.inf:
            raise UserError(f"precision.output_error is {self.output_error}; it must be above 0")

    def free_layers(self, model: nn.Module, workload: Workload) -> list[str]:
        """The layers whose weight bits are chosen: those to which no rule gives any, by the paths of their modules."""
        given = self.of_layers(model, workload, unset=0)
        return [name for name, bits in given.items() if not bits.weight]


@dataclass(frozen=True, slots=True)
class LayerBits:
    """Bits of a layer's weights, and of the tensors that it reads."""

    weight: int
    activation: int


def _rule(key: str, given: object) -> PrecisionRule:
    """A rule, perhaps from its arguments."""
    if isinstance(given, PrecisionRule):
        return given
    known = [one.name for one in fields(PrecisionRule)]
    if not isinstance(given, Mapping) or not isinstance(given.get("match"), str):
        raise UserError(f"precision.rules.{key} is {given!r}; it must hold match (text), and bits of some kind")
    for name in given:
        if name not in known:
            where = f"precision.rules.{key}."
            raise UserError(f"there is no key '{where}{name}'{suggested(where + name, [where + one for one in known])}")
    return PrecisionRule(**given)


def _check(name: str, value: object, least: int, most: int) -> None:
    """Raise UserError for bits that are not a whole number in range."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"{name} is {value}; it must be a whole number from {least} to {most}")
