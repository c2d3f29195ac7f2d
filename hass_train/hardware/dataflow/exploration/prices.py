"""Prices: what the densities of a layer cost in throughput (hardware-model, section 7).

The exact model is made of integer folds and is flat almost everywhere, so prices come from its smooth envelope.
Throughput is R/T for R replicas. At interval T the layers need resources, and R/T is inversely proportional to the sum
of what they need of what binds, so −∂log(R/T)/∂d = ∂need/∂d / Σ need. What binds is blended by a soft maximum over how
fully each resource is used; where the fastest layer's parallelism binds and no replica may be added, density is worth
nothing.

What a layer needs depends on the kind of compute engine that it is built with, and each kind gains from another density
or from none. Its design table says what the cheapest design of every kind costs at T, and which cheaper ones would keep
T at half of a density. The layer's need is a soft minimum over the kinds, so that a layer that is built with a kind
that gains nothing still has a price for what would lead it to another kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_kinds import KINDS, by_engine
from hass_train.hardware.dataflow.designs.compute import HALF, ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, LOGIC, MEMORY, WeightsIn
from hass_train.hardware.profile import DENSITIES, LayerSparsity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARPNESS = 8.0
"""Exponent of the soft maximum: a resource that is half as full as the fullest counts for 0.4 % of it."""
_HARDNESS = 64.0  # exponent of the soft minimum over kinds: one that costs 5 % more counts for 4 % of the cheapest
_UNBUILT = 2.0  # what a kind without any design is taken to cost, over the cheapest one
_FEW = 16  # designs that are looked at together
_TINY = 1e-300  # instead of nothing, where what binds is nothing that a layer takes
_NEGLIGIBLE = 1e-3  # share of memory and bandwidth below which designs are compared by their logic alone

Prices = Mapping[str, Mapping[str, float]]
"""For each of `DENSITIES`, −∂ log(throughput)/∂ density by the layer's name, all ≥ 0."""


@dataclass(frozen=True, slots=True)
class KindDemand:
    """What one layer needs if it is built with one kind of compute engine.

    Args:
        cost: of its cheapest design that keeps the pipeline's interval, in shares of all that binds; infinite if none
            does.
        halved: the same at half of each density that the kind gains from, by the names of `DENSITIES`.
    """

    cost: float
    halved: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LayerDemand:
    """What one compute layer needs.

    Args:
        name: name of the layer.
        sparsity: its sparsity.
        kinds: what it needs, by the kind that it is built with; at least one.
    """

    name: str
    sparsity: LayerSparsity
    kinds: Sequence[KindDemand]


@dataclass(frozen=True, slots=True)
class Usage:
    """How fully a design uses what could bind it, as fractions; 0 for what does not count.

    Args:
        dsp, lut, ff, memory, bandwidth: used fractions of the device's resources.
        parallelism: the fastest possible interval over the design's; 0 if replicas could be added.
    """

    dsp: float
    lut: float
    ff: float
    memory: float
    bandwidth: float
    parallelism: float

    def shares(self) -> Floats:
        """(6,) how much each binds, in the order of the fields; the shares sum to 1, or are 0 where nothing is used."""
        used = np.array([self.dsp, self.lut, self.ff, self.memory, self.bandwidth, self.parallelism]) ** SHARPNESS
        return np.asarray(used / max(used.sum(), _TINY))


def worth(usage: Usage, spent: Floats, block_bits: tuple[float, float], proof: Floats | None) -> Floats:
    """(6,) the share of all that binds that one unit of each resource is.

    Args:
        usage: how fully the design uses what could bind it.
        spent: (6,) what one replica takes of each resource, and moves off-chip for an image: weights, image and result.
        block_bits: bits of a block RAM and of an UltraRAM.
        proof: (6,) weights of the resources whose sum bounds best what the design takes at its interval, which say best
            what binds where several resources are nearly full; None = there is no proof that hardly anything is faster.
    """
    *shares, parallelism = usage.shares()
    if proof is not None:
        return np.asarray(proof * (1 - parallelism) / (proof @ spent))
    dsp, lut, ff, memory, bandwidth = (share if share > _NEGLIGIBLE else 0.0 for share in shares)
    held = spent[1] * block_bits[0] + spent[2] * block_bits[1]
    unit = np.array([dsp, memory * block_bits[0], memory * block_bits[1], lut, ff, bandwidth])
    return np.asarray(unit / np.maximum([spent[0], held, held, *spent[3:]], 1.0))


def kind_demands(
    table: ComputeDesigns, sparsity: LayerSparsity, allowed: Iterable[ComputeEngine], interval: int, weights: Floats
) -> list[KindDemand]:
    """What a layer needs, kind by kind, of the kinds that it may be built with.

    A kind of which the table has no design, since it would find no zeros, is taken to cost twice as much as the
    cheapest one and to gain from its density in proportion.

    Args:
        table: the layer's designs.
        sparsity: its sparsity.
        allowed: the kinds that it may be built with.
        interval: cycles per image of the pipeline.
        weights: (6,) what a unit of each resource is worth.
    """
    end = int(np.searchsorted(table.interval, interval / HALF, side="right"))
    codes, logic = table.folds.engine[:end], table.logic[:end] @ weights[LOGIC]
    found = {}
    for engine, rows in by_engine(codes):
        found[engine] = _demand(engine, table, rows, logic[rows], interval, weights)
    least = min((one.cost for one in found.values()), default=1.0)
    for engine in allowed:
        if engine not in found and (density := _gains_from(engine, sparsity)):
            found[engine] = KindDemand(_UNBUILT * least, {density: HALF * _UNBUILT * least})
    return list(found.values())


