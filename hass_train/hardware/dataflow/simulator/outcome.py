"""What the kernel's tables say after a run: what each stage did, how full each FIFO was, and where a deadlock is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.simulator import kernel
from hass_train.hardware.dataflow.simulator.results import Deadlock, Fifo, StageResult
from hass_train.hardware.dataflow.simulator.stages import Stage

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """The state of the kernel after it played some images.

    Args:
        stages, fifos: the stages and FIFOs of the pipeline.
        table, edges, flat: the kernel's tables, and the arrays that they point into.
        images: how many images were played.
        progress: (stages, 3) steps done.
        account: (stages, 4) cycles of compute engines: busy, starved, blocked, waiting for slower ones.
        ends: (stages, images, 3) times of each image's first read, first write and last write.
        reads, writes, blocks: times of all steps.
    """

    stages: Sequence[Stage]
    fifos: Sequence[Fifo]
    table: Ints
    edges: Ints
    flat: Mapping[str, NDArray[Any]]
    images: int
    progress: Ints
    account: Floats
    ends: Ints
    reads: Ints
    writes: Ints
    blocks: Ints

    def stage(self, v: int) -> StageResult:
        """What stage v did from the second image to the last."""
        busy, starved, blocked, uneven = (float(value) for value in self.account[v])
        total = max(busy + starved + blocked + uneven, 1.0)
        first = tuple((int(a), int(b), int(c)) for a, b, c in self.ends[v])
        return StageResult(
            self.stages[v].name, (busy + uneven) / max(self.images - 1, 1), busy / total, starved / total,
            blocked / total, uneven / total, first,
        )  # fmt: skip

    def peaks(self) -> dict[str, int]:
        """The most entries that each FIFO held, by name."""
        return {fifo.name: self._line_peak(fifo) if fifo.kind == "rows" else self._peak(fifo) for fifo in self.fifos}

    def _peak(self, fifo: Fifo) -> int:
        """The most entries of a FIFO between two stages."""
        v, stage = fifo.stage, self.stages[fifo.stage]
        u, _, _, at_used, _, whole = self.edges[self.table[v, kernel.IN_FIRST] + fifo.operand]
        written = self.stages[u].written
        given = self.writes[self.table[u, kernel.AT_WRITE] :][: len(written) * self.images]
        used = self.flat["used"][at_used : at_used + stage.reads]
        most = kernel.peak(given, written, len(written), self._taken(v), used, stage.reads, whole)
        return int(ceil_div(most, fifo.words))

    def _line_peak(self, fifo: Fifo) -> int:
        """The most entries that a line buffer held beyond its window."""
        v, stage = fifo.stage, self.stages[fifo.stage]
        per_image = stage.groups * stage.blocks
        place = np.arange(self.images)[:, None] * per_image + np.where(stage.release < 0, 0, stage.release)
        freed = np.where(stage.release < 0, 0, self.blocks[self.table[v, kernel.AT_BLOCK] + place]).ravel()
        freed = np.maximum.accumulate(freed)
        step = np.arange(1, stage.reads + 1)
        most = kernel.peak(self._taken(v), step, stage.reads, freed, step, stage.reads, stage.reads)
        return max(int(most) - stage.window, 1)

    def _taken(self, v: int) -> Ints:
        """The times of all read steps of stage v."""
        return self.reads[self.table[v, kernel.AT_READ] :][: self.stages[v].reads * self.images]

    def deadlock(self) -> Deadlock:
        """The error that names the FIFO at which the pipeline stands still."""
        table, progress = self.table, self.progress
        for fifo in self.fifos:
            missing = self._missing_operands(fifo.stage) if fifo.kind == "join" else []
            edge = self.edges[table[fifo.stage, kernel.IN_FIRST] + fifo.operand]
            u = edge[kernel.PRODUCER]
            unfinished = progress[u, kernel.WRITTEN] < self.images * table[u, kernel.WRITES]
            if missing and fifo.operand not in missing and unfinished:
                held = edge[kernel.CAPACITY] // fifo.words
                stage = self.stages[fifo.stage]
                return Deadlock(
                    fifo.name,
                    f"deadlock: FIFO {fifo.name!r} is full with {held:,} entries while {stage.name} "
                    f"waits for {stage.operands[missing[0]].producer}, which cannot go on; make it deeper",
                )
        stuck = next(
            v for v in range(len(table)) if progress[v, kernel.WRITTEN] < self.images * table[v, kernel.WRITES]
        )
        name = self.stages[stuck].name
        return Deadlock(name, f"deadlock: FIFO {name!r} lets nothing pass; make it deeper")

    def _missing_operands(self, v: int) -> list[int]:
        """The operands that the next read step of stage v lacks; none if it has read everything."""
        row, n = self.table[v], int(self.progress[v, kernel.READ])
        if n >= self.images * row[kernel.READS]:
            return []
        missing = []
        for e in range(row[kernel.IN_FIRST], row[kernel.IN_LAST]):
            u = self.edges[e, kernel.PRODUCER]
            wanted = self.flat["need"][self.edges[e, kernel.AT_NEED] + n % row[kernel.READS]]
            wanted += (n // row[kernel.READS]) * self.table[u, kernel.WRITES]
            if wanted >= self.progress[u, kernel.WRITTEN]:
                missing.append(e - int(row[kernel.IN_FIRST]))
        return missing
