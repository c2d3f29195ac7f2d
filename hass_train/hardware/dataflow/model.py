"""The dataflow accelerator as a hardware model: best design, its estimate, its bottleneck, its prices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.bottleneck import explain
from hass_train.hardware.dataflow.branches import Waiting, fill, operand_wait, waiting
from hass_train.hardware.dataflow.cycles import dsp_of_multipliers
from hass_train.hardware.dataflow.demand import Limits
from hass_train.hardware.dataflow.designs import designs_of, floor_interval
from hass_train.hardware.dataflow.energy import image_energy
from hass_train.hardware.dataflow.explore import Exploration, Explorer
from hass_train.hardware.dataflow.objectives import best_design
from hass_train.hardware.dataflow.options import LIMITS, DataflowOptions
from hass_train.hardware.dataflow.partition import Stretch, best_partition
from hass_train.hardware.dataflow.prices import LayerDemand, Others, Usage, smooth_prices
from hass_train.hardware.dataflow.tables import BANDWIDTH, Space, Table
from hass_train.hardware.device import Device
from hass_train.hardware.estimate import (
    Bottleneck,
    CannotFit,
    Energy,
    Estimate,
    LayerEstimate,
    Part,
    Resources,
    TooSlow,
)
from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, Workload

_TABLES = 512  # design tables kept between queries
_ANSWERS = 32  # explorations kept: the same tables and limits have the same best design
_BRAM18_BITS, _URAM_BITS = 18 * 1024, 288 * 1024
_ROUGH = 5e-3  # from this tolerance on, nothing is proved by integer programming: bounds and repairs must do
_PARTITION_GAP = 2e-2  # cuts are chosen on parts explored to about this far, then the parts explored in full

_Answer = tuple[list[Stretch], list[Explorer]]


class DataflowAccelerator:
    """A layer-pipelined accelerator of sparse vector dot-product engines on an FPGA.

    Args:
        device: what may be spent.
        options: design rules.
    """

    def __init__(self, device: Device, options: DataflowOptions | None = None) -> None:
        self.device = device
        self.options = options or DataflowOptions()
        self.budget = self._budget()
        self._tables: OrderedDict[tuple[object, ...], Table] = OrderedDict()
        self._answers: OrderedDict[tuple[object, ...], _Answer] = OrderedDict()
        self._waiting: OrderedDict[int, tuple[Workload, dict[str, Waiting]]] = OrderedDict()

    def _budget(self) -> NDArray[np.float64]:
        options = self.options
        usable = [
            np.floor(getattr(self.device, name) * options.usable(name)) if name in options.limits else np.inf
            for name in LIMITS[:-1]
        ]
        # a bus of no bandwidth carries nothing; otherwise how much an image may move depends on its interval
        closed = "bandwidth" in options.limits and self.device.bandwidth_gbps == 0
        return np.array([*usable, 0.0 if closed else np.finfo(float).max if "bandwidth" in options.limits else np.inf])

    # ---- the question ----------------------------------------------------------------------------------------

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """Best design at this sparsity.

        Raises:
            CannotFit: no design fits the device, not even in parts if the options allow them.
            ValueError: the profile's layers do not match the workload's.
        """
        profile.check_covers(workload)
        waits, space = self._waits(workload), Space(self.budget, floor_interval(workload, self.options))
        tables = [self._designs(o, profile.layers.get(o.name), waits[o.name], space) for o in workload]
        for operation, table in zip(workload, tables, strict=True):
            if not len(table):
                raise CannotFit(self._no_design(operation, table))
        key = (workload.input_shape, workload.operations[-1].result, tuple(id(table) for table in tables))
        if key not in self._answers:
            self._answers[key] = self._explored(workload, tables)
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        stretches, explorers = self._answers[key]
        return self._estimate(workload, profile, tables, stretches, explorers)

    def limits(self, workload: Workload, start: int = 0, end: int | None = None) -> Limits:
        """What a design of operations start … end−1 may spend on the device."""
        words = _crossing(workload, start).words + _crossing(workload, end or len(workload.operations)).words
        counted = "bandwidth" in self.options.limits
        bits_per_cycle = self.device.bandwidth_gbps * 1e3 / self.device.clock_mhz if counted else np.inf
        image_bits = words * self.options.activation_bits if self.device.bandwidth_gbps or counted else 0
        return Limits(self.budget[:-1], bits_per_cycle, image_bits)

    def _waits(self, workload: Workload) -> dict[str, Waiting]:
        known = self._waiting.get(id(workload))
        if known is None or known[0] is not workload:
            known = self._waiting[id(workload)] = (workload, waiting(workload))
            if len(self._waiting) > _ANSWERS:
                self._waiting.popitem(last=False)
        return known[1]

    def _designs(self, operation: Operation, sparsity: LayerSparsity | None, waits: Waiting, space: Space) -> Table:
        """The operation's design table, from the cache if its geometry was seen at this sparsity."""
        key = (operation.geometry, waits, space.floor, _sparsity_key(sparsity))
        if key in self._tables:
            self._tables.move_to_end(key)
            return self._tables[key]
        table = designs_of(operation, sparsity, waits, self.options, space)
        self._tables[key] = table
        if len(self._tables) > _TABLES:
            self._tables.popitem(last=False)
            self._answers.clear()  # they are known by their tables' identities
        return table

    def _no_design(self, operation: Operation, table: Table) -> str:
        for name, least, budget in zip(LIMITS, table.least, self.budget, strict=True):
            if least > budget:
                return (
                    f"{operation.name} alone needs at least {least:,.0f} {name}; {self.device.name} has {budget:,.0f}"
                )
        return f"{operation.name} alone has no design that fits {self.device.name} in every resource"

    # ---- the answer ------------------------------------------------------------------------------------------

    def _explored(self, workload: Workload, tables: list[Table]) -> _Answer:
        options, count = self.options, len(tables)
        prove = options.tolerance < _ROUGH or options.objective not in ("throughput", "latency")
        explorer = Explorer(tables, self.limits(workload), options.tolerance, prove)
        whole: Stretch | None = None
        try:
            whole = Stretch(0, count, best_design(explorer, options, self.device))
            if options.partitions != "best" or options.objective != "throughput":
                return [whole], [explorer]
        except CannotFit as error:
            if options.partitions == "never" or isinstance(error, TooSlow):
                raise CannotFit(f"{workload.name} on {self.device.name}: {error}") from error
        try:
            stretches, explorers = self._partitioned(workload, tables)
        except CannotFit as error:
            if whole is None:
                raise CannotFit(f"{workload.name} on {self.device.name}: even of single parts, {error}") from error
            return [whole], [explorer]
        if whole is not None:
            seconds = whole.design.interval / whole.design.replicas / (self.device.clock_mhz * 1e6)
            if seconds <= self._batch_seconds(workload, stretches) / options.batch:
                return [whole], [explorer]
        reached = options.batch / self._batch_seconds(workload, stretches)
        if reached < options.min_throughput:
            raise TooSlow(
                f"min_throughput is {options.min_throughput:,.0f} images/s; {len(stretches)} parts that fit reach "
                f"{reached:,.0f}"
            )
        return stretches, explorers

    def _partitioned(self, workload: Workload, tables: list[Table]) -> _Answer:
        explorers: dict[tuple[int, int], Explorer] = {}

        def explorer_of(start: int, end: int, tolerance: float, prove: bool) -> Explorer:
            return Explorer(tables[start:end], self.limits(workload, start, end), tolerance, prove)

        def explore(start: int, end: int) -> tuple[Exploration | None, Sequence[NDArray[np.float64]]]:
            explorer = explorer_of(start, end, max(self.options.tolerance, _PARTITION_GAP), prove=False)
            try:
                return explorer.fastest_design(self.options.max_replicas), explorer.learned
            except CannotFit:
                return None, explorer.learned

        def why(start: int, end: int) -> str:
            names = [workload.operations[k].name for k in (start, end - 1)]
            reason = explorer_of(start, end, 0.0, prove=True).why_unfit()
            return f"the part from {names[0]} to {names[1]} does not fit, because {reason}"

        rough = best_partition(
            tables,
            _useful_cuts(workload),
            lambda start, end: self.limits(workload, start, end),
            explore,
            lambda start, end, design: self._batch_seconds(workload, [Stretch(start, end, design)], parts=2),
            self.options.batch / (self.device.clock_mhz * 1e6),
            self.device.reconfiguration_s,
            self.options.max_replicas,
            why,
        )
        stretches = []
        for stretch in rough:
            explorer = explorer_of(stretch.start, stretch.end, self.options.tolerance, prove=True)
            explorers[stretch.start, stretch.end] = explorer
            design = explorer.fastest_design(self.options.max_replicas)
            stretches.append(Stretch(stretch.start, stretch.end, design))
        return stretches, [explorers[stretch.start, stretch.end] for stretch in stretches]

    def _batch_seconds(self, workload: Workload, stretches: Sequence[Stretch], parts: int = 0) -> float:
        """Seconds for a batch in these parts, one after another; reconfiguration only where there are several."""
        clock = self.device.clock_mhz * 1e6
        cycles = 0.0
        for stretch in stretches:
            depth = sum(fill(o) for o in workload.operations[stretch.start : stretch.end])
            images = -(-self.options.batch // stretch.design.replicas)
            cycles += (images + depth) * stretch.design.interval
        several = (parts or len(stretches)) > 1
        return cycles / clock + several * len(stretches) * self.device.reconfiguration_s

    def _estimate(
        self,
        workload: Workload,
        profile: SparsityProfile,
        tables: Sequence[Table],
        stretches: Sequence[Stretch],
        explorers: Sequence[Explorer],
    ) -> Estimate:
        clock = self.device.clock_mhz * 1e6
        rows: list[LayerEstimate] = []
        for part, stretch in enumerate(stretches):
            chosen = stretch.design.selection
            picked = zip(chosen.designs.tolist(), chosen.places.tolist(), strict=True)
            for k, (design, place) in enumerate(picked, stretch.start):
                rows.append(replace(tables[k].describe(workload.operations[k], design, place), part=part))
        parts = tuple(
            Part(
                workload.operations[s.start].name,
                workload.operations[s.end - 1].name,
                s.design.interval,
                s.design.replicas,
                Resources.of(s.design.resources).scaled(s.design.replicas),
            )
            for s in stretches
        )
        one = stretches[0].design if len(stretches) == 1 else None
        batch_s = self._batch_seconds(workload, stretches)
        seconds = one.interval / one.replicas / clock if one else batch_s / self.options.batch
        shares = [s.design.interval / s.design.replicas for s in stretches]
        used = [self._utilization(s, e, len(stretches)) for s, e in zip(stretches, explorers, strict=True)]
        pair_prices: dict[str, float] = {}
        weight_prices: dict[str, float] = {}
        for k, stretch in enumerate(stretches):
            weight = shares[k] / clock / seconds
            pairs, weights = self._prices(workload, profile, tables, rows, stretch, explorers[k], used[k])
            pair_prices |= {name: price * weight for name, price in pairs.items()}
            weight_prices |= {name: price * weight for name, price in weights.items()}
        resources = Resources.most(part.resources for part in parts)
        return Estimate(
            throughput_ips=1 / seconds,
            interval_cycles=one.interval if one else int(np.ceil(seconds * clock)),
            latency_ms=(latency_cycles(workload, rows, one.interval) / clock if one else batch_s) * 1e3,
            replicas=one.replicas if one else 1,
            clock_mhz=self.device.clock_mhz,
            resources=resources,
            utilization={name: max(each[name] for each in used) for name in LIMITS},
            bottleneck=self._bottleneck(rows, stretches, explorers, shares),
            layers=tuple(rows),
            prices=pair_prices,
            weight_prices=weight_prices,
            energy=self._energy(workload, profile, rows, stretches, explorers, seconds),
            parts=parts,
            slack=max(s.design.slack for s in stretches),
        )

    def _utilization(self, stretch: Stretch, explorer: Explorer, parts: int) -> dict[str, float]:
        found, device = stretch.design, self.device
        used: dict[str, float] = {
            name: float(count * found.replicas / max(getattr(device, name), 1))
            for name, count in zip(LIMITS[:-1], found.resources, strict=False)
        }
        bits = (found.resources[BANDWIDTH] + explorer.limits.image_bits) * found.replicas / found.interval
        available = device.bandwidth_gbps * 1e3 / device.clock_mhz
        return {**used, "bandwidth": float(bits / available) if available else 0.0}

    def _bottleneck(
        self,
        rows: Sequence[LayerEstimate],
        stretches: Sequence[Stretch],
        explorers: Sequence[Explorer],
        shares: Sequence[float],
    ) -> Bottleneck:
        longest = int(np.argmax(shares))
        stretch = stretches[longest]
        most = 1 if self.options.objective == "latency" else self.options.max_replicas
        found = explain(rows[stretch.start : stretch.end], stretch.design, explorers[longest], most)
        if self.options.objective in ("efficiency", "energy"):
            return replace(found, reason=f"chosen for {self.options.objective}; {found.reason}")
        if len(stretches) == 1:
            return found
        lost = len(stretches) * self.device.reconfiguration_s / self.options.batch
        reason = (
            f"{len(stretches)} parts run one after another, {lost * 1e3:.1f} ms of reconfiguration an image at batches "
            f"of {self.options.batch}; in the longest part {found.reason}"
        )
        return replace(found, reason=reason)

    def _energy(
        self,
        workload: Workload,
        profile: SparsityProfile,
        rows: Sequence[LayerEstimate],
        stretches: Sequence[Stretch],
        explorers: Sequence[Explorer],
        seconds: float,
    ) -> Energy:
        bits = sum(
            s.design.resources[BANDWIDTH] + e.limits.image_bits for s, e in zip(stretches, explorers, strict=True)
        )
        dense = LayerSparsity()
        operations = (
            (operation, row, profile.layers.get(operation.name, dense).weight_density)
            for operation, row in zip(workload, rows, strict=True)
        )
        return image_energy(operations, self.options, float(bits), seconds, self.device.static_w)

    def _prices(
        self,
        workload: Workload,
        profile: SparsityProfile,
        tables: Sequence[Table],
        rows: Sequence[LayerEstimate],
        stretch: Stretch,
        explorer: Explorer,
        utilization: dict[str, float],
    ) -> tuple[dict[str, float], dict[str, float]]:
        options, found = self.options, stretch.design
        per_mac = float(dsp_of_multipliers(4, options.activation_bits, options.weight_bits)) / 4
        layers = []
        for k in range(stretch.start, stretch.end):
            operation, used = workload.operations[k], rows[k].resources
            if not operation.is_compute:
                continue
            sparsity, bits = profile.layers[operation.name], operation.weights * options.weight_bits
            layers.append(
                LayerDemand(
                    operation.name,
                    operation.macs * per_mac,
                    sparsity.pair_density,
                    float(tables[k].engines[:, 0].min()),
                    (used.lut / max(used.dsp, 1), used.ff / max(used.dsp, 1)),
                    bits,
                    bits * options.stored_fraction(sparsity.weight_density),
                    options.weights == "compressed",
                )
            )
        if not layers:
            return {}, {}
        device, held = self.device, found.resources
        memory = device.bram18 * _BRAM18_BITS + device.uram * _URAM_BITS
        kept = held[1] * _BRAM18_BITS + held[2] * _URAM_BITS
        may_copy = not options.max_replicas or found.replicas < options.max_replicas
        counts = {name: utilization[name] / options.usable(name) for name in ("dsp", "lut", "ff")}
        usage = Usage(
            **{name: share * (name in options.limits) for name, share in counts.items()},
            memory=kept * found.replicas / max(memory, 1) * bool({"bram18", "uram"} & set(options.limits)),
            bandwidth=utilization["bandwidth"] * ("bandwidth" in options.limits),
            parallelism=0.0 if may_copy else explorer.fastest / found.interval,
        )
        streams = [row.resources for row in rows[stretch.start : stretch.end] if row.engine == "stream"]
        others = Others(*(float(sum(getattr(s, name) for s in streams)) for name in ("dsp", "lut", "ff")))
        pairs, weights = smooth_prices(
            layers, found.interval, others, float(held[BANDWIDTH]) + explorer.limits.image_bits, usage
        )
        return dict(pairs), dict(weights)


def _useful_cuts(workload: Workload) -> list[int]:
    """Where to cut: of neighbouring cuts with no multiplier between them, the one that the smallest map crosses."""
    kept: list[int] = []
    for cut in workload.cuts():
        between = workload.operations[kept[-1] : cut] if kept else workload.operations[:cut]
        if kept and not any(operation.multiplies for operation in between):
            if _crossing(workload, cut).words < _crossing(workload, kept[-1]).words:
                kept[-1] = cut
        elif any(operation.multiplies for operation in between):
            kept.append(cut)
    return kept


def _crossing(workload: Workload, cut: int) -> FeatureMap:
    """The value that crosses a cut: what the part before it writes and the one behind it reads."""
    if cut == 0:
        channels, height, width = workload.input_shape
        return FeatureMap(height, width, channels)
    if cut == len(workload.operations):
        return workload.operations[-1].result
    before = {operation.name: operation.result for operation in workload.operations[:cut]}
    read = {name for operation in workload.operations[cut:] for name in operation.inputs if name in before}
    return max((before[name] for name in read), key=lambda feature_map: feature_map.words)


def _sparsity_key(sparsity: LayerSparsity | None) -> tuple[object, ...]:
    if sparsity is None:
        return ()
    histograms = tuple(sorted(sparsity.histograms.items()))
    return (sparsity.pair_density, sparsity.weight_density, histograms, sparsity.channel_densities)


def latency_cycles(workload: Workload, rows: Sequence[LayerEstimate], interval: int) -> float:
    """Cycles from an image's first pixel to its last result.

    Every operation waits for the pixels of its first window, which arrive at the pipeline's rate, and takes one pixel's
    share of its own interval; a global pool waits for the whole map, weights from off-chip for a band of it. The
    longest path through the graph, plus one interval for the image itself.
    """
    ready = {NETWORK_INPUT: 0.0}
    for operation, row in zip(workload, rows, strict=True):
        waits = fill(operation)
        if row.weights_in == "off_chip" and row.engine != "stream":
            waits = max(waits, 1.0 / row.bands)
        start = max(ready[name] + operand_wait(operation, k) * interval for k, name in enumerate(operation.inputs))
        ready[operation.name] = start + waits * interval + row.interval_cycles / operation.result.pixels
    return max(ready.values()) + interval
