"""A design played cycle by cycle on real activations: what the analytical model is held against.

The machine (hardware-model, section 10). Every operation is a stage with its own hardware; stages are joined by FIFOs;
images follow each other back to back. A stage reads one step of words a cycle into its line buffer, its engines compute
rounds, its results leave one step a cycle. A round waits for the last word of its window; a word may enter the line
buffer when the place it takes is free; a result may leave when every FIFO behind it has room. Sparse engines take
⌈nnz/N⌉ cycles for the non-zero pairs that really met:

- in lock-step, the next round begins when the slowest engine of all is done;
- decoupled, each engine has FIFOs of so many rounds before and behind it and may be so far ahead of the slowest one.

Squeeze-excite gates, global pools and second operands of matrix products are waited for as a whole. Off-chip weights
are read band by band. Not modelled: the depth of arithmetic pipelines (some tens of cycles once an image), conflicts of
memory ports, refresh and latency of off-chip memory (its bandwidth spaces the images).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.simulator import kernel
from hass_train.hardware.dataflow.simulator.results import Deadlock, Fifo, Simulation, StageResult
from hass_train.hardware.dataflow.simulator.rounds import NonZeros
from hass_train.hardware.dataflow.simulator.stages import REGISTERS, StageDesign, maps_of, source_stage, stage_of
from hass_train.hardware.dataflow.simulator.tables import UNLIMITED, Tables, real_images
from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, Operation, Workload

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Pipeline:
    """A design ready to be played, any number of times with any FIFOs.

    Args:
        workload: the network.
        designs: of every operation, in the same order.
        nonzeros: operands of the layers with sparse engines, by name, all with equally many images; only playing
            needs them.
        profile: whose channel densities decided which lane takes which channel.
        t_min: least cycles of an initiation.
        image_cycles: that the off-chip bus takes for an image.

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
        maps = maps_of(workload)
        operations = list(workload)
        self.stages = [stage_of(o, d, maps) for o, d in zip(operations, designs, strict=True)]
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
        found = []
        for k, (operation, stage) in enumerate(zip(self.workload, self.stages, strict=False)):
            words = stage.words_per_read
            if len(stage.operands) > 1:
                for n in range(len(stage.operands)):
                    found.append(Fifo(join_name(operation, n), k, n, words, "join"))
                continue
            found.append(Fifo(stage.name, k, 0, words, "input"))
            if operation.multiplies or operation.window > 1:
                found.append(Fifo(f"{stage.name} rows", k, 0, words, "rows"))
        return found

    @cached_property
    def real(self) -> int:
        """Real images given, which repeat; 1 where no layer has sparse engines."""
        return real_images(self.designs, self._given[0])

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self.workload, self.designs, self.stages, *self._given)

    # ---- play ------------------------------------------------------------------------------------------------

    def play(self, images: int, depths: Mapping[str, int] | None = None, settle: int = 1) -> Simulation:
        """Play images through the pipeline.

        Args:
            images: how many, one after another; the given ones repeat.
            depths: entries of each FIFO by name, the least that lets anything pass where one is left out; None =
                unlimited.
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
        lanes, skewed = np.zeros(tables.lanes, np.int64), np.zeros(tables.skewed, np.int64)
        flat = tables.flat
        complete = kernel.play(
            images, tables.real, table, edges, tables.outgoing, flat["base"], flat["offset"], flat["release"],
            flat["written"], flat["need"], flat["used"], tables.duration, tables.mean_duration, flat["act"],
            flat["weight"], flat["lookup"], reads, blocks, emits, writes, lanes, skewed, progress, account, ends,
        )  # fmt: skip
        if not complete:
            raise self._deadlock(table, edges, progress, images)
        last = len(self.workload.operations) - 1
        done = ends[last, :, 2]
        interval = float(done[-1] - done[settle]) / (images - 1 - settle)
        return Simulation(
            interval, int(done[0]), images, tuple(self._stage(v, account[v], ends[v]) for v in range(last + 1)),
            self._peaks(table, edges, images, reads, writes, blocks),
        )  # fmt: skip

    def _limit(self, table: Ints, edges: Ints, depths: Mapping[str, int] | None) -> None:
        """Depths of FIFOs into the tables."""
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
        """Words that an operand's FIFO holds at least: a burst of one pixel's results, and what is needed at once."""
        taken = self.stages[consumer]
        read = taken.operands[operand]
        given = self.stages[self.place[read.producer]]
        burst = given.burst + REGISTERS * max(given.words_per_write, taken.words_per_read)
        return max(burst, read.together + given.words_per_write)

    def _stage(self, v: int, account: Floats, ends: Ints) -> StageResult:
        busy, starved, blocked, uneven = (float(value) for value in account)
        total = max(busy + starved + blocked + uneven, 1.0)
        first = tuple((int(a), int(b), int(c)) for a, b, c in ends)
        return StageResult(
            self.stages[v].name, (busy + uneven) / max(len(ends) - 1, 1), busy / total, starved / total,
            blocked / total, uneven / total, first,
        )  # fmt: skip

    def _peaks(
        self, table: Ints, edges: Ints, images: int, reads: NDArray[Any], writes: NDArray[Any], blocks: NDArray[Any]
    ) -> dict[str, int]:
        peaks = {}
        for fifo in self.fifos:
            v, stage = fifo.stage, self.stages[fifo.stage]
            row = table[v]
            taken = reads[row[kernel.AT_READ] : row[kernel.AT_READ] + stage.reads * images]
            if fifo.kind != "rows":
                u, _, _, at_used, _, whole = edges[row[kernel.IN_FIRST] + fifo.operand]
                producer = self.stages[u]
                given = writes[table[u, kernel.AT_WRITE] : table[u, kernel.AT_WRITE] + len(producer.written) * images]
                used = self._tables.flat["used"][at_used : at_used + stage.reads]
                most = kernel.peak(given, producer.written, len(producer.written), taken, used, stage.reads, whole)
                peaks[fifo.name] = int(ceil_div(most, fifo.words))
            else:
                per_image = stage.groups * stage.blocks
                place = np.arange(images)[:, None] * per_image + np.where(stage.release < 0, 0, stage.release)
                freed = np.where(stage.release < 0, 0, blocks[row[kernel.AT_BLOCK] + place]).ravel()
                step = np.arange(1, stage.reads + 1)
                freed = np.maximum.accumulate(freed)
                most = kernel.peak(taken, step, stage.reads, freed, step, stage.reads, stage.reads)
                peaks[fifo.name] = max(int(most) - stage.window, 1)
        return peaks

    def _deadlock(self, table: Ints, edges: Ints, progress: Ints, images: int) -> Deadlock:
        """The full FIFO at which everything waits for everything."""
        for fifo in self.fifos:
            if fifo.kind != "join":
                continue
            row = table[fifo.stage]
            n = int(progress[fifo.stage, kernel.READ])
            if n >= images * row[kernel.READS]:
                continue
            waits_for = []
            for e in range(row[kernel.IN_FIRST], row[kernel.IN_LAST]):
                u = edges[e, kernel.PRODUCER]
                wanted = self._tables.flat["need"][edges[e, kernel.AT_NEED] + n % row[kernel.READS]]
                wanted += (n // row[kernel.READS]) * table[u, kernel.WRITES]
                if wanted >= progress[u, kernel.WRITTEN]:
                    waits_for.append(e - int(row[kernel.IN_FIRST]))
            u = edges[row[kernel.IN_FIRST] + fifo.operand, kernel.PRODUCER]
            if (
                waits_for
                and fifo.operand not in waits_for
                and progress[u, kernel.WRITTEN] < images * table[u, kernel.WRITES]
            ):
                held = edges[row[kernel.IN_FIRST] + fifo.operand, kernel.CAPACITY] // fifo.words
                other = self.stages[fifo.stage].operands[waits_for[0]].producer
                return Deadlock(
                    fifo.name,
                    f"deadlock: FIFO {fifo.name!r} is full with {held:,} entries while {self.stages[fifo.stage].name} "
                    f"waits for {other}, which cannot go on; make it deeper",
                )
        stuck = next(v for v in range(len(table)) if progress[v, kernel.WRITTEN] < images * table[v, kernel.WRITES])
        name = self.stages[stuck].name
        return Deadlock(name, f"deadlock: FIFO {name!r} lets nothing pass; make it deeper")


def join_name(operation: Operation, operand: int) -> str:
    """Name of the FIFO of one of several operands; the second of two equal ones says so."""
    name = f"{operation.name} <- {operation.inputs[operand]}"
    again = operation.inputs[:operand].count(operation.inputs[operand])
    return f"{name} ({again + 1})" if again else name


def check_design(workload: Workload, designs: Sequence[StageDesign]) -> None:
    """Raise ValueError, naming an operation, unless the designs are of the workload's operations, in their order."""
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
        pipeline: the design; every one of its real images counts equally often.
        depths: as of `Pipeline.play`.
        most: images at which to stop anyway.

    Raises:
        Deadlock, ValueError: as `Pipeline.play`.
    """
    half = pipeline.real * ceil_div(8, pipeline.real)
    found = pipeline.play(2 * half + 1, depths, half)
    while 4 * half <= most:
        half *= 2
        before, found = found, pipeline.play(2 * half + 1, depths, half)
        if abs(found.interval_cycles - before.interval_cycles) <= 1e-3 * found.interval_cycles:
            break
    return found
