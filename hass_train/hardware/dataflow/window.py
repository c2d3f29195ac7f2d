"""The coarse look before an exploration, and the bounds within which designs are then enumerated (hardware-model,
section 6)."""

from __future__ import annotations

import math
from dataclasses import replace

from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.designs.tables import DesignSpace
from hass_train.hardware.dataflow.exploration.selection import PipelineDesign
from hass_train.hardware.dataflow.options import COARSE, DataflowOptions

_REACH, _STEERED_REACH = 2, 4
"""How many times longer than that of the pipeline an interval may be that is still enumerated: prices follow densities
to their half, and a search comes as far with the designs that it keeps."""
_BETTER = 1.5  # how many times faster than the coarse answer the best one may be
_FEW_COPIES = 4  # of more, some other number with another interval may be as good
_EDGE = 1.05  # nearer to the shortest interval that was enumerated, an answer is not trusted
_SIMPLE = (ComputeEngine.DENSE, ComputeEngine.ACTIVATION, ComputeEngine.WEIGHT)


def coarse_options(options: DataflowOptions) -> DataflowOptions | None:
    """The options of a coarse look; None where designs are enumerated without one.

    Args:
        options: those of the exploration.
    """
    plain = options.objective in ("throughput", "latency") and options.partitions != "best"
    if not options.rough or options.coarse or not plain:
        return None
    kinds = options.compute_engines
    if set(_SIMPLE) <= set(kinds):  # what the others gain beside these is little, and takes long to work out
        kinds = _SIMPLE
    return replace(options, tolerance=COARSE, partitions="never", min_throughput=0, compute_engines=kinds)


def bounds_near(space: DesignSpace, found: PipelineDesign, steers: bool) -> DesignSpace:
    """The bounds within which designs are worth enumerating.

    They are powers, so that small moves leave them where they are.

    Args:
        space: the bounds without a coarse look.
        found: what it found.
        steers: whether a search goes on with the designs.
    """
    if found.replicas > _FEW_COPIES:
        return space
    shortest, longest = found.interval / (_BETTER * found.replicas), found.interval * _REACH
    if steers:
        shortest, longest = min(shortest, found.interval / _STEERED_REACH), found.interval * _STEERED_REACH
    low, high = math.floor(math.log(shortest, _BETTER)), math.ceil(math.log(longest, _BETTER))
    return replace(space, near=(int(_BETTER**low), math.ceil(_BETTER**high)))


def at_edge(space: DesignSpace, found: PipelineDesign) -> bool:
    """Whether a design is so fast that what was left out might be better."""
    return space.near[0] > space.floor and found.interval < space.near[0] * _EDGE