def _demand(
    engine: ComputeEngine, table: ComputeDesigns, rows: Ints, logic: Floats, interval: int, weights: Floats
) -> KindDemand:
    """What a layer needs if it is built with one kind.

    Designs that are too slow now, and keep the interval once a density is halved, are what it saves; and a part of its
    memories where these hold no zeros.

    Args:
        engine: the kind.
        table: the layer's designs.
        rows: those of the kind, in ascending order of interval.
        logic: what their logic costs.
        interval: cycles per image of the pipeline.
        weights: (6,) what a unit of each resource is worth.
    """
    sparsity, options = table.sparsity, table.options
    soon = int(np.searchsorted(table.interval[rows], interval, side="right"))
    fixed, held, freed = np.zeros(len(rows)), np.zeros((1, len(rows))), np.zeros((1, 1))
    faster = _gains_from(engine, sparsity)
    lists = options.weights == "compressed" and engine in table.costs.lists
    if weights[MEMORY].any():
        memory = table.memory[:, rows]
        fixed = memory[..., 0].min(axis=0) * weights[MEMORY][0]  # windows and FIFOs
        held = memory @ weights[MEMORY] - fixed
        freed = _freed_at_half(table, rows, held, weights[BANDWIDTH], faster) if lists else freed
    cost = logic + fixed + held.min(axis=0)
    least, halved = float(cost[:soon].min(initial=np.inf)), {}
    for density in {faster, "weight_density" if lists else faster} - {""}:
        moved = cost if density != "weight_density" else logic + fixed + (held - freed).min(axis=0)
        best = float(moved[:soon].min(initial=np.inf))
        late = soon + np.flatnonzero(moved[soon:] < best)
        if density == faster and len(late):
            late = late[table.at_half(rows[late], density) <= interval]
            late = late[np.argsort(moved[late], kind="stable")]
            while len(late):  # the cheapest first: how long lists take takes long to work out
                kept_up = table.at_half(rows[late[:_FEW]], density, exactly=True) <= interval
                if kept_up.any():
                    best = float(moved[late[np.argmax(kept_up)]])
                    break
                late = late[_FEW:]
        halved[density] = best
    return KindDemand(least, halved)


def _freed_at_half(table: ComputeDesigns, rows: Ints, held: Floats, per_bit: float, faster: str) -> Floats:
    """(places, rows) what memories and bandwidth cost less at half of the weight density.

    Lists have half as many entries. What is compressed by a mask keeps the mask: all that the peer's crossbars store,
    and lists that come from outside where a mask is shorter.

    Args:
        table: the layer's designs.
        rows: those of a kind that stores no zeros.
        held: (places, rows) what their memories of weights, and of maps beside weights from outside, cost.
        per_bit: what an off-chip bit is worth.
        faster: the density that the kind gains from.
    """
    options, density = table.options, table.sparsity.weight_density
    now, then = (options.stored_fraction(share * density) for share in (1.0, HALF))
    if faster != "weight_density":
        return held * (1 - then / now)
    freed = held * (1 - HALF)
    for place, (where, bands) in enumerate(table.places):
        if where is WeightsIn.OFF_CHIP:  # maps beside the weights stay
            bits = table.memory[place, rows, 2]
            masked = bits >= math.ceil(table.layer.weights * options.weight_bits * now * bands)
            freed[place] = bits * per_bit * np.where(masked, 1 - then / now, 1 - HALF)
    return freed


def _gains_from(engine: ComputeEngine, sparsity: LayerSparsity) -> str:
    """The density that a kind gains from; empty if it gains from none.

    A dense engine gains from zeros only where its schedule leaves out whole tiles or filters of them.
    """
    structure = sparsity.structure
    if KINDS[engine].density:
        return KINDS[engine].density
    return "weight_density" if structure and (structure.block or structure.blocks or structure.filters) else ""


def prices_of(layers: Sequence[LayerDemand]) -> Prices:
    """The prices of every layer.

    The need of a layer is followed to half of each density, not only beside the present one: what gains nothing yet may
    gain much once another kind pays.
    """
    prices = {density: dict.fromkeys((layer.name for layer in layers), 0.0) for density in DENSITIES}
    for layer in layers:
        need = _need(layer.kinds)
        for density in {density for kind in layer.kinds for density in kind.halved}:
            if present := getattr(layer.sparsity, density):
                saved = max(need - _need(layer.kinds, density), 0.0)
                prices[density][layer.name] = saved / (present * (1 - HALF))
    return prices


def _need(kinds: Sequence[KindDemand], moved: str = "") -> float:
    """The soft minimum of what the kinds cost; at half of a density, if one is named."""
    costs = np.array([one.halved.get(moved, one.cost) for one in kinds])
    if not np.isfinite(least := costs.min()):
        return 0.0
    ratios = np.maximum(costs / max(least, _TINY), 1.0)
    return float(least * (ratios**-_HARDNESS).sum() ** (-1 / _HARDNESS))
