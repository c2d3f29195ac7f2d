"""What a search asks its accelerator, again and again, and the limits that the answers have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn

from hass_train.config.schema import SearchConfig
from hass_train.hardware import Accelerator, CannotFit, Estimate, LayerSparsity, SparsityProfile, Structure, Workload
from hass_train.runtime.errors import UserError
from hass_train.search.goals import Goal, TargetSpeedup
from hass_train.sparsity import sparse_layers

_GAIN = 1.1  # of an accelerator that no activation's zero helps: below it there is nothing to search for


@dataclass(frozen=True)
class HardwareQuestion:
    """A network on an accelerator, and what the user wants of the two.

    Args:
        workload: the network, traced once.
        accelerator: gives exact answers.
        quick: the same accelerator, answering within about a percent, for every epoch.
        goal: what the user wants.
        dense: the estimate of the dense network; None in helpers, which only compare with its throughput.
        dense_ips: its throughput, images/s.
        roof_ips: throughput at the density floor, images/s.
        roof_binds: the resource that binds there.
    """

    workload: Workload
    accelerator: Accelerator
    quick: Accelerator
    goal: Goal
    dense_ips: float
    roof_ips: float = math.inf
    roof_binds: str = ""
    dense: Estimate | None = field(default=None, repr=False)

    @property
    def target_ips(self) -> float | None:
        """Images/s to reach; None where the goal is no throughput."""
        return self.goal.target_ips(self.dense_ips)

    @property
    def dense_estimate(self) -> Estimate:
        """The estimate of the dense network.

        Raises:
            RuntimeError: this question was made for a helper, which has none.
        """
        if self.dense is None:
            raise RuntimeError("only the process that began the search has the dense network's estimate")
        return self.dense

    @classmethod
    def of(
        cls, workload: Workload, model: nn.Module, accelerator: Accelerator, goal: Goal | None, config: SearchConfig
    ) -> HardwareQuestion:
        """Ask what the dense network and the sparsest possible one are worth, and check the goal against them.

        Args:
            workload: the network.
            model: the same, with sparse layers.
            accelerator: to be asked.
            goal: what the user states; without one the goal is what the accelerator gains at
                `config.default_density`, since how much zeros gain depends on what binds a device.
            config: density floor and default density.

        Raises:
            UserError: the network does not fit, sparsity gains nothing, or the goal is beyond the roof.
        """

        def estimate(profile: SparsityProfile) -> Estimate:
            try:
                return accelerator.estimate(workload, profile)
            except CannotFit as error:
                raise UserError(f"{workload.name} does not fit {accelerator.name}: {error}") from error

        dense = estimate(SparsityProfile.dense(workload))
        floors = [_floor(workload, model, config.density_floor, alone) for alone in (False, True)]
        roof = max(map(estimate, floors), key=lambda one: one.throughput_ips)
        gain = roof.throughput_ips / dense.throughput_ips
        if gain < _GAIN and not accelerator.uses_activations and config.sparsity is None:
            pattern = next(layer.pattern for _, layer in sparse_layers(model))
            raise UserError(
                f"{accelerator.name} gains nothing from sparsity ({pattern}): with {config.density_floor:.0%} of pairs "
                f"left it is {gain:.2f} times as fast as dense; try sparsity=block"
            )
        chosen = goal or _usual(estimate, workload, model, accelerator, dense, config)
        chosen.check_reachable(dense.throughput_ips, roof.throughput_ips, accelerator.name, roof.bottleneck.resource)
        return cls(
            workload, accelerator, accelerator.quick(), chosen, dense.throughput_ips, roof.throughput_ips,
            roof.bottleneck.resource, dense,
        )  # fmt: skip


def _usual(
    estimate: Callable[[SparsityProfile], Estimate],
    workload: Workload,
    model: nn.Module,
    accelerator: Accelerator,
    dense: Estimate,
    config: SearchConfig,
) -> Goal:
    """The speed-up at the default density, rounded down to a percent."""
    # where activations gain nothing, weights are asked for no more zeros than where they share with them
    wanted = config.default_density ** (1.0 if accelerator.uses_activations else 0.5)
    usual = estimate(_floor(workload, model, wanted, False))
    return TargetSpeedup(math.floor(100 * usual.throughput_ips / dense.throughput_ips) / 100)


def _floor(workload: Workload, model: nn.Module, density: float, weights_alone: bool) -> SparsityProfile:
    """`floor_profile` of a model's layers, by their rules and patterns."""
    layers = dict(sparse_layers(model))
    return floor_profile(
        workload,
        {name: (layer.prune_weights, layer.gate_activations) for name, layer in layers.items()},
        density,
        weights_alone,
        {name: layer.pattern.promise() for name, layer in layers.items()},
        {name: layer.least_density() for name, layer in layers.items() if layer.prune_weights},
    )


def floor_profile(
    workload: Workload,
    gated: Mapping[str, tuple[bool, bool]],
    floor: float,
    weights_alone: bool = False,
    promises: Mapping[str, Structure | None] = MappingProxyType({}),
    least: Mapping[str, float] = MappingProxyType({}),
) -> SparsityProfile:
    """The sparsest profile that a search may count on: pair density `floor` wherever the rules allow sparsity.

    Args:
        workload: the network.
        gated: for each compute layer, whether its weights and its activations may be sparse.
        floor: the least pair density.
        weights_alone: let weights have all the zeros where they may be sparse, which relieves memories and bandwidth
            most; otherwise they are shared evenly between weights and activations.
        promises: by layer, where a pattern would leave the weights' zeros.
        least: by layer, the weight density that a pattern cannot go below.
    """
    layers = {}
    for layer in workload.compute_layers:
        weight, activation = gated[layer.name]
        activation &= not (weight and weights_alone)
        each = math.sqrt(floor) if weight and activation else floor
        densities = (each if weight else 1.0, each if activation else 1.0)
        promise = promises.get(layer.name) if weight else None
        if weight:
            densities = (max(densities[0], least.get(layer.name, 0.0)), densities[1])
        layers[layer.name] = LayerSparsity(*densities, densities[0] * densities[1], structure=promise)
    return SparsityProfile(layers)
