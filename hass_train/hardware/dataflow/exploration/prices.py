"""Prices: what density in a layer costs in throughput (hardware-model, section 7).

The exact model is made of integer folds and is flat almost everywhere, so prices come from its smooth envelope. At
interval T, layer l needs macs_l·d_l/T multipliers, but never less than its smallest engine, and logic in proportion to
them; its weights take weights_l·(w_l·bits + 1) bits, on chip or, for every image, over the memory bus. Throughput is
R/T for R replicas:

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
"""Exponent of the soft maximum: what is used by half as much as the fullest counts for 0.4 % of it."""


@dataclass(frozen=True, slots=True)
class LayerDemand:
    """One compute layer on the smooth envelope.

    Args:
        name: of the layer.
        multiplies: DSP-cycles for one image were no pair zero.
        density: pair density.
        fewest_dsp: DSPs of its smallest engine.
        logic: LUTs and flip-flops that its design takes for one DSP.
        weight_bits: bits of its weights, each once.
        stored_bits: bits kept for them at its weight density.
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
    """How fully a design uses what could bind it, as fractions of what there is; 0 where it does not count.

    Args:
        dsp, lut, ff, memory, bandwidth: of the device.
        parallelism: fastest possible interval over the design's, 0 if replicas could be added.
    """

    dsp: float
    lut: float
    ff: float
    memory: float
    bandwidth: float
    parallelism: float

    def shares(self) -> Floats:
        """(6,) in the order of the fields, summing to 1."""
        used = np.array([self.dsp, self.lut, self.ff, self.memory, self.bandwidth, self.parallelism]) ** SHARPNESS
        return np.asarray(used / used.sum())


@dataclass(frozen=True, slots=True)
class Others:
    """What one replica spends beside the compute layers, whatever the sparsity: DSPs, LUTs, flip-flops."""

    dsp: float
    lut: float
    ff: float


def smooth_prices(
    layers: Sequence[LayerDemand], interval: int, others: Others, bus_bits: float, usage: Usage
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """(−∂ log(throughput)/∂(pair density), −∂ log(throughput)/∂(weight density)) of every layer, both ≥ 0.

    Args:
        layers: the compute layers.
        interval: cycles per image at the current design.
        others: what no sparsity frees.
        bus_bits: bits that one replica moves off-chip for an image: weights, image and result.
        usage: what binds.
    """
    multiplies = np.array([layer.multiplies for layer in layers])
    least = np.array([layer.fewest_dsp for layer in layers], float)
    logic = np.array([layer.logic for layer in layers])
    busy = multiplies * [layer.density for layer in layers] / interval
    # a soft maximum of the layer's busy multipliers and its smallest engine; its slope is the marginal demand
    needed = (busy**SHARPNESS + least**SHARPNESS) ** (1 / SHARPNESS)
    slope = (busy / needed) ** (SHARPNESS - 1) * multiplies / interval
    by_dsp, by_lut, by_ff, by_memory, by_bandwidth, _ = usage.shares()
    pairs = by_dsp * slope / (needed.sum() + others.dsp)
    for share, ratio, rest in ((by_lut, logic[:, 0], others.lut), (by_ff, logic[:, 1], others.ff)):
        pairs = pairs + share * slope * ratio / ((needed * ratio).sum() + rest)
    freed = np.array([layer.weight_bits if layer.compressible else 0.0 for layer in layers])
    stored = sum(layer.stored_bits for layer in layers)
    kept = freed * (by_memory / stored + (by_bandwidth / bus_bits if bus_bits else 0.0))
    names = [layer.name for layer in layers]
    return dict(zip(names, pairs.tolist(), strict=True)), dict(zip(names, kept.tolist(), strict=True))
