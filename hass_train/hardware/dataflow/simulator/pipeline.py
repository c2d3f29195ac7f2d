"""The simulator: it plays a design cycle by cycle on real activations, to compare the analytical model with.

The machine is that of hardware-model, section 10. Every operation is a stage with hardware of its own, stages are
joined by FIFOs, and images follow each other back to back. A stage reads one step of words a cycle into its line
buffer, its compute engines work in rounds, and its results leave one step a cycle. A round waits for the last word of
its window, a word may enter the line buffer when the place it takes is free, and a result may leave when every FIFO
behind it has room. Compute engines that skip zeros take the cycles of the activations, weights or pairs that really
meet (`engine_rounds`). If those depend on the image,

- in lock-step, the next round begins when the slowest engine of all is done;
- decoupled, each engine has FIFOs of some rounds before and behind it, and may be that far ahead of the slowest one;
  engines that skip zero activations are one for all filters.

If they depend on weights alone, the schedule is known beforehand: a block of filters takes as long as its slowest one.

Squeeze-excite gates, global pools and second operands of matrix products are waited for as a whole. Off-chip weights
are read band by band. Not modelled are the depth of arithmetic pipelines (some tens of cycles once an image), conflicts
of memory ports, and refresh and latency of off-chip memory, whose bandwidth spaces the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.simulator import kernel
from hass_train.hardware.dataflow.simulator.build_stages import source_stage, stage_of
from hass_train.hardware.dataflow.simulator.kernel_tables import UNLIMITED, KernelTables, real_images
from hass_train.hardware.dataflow.simulator.outcome import Outcome
from hass_train.hardware.dataflow.simulator.packing import NonZeros
from hass_train.hardware.dataflow.simulator.results import Fifo, Simulation, join_name
from hass_train.hardware.dataflow.simulator.stages import REGISTERS, StageDesign
from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, Workload

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Pipeline:
    """A design that is ready to be played, any number of times and with any FIFOs.

    Args:
        workload: the network.
        designs: how its operations are built, in the same order.
        nonzeros: where the operands of layers whose engines skip zeros are not zero, by name and all for equally
            many images; only playing needs them.
        profile: the profile whose channel densities decide which engine takes which channel.
        t_min: least cycles of an initiation.
        image_cycles: cycles that the off-chip bus takes for an image.

    Attributes:
        stages: the stages of the operations, and last that of the network's input.
        place: index of each stage by name.
        fifos: the memories between stages whose depths are a choice.

    Raises:
        ValueError: the design is not the network's.
    """

    def __init__(
        self,
        workload: Workload,
        designs: Sequence[StageDesign],
        nonzeros: Mapping[str, NonZeros] | None = None,
        profile: SparsityProfile | None = None,
        t_min: int = 1,
        image_cycles: int = 0,
    ) -> None:
        check_design(workload, designs)
        self.workload, self.designs = workload, tuple(designs)
        operations = list(workload)
        self.stages = [stage_of(o, d, workload.maps) for o, d in zip(operations, designs, strict=True)]
        readers = [
            design.folds[name] * design.folds.get("g", 1) * design.folds.get("q", 1)
            for operation, design in zip(operations, designs, strict=True)
            for name in ("i", "s")
            if name in design.folds and NETWORK_INPUT in operation.inputs
        ]
        self.stages.append(source_stage(workload.input_shape, max(readers)))
        self.place = {stage.name: k for k, stage in enumerate(self.stages)}
        self.fifos = list(self._fifos())
        self._given = (nonzeros or {}, profile, t_min, image_cycles)

    def _fifos(self) -> list[Fifo]:
        """One FIFO for each operand of a join; else one before a stage, and one in its line buffer if it has any."""
        found = []
        for k, (operation, stage) in enumerate(zip(self.workload, self.stages, strict=False)):
            words = stage.words_per_read
            if len(stage.operands) > 1:
                for n in range(len(stage.operands)):
                    found.append(Fifo(join_name(operation.name, operation.inputs, n), k, n, words, "join"))
                continue
            found.append(Fifo(stage.name, k, 0, words, "input"))
            if operation.multiplies or operation.slides:
                found.append(Fifo(f"{stage.name} rows", k, 0, words, "rows"))
        return found

    @cached_property
    def real(self) -> int:
        """How many real images are given, which repeat; 1 where no layer's rounds depend on them."""
        return real_images(self.designs, self._given[0])

    @cached_property
    def _tables(self) -> KernelTables:
        return KernelTables(self.workload, self.designs, self.stages, *self._given)

    # ---- play ------------------------------------------------------------------------------------------------

    def play(self, images: int, depths: Mapping[str, int] | None = None, settle: int = 1) -> Simulation:
        """Play images through the pipeline.

        Args:
            images: how many, one after another; the given ones repeat.
            depths: entries of each FIFO by name; one that is left out has the least depth that lets anything pass.
                None = all are unlimited.
            settle: images before the interval is measured.

        Raises:
            Deadlock: the pipeline stops for ever.
            ValueError: fewer than settle + 2 images, a depth below 1, or one of no FIFO that there is; or a sparse
                layer has no operands, or some of another shape.
        """
        if not 0 < settle <= images - 2:
            raise ValueError(f"{images} images are too few: the interval is measured after {settle} and needs two more")
        tables = self._tables
        table, edges = tables.table.copy(), tables.edges.copy()
        self._limit(table, edges, depths)
        sizes = {kernel.AT_READ: kernel.READS, kernel.AT_WRITE: kernel.WRITES}
        for column, count in sizes.items():
            table[:, column] = np.append(0, np.cumsum(table[:-1, count])) * images
        per_block = table[:, kernel.GROUPS] * table[:, kernel.BLOCKS]
        table[:, kernel.AT_BLOCK] = np.append(0, np.cumsum(per_block[:-1])) * images
        reads, writes = (np.zeros(int(table[:, n].sum()) * images + 1, np.int64) for n in sizes.values())
        blocks, emits = np.zeros(int(per_block.sum()) * images + 1, np.int64), np.zeros_like(writes)
        progress, account = np.zeros((len(table), 3), np.int64), np.zeros((len(table), 4))
        ends = np.zeros((len(table), images, 3), np.int64)
        engines, skewed = np.zeros(tables.engines, np.int64), np.zeros(tables.skewed, np.int64)
        flat = tables.flat
        complete = kernel.play(
            images, tables.real, table, edges, tables.outgoing, flat["base"], flat["offset"], flat["release"],
            flat["written"], flat["need"], flat["used"], tables.duration, tables.mean_duration, flat["act"],
            flat["weight"], flat["lookup"], reads, blocks, emits, writes, engines, skewed, progress, account, ends,
        )  # fmt: skip
        outcome = Outcome(
            self.stages, self.fifos, table, edges, flat, images, progress, account, ends, reads, writes, blocks
        )
        if not complete:
            raise outcome.deadlock()
        last = len(self.workload.operations) - 1
        done = ends[last, :, 2]
        interval = float(done[-1] - done[settle]) / (images - 1 - settle)
        results = tuple(outcome.stage(v) for v in range(last + 1))
        return Simulation(interval, int(done[0]), images, results, outcome.peaks())

    def _limit(self, table: Ints, edges: Ints, depths: Mapping[str, int] | None) -> None:
        """Write the depths of the FIFOs into the tables."""
        unknown = sorted(set(depths or {}) - {fifo.name for fifo in self.fifos})
        if unknown:
            raise ValueError(f"there is no FIFO {unknown[0]!r}")
        for v, stage in enumerate(self.stages):
            table[v, kernel.KEEP] = stage.window + REGISTERS if depths is not None else UNLIMITED
        if depths is None:
            return
        for fifo in self.fifos:
            kept = REGISTERS if fifo.kind == "rows" else ceil_div(self.least(fifo.stage, fifo.operand), fifo.words)
            depth = depths.get(fifo.name, kept)
            if depth < 1:
                raise ValueError(f"FIFO {fifo.name!r} has a depth of {depth}; it must be ≥ 1")
            if fifo.kind == "rows":
                table[fifo.stage, kernel.KEEP] = self.stages[fifo.stage].window + depth
            else:
                e = int(table[fifo.stage, kernel.IN_FIRST]) + fifo.operand
                edges[e, kernel.CAPACITY] = max(depth * fifo.words, self.stages[edges[e, 0]].words_per_write)

    def least(self, consumer: int, operand: int) -> int:
        """The least words that an operand's FIFO must hold: a burst of one pixel's results, or all needed at once."""
        taken = self.stages[consumer]
        read = taken.operands[operand]
        given = self.stages[self.place[read.producer]]
        burst = given.burst + REGISTERS * max(given.words_per_write, taken.words_per_read)
        return max(burst, read.together + given.words_per_write)


