"""Prices: what the densities of a layer cost in throughput (hardware-model, section 7).

The exact model is made of integer folds and is flat almost everywhere, so prices come from its smooth envelope.
Throughput is R/T for R replicas. At interval T the layers need resources, and R/T is inversely proportional to the sum
of what they need of what binds, so −∂log(R/T)/∂d = ∂need/∂d / Σ need. What binds is blended by a soft maximum over how
fully each resource is used; where the fastest layer's parallelism binds and no replica may be added, density is worth
nothing.

What a layer needs depends on the kind of compute engine that it is built with, and each kind gains from another density
or from none. Its design table says what every kind costs. The layer's need is a soft minimum over the kinds, so that
a layer that is built with a kind that gains nothing still has a price for what would lead it to another kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_kinds import KINDS, by_engine
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import BANDWIDTH, LOGIC, MEMORY
from hass_train.hardware.profile import LayerSparsity

Floats = NDArray[np.float64]

SHARPNESS = 8.0
"""Exponent of the soft maximum: a resource that is half as full as the fullest counts for 0.4 % of it."""
_STEP = 0.5  # fraction of a density to which a layer's need is followed
_REACH = 1.25  # the costs of a kind are followed between T / _REACH and T · _REACH
_UNBUILT = 2.0  # what a kind without any design in the table is taken to cost, over the cheapest one
_TINY = 1e-300  # instead of nothing, where what binds is nothing that a layer takes
_NEGLIGIBLE = 1e-3  # share of memory and bandwidth below which designs are compared by their logic alone

DENSITIES = ("pair_density", "weight_density", "activation_density")
"""What has a price, by the names of `LayerSparsity`'s fields."""

Prices = Mapping[str, Mapping[str, float]]
"""For each of `DENSITIES`, −∂ log(throughput)/∂ density by the layer's name, all ≥ 0."""


@dataclass(frozen=True, slots=True)
class KindDemand:
    """What one layer needs if it is built with one kind of compute engine.

    Args:
        cost: of its cheapest design that keeps the pipeline's interval, in shares of all that binds.
        follows: how closely that cost follows the density that the kind gains from, ∂log cost/∂log density.
        density: the density that it gains from, one of `DENSITIES`; empty if it gains from none.
        stores_fewer: whether the bits that it stores follow the weight density.
    """

    cost: float
    follows: float
    density: str
    stores_fewer: bool


