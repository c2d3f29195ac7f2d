"""Prices: what the density of a layer costs in throughput (hardware-model, section 7).

The exact model is made of integer folds and is flat almost everywhere, so prices come from its smooth envelope. At
interval T, layer l needs macs_l·d_l/T multipliers, but never less than its smallest compute engine has, and logic in
proportion to them. Its weights take weights_l·(w_l·bits + 1) bits, on chip or, for every image, over the memory bus.
Throughput is R/T for R replicas:

- where DSPs, LUTs or flip-flops bind, R/T is inversely proportional to the sum of what the layers need of them, so
  −∂log(R/T)/∂d_l = ∂need_l/∂d_l / Σ need;
- where memory or bandwidth binds, it is inversely proportional to the bits kept or read, likewise for ∂w_l;
- where the fastest layer's parallelism binds and no replica may be added, density is worth nothing.

What binds is blended by a soft maximum over how fully each is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARPNESS = 8.0
"""Exponent of the soft maximum: a resource that is half as full as the fullest counts for 0.4 % of it."""
_TINY = 1e-300  # where products are made of LUTs, no DSP may be used at all


@dataclass(frozen=True, slots=True)
class LayerDemand:
    """What one compute layer needs on the smooth envelope.

    Args:
        name: name of the layer.
        multiplies: DSP-cycles that an image would take if no pair were zero.
        density: pair density.
        fewest_dsp: DSPs of its smallest design.
        logic: LUTs and flip-flops that its present design takes for each DSP.
        weight_bits: bits of its weights, uncompressed.
        stored_bits: bits in which they are stored at the present weight density.
        compressible: whether `stored_bits` follows the weight density.
    """

    name: str
    multiplies: float
    density: float
    fewest_dsp: float
    logic: tuple[float, float]
    weight_bits: float
    stored_bits: float
    compressible: bool


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


@dataclass(frozen=True, slots=True)
class FixedResources:
    """The DSPs, LUTs and flip-flops that one replica spends beside its compute layers, whatever their sparsity."""

    dsp: float
    lut: float
    ff: float


def smooth_prices(
    layers: Sequence[LayerDemand], interval: int, fixed: FixedResources, bus_bits: float, usage: Usage
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """The prices of every layer by name, all ≥ 0.

    Args:
        layers: what the compute layers need.
        interval: cycles per image of the present design.
        fixed: what no sparsity frees.
        bus_bits: bits that one replica moves off-chip for an image: weights, image and result.
        usage: how fully the design uses what could bind it.

    Returns:
        −∂ log(throughput)/∂(pair density), and −∂ log(throughput)/∂(weight density).
    """
    multiplies = np.array([layer.multiplies for layer in layers])
    least = np.array([layer.fewest_dsp for layer in layers], float)
    logic = np.array([layer.logic for layer in layers])
    busy = multiplies * [layer.density for layer in layers] / interval
    # a soft maximum of the layer's busy multipliers and its smallest design; its slope is the marginal demand
    needed = (busy**SHARPNESS + least**SHARPNESS) ** (1 / SHARPNESS)
    slope = (busy / np.maximum(needed, _TINY)) ** (SHARPNESS - 1) * multiplies / interval
    by_dsp, by_lut, by_ff, by_memory, by_bandwidth, _ = usage.shares()
    pairs = by_dsp * slope / max(needed.sum() + fixed.dsp, _TINY)
    for share, ratio, rest in ((by_lut, logic[:, 0], fixed.lut), (by_ff, logic[:, 1], fixed.ff)):
        pairs = pairs + share * slope * ratio / max((needed * ratio).sum() + rest, _TINY)
    freed = np.array([layer.weight_bits if layer.compressible else 0.0 for layer in layers])
    stored = sum(layer.stored_bits for layer in layers)
    kept = freed * (by_memory / stored + (by_bandwidth / bus_bits if bus_bits else 0.0))
    names = [layer.name for layer in layers]
    return dict(zip(names, pairs.tolist(), strict=True)), dict(zip(names, kept.tolist(), strict=True))
