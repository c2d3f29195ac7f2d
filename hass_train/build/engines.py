"""Compute engines as they are instantiated, with the memories of their weights (docs/rtl.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hass_train.build.netlist import Bank, Netlist, Ports, Signal, whole
from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.formulas import module_costs
from hass_train.hardware.dataflow.costs.modules import dense
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.costs.synthesised_engines import shared_products
from hass_train.rtl.reference.dense import ActivationEngine, DenseEngine, packed_weights
from hass_train.rtl.reference.fifos import LutramFifo
from hass_train.rtl.reference.plumbing import StreamFork, StreamJoin
from hass_train.rtl.reference.sparse import CrossbarEngine, PairEngine, SparseEngine, WeightEngine
from hass_train.rtl.streams import Ints, Stream
from hass_train.rtl.weights import addressed_rows, listed_rows, stepped, zero_rows

_LANES = 4  # lanes of `dense_engine` that share a port


@dataclass(frozen=True, slots=True)
class EngineDesign:
    """The engines of a layer.

    Args:
        engine: the kind.
        multipliers: N of each.
        lanes: of `weight` engines, whether multipliers have positions of their own.
        multiplier: `dsp` or `lut`.
        columns: output columns side by side.
        data_bits, weight_bits: of operands, both signed.
        fifo: words of the FIFOs around engines that do not wait for each other; 0 = in lock-step.
        family: what is synthesised for.
    """

    engine: ComputeEngine
    multipliers: int
    lanes: bool
    multiplier: str
    columns: int
    data_bits: int
    weight_bits: int
    fifo: int
    family: Family

    def products(self, filters: int) -> int:
        """Products that share a DSP."""
        bits = self.data_bits, self.weight_bits
        return int(shared_products(self.engine, self.multiplier, filters, self.columns, bits, self.family))


def engines(net: Netlist, design: EngineDesign, windows: Signal, weights: Ints) -> tuple[Signal, int]:
    """Place the engines of a layer.

    Args:
        net: the netlist.
        design: of the engines.
        windows: words of windows: position fastest, then bundle, then column.
        weights: (passes, rounds, bundles, filters, positions).

    Returns:
        The sums, and the bits of each; filter fastest, then bundle, then column.
    """
    waits = design.engine not in (ComputeEngine.DENSE, ComputeEngine.WEIGHT)
    if not waits:
        return _placed(net, design, windows, weights)
    beside = np.tile(weights, (1, 1, design.columns, 1, 1))  # columns are bundles with the same weights
    if not design.fifo:
        return _placed(net, replace(design, columns=1), windows, beside)
    return _decoupled(net, replace(design, columns=1), windows, beside)


def _decoupled(net: Netlist, design: EngineDesign, windows: Signal, weights: Ints) -> tuple[Signal, int]:
    """Engines of one window each, and of one filter unless filters share the picks, between FIFOs of their own."""
    _, _, bundles, filters, positions = weights.shape
    each = filters if design.engine is ComputeEngine.ACTIVATION else 1
    copies, depth = bundles * filters // each, max(design.fifo, 2)
    copied = [windows]
    if copies > 1:
        made = net.add("windows", StreamFork(width=windows.width, copies=copies), {"in": windows})
        copied = [made[f"out_{copy}"] for copy in range(copies)]
    sums, bits = [], 0
    width = positions * design.data_bits
    for copy, source in enumerate(copied):
        bundle, first = divmod(copy * each, filters)
        own = net.wire("window", source, range(bundle * width, (bundle + 1) * width))
        queue = LutramFifo(width=width, depth=depth, shift_registers=0)
        own = net.add("window_fifo", queue, {"in": own})["out"]
        part = weights[:, :, bundle : bundle + 1, first : first + each]
        result, bits = _placed(net, design, own, part)
        queue = LutramFifo(width=result.width, depth=depth, shift_registers=0)
        sums.append(net.add("sum_fifo", queue, {"in": result})["out"])
    if copies == 1:
        return sums[0], bits
    join = StreamJoin(width=sums[0].width, copies=copies)
    return net.add("sums", join, {f"in_{copy}": one for copy, one in enumerate(sums)})["out"], bits


def _placed(net: Netlist, design: EngineDesign, windows: Signal, weights: Ints) -> tuple[Signal, int]:
    """One instance of the engine."""
    passes, rounds, bundles, filters, positions = weights.shape
    n, bits = design.multipliers, design.weight_bits
    same = {
        "positions": positions, "multipliers": n, "filters": filters, "bundles": bundles, "rounds": rounds,
        "data_bits": design.data_bits, "weight_bits": bits,
    }  # fmt: skip
    flat = weights.reshape(passes * rounds, bundles, filters, positions)
    products = design.products(filters)
    if design.engine in (ComputeEngine.DENSE, ComputeEngine.ACTIVATION):
        given = same | {"passes": passes, "products": products}
        module: DenseEngine | ActivationEngine
        if design.engine is ComputeEngine.DENSE:
            given["columns"] = design.columns
            module = DenseEngine(**given, in_dsp=_accumulates(given, design.family))
        else:
            module = ActivationEngine(**given)
        memories = {"weight": _shared(net, module, flat)}
        return net.add("engine", module, {"in": windows}, memories)["out"], module.sum_bits
    if design.engine is ComputeEngine.WEIGHT:
        rows = listed_rows(flat, n, bits, lanes=design.lanes, packed=products > 1)
        lists = WeightEngine(**same, columns=design.columns, rows=len(rows), lanes=int(design.lanes), products=products)
        memories = {"weight": whole(net, "weights", Stream(rows.shape[1], 1), rows)}
        return net.add("engine", lists, {"in": windows}, memories)["out"], lists.sum_bits
    kind = PairEngine if design.engine is ComputeEngine.PAIR else CrossbarEngine
    pairs = kind(**same, passes=passes)
    return net.add("engine", pairs, {"in": windows}, _addressed(net, pairs, flat))["out"], pairs.sum_bits


def _accumulates(given: dict[str, int], family: Family) -> int:
    """Whether the DSPs of a dense engine add up the steps of a round: where that takes fewer LUTs."""
    trial = DenseEngine(**given, in_dsp=0)
    if trial.steps == 1 or trial.filters < 4:
        return 0
    packed = dense.DenseEngine.unchecked({**given, "in_dsp": 1})
    if trial.products > 1 and trial.positions > packed.capacity:
        return 0
    luts = [int(module_costs(dense.DenseEngine, family, **given, in_dsp=one)[..., 0]) for one in (0, 1)]
    return int(luts[1] < luts[0])


# ---- memories ------------------------------------------------------------------------------------------------------


def _banked(net: Netlist, rows: Ints, bits: int, ports: Sequence[Sequence[int]]) -> Ports:
    """A memory for each port, which holds the values of a row that it looks at.

    Args:
        net: the netlist.
        rows: (rows, values) of the whole memory.
        bits: of a value.
        ports: the values of each port.
    """
    banks = []
    for port, values in enumerate(ports):
        runs = np.split(np.array(values), np.flatnonzero(np.diff(values) != 1) + 1)
        slices = tuple((int(run[0]) * bits, len(run) * bits) for run in runs)
        banks.append(Bank(net.name("weights"), port, 1, slices, Stream(len(values), bits), rows[:, values]))
    return Ports(len(ports), rows.shape[1] * bits, len(rows), tuple(banks))


def _shared(net: Netlist, module: DenseEngine | ActivationEngine, weights: Ints) -> Ports:
    """The weights of an engine whose filters share activations: (rounds, bundles, filters, positions)."""
    rounds, bundles, filters, _ = weights.shape
    n, steps = module.multipliers, module.steps
    by_step = stepped(weights, n).reshape(rounds, steps, bundles, filters, n).swapaxes(3, 4)
    if module.products > 1:
        by_step = packed_weights(by_step, module.weight_bits)
    rows = (by_step.swapaxes(0, 1) if module.by_step else by_step).reshape(rounds * steps, -1)
    value = np.arange(rows.shape[1]).reshape(bundles, n, filters)
    if isinstance(module, ActivationEngine):
        return _banked(net, rows, module.weight_bits, [one.tolist() for one in value.reshape(bundles * n, filters)])
    beside = ceil_div(n, module.ports) if module.ports > 1 else n
    if module.ports > 1:
        beside = 1 if module.accumulates else _LANES
    lanes = [value[:, first : first + beside].ravel().tolist() for first in range(0, n, beside)]
    assert len(lanes) == module.ports, (str(module), module.ports)
    return _banked(net, rows, module.weight_bits, lanes)


def _addressed(net: Netlist, module: SparseEngine, weights: Ints) -> dict[str, Ports]:
    """The weights of an engine that skips pairs, a memory for each multiplier, and their zero bits."""
    crossbar = isinstance(module, CrossbarEngine)
    rows = addressed_rows(stepped(weights, 1 if crossbar else module.multipliers))
    copies = module.multipliers if crossbar else 1  # multipliers that look at the same word
    ports = [[word] for word in range(rows.shape[1]) for _ in range(copies)]
    mask = zero_rows(weights)
    return {
        "weight": _banked(net, rows, module.weight_bits, ports),
        "mask": whole(net, "zeros", Stream(mask.shape[1], 1), mask),
    }
