"""What the user wants from a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hass_train.config.schema import SearchConfig
from hass_train.hardware import HardwareModel, LayerSparsity, SparsityProfile, Structure, Workload
from hass_train.runtime.errors import UserError

KINDS = ("penalty", "target_speedup", "target_throughput", "max_accuracy_drop", "sparsity")
WITHOUT_TARGET = ("penalty", "max_accuracy_drop", "sparsity")


@dataclass(frozen=True, slots=True)
class Goal:
    """A fixed penalty, a throughput to reach, accuracy that may be lost, or the sparsity of a recipe.

    Args:
        kind: one of `KINDS`.
        value: λ, the speed-up over the dense network, images/s, a fraction of validation images, or of weights.
    """

    kind: str
    value: float

    @classmethod
    def stated(cls, config: SearchConfig) -> Goal | None:
        """The goal that the configuration states; None if it states none.

        Raises:
            UserError: more than one goal, or one that is not a positive number.
        """
        stated = {kind: getattr(config, kind) for kind in KINDS if getattr(config, kind) is not None}
        if len(stated) > 1:
            raise UserError(f"search has {len(stated)} goals ({', '.join(stated)}); give one of them")
        if not stated:
            return None
        kind, value = next(iter(stated.items()))
        if not math.isfinite(value) or value < 0 or (value == 0 and kind not in WITHOUT_TARGET):
            raise UserError(f"search.{kind} is {value}; it must be a positive number")
        return cls(kind, float(value))

    @classmethod
    def of(cls, config: SearchConfig, usual: Callable[[], float]) -> Goal:
        """The goal that the configuration states, or the usual speed-up.

        How much a device gains from zeros depends on what binds it, so no one speed-up suits all of them.

        Args:
            config: with at most one goal.
            usual: gives the speed-up to aim at if there is none.

        Raises:
            UserError: as `stated`.
        """
        return cls.stated(config) or cls("target_speedup", math.floor(100 * usual()) / 100)

    def throughput(self, dense_ips: float) -> float | None:
        """Images/s to reach; None where the goal is none."""
        if self.kind in WITHOUT_TARGET:
            return None
        return self.value * dense_ips if self.kind == "target_speedup" else self.value

    def check_reachable(self, dense_ips: float, roof_ips: float, device: str, binds: str) -> None:
        """Raise UserError, naming the roof, if the goal is beyond it."""
        wanted = self.throughput(dense_ips)
        if wanted is not None and wanted > roof_ips:
            roof = f"{roof_ips / dense_ips:.4g}" if self.kind == "target_speedup" else f"{roof_ips:.0f} images/s"
            raise UserError(
                f"search.{self.kind} is {self.value:g}, beyond the roof of {device}: at the density floor it "
                f"reaches {roof} ({binds} binds); ask for at most that"
            )


def floor_profile(
    workload: Workload,
    gated: Mapping[str, tuple[bool, bool]],
    floor: float,
    weights_alone: bool = False,
    promises: Mapping[str, Structure | None] = MappingProxyType({}),
    least: Mapping[str, float] = MappingProxyType({}),
) -> SparsityProfile:
    """The sparsest profile a search may count on: pair density `floor` wherever the rules allow sparsity.

    Args:
        workload: the network.
        gated: for each compute layer, whether its weights and its activations may be sparse.
        floor: least pair density.
        weights_alone: let weights have all the zeros where they may be sparse, which relieves memories and bandwidth
            most; else they are shared evenly between weights and activations.
        promises: by layer, where a pattern would leave the weights' zeros.
        least: by layer, weight density that a pattern cannot go below.
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


@dataclass(frozen=True)
class HardwareQuestion:
    """A network on a hardware model: what the search asks again and again.

    Args:
        workload: traced once.
        accelerator: exact.
        quick: the same accelerator, answering within about a percent; for every epoch.
        goal: what the user wants.
        dense_ips: throughput of the dense network.
        roof_ips: throughput at the density floor.
        closely: whether the hardware looks at histograms of pairs; see `calibrate`.
    """

    workload: Workload
    accelerator: HardwareModel
    quick: HardwareModel
    goal: Goal
    dense_ips: float
    roof_ips: float = math.inf
    closely: bool = True

    @property
    def target_ips(self) -> float | None:
        """Images/s to reach; None where the goal is none."""
        return self.goal.throughput(self.dense_ips)
