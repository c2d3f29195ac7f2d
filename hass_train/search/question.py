"""What a search asks the accelerator: estimates of one network, and whether the goal is within reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import MappingProxyType

from torch import nn

from hass_train.config.schema import SearchConfig
from hass_train.hardware import Accelerator, CannotFit, Estimate, LayerSparsity, SparsityProfile, Structure, Workload
from hass_train.runtime.errors import UserError
from hass_train.search.goal import Goal, Measured
from hass_train.search.goals import TargetSpeedup
from hass_train.sparsity import sparse_layers

_GAIN = 1.1  # least speed-up at the density floor, where zero activations gain nothing, that is worth a search


@dataclass(frozen=True)
class HardwareQuestion:
    """A network on an accelerator, and the goal of the search.

    Args:
        workload: the network, traced once.
        accelerator: the accelerator, which gives exact estimates.
        quick: the same accelerator with quick estimates, accurate to about a percent, for every epoch.
        goal: the goal of the search.
        dense_rate: rate of the dense network, as `Goal.rate` has it.
        roof_rate: that at the density floor.
        roof_binds: the resource that binds at the density floor.
        dense: the estimate of the dense network; None in the workers of a study, which only need its throughput.
    """

    workload: Workload
    accelerator: Accelerator
    quick: Accelerator
    goal: Goal
    dense_rate: float
    roof_rate: float = math.inf
    roof_binds: str = ""
    dense: Estimate | None = field(default=None, repr=False)

    @cached_property
    def steering(self) -> Accelerator:
        """The same accelerator for the questions that steer the search, which remembers the ones before."""
        return self.accelerator.steering()

    @property
    def target_rate(self) -> float | None:
        """The rate to reach; None if the goal does not ask for one."""
        return self.goal.target_rate(self.dense_rate)

    def rate(self, hardware: Accelerator, profile: SparsityProfile) -> float:
        """The rate of the network at a sparsity, as the goal has it and an accelerator answers."""
        return self.goal.rate(hardware.unpriced(self.workload, profile))

    def gain(self, measured: Measured) -> float:
        """The rate of a network over the dense network's."""
        return self.goal.rate(measured) / self.dense_rate

    @property
    def dense_estimate(self) -> Estimate:
        """The estimate of the dense network.

        Raises:
            RuntimeError: this is the process of a worker, which does not have it.
        """
        if self.dense is None:
            raise RuntimeError("only the process that began the search has the dense network's estimate")
        return self.dense

    def with_weight_bits(self, layers: Mapping[str, int]) -> HardwareQuestion:
        """The same question about a network whose layers have other widths of weights.

        Args:
            layers: bits of weights, by the path of a layer's module; others keep theirs.
        """
        uses = self.workload.uses
        weights = {operation: bits for layer, bits in layers.items() for operation in uses[layer]}
        return replace(self, workload=self.workload.with_bits(weights, {})) if weights else self

    @classmethod
    def of(
        cls, workload: Workload, model: nn.Module, accelerator: Accelerator, goal: Goal | None, config: SearchConfig
    ) -> HardwareQuestion:
        """Estimate the dense network and the sparsest possible one, and check that the goal can be reached.

        Args:
            workload: the network.
            model: the same network as a module with sparse layers.
            accelerator: the accelerator.
            goal: the goal of the user. None = the speed-up of the accelerator at `config.default_density`; how much
                zeros gain depends on the resource that binds, so no fixed speed-up suits all devices.
            config: the configuration of the search, with the density floor and the default density.

        Raises:
            UserError: the network does not fit, sparsity gains nothing, or the goal is beyond the roof.
        """

        def estimate(profile: SparsityProfile, of: Callable[..., Estimate] = accelerator.unpriced) -> Estimate:
            try:
                return of(workload, profile)
            except CannotFit as error:
                raise UserError(f"{workload.name} does not fit {accelerator.name}: {error}") from error

        floors = [_floor(workload, model, config.density_floor, alone) for alone in (False, True)]
        dense = estimate(SparsityProfile.dense(workload), accelerator.estimate)
        sparsest = [estimate(floor) for floor in floors]
        roof = max(sparsest, key=lambda one: one.throughput_ips)
        gain = roof.throughput_ips / dense.throughput_ips
        if gain < _GAIN and not accelerator.uses_activations and config.sparsity is None:
            pattern = next(layer.pattern for _, layer in sparse_layers(model))
            raise UserError(
                f"{accelerator.name} gains nothing from sparsity ({pattern}): with {config.density_floor:.0%} of pairs "
                f"left it is {gain:.2f} times as fast as dense; try sparsity=block"
            )
        chosen = goal or _usual(estimate, workload, model, accelerator, dense, config)
        roof = max(sparsest, key=chosen.rate)
        chosen.check_reachable(dense, roof, accelerator.name, roof.bottleneck.resource)
        rates = chosen.rate(dense), chosen.rate(roof)
        return cls(workload, accelerator, accelerator.quick(), chosen, *rates, roof.bottleneck.resource, dense)


