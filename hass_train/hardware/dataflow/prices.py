"""Prices: what density in a layer costs in throughput (hardware-model, section 7).

The exact model is made of integer folds and is flat almost everywhere, so prices come from its smooth envelope. At
interval T, R replicas of layer l need R·macs_l·d_l/T multipliers, but never less than its smallest engine, and its
weights take R·weights_l·(w_l·bits + 1) bits, on chip or, for every image, over the memory bus. Throughput is R/T:

- where DSPs bind, R/T is inversely proportional to the sum of demands, so −∂log(R/T)/∂d_l = ∂demand_l/∂d_l / Σ demand;
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
        weight_bits: bits of its weights, each once.
        stored_bits: bits kept for them at its weight density.
        compressible: whether `stored_bits` follows the weight density.
    """

    name: str
    multiplies: float
    density: float
    fewest_dsp: int
    weight_bits: float
    stored_bits: float
    compressible: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """How fully a design uses what could bind it, as fractions of what there is.

    Args:
        dsp, memory, bandwidth: of the device.
        parallelism: fastest possible interval over the design's, 0 if replicas could be added.
    """

    dsp: float
    memory: float
    bandwidth: float
    parallelism: float

    def shares(self) -> Floats:
        """(4,) in the order of the fields, summing to 1."""
        used = np.array([self.dsp, self.memory, self.bandwidth, self.parallelism]) ** SHARPNESS
        return np.asarray(used / used.sum())


def smooth_prices(
    layers: Sequence[LayerDemand], interval: int, other_dsp: float, offchip_bits: float, usage: Usage
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """(−∂ log(throughput)/∂(pair density), −∂ log(throughput)/∂(weight density)) of every layer, both ≥ 0.

    Args:
        layers: the compute layers.
        interval: cycles per image at the current design.
        other_dsp: DSPs of one replica that no sparsity frees.
        offchip_bits: weight bits one replica reads for an image.
        usage: what binds.
    """
    multiplies = np.array([layer.multiplies for layer in layers])
    least = np.array([layer.fewest_dsp for layer in layers], float)
    busy = multiplies * [layer.density for layer in layers] / interval
    # a soft maximum of the layer's busy multipliers and its smallest engine; its slope is the marginal demand
    needed = (busy**SHARPNESS + least**SHARPNESS) ** (1 / SHARPNESS)
    slope = (busy / needed) ** (SHARPNESS - 1) * multiplies / interval
    by_dsp, by_memory, by_bandwidth, _ = usage.shares()
    pairs = by_dsp * slope / (needed.sum() + other_dsp)
    freed = np.array([layer.weight_bits if layer.compressible else 0.0 for layer in layers])
    stored = sum(layer.stored_bits for layer in layers)
    kept = freed * (by_memory / stored + (by_bandwidth / offchip_bits if offchip_bits else 0.0))
    names = [layer.name for layer in layers]
    return dict(zip(names, pairs.tolist(), strict=True)), dict(zip(names, kept.tolist(), strict=True))
