"""A design played on real images by a network: what the analytical model promised, and what a machine would do."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from hass_train.hardware import LayerSparsity, SparsityProfile, Workload
from hass_train.hardware.dataflow.design import Design, PartDesign
from hass_train.hardware.dataflow.simulator.depths import size
from hass_train.hardware.dataflow.simulator.packing import NonZeros
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline, check_design, steady
from hass_train.hardware.dataflow.simulator.results import Deadlock
from hass_train.precision import IntegerNetwork
from hass_train.precision.nonzeros import integer_nonzeros
from hass_train.results.simulation import DesignSimulation, PartSimulation
from hass_train.runtime.errors import UserError
from hass_train.sparsity.nonzeros import observe_nonzeros


def simulate_design(
    design: Design,
    workload: Workload,
    model: nn.Module | IntegerNetwork,
    images: Tensor,
    profile: SparsityProfile,
    sized: bool = False,
    told: Callable[[str], None] = lambda message: None,
) -> DesignSimulation:
    """Play a design on images.

    Args:
        design: the design to play.
        workload, model: the network as it was traced, and as a module with sparse layers or as integers.
        images: tensor of shape (n, channels, height, width).
        profile: the sparsity that the design was made for; it says which engine takes which channel.
        sized: whether to find the smallest FIFOs too.
        told: called with what is being done, a few words at a time.

    Raises:
        UserError: a design of another network or image size, one with skipped blocks or channels, a deadlock, or
            nothing to play.
    """
    if tuple(images.shape[1:]) != design.input_shape:
        given, wanted = ("×".join(map(str, shape)) for shape in (images.shape[1:], design.input_shape))
        raise UserError(f"the design is for images of {wanted}, and these are {given}; use the design's size")
    if skipped := next((name for name, layer in profile.layers.items() if _skips(layer)), None):
        raise UserError(
            f"the simulator plays every initiation, and this design leaves out blocks or channels of {skipped}; it can "
            "play designs of sparsity=unstructured, nm and balanced"
        )
    skipping = [one.name for part in design.parts for one in part.designs if one.skips_zeros]
    try:
        check_design(workload, [one for part in design.parts for one in part.designs])
        if isinstance(model, IntegerNetwork):
            nonzeros = integer_nonzeros(model, skipping, images)
        else:
            nonzeros = observe_nonzeros(model, workload, skipping, images)
    except ValueError as error:
        raise UserError(str(error)) from error
    parts = tuple(_part(part, design, workload, nonzeros, profile, sized, told) for part in design.parts)
    hardware = design.hardware
    return DesignSimulation(workload.name, str(hardware["name"]), float(hardware["clock_mhz"]), len(images), parts)


def _skips(sparsity: LayerSparsity) -> bool:
    structure = sparsity.structure
    return bool(structure and (structure.dead_filters or (structure.blocks and structure.blocks.density < 1)))


def _part(
    part: PartDesign,
    design: Design,
    workload: Workload,
    nonzeros: dict[str, NonZeros],
    profile: SparsityProfile,
    sized: bool,
    told: Callable[[str], None],
) -> PartSimulation:
    hardware = design.hardware
    per_cycle = float(hardware["bandwidth_gbps"]) * 1e3 / float(hardware["clock_mhz"])
    counted = "bandwidth" in hardware["limits"]
    bus = int(part.offchip_bits * part.replicas / per_cycle) if counted and per_cycle else 0
    try:
        stretch = workload if len(design.parts) == 1 else workload.part(part.start, part.end)
        pipeline = Pipeline(
            stretch, part.designs, nonzeros, profile, 0 if hardware["skip_all_zero"] else 1, image_cycles=bus
        )
        told("with infinite FIFOs")
        unlimited = steady(pipeline)
        told("with the design's FIFOs")
        found = steady(pipeline, part.fifos)
        smallest = None
        if sized:
            half = max(pipeline.real, 8)
            smallest = size(
                pipeline, part.fifos, 2 * half, half - 1, told=lambda trial: told(f"sizing FIFOs, trial {trial}")
            )
    except (ValueError, Deadlock) as error:
        raise UserError(str(error)) from error
    return PartSimulation(part.interval_cycles, found, unlimited.interval_cycles, dict(part.fifos), smallest)