def check_design(workload: Workload, designs: Sequence[StageDesign]) -> None:
    """Check that the designs are those of the workload's operations, in their order.

    Raises:
        ValueError: they are not; the message names an operation.
    """
    wanted, given = [operation.name for operation in workload], [design.name for design in designs]
    if wanted == given:
        return
    foreign = f"the design does not belong to {workload.name}"
    mend = "take the design.json that a run of this network wrote"
    for name in given:
        if name not in wanted:
            raise ValueError(f"{foreign}: it has {name!r}, which the network has not; {mend}")
    for name in wanted:
        if name not in given:
            raise ValueError(f"{foreign}: it lacks {name!r}; {mend}")
    raise ValueError(f"{foreign}: its operations come in another order; {mend}")


def steady(pipeline: Pipeline, depths: Mapping[str, int] | None = None, most: int = 128) -> Simulation:
    """Play ever more images until the interval no longer changes by a thousandth.

    Args:
        pipeline: the design; each of its real images is played equally often.
        depths: entries of each FIFO, as in `Pipeline.play`.
        most: number of images at which to stop anyway.

    Raises:
        Deadlock, ValueError: as in `Pipeline.play`.
    """
    half = pipeline.real * ceil_div(8, pipeline.real)
    found = pipeline.play(2 * half + 1, depths, half)
    while 4 * half <= most:
        half *= 2
        before, found = found, pipeline.play(2 * half + 1, depths, half)
        if abs(found.interval_cycles - before.interval_cycles) <= 1e-3 * found.interval_cycles:
            break
    return found