@dataclass(frozen=True, slots=True)
class LayerDemand:
    """What one compute layer needs on the smooth envelope.

    Args:
        name: name of the layer.
        sparsity: its sparsity.
        kinds: what it needs, by the kind that it is built with; at least one.
        weight_bits: bits of its weights, uncompressed.
        stored_bits: bits in which engines that compress weights store them at the present weight density.
    """

    name: str
    sparsity: LayerSparsity
    kinds: Sequence[KindDemand]
    weight_bits: float
    stored_bits: float


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
        proof: (6,) weights of the resources whose sum proves that hardly anything is faster, which say best what binds
            where several resources are nearly full; None = there is no such proof.
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

    A kind whose round takes half the cycles needs about as much as if it had twice the time. So its cost follows the
    density as it follows the interval, as long as a round has work for more than its least number of cycles.

    Args:
        table: the layer's designs.
        sparsity: its sparsity.
        allowed: the kinds that it may be built with.
        interval: cycles per image of the pipeline.
        weights: (6,) what a unit of each resource is worth.
    """
    end = int(np.searchsorted(table.interval, interval * _REACH, side="right"))
    codes, logic = table.folds.engine[:end], table.logic[:end] @ weights[LOGIC]
    found = {}
    for engine, rows in by_engine(codes):
        if table.interval[rows[0]] <= interval:
            found[engine] = _followed(table, rows, logic[rows], interval, weights)
    least = min((cost for cost, _, _ in found.values()), default=1.0)
    steepest = max((follows for _, follows, _ in found.values()), default=0.0)
    demands = []
    for engine in allowed:
        density = _gains_from(engine, sparsity)
        cost, follows, operands = found.get(engine, (_UNBUILT * least, steepest, np.inf))
        if KINDS[engine].density and table.options.t_min:
            follows *= _busy(operands * getattr(sparsity, density))
        stores_fewer = table.options.weights == "compressed" and engine in table.costs.lists
        demands.append(KindDemand(cost, follows, density, stores_fewer))
    return demands


def _followed(
    table: ComputeDesigns, rows: NDArray[np.int64], cost: Floats, interval: int, weights: Floats
) -> tuple[float, float, float]:
    """The least cost of some designs at an interval, how closely it follows the interval, and M of the cheapest.

    Args:
        table: the layer's designs.
        rows: the designs of one kind, in ascending order of interval; at least the first keeps the interval.
        cost: of their logic.
        interval: cycles per image.
        weights: (6,) what a unit of each resource is worth.
    """
    shorter = max(interval / _REACH, float(table.interval[rows[0]]))
    if weights[MEMORY].any():
        cheap = int(cost[: np.searchsorted(table.interval[rows], shorter, side="right")].argmin())
        most = cost[cheap] + (table.memory[:, rows[cheap]] @ weights[MEMORY]).min()
        kept = cost <= most  # memories cannot make up for more
        rows, cost = rows[kept], cost[kept]
        cost = cost + (table.memory[:, rows] @ weights[MEMORY]).min(axis=0)
    own, least = table.interval[rows], np.minimum.accumulate(cost)
    short, now = (int(np.searchsorted(own, one, side="right")) - 1 for one in (shorter, interval))
    grown = max(float(least[short]), _TINY) / max(float(least[-1]), _TINY)
    follows = float(np.log(grown) / np.log(interval * _REACH / shorter))
    design = rows[int(cost[: now + 1].argmin())]
    return float(least[now]), follows, float(table.layer.window * table.folds.m[design])


def _busy(mean: float) -> float:
    """How much of a round follows the density if so many operands are left on average of all that an engine takes:
    a round takes a cycle even if none is."""
    return mean**SHARPNESS / (1 + mean**SHARPNESS) if mean < 10 else 1.0


def _gains_from(engine: ComputeEngine, sparsity: LayerSparsity) -> str:
    """The density that a kind gains from; empty if it gains from none.

    A dense engine gains from zeros only where its schedule leaves out whole tiles or filters of them.
    """
    structure = sparsity.structure
    if KINDS[engine].density:
        return KINDS[engine].density
    return "weight_density" if structure and (structure.block or structure.blocks or structure.filters) else ""


def smooth_prices(layers: Sequence[LayerDemand], spent: Floats, weights: Floats) -> Prices:
    """The prices of every layer.

    The need of a layer is followed to half of each density, not only beside the present one: what gains nothing yet may
    gain much once another kind pays.

    Args:
        layers: what the compute layers need.
        spent: (6,) what one replica takes of each resource, and moves off-chip for an image.
        weights: (6,) what a unit of each resource is worth.
    """
    prices = {density: dict.fromkeys((layer.name for layer in layers), 0.0) for density in DENSITIES}
    fewer = [_fewer_stored(layer.kinds) for layer in layers]
    stored = sum(
        layer.weight_bits + part * (layer.stored_bits - layer.weight_bits)
        for layer, part in zip(layers, fewer, strict=True)
    )
    per_bit = float(weights[1:3] @ spent[1:3]) / max(stored, 1.0) + float(weights[BANDWIDTH])
    for layer, part in zip(layers, fewer, strict=True):
        need = _need(layer.kinds)
        for density in {kind.density for kind in layer.kinds if kind.density}:
            if present := getattr(layer.sparsity, density):
                saved = need - _need(layer.kinds, density)
                prices[density][layer.name] = saved / (present * (1 - _STEP))
        prices["weight_density"][layer.name] += part * layer.weight_bits * per_bit
    return prices


def _need(kinds: Sequence[KindDemand], moved: str = "") -> float:
    """The soft minimum of what the kinds cost; at half of a density, if one is named."""
    costs = np.array([one.cost * (_STEP**one.follows if moved and one.density == moved else 1.0) for one in kinds])
    ratios = costs / max(costs.min(), _TINY)
    return float(costs.min() * (np.maximum(ratios, 1.0) ** -SHARPNESS).sum() ** (-1 / SHARPNESS))


def _fewer_stored(kinds: Sequence[KindDemand]) -> float:
    """The share that kinds which store fewer weights than all have in the soft minimum of what the kinds cost."""
    costs = np.array([kind.cost for kind in kinds])
    shares = np.maximum(costs / max(costs.min(), _TINY), 1.0) ** -SHARPNESS
    return float(shares @ [kind.stores_fewer for kind in kinds] / shares.sum())
