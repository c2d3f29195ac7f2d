"""FIFO depths of a design, by rule or as the smallest that simulations find (hardware-model, section 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.branches import operand_fifos, operand_words
from hass_train.hardware.dataflow.costs.fifos import input_depth, rows_depth
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline
from hass_train.hardware.dataflow.simulator.results import Deadlock, Fifo

SLACK = 0.01
"""How much longer than with infinite FIFOs the interval may be, as a fraction."""
_DOUBLINGS = 10  # most times that generous depths are doubled
_GENEROUS = 6  # maps that a join may hold at first


def size(
    pipeline: Pipeline,
    first: Mapping[str, int],
    images: int,
    settle: int,
    trials: int = 120,
    told: Callable[[int], None] = lambda trial: None,
) -> dict[str, int]:
    """The smallest depths, to a factor of two, that keep the interval within 1 % of infinite FIFOs.

    Beginning with depths that are enough, what simulations never fill is given back. Then depths are halved as long as
    the interval allows, those of a kind together and after that one by one, the largest memories first.

    Args:
        pipeline: the design.
        first: depths to begin with, by name; they are made deeper if they are not enough.
        images, settle: images of each simulation, and those before the interval is measured.
        trials: most simulations.
        told: called after each simulation with the number of simulations so far.

    Returns:
        Entries of each FIFO by name.
    """
    goal = pipeline.play(images, settle=settle).interval_cycles * (1 + SLACK)
    done = 0

    def played(depths: Mapping[str, int]) -> dict[str, int] | None:
        """The most that the FIFOs held if the depths are enough, else None."""
        nonlocal done
        done += 1
        told(done)
        try:
            found = pipeline.play(images, depths, settle)
        except Deadlock:
            return None
        return dict(found.peaks) if found.interval_cycles <= goal else None

    depths, peaks = dict(first), played(first)
    if peaks is None:
        depths = generous(pipeline)
        for _ in range(_DOUBLINGS):
            if (peaks := played(depths)) is not None:
                break
            depths = {name: 2 * depth for name, depth in depths.items()}
        else:
            raise RuntimeError("no depths keep the interval")  # infinite ones do
    depths = _given_back(depths, peaks)
    groups = [[fifo for fifo in pipeline.fifos if fifo.kind == kind] for kind in ("join", "rows", "input")]
    groups += [[fifo] for fifo in sorted(pipeline.fifos, key=lambda fifo: -depths[fifo.name] * fifo.words)]
    for group in groups:
        while done < trials and any(depths[fifo.name] > 1 for fifo in group):
            fewer = depths | {fifo.name: ceil_div(depths[fifo.name], 2) for fifo in group}
            peaks = played(fewer)
            if peaks is None:
                break
            depths = _given_back(fewer, peaks)
    return depths


def _given_back(depths: Mapping[str, int], peaks: Mapping[str, int]) -> dict[str, int]:
    """The same depths, but no deeper than what was held, which leaves the schedule as it is."""
    return {name: max(min(depth, peaks[name]), 1) for name, depth in depths.items()}


def generous(pipeline: Pipeline) -> dict[str, int]:
    """Depths, by name, that hold whole images."""
    depths = {}
    for fifo in pipeline.fifos:
        stage = pipeline.stages[fifo.stage]
        words = int(stage.operands[fifo.operand].used[-1])
        depths[fifo.name] = max(stage.reads, _least(pipeline, fifo))
        if fifo.kind == "join":
            depths[fifo.name] = max(ceil_div(_GENEROUS * words, fifo.words), _least(pipeline, fifo))
    return depths


def _least(pipeline: Pipeline, fifo: Fifo) -> int:
    """The least entries of a FIFO that let anything pass."""
    return ceil_div(pipeline.least(fifo.stage, fifo.operand), fifo.words)


# ---- the rule --------------------------------------------------------------------------------------------------------


def rule(pipeline: Pipeline, intervals: Mapping[str, int], urgency: Mapping[str, int]) -> dict[str, int]:
    """Depths, by name, by the rule from which the exploration counts memory.

    Args:
        pipeline: the design.
        intervals: cycles per image of the operations, by name.
        urgency: how many times faster than the pipeline they are, by name.
    """
    fifos = operand_fifos(
        pipeline.workload, urgency, {design.name: design.bands for design in pipeline.designs if design.bands}
    )
    depths = {}
    for fifo in pipeline.fifos:
        operation, design = pipeline.workload.operations[fifo.stage], pipeline.designs[fifo.stage]
        pixels = design.folds.get("q", 1)
        load = min(pipeline.stages[fifo.stage].reads / max(intervals[operation.name], 1), 1.0)
        if fifo.kind == "join":
            passing = int(pipeline.stages[pipeline.place[operation.inputs[fifo.operand]]].written[-1])
            read = operand_words(operation, fifo.operand, passing)
            depth = ceil_div(fifos[operation.name].words[fifo.operand] * passing, read * fifo.words)
        else:
            streams = fifo.words // pixels
            ahead = fifo.kind == "rows"
            depth = int(
                rows_depth(operation, streams, pixels) if ahead else input_depth(operation, streams, pixels, load)
            )
        depths[fifo.name] = depth if fifo.kind == "rows" else max(depth, _least(pipeline, fifo))
    return depths
