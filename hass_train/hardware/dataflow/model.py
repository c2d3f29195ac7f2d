"""The dataflow accelerator as a hardware model: it finds the best design of a network at its present sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
from cachetools import LRUCache

from hass_train.hardware.accelerator import Accelerator
from hass_train.hardware.channels import prices_asked, without_dead_channels
from hass_train.hardware.dataflow.costs import memory
from hass_train.hardware.dataflow.costs.branches import OperandFifos, operand_fifos, urgencies
from hass_train.hardware.dataflow.design import Design, design_of
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.enumerate import designs_of, floor_interval
from hass_train.hardware.dataflow.designs.tables import DesignSpace, Table
from hass_train.hardware.dataflow.exploration.estimate_builder import EstimateBuilder
from hass_train.hardware.dataflow.exploration.explore import Explorer
from hass_train.hardware.dataflow.exploration.network import ExploredPart, Network, budget_of
from hass_train.hardware.dataflow.exploration.objectives import best_design
from hass_train.hardware.dataflow.exploration.partition import best_partition
from hass_train.hardware.dataflow.exploration.width_gains import width_gains
from hass_train.hardware.dataflow.options import LIMITS, QUICK, ROUGH, STEERING, DataflowOptions
from hass_train.hardware.dataflow.steering import Anchors
from hass_train.hardware.device import Device
from hass_train.hardware.estimate import CannotFit, Estimate, TooSlow
from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.workload import Operation, Workload

_TABLES = 2**30  # bytes of design tables kept between queries
_LOOSE = 0.05  # slack beyond which a quick answer is looked for more closely: steps lose their way where memories bind
_PROOFS = 2  # of the last answer that a search remembers
_EXPLORED = 4  # explorations kept between queries: the same tables have the same best design

_Explored = tuple[list[ExploredPart], list[Explorer]]
"""The parts of a network, and for each the explorer that found its design."""


class DataflowAccelerator(Accelerator):
    """A layer-pipelined accelerator of sparse vector dot-product engines on an FPGA.

    Args:
        device: what may be spent.
        options: design rules.
        anchors: designs of profiles asked before, if answers are to steer a search; then they depend on these.

    Raises:
        ValueError: a bandwidth of 0 that counts: not even the images get in; or costs that the device has not.
    """

    has_designs = True

    def __init__(self, device: Device, options: DataflowOptions | None = None, anchors: Anchors | None = None) -> None:
        self.device, self.name = device, device.name
        self.options = options or DataflowOptions()
        if "bandwidth" in self.options.limits and device.bandwidth_gbps == 0:
            raise ValueError(
                f"bandwidth_gbps of {device.name} is 0: no image gets in; raise it, or leave bandwidth out of limits"
            )
        if self.options.costs == "peer" and device.family != "xc7":
            raise ValueError(f"costs=peer knows Xilinx devices only; say costs=synthesis for {device.name}")
        self.budget = budget_of(device, self.options)
        self._tables: LRUCache[tuple[object, ...], Table] = LRUCache(
            _TABLES, getsizeof=lambda table: min(table.size, _TABLES)
        )
        self._explored: LRUCache[tuple[object, ...], _Explored] = LRUCache(_EXPLORED)
        self._anchors = anchors
        self._operand_fifos: LRUCache[Workload, dict[str, OperandFifos]] = LRUCache(_EXPLORED)

    def quick(self) -> DataflowAccelerator:
        """See `Accelerator`: rough answers, of which nothing is proved."""
        return DataflowAccelerator(self.device, replace(self.options, tolerance=QUICK))

    def steering(self) -> DataflowAccelerator:
        """See `Accelerator`: rough answers that remember the designs of profiles nearby."""
        tolerance = max(STEERING, self.options.tolerance)
        return DataflowAccelerator(self.device, replace(self.options, tolerance=tolerance), Anchors())

    def anchors(self) -> dict[str, Any]:
        """See `Accelerator` and `Anchors.to_plain`."""
        return self._anchors.to_plain() if self._anchors else {}

    def anchor(self, workload: Workload, anchors: Mapping[str, Any]) -> None:
        """See `Accelerator`."""
        assert self._anchors is not None  # of a steering accelerator
        fifos, space, intervals = self._fifos(workload), self._space(workload), {}
        designs = anchors.get("designs", {})
        for operation in workload:
            if (anchor := designs.get(operation.name)) is not None:
                sparsity = LayerSparsity.from_dict(anchor["sparsity"])
                self._designs(operation, sparsity, fifos[operation.name], space)
                intervals[operation.name] = int(anchor["interval"])
        self._anchors.keep(intervals)
        self._anchors.proofs = [np.array(weights) for weights in anchors.get("proofs", ())]
        self._anchors.memories = bool(anchors.get("memories", False))
        self._forget()

    def design(self, workload: Workload, estimate: Estimate) -> Design:
        """See `Accelerator`: every fold and every FIFO, depths by the rule."""
        return design_of(workload, estimate, {**asdict(self.device), **asdict(self.options)})

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """The best design at this sparsity.

        Raises:
            CannotFit: no design fits the device, not even in parts if the options allow them.
            ValueError: the profile's layers do not match the workload's.
        """
        return self._estimate(workload, profile, priced=True)

    def unpriced(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """See `Accelerator`: the same without a price of any layer."""
        return self._estimate(workload, profile, priced=False)

    def _estimate(self, workload: Workload, profile: SparsityProfile, priced: bool) -> Estimate:
        profile.check_covers(workload)
        asked = profile
        workload, profile = without_dead_channels(workload, profile)
        found = self._built(workload, profile).estimate(priced)
        if self._anchors is not None:
            # what is left of a layer whose channels other layers emptied cannot be told from its own sparsity
            emptied = any(layer.structure and layer.structure.dead_filters for layer in asked.layers.values())
            self._anchors.keep({} if emptied else dict.fromkeys(asked.layers, found.interval_cycles))
            self._anchors.memories = found.bottleneck.resource in ("bram18", "uram", "bandwidth")
            self._forget()
        if not priced:
            return found
        return replace(
            found,
            prices=prices_asked(found.prices, "pair_density", profile, asked),
            weight_prices=prices_asked(found.weight_prices, "weight_density", profile, asked),
            activation_prices=prices_asked(found.activation_prices, "activation_density", profile, asked),
        )

    def _built(self, workload: Workload, profile: SparsityProfile) -> EstimateBuilder:
        """The best design of a network, as it was found before if it was."""
        network = self.network(workload, profile)
        connections = tuple(operation.inputs for operation in workload)
        key = (workload.input_shape, connections, *network.tables)  # tables compare by identity, and the key holds them
        if key not in self._explored:
            self._explored[key] = self._explore(network)
        return EstimateBuilder(network, profile, *self._explored[key])

    def width_gains(
        self, workload: Workload, profile: SparsityProfile, choices: Mapping[str, Sequence[int]]
    ) -> dict[str, dict[int, float]]:
        """See `Accelerator`: to first order at the present design, since the exact answers jump."""
        profile.check_covers(workload)
        workload, profile = without_dead_channels(workload, profile)
        fifos, space = self._fifos(workload), self._space(workload)

        def table_at(operation: Operation, bits: int) -> Table:
            other = replace(operation, weight_bits=bits)
            return self._designs(other, profile.layers[operation.name], fifos[operation.name], space)

        return width_gains(self._built(workload, profile), choices, table_at)

    def _forget(self) -> None:
        """Forget what follows from profiles: whether a question was asked before must not matter beside the anchors."""
        for key in [key for key, table in self._tables.items() if isinstance(table, ComputeDesigns)]:
            del self._tables[key]
        self._explored.clear()

    def network(self, workload: Workload, profile: SparsityProfile) -> Network:
        """The network with the design tables of its operations at this sparsity.

        Raises:
            CannotFit: an operation has no design that fits the device.
        """
        fifos, space = self._fifos(workload), self._space(workload)
        tables = [self._designs(o, profile.layers.get(o.name), fifos[o.name], space) for o in workload]
        for operation, table in zip(workload, tables, strict=True):
            if not len(table):
                raise CannotFit(self._no_design(operation, table))
        return Network(workload, tables, self.device, self.options)

    def _space(self, workload: Workload) -> DesignSpace:
        """The bounds of the designs of a network's operations."""
        return DesignSpace(self.budget, floor_interval(workload, self.options), self.device.family)

    def _fifos(self, workload: Workload) -> dict[str, OperandFifos]:
        """The operand FIFOs of a network's operations, by name."""
        if workload not in self._operand_fifos:
            self._operand_fifos[workload] = operand_fifos(workload, urgencies(workload, self._memory_words(workload)))
        return self._operand_fifos[workload]

    def _memory_words(self, workload: Workload) -> float:
        """The activations that the device's block RAMs and UltraRAMs hold, as wide as they are on average."""
        device, words = self.device, sum(one.source.words for one in workload)
        bits = sum(one.source.words * (one.activation_bits or self.options.activation_bits) for one in workload)
        return (device.bram18 * memory.BRAM18_BITS + device.uram * memory.URAM_BITS) * words / bits

    def _designs(
        self, operation: Operation, sparsity: LayerSparsity | None, fifos: OperandFifos, space: DesignSpace
    ) -> Table:
        """The operation's design table, from the cache if its geometry was seen at this sparsity."""
        key = (operation.geometry, fifos, space.floor, _sparsity_key(sparsity))
        if self._anchors is not None and (moved := self._anchors.moved(operation, sparsity, fifos)) is not None:
            return moved
        if key not in self._tables:
            self._tables[key] = designs_of(operation, sparsity, fifos, self.options, space)
        if self._anchors is not None:
            self._anchors.found(operation, self._tables[key])
        return self._tables[key]

    def _no_design(self, operation: Operation, table: Table) -> str:
        """A message that says why no design of an operation fits the device."""
        for name, least, budget in zip(LIMITS, table.least, self.budget, strict=True):
            if least > budget:
                short = f"{operation.name} alone needs at least {least:,.0f} {name}; {self.device.name} has "
                return f"{short}{budget:,.0f}; {self._way_out(name)}"
        short = f"{operation.name} alone has no design that fits {self.device.name} in every resource"
        return f"{short}; {self._way_out()}"

    def _way_out(self, resource: str = "") -> str:
        """A text that says what a user may try where a network does not fit."""
        usable = f"max_{resource.removesuffix('18')}_utilization"
        ways = []
        if resource and resource != "bandwidth" and self.options.usable(resource) < 1:
            ways.append(f"raise hw.{usable} (now {self.options.usable(resource):g})")
        if self.options.buildable:
            ways.append("allow designs that cannot be built (hw.buildable=false)")
        elif self.options.partitions == "never":
            ways.append("allow hw.partitions=needed")
        ways.append("take a larger device or a smaller image")
        return ", or ".join(ways)

    def _explore(self, network: Network) -> _Explored:
        """Explore the network whole; or in parts where it does not fit, or where that is faster and asked for."""
        options, workload, count = self.options, network.workload, len(network.tables)
        proofs = self._anchors.proofs if self._anchors else ()
        explorer = network.explorer(0, count, options.tolerance, options.proves, proofs)
        whole: ExploredPart | None = None
        try:
            whole = ExploredPart(0, count, best_design(explorer, options, self.device))
            if whole.design.slack > _LOOSE and not options.proves:
                explorer = network.explorer(0, count, ROUGH, True, proofs)
                whole = ExploredPart(0, count, best_design(explorer, options, self.device))
            if self._anchors is not None:
                self._anchors.proofs = explorer.best_proofs(whole.design.replicas, _PROOFS)
            if options.partitions != "best" or options.objective != "throughput":
                return [whole], [explorer]
        except TooSlow as error:
            raise TooSlow(f"{workload.name} on {self.device.name}: {error}") from error
        except CannotFit as error:
            if options.partitions == "never":
                raise CannotFit(f"{workload.name} on {self.device.name}: {error}; {self._way_out()}") from error
        try:
            parts, explorers = best_partition(network)
        except CannotFit as error:
            if whole is None:
                short = f"{workload.name} on {self.device.name}: even of single parts, {error}"
                raise CannotFit(f"{short}; {self._way_out()}") from error
            return [whole], [explorer]
        if whole is not None:
            seconds = whole.design.interval / whole.design.replicas / network.clock_hz
            if seconds <= network.batch_seconds(parts) / options.batch:
                return [whole], [explorer]
        reached = options.batch / network.batch_seconds(parts)
        if reached < options.min_throughput:
            raise TooSlow(
                f"min_throughput is {options.min_throughput:,.0f} images/s; {len(parts)} parts that fit reach "
                f"{reached:,.0f}"
            )
        return parts, explorers


def _sparsity_key(sparsity: LayerSparsity | None) -> tuple[object, ...]:
    """All that is known of a layer's sparsity, as a key."""
    if sparsity is None:
        return ()
    values = (getattr(sparsity, item.name) for item in fields(sparsity))
    return tuple(tuple(sorted(one.items())) if isinstance(one, Mapping) else one for one in values)
