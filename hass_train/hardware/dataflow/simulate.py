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
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.simulator import kernel
from hass_train.hardware.dataflow.simulator.rounds import NonZeros, Packed, pack
from hass_train.hardware.dataflow.simulator.stages import REGISTERS, StageDesign, maps_of, source_stage, stage_of
from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, Operation, Workload

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_UNLIMITED = 2**50
_LONGEST = 2**31 - 2**20  # cycles that the time stamps hold


class Deadlock(RuntimeError):
    """The pipeline stops for ever; the message names the FIFO that is too small.

    Attributes:
        fifo: its name.
    """

    def __init__(self, fifo: str, message: str) -> None:
        super().__init__(message)
        self.fifo = fifo


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage did from the second image to the last.

    Args:
        name: of the operation.
        interval_cycles: per image that its engines were busy or uneven: what it would take alone.
        busy, starved, blocked, uneven: fractions of the time: computing; without input; without room for results;
            waiting for a slower engine of the same stage.
        first: (images, 3) cycles at which each image's first word came in, its first and its last word left.
    """

    name: str
    interval_cycles: float
    busy: float
    starved: float
    blocked: float
    uneven: float
    first: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulation measured.

    Args:
        interval_cycles: between images, in steady state.
        latency_cycles: from the first image's first word to its last result.
        images: played.
        stages: in topological order.
        peaks: most entries that every FIFO held, by name.
    """

    interval_cycles: float
    latency_cycles: int
    images: int
    stages: tuple[StageResult, ...] = field(repr=False)
    peaks: Mapping[str, int] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fifo:
    """A memory between two stages whose depth is a choice.

    Args:
        name: the stage it feeds; of several operands `stage <- operand`, of a line buffer `stage rows`.
        stage, operand: places of both.
        words: of an entry.
        kind: `join`: holds an operand back for another one; `input`: before a line buffer, for what arrives while
            padding is read; `rows`: makes the line buffer longer, for reading ahead of the windows.
    """

    name: str
    stage: int
    operand: int
    words: int
    kind: Literal["join", "input", "rows"]


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
        _check(workload, designs)
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
        self._ready = False

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

    # ---- tables for the kernel -------------------------------------------------------------------------------

    @property
    def real(self) -> int:
        """Real images given, which repeat; 1 where no layer has sparse engines."""
        images = {len(self._given[0][design.name].activations) for design in self.designs if self._plays(design)}
        if len(images) > 1 or 0 in images:
            raise ValueError(f"the layers' activations are of {sorted(images)} images; they must be of equally many")
        return images.pop() if images else 1

    def _plays(self, design: StageDesign) -> bool:
        return design.engine == "sparse" and design.name in self._given[0]

    def _tables(
        self, nonzeros: Mapping[str, NonZeros], profile: SparsityProfile | None, t_min: int, image_cycles: int
    ) -> None:
        stages = self.stages
        table = np.zeros((len(stages), kernel.STAGE_COLUMNS), np.int64)
        edges: list[list[int]] = []
        by_producer: list[list[int]] = [[] for _ in stages]
        arrays: dict[str, list[Any]] = {
            name: [] for name in ("base", "offset", "release", "written", "need", "used", "act", "weight", "lookup")
        }
        filled = dict.fromkeys(arrays, 0)

        def put(name: str, values: NDArray[Any]) -> int:
            at = filled[name]
            arrays[name].append(np.ravel(values))
            filled[name] += values.size
            return at

        sparse = {design.name for design in self.designs if design.engine == "sparse"}
        missing = sorted(sparse - set(nonzeros))
        if missing:
            raise ValueError(f"{missing[0]} has sparse engines, and no activations and weights are given for it")
        layers: dict[int, Packed] = {}
        for v, stage in enumerate(stages):
            row = table[v]
            row[kernel.READS], row[kernel.GROUPS], row[kernel.BLOCKS] = stage.reads, stage.groups, stage.blocks
            row[kernel.FILTERS], row[kernel.DEPTH], row[kernel.WRITES] = stage.filters, stage.depth, len(stage.written)
            row[kernel.BAND] = stage.band
            row[kernel.REGISTERS] = REGISTERS if stage.band == 1 else 2 * stage.band
            row[kernel.CYCLES], row[kernel.ENGINE] = 1, kernel.CONSTANT
            row[kernel.AT_BASE], row[kernel.AT_OFFSET] = put("base", stage.base), put("offset", stage.offset)
            row[kernel.AT_RELEASE], row[kernel.AT_WRITTEN] = (
                put("release", stage.release),
                put("written", stage.written),
            )
            if stage.name == NETWORK_INPUT:
                row[kernel.ENGINE], row[kernel.PACE] = kernel.SOURCE, image_cycles
                continue
            operation, design = self.workload.operations[v], self.designs[v]
            if design.engine == "dense":
                row[kernel.CYCLES] = -(-operation.window * design.folds["m"] // design.folds["N"])
            elif design.engine == "sparse":
                sparsity = profile.layers.get(stage.name) if profile else None
                packed = layers[v] = pack(operation, design, nonzeros[stage.name], sparsity, t_min)
                shape = packed.activations.shape
                row[kernel.ENGINE] = kernel.DECOUPLED if design.engine_fifo else kernel.LOCKSTEP
                row[kernel.AT_ACTIVATION], row[kernel.ACTIVATIONS] = put("act", packed.activations), np.prod(shape[1:])
                row[kernel.AT_WEIGHT], row[kernel.AT_LOOKUP] = (
                    put("weight", packed.weights),
                    put("lookup", packed.lookup),
                )
                row[kernel.LANE_COLUMNS], row[kernel.LANE_GROUPS], row[kernel.LANE_BUNDLES] = shape[4:7]
                row[kernel.WORDS], row[kernel.LANE_FILTERS] = shape[7], packed.weights.shape[4]
                row[kernel.SKEW] = design.engine_fifo
                row[kernel.REGISTERS] += design.engine_fifo  # results wait behind the engines that are ahead
            first = len(edges)
            for operand in stage.operands:
                u = self.place[operand.producer]
                producer = stages[u]
                step = np.searchsorted(producer.written, operand.needed)
                step = np.where(operand.needed > 0, np.minimum(step, len(producer.written) - 1), -1)
                by_producer[u].append(len(edges))
                whole = int(producer.written[-1])
                edges.append([u, v, put("need", step), put("used", operand.used), _UNLIMITED, whole])
            row[kernel.IN_FIRST], row[kernel.IN_LAST] = first, len(edges)
        for v, leaving in enumerate(by_producer):
            table[v, kernel.OUT_FIRST] = sum(map(len, by_producer[:v]))
            table[v, kernel.OUT_LAST] = table[v, kernel.OUT_FIRST] + len(leaving)
        self.table, self.edges = table, np.array(edges, np.int64).reshape(-1, kernel.EDGE_COLUMNS)
        self.outgoing = np.array([e for leaving in by_producer for e in leaving], np.int64)
        self.flat = {
            name: np.concatenate(parts).astype(np.uint64 if name in ("act", "weight") else np.int64)
            if parts
            else np.zeros(1, np.uint64 if name in ("act", "weight") else np.int64)
            for name, parts in arrays.items()
        }
        self._durations(layers)

    def _durations(self, layers: Mapping[int, Packed]) -> None:
        """Rounds of engines in lock-step are as long as the slowest engine's, whatever happens around them."""
        longest, means, at = [], [], 0
        lanes, skewed = 0, 0
        for v in layers:
            row = self.table[v]
            if row[kernel.ENGINE] == kernel.DECOUPLED:
                row[kernel.AT_LANE], row[kernel.AT_SKEW] = lanes, skewed
                lanes += self._lanes(v)
                skewed += int(row[kernel.SKEW]) + 1
                continue
            rounds = int(row[kernel.GROUPS] * row[kernel.BLOCKS] * row[kernel.FILTERS])
            most, total = np.zeros((self.real, rounds), np.int64), np.zeros((self.real, rounds), np.int64)
            kernel.lockstep_durations(
                row, self.flat["act"], self.flat["weight"], self.flat["lookup"], self.real, most, total
            )
            row[kernel.AT_DURATION] = at
            at += most.size
            longest.append(most.ravel().astype(np.int32))
            means.append((total.ravel() / self._lanes(v)).astype(np.float32))
        self.duration = np.concatenate(longest) if longest else np.zeros(1, np.int32)
        self.mean_duration = np.concatenate(means) if means else np.zeros(1, np.float32)
        self.lanes, self.skewed = max(lanes, 1), max(skewed, 1)

    def _lanes(self, v: int) -> int:
        row = self.table[v]
        sides = (kernel.LANE_COLUMNS, kernel.LANE_GROUPS, kernel.LANE_BUNDLES, kernel.LANE_FILTERS)
        return int(np.prod([row[side] for side in sides]))

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
        if not self._ready:
            self._tables(*self._given)
            self._ready = True
        if not 0 < settle <= images - 2:
            raise ValueError(f"{images} images are too few: the interval is measured after {settle} and needs two more")
        table, edges = self.table.copy(), self.edges.copy()
        self._limit(table, edges, depths)
        sizes = {kernel.AT_READ: kernel.READS, kernel.AT_WRITE: kernel.WRITES}
        for column, count in sizes.items():
            table[:, column] = np.append(0, np.cumsum(table[:-1, count])) * images
        per_block = table[:, kernel.GROUPS] * table[:, kernel.BLOCKS]
        table[:, kernel.AT_BLOCK] = np.append(0, np.cumsum(per_block[:-1])) * images
        reads, writes = (np.zeros(int(table[:, n].sum()) * images + 1, np.int32) for n in sizes.values())
        blocks, emits = np.zeros(int(per_block.sum()) * images + 1, np.int32), np.zeros_like(writes)
        progress, account = np.zeros((len(table), 3), np.int64), np.zeros((len(table), 4))
        ends = np.zeros((len(table), images, 3), np.int64)
        lanes, skewed = np.zeros(self.lanes, np.int64), np.zeros(self.skewed, np.int64)
        flat = self.flat
        complete = kernel.play(
            images, self.real, table, edges, self.outgoing, flat["base"], flat["offset"], flat["release"],
            flat["written"], flat["need"], flat["used"], self.duration, self.mean_duration, flat["act"],
            flat["weight"], flat["lookup"], reads, blocks, emits, writes, lanes, skewed, progress, account, ends,
        )  # fmt: skip
        if not complete:
            raise self._deadlock(table, edges, progress, images)
        last = len(self.workload.operations) - 1
        done = ends[last, :, 2]
        if done[-1] > _LONGEST:
            raise ValueError(f"{images} images take {done[-1]:,} cycles, more than the simulator counts; play fewer")
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
            table[v, kernel.KEEP] = stage.window + REGISTERS if depths is not None else _UNLIMITED
        if depths is None:
            return
        for fifo in self.fifos:
            kept = REGISTERS if fifo.kind == "rows" else -(-self.least(fifo.stage, fifo.operand) // fifo.words)
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
                used = self.flat["used"][at_used : at_used + stage.reads]
                most = kernel.peak(given, producer.written, len(producer.written), taken, used, stage.reads, whole)
                peaks[fifo.name] = int(-(-most // fifo.words))
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
                wanted = self.flat["need"][edges[e, kernel.AT_NEED] + n % row[kernel.READS]]
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


def _check(workload: Workload, designs: Sequence[StageDesign]) -> None:
    wanted, given = [operation.name for operation in workload], [design.name for design in designs]
    if wanted == given:
        return
    for name in given:
        if name not in wanted:
            raise ValueError(
                f"the design does not belong to {workload.name}: it has {name!r}, which the network has not"
            )
    for name in wanted:
        if name not in given:
            raise ValueError(f"the design does not belong to {workload.name}: it lacks {name!r}")
    raise ValueError(f"the design does not belong to {workload.name}: its operations come in another order")


def steady(pipeline: Pipeline, depths: Mapping[str, int] | None = None, most: int = 128) -> Simulation:
    """Play ever more images until the interval no longer changes by a thousandth.

    Args:
        pipeline: the design; every one of its real images counts equally often.
        depths: as of `Pipeline.play`.
        most: images at which to stop anyway.

    Raises:
        Deadlock, ValueError: as `Pipeline.play`.
    """
    half = pipeline.real * -(-8 // pipeline.real)
    found = pipeline.play(2 * half + 1, depths, half)
    while 4 * half <= most:
        half *= 2
        before, found = found, pipeline.play(2 * half + 1, depths, half)
        if abs(found.interval_cycles - before.interval_cycles) <= 1e-3 * found.interval_cycles:
            break
    return found
