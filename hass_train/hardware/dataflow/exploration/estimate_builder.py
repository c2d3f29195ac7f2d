"""From the designs that an exploration chose to an `Estimate`: rows, bottleneck, energy, prices and latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.energy import image_energy
from hass_train.hardware.dataflow.costs.memory import BRAM18_BITS, URAM_BITS
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, Table, per_unit
from hass_train.hardware.dataflow.exploration.bottleneck import explain
from hass_train.hardware.dataflow.exploration.explore import Explorer
from hass_train.hardware.dataflow.exploration.kind_reasons import KindReasons
from hass_train.hardware.dataflow.exploration.latency import latency_cycles
from hass_train.hardware.dataflow.exploration.network import ExploredPart, Network
from hass_train.hardware.dataflow.exploration.prices import (
    LayerDemand,
    Prices,
    Usage,
    kind_demands,
    prices_of,
    worth,
)
from hass_train.hardware.dataflow.options import LIMITS
from hass_train.hardware.estimate import Bottleneck, Energy, Estimate, LayerEstimate, Part, Resources
from hass_train.hardware.profile import DENSITIES, LayerSparsity, SparsityProfile
from hass_train.hardware.workload import Operation

_TIE = 1e-3  # worth of the resources that do not bind, beside those that do
_CLOSE = 1e-3  # how nearly the weights of resources bound best by which prices are told
_PARTS = "hw.partitions=best also looks for parts that run one after another, each with all the memory"


@dataclass(frozen=True)
class EstimateBuilder:
    """Puts together the estimate of a network from its explored parts.

    Args:
        network: the network's tables at the profile's sparsity.
        profile: the sparsity of its layers.
        parts: the parts that run one after another; one, unless the network is partitioned.
        explorers: for each part, the explorer that found its design.
    """

    network: Network
    profile: SparsityProfile
    parts: Sequence[ExploredPart]
    explorers: Sequence[Explorer]

    def estimate(self, priced: bool = True) -> Estimate:
        """The estimate of the whole network.

        Args:
            priced: whether the prices of densities are worked out; otherwise there are none.
        """
        network, explored = self.network, self.parts
        workload, clock, options = network.workload, network.clock_hz, network.options
        used = [self._utilization(s, e) for s, e in zip(explored, self.explorers, strict=True)]
        worths = self.worths()
        rows = self._rows(worths)
        parts = tuple(
            Part(
                workload.operations[s.start].name,
                workload.operations[s.end - 1].name,
                s.design.interval,
                s.design.replicas,
                Resources.of(s.design.resources).scaled(s.design.replicas),
            )
            for s in explored
        )
        one = explored[0].design if len(explored) == 1 else None
        batch_s = network.batch_seconds(explored)
        seconds = self.image_seconds
        prices = self._all_prices(worths) if priced else {density: {} for density in DENSITIES}
        return Estimate(
            throughput_ips=1 / seconds,
            interval_cycles=one.interval if one else int(np.ceil(seconds * clock)),
            latency_ms=(latency_cycles(workload, rows) / clock if one else batch_s) * 1e3,
            replicas=one.replicas if one else 1,
            clock_mhz=network.device.clock_mhz,
            resources=Resources.most(part.resources for part in parts),
            utilization={name: max(each[name] for each in used) for name in LIMITS},
            bottleneck=self._bottleneck(rows),
            layers=tuple(rows),
            prices=prices["pair_density"],
            weight_prices=prices["weight_density"],
            activation_prices=prices["activation_density"],
            energy=self._energy(rows, seconds),
            parts=parts,
            slack=max(s.design.slack for s in explored),
            limits={name: options.usable(name) for name in LIMITS if name in options.limits},
            available=network.device.available,
            objective=options.objective,
        )

    @property
    def image_seconds(self) -> float:
        """The seconds between two images, on average."""
        network, explored = self.network, self.parts
        if len(explored) == 1:
            return explored[0].design.interval / explored[0].design.replicas / network.clock_hz
        return network.batch_seconds(explored) / network.options.batch

    def worths(self) -> list[NDArray[np.float64]]:
        """(6,) what a unit of each resource is worth, as a share of all that binds, for each part."""
        found = zip(self.parts, self.explorers, strict=True)
        return [self._worth(part, explorer, self._utilization(part, explorer)) for part, explorer in found]

    def shares(self) -> list[float]:
        """The share that each part has of the time between two images."""
        return [part.design.interval / part.design.replicas / self.network.clock_hz / self.image_seconds
                for part in self.parts]  # fmt: skip

    def _rows(self, worths: Sequence[NDArray[np.float64]]) -> list[LayerEstimate]:
        """A row for the chosen design of every operation; (6,) what a unit of each resource is worth in each part."""
        rows: list[LayerEstimate] = []
        for number, (part, explorer, worth_of) in enumerate(zip(self.parts, self.explorers, worths, strict=True)):
            chosen, interval = part.design.selection, part.design.interval
            limit = explorer.limits.budget(interval, part.design.replicas)
            reasons = KindReasons(interval, worth_of + _TIE * per_unit(limit))
            picked = zip(chosen.designs.tolist(), chosen.places.tolist(), strict=True)
            for k, (design, place) in enumerate(picked, part.start):
                operation, table = self.network.workload.operations[k], self.network.tables[k]
                reason = reasons.of(table, design, place) if isinstance(table, ComputeDesigns) else ""
                rows.append(replace(table.describe(operation, design, place), part=number, reason=reason))
        return rows

    def _utilization(self, part: ExploredPart, explorer: Explorer) -> dict[str, float]:
        """The fractions of the device's resources and bandwidth that a part uses, by name."""
        found, device = part.design, self.network.device
        used: dict[str, float] = {
            name: float(count * found.replicas / max(getattr(device, name), 1))
            for name, count in zip(LIMITS[:-1], found.resources, strict=False)
        }
        bits = (found.resources[BANDWIDTH] + explorer.limits.image_bits) * found.replicas / found.interval
        available = device.bandwidth_gbps * 1e3 / device.clock_mhz
        return {**used, "bandwidth": float(bits / available) if available else 0.0}

    def _bottleneck(self, rows: Sequence[LayerEstimate]) -> Bottleneck:
        """The bottleneck of the part that takes longest."""
        options, parts = self.network.options, self.parts
        longest = int(np.argmax([part.design.interval / part.design.replicas for part in parts]))
        part = parts[longest]
        most = 1 if options.objective == "latency" else options.max_replicas
        found = explain(rows[part.start : part.end], part.design, self.explorers[longest], most)
        if options.objective in ("efficiency", "energy"):
            return replace(found, reason=f"chosen for {options.objective}; {found.reason}")
        if len(parts) == 1:
            memory = found.resource in ("bram18", "uram", "bandwidth") and options.partitions == "needed"
            return replace(found, hint=_PARTS) if memory else found
        lost = len(parts) * self.network.device.reconfiguration_s / options.batch
        reason = (
            f"{len(parts)} parts run one after another, {lost * 1e3:.1f} ms of reconfiguration an image at batches "
            f"of {options.batch}; in the longest part {found.reason}"
        )
        return replace(found, reason=reason)

    def _energy(self, rows: Sequence[LayerEstimate], seconds: float) -> Energy:
        """The energy of an image, of which there is one in so many seconds."""
        bits = sum(
            s.design.resources[BANDWIDTH] + e.limits.image_bits for s, e in zip(self.parts, self.explorers, strict=True)
        )
        dense = LayerSparsity()
        operations = (
            (operation, row, self.profile.layers.get(operation.name, dense))
            for operation, row in zip(self.network.workload, rows, strict=True)
        )
        return image_energy(operations, self.network.options, float(bits), seconds, self.network.device.static_w)

    # ---- prices ----------------------------------------------------------------------------------------------

    def _all_prices(self, worths: Sequence[NDArray[np.float64]]) -> dict[str, dict[str, float]]:
        """The prices of every density, those of a part in proportion to its share of the time.

        Args:
            worths: (6,) what a unit of each resource is worth in each part.
        """
        prices: dict[str, dict[str, float]] = {density: {} for density in DENSITIES}
        for part, weights, weight in zip(self.parts, worths, self.shares(), strict=True):
            for density, found in self._prices(part, weights).items():
                prices[density] |= {name: price * weight for name, price in found.items()}
        return prices

    def _prices(self, part: ExploredPart, weights: NDArray[np.float64]) -> Prices:
        """The prices within one part, in which a unit of each resource is worth (6,) `weights`."""
        network = self.network
        layers = [
            self._demand(operation, network.tables[k], part.design.interval, weights)
            for k in range(part.start, part.end)
            if (operation := network.workload.operations[k]).is_compute
        ]
        return prices_of(layers)

    def _worth(self, part: ExploredPart, explorer: Explorer, utilization: dict[str, float]) -> NDArray[np.float64]:
        """(6,) the share of all that binds a part that one unit of each resource is."""
        network, options, found = self.network, self.network.options, part.design
        device, held = network.device, found.resources
        memory = device.bram18 * BRAM18_BITS + device.uram * URAM_BITS
        kept = held[1] * BRAM18_BITS + held[2] * URAM_BITS
        most = 1 if options.objective == "latency" else options.max_replicas
        may_copy = not most or found.replicas < most
        counts = {name: utilization[name] / options.usable(name) for name in ("dsp", "lut", "ff")}
        usage = Usage(
            **{name: share * (name in options.limits) for name, share in counts.items()},
            memory=kept * found.replicas / max(memory, 1) * bool({"bram18", "uram"} & set(options.limits)),
            bandwidth=utilization["bandwidth"] * ("bandwidth" in options.limits),
            parallelism=0.0 if may_copy else explorer.fastest / found.interval,
        )
        proof = next(iter(explorer.best_proofs(found.replicas, 1)), None)
        if proof is not None:  # of a shorter interval, at which other resources may bind more
            budget = explorer.limits.budget(found.interval, found.replicas)
            unit = per_unit(budget)
            shares = np.divide(proof, unit, out=np.zeros(6), where=unit > 0)
            proof = unit * explorer.candidates.relax(found.interval, budget, shares / shares.sum(), _CLOSE).weights
        return worth(usage, _spent(part, explorer), (BRAM18_BITS, URAM_BITS), proof)

    def _demand(self, operation: Operation, table: Table, interval: int, weights: NDArray[np.float64]) -> LayerDemand:
        """What a layer needs on the smooth envelope around the present design."""
        options, sparsity = self.network.options, self.profile.layers[operation.name]
        assert isinstance(table, ComputeDesigns)  # that is what layers have
        kinds = kind_demands(table, sparsity, options.compute_engines, interval, weights)
        return LayerDemand(operation.name, sparsity, kinds)


def _spent(part: ExploredPart, explorer: Explorer) -> NDArray[np.float64]:
    """(6,) what one replica of a part takes of each resource, and moves off-chip for an image: weights and maps."""
    spent = part.design.resources.copy()
    spent[BANDWIDTH] += explorer.limits.image_bits
    return spent
