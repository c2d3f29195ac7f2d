"""What every accelerator is asked, and how a configuration names one."""

from __future__ import annotations

import inspect
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hass_train.hardware.estimate import Estimate
from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import Workload

if TYPE_CHECKING:
    from hass_train.hardware.dataflow.design import Design

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Accelerator(ABC):
    """A family of accelerators behind `hw=`: it is asked what a network with a given sparsity is worth on it.

    A configuration names a subclass, or a function that returns an instance of one, by `_target_`, with its arguments
    beside it. `hass_train.testing.AcceleratorContract` tests an accelerator of your own.

    Attributes:
        name: what reports call it.
        uses_activations: whether zeros among the activations can gain anything. If not, no activation is ever gated,
            since that would only cost accuracy.
        has_designs: whether its answers have designs that can be built and simulated (`design`).
    """

    name: str = "accelerator"
    uses_activations: ClassVar[bool] = True
    has_designs: ClassVar[bool] = False

    @abstractmethod
    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """Estimate what the network reaches at this sparsity, with the best design there is.

        Raises:
            CannotFit: no design fits the device.
            ValueError: the profile's layers do not match the workload's.
        """

    def unpriced(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """Return the same estimate, whose prices may be missing: for questions about the rate alone.

        Prices are often a good part of the work. A subclass that changes `estimate` of one that has its own `unpriced`
        changes both.
        """
        return self.estimate(workload, profile)

    def quick(self) -> Accelerator:
        """Return the same accelerator, answering within about a percent, for what a search asks in every epoch."""
        return self

    def steering(self) -> Accelerator:
        """Return the same accelerator for the questions that steer a search, each about a profile near the one before.

        It may keep what it found before, if `anchors` tells all that later answers depend on.
        """
        return self.quick()

    def anchors(self) -> dict[str, Any]:
        """What later answers depend on beside their question, as plain data for a checkpoint; empty = nothing."""
        return {}

    def anchor(self, workload: Workload, anchors: Mapping[str, Any]) -> None:  # noqa: B027 most depend on nothing
        """Go on from what `anchors` said.

        Args:
            workload: the network.
            anchors: plain data from a checkpoint.
        """

    def width_gains(
        self, workload: Workload, profile: SparsityProfile, choices: Mapping[str, Sequence[int]]
    ) -> dict[str, dict[int, float]]:
        """Return what other widths of weights are worth: the log of the factor by which the network becomes faster.

        Here each width is estimated by itself. An accelerator whose answers jump says instead what they are worth at
        the present design, as its prices do.

        Args:
            workload: the network, with present widths.
            profile: its sparsity.
            choices: the widths in question, bits, by the path of a layer's module; all its operations have the same.

        Raises:
            CannotFit: no design fits the device.
        """
        present, found = self.unpriced(workload, profile).throughput_ips, dict[str, dict[int, float]]()
        for layer, widths in choices.items():
            found[layer] = {}
            for bits in widths:
                other = workload.with_bits(dict.fromkeys(workload.uses[layer], bits), {})
                found[layer][bits] = math.log(self.unpriced(other, profile).throughput_ips / present)
        return found

    def design(self, workload: Workload, estimate: Estimate) -> Design | None:
        """Return the design behind an estimate, for those who build or simulate it; None where there is none to build.

        Args:
            workload: the network that was estimated.
            estimate: this accelerator's answer.
        """
        return None


WIDTHS = ("weight_bits", "activation_bits", "accumulator_bits")
"""Arguments of accelerators that a configuration may leave open (null): they follow the network's numbers."""


def with_fields_of(*kinds: type) -> Callable[[_Function], _Function]:
    """Give a function that takes any keywords the signature of some dataclasses' fields.

    A configuration's keys are checked against the signature of what `_target_` names; so the fields of a device and of
    its design rules can stand side by side under `hw`, and are declared only once. `WIDTHS` may be None as well.
    """

    def dress(function: _Function) -> _Function:
        parameters, hints = [], {}
        for kind in kinds:
            types = typing.get_type_hints(kind)
            for item in fields(kind):
                default = inspect.Parameter.empty if item.default is MISSING else item.default
                hint = types[item.name] | None if item.name in WIDTHS else types[item.name]
                hints[item.name] = hint
                parameters.append(
                    inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
                )
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = hints
        return function

    return dress