def _usual(
    estimate: Callable[[SparsityProfile], Estimate],
    workload: Workload,
    model: nn.Module,
    accelerator: Accelerator,
    dense: Estimate,
    config: SearchConfig,
) -> Goal:
    """The goal if the user states none: the speed-up at the default density, rounded down to a percent."""
    # where activations gain nothing, weights get as many zeros as where both share the pair density
    wanted = config.default_density ** (1.0 if accelerator.uses_activations else 0.5)
    usual = estimate(_floor(workload, model, wanted, False))
    return TargetSpeedup(math.floor(100 * usual.throughput_ips / dense.throughput_ips) / 100)


def _floor(workload: Workload, model: nn.Module, density: float, weights_alone: bool) -> SparsityProfile:
    """The `floor_profile` of a model, whose layers know their rules and patterns."""
    layers = {operation: layer for _, layer in sparse_layers(model) for operation in layer.operations}
    return floor_profile(
        workload,
        {name: (layer.prune_weights, layer.gate_activations) for name, layer in layers.items()},
        density,
        weights_alone,
        {name: partial(layer.pattern.promise, layer.weight, layer.kernel_groups) for name, layer in layers.items()},
        {name: layer.least_density() for name, layer in layers.items() if layer.prune_weights},
    )


def floor_profile(
    workload: Workload,
    gated: Mapping[str, tuple[bool, bool]],
    floor: float,
    weights_alone: bool = False,
    promises: Mapping[str, Callable[[float], Structure | None]] = MappingProxyType({}),
    least: Mapping[str, float] = MappingProxyType({}),
) -> SparsityProfile:
    """The sparsest profile that a search may count on: pair density `floor` wherever the rules allow sparsity.

    Args:
        workload: the network.
        gated: for each compute layer, whether its weights and its activations may be sparse.
        floor: the lowest pair density.
        weights_alone: whether to put all zeros into the weights where they may be sparse, which relieves memories and
            bandwidth most; otherwise weights and activations have the same density.
        promises: by layer, the structure of the zeros that the pattern of its weights guarantees at a weight density.
        least: by layer, the lowest weight density that its pattern can reach.
    """
    layers = {}
    for layer in workload.compute_layers:
        weight, activation = gated[layer.name]
        activation &= not (weight and weights_alone)
        each = math.sqrt(floor) if weight and activation else floor
        densities = (each if weight else 1.0, each if activation else 1.0)
        promised = None
        if weight:
            densities = (max(densities[0], least.get(layer.name, 0.0)), densities[1])
            promised = promises[layer.name](densities[0]) if layer.name in promises else None
        layers[layer.name] = LayerSparsity(*densities, densities[0] * densities[1], structure=promised)
    return SparsityProfile(layers)
