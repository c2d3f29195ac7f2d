"""Stages, designs and operands as the flat arrays that the compiled kernel reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds
from hass_train.hardware.dataflow.simulator import kernel
from hass_train.hardware.dataflow.simulator.packing import NonZeros, Packed, pack
from hass_train.hardware.dataflow.simulator.stages import REGISTERS, Operand, Stage, StageDesign
from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, Workload

UNLIMITED = 2**50
"""Words in a FIFO without a limit."""
_BITS = ("act", "weight")  # arrays of packed bits
_ARRAYS = ("base", "offset", "release", "written", "need", "used", *_BITS, "lookup")


class KernelTables:
    """All that the kernel reads of a pipeline but the depths of its FIFOs.

    Args:
        workload: the network.
        designs: how its operations are built.
        stages: the stages of the operations, and last that of the network's input.
        nonzeros: where the operands of layers whose engines skip zeros are not zero, by name.
        profile, t_min, image_cycles: as in `pipeline.Pipeline`.

    Attributes:
        table: (stages, columns of `kernel`).
        edges: (FIFOs, columns of `kernel`).
        outgoing: the FIFOs that leave each stage, stage by stage.
        flat: the arrays that the tables point into, by name.
        duration: cycles of rounds in lock-step, of the slowest compute engine; and of each decoupled engine where only
            activations count.
        mean_duration: mean cycles over the engines in lock-step.
        engines, skewed: sizes of the state of decoupled compute engines.
        real: how many images are given.

    Raises:
        ValueError: a layer with engines that skip zeros has no operands, or operands of another shape or for another
            number of images.
    """

    def __init__(
        self,
        workload: Workload,
        designs: Sequence[StageDesign],
        stages: Sequence[Stage],
        nonzeros: Mapping[str, NonZeros],
        profile: SparsityProfile | None,
        t_min: int,
        image_cycles: int,
    ) -> None:
        self.real = real_images(designs, nonzeros)
        missing = sorted({design.name for design in designs if design.skips_zeros} - set(nonzeros))
        if missing:
            raise ValueError(f"{missing[0]} has engines that skip zeros, but no activations and weights are given")
        self._stages, self._place = stages, {stage.name: k for k, stage in enumerate(stages)}
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _ARRAYS}
        self._filled = dict.fromkeys(_ARRAYS, 0)
        self.table = np.zeros((len(stages), kernel.STAGE_COLUMNS), np.int64)
        edges: list[list[int]] = []
        leaving: list[list[int]] = [[] for _ in stages]
        layers: dict[int, Packed] = {}
        for v, stage in enumerate(stages):
            row = self.table[v]
            self._put_steps(row, stage)
            if stage.name == NETWORK_INPUT:
                row[kernel.ENGINE], row[kernel.PACE] = kernel.SOURCE, image_cycles
                continue
            operation, design = workload.operations[v], designs[v]
            if design.engine == ComputeEngine.DENSE:
                row[kernel.CYCLES] = dense_rounds(operation.window * design.folds["m"], design.folds["N"])
            elif design.skips_zeros:
                sparsity = profile.layers.get(stage.name) if profile else None
                layers[v] = pack(operation, design, nonzeros[stage.name], sparsity, t_min)
                self._put_engines(row, design, layers[v])
            row[kernel.IN_FIRST], row[kernel.IN_LAST] = len(edges), len(edges) + len(stage.operands)
            for operand in stage.operands:
                leaving[self._place[operand.producer]].append(len(edges))
                edges.append(self._edge(v, operand))
        for v, each in enumerate(leaving):
            self.table[v, kernel.OUT_FIRST] = sum(map(len, leaving[:v]))
            self.table[v, kernel.OUT_LAST] = self.table[v, kernel.OUT_FIRST] + len(each)
        self.edges = np.array(edges, np.int64).reshape(-1, kernel.EDGE_COLUMNS)
        self.outgoing = np.array([e for each in leaving for e in each], np.int64)
        self.flat = {name: self._joined(name) for name in _ARRAYS}
        self._set_durations(layers)

    def _put(self, name: str, values: NDArray[Any]) -> int:
        """Append values to a flat array; returns where they begin."""
        at = self._filled[name]
        self._parts[name].append(np.ravel(values))
        self._filled[name] += values.size
        return at

    def _joined(self, name: str) -> NDArray[Any]:
        dtype = np.uint64 if name in _BITS else np.int64
        parts = self._parts[name]
        return np.concatenate(parts).astype(dtype) if parts else np.zeros(1, dtype)

    def _put_steps(self, row: NDArray[np.int64], stage: Stage) -> None:
        """Fill in what a stage reads, computes and writes."""
        row[kernel.READS], row[kernel.GROUPS], row[kernel.BLOCKS] = stage.reads, stage.groups, stage.blocks
        row[kernel.FILTERS], row[kernel.DEPTH], row[kernel.WRITES] = stage.filters, stage.depth, len(stage.written)
        row[kernel.BAND] = stage.band
        row[kernel.REGISTERS] = REGISTERS if stage.band == 1 else 2 * stage.band
        row[kernel.CYCLES], row[kernel.ENGINE] = 1, kernel.CONSTANT
        row[kernel.AT_BASE], row[kernel.AT_OFFSET] = self._put("base", stage.base), self._put("offset", stage.offset)
        row[kernel.AT_RELEASE] = self._put("release", stage.release)
        row[kernel.AT_WRITTEN] = self._put("written", stage.written)

    def _put_engines(self, row: NDArray[np.int64], design: StageDesign, packed: Packed) -> None:
        """Fill in the compute engines of a stage that skip zeros, with their operands."""
        row[kernel.ENGINE] = kernel.DECOUPLED if design.engine_fifo else kernel.LOCKSTEP
        row[kernel.SKEW] = design.engine_fifo
        row[kernel.REGISTERS] += design.engine_fifo  # results wait behind the engines that are ahead
        row[kernel.ENGINE_COLUMNS] = row[kernel.ENGINE_FILTERS] = 1  # that many schedules: filters share activations'
        if packed.activations is not None:
            row[[kernel.ENGINE_COLUMNS, kernel.ENGINE_GROUPS, kernel.ENGINE_BUNDLES]] = packed.activations.shape[4:7]
        if packed.weights is not None:
            row[[kernel.ENGINE_GROUPS, kernel.ENGINE_BUNDLES, kernel.ENGINE_FILTERS]] = packed.weights.shape[2:5]
        if packed.activations is None or packed.weights is None:
            return
        shape = packed.activations.shape
        row[kernel.AT_ACTIVATION], row[kernel.ACTIVATIONS] = self._put("act", packed.activations), np.prod(shape[1:])
        row[kernel.AT_WEIGHT] = self._put("weight", packed.weights)
        row[kernel.AT_LOOKUP] = self._put("lookup", packed.lookup)
        row[kernel.WORDS], row[kernel.LANES], row[kernel.LANE_SIZE] = shape[7], packed.lanes, packed.lane_size

    def _edge(self, v: int, operand: Operand) -> list[int]:
        """The row of the FIFO that brings stage v an operand."""
        u = self._place[operand.producer]
        written = self._stages[u].written
        step = np.minimum(np.searchsorted(written, operand.needed), len(written) - 1)
        step = np.where(operand.needed > 0, step, -1)
        return [u, v, self._put("need", step), self._put("used", operand.used), UNLIMITED, int(written[-1])]

    def _set_durations(self, layers: Mapping[int, Packed]) -> None:
        """Work out what is known of rounds beforehand.

        Rounds in lock-step last as long as the slowest engine whatever else happens. Of decoupled engines each one's
        cycles are kept where only activations count; pairs are counted while they are played.
        """
        durations: list[NDArray[np.int32]] = []
        means: list[NDArray[np.float32]] = []
        decoupled = [v for v in layers if self.table[v, kernel.ENGINE] == kernel.DECOUPLED]
        for v in sorted(layers.keys() - decoupled):
            if self.table[v, kernel.WORDS]:
                cycles, mean = self._rounds_of_pairs(v)
            else:
                each = _cycles_of_one(layers[v])
                cycles, mean = each.max(axis=-1), each.mean(axis=-1, dtype=np.float32)
            self._put_rounds(v, cycles, durations)
            means.append(mean.ravel())  # at the same places as durations, so that these come first
        engines, skewed = 0, 0
        for v in decoupled:
            row = self.table[v]
            row[kernel.AT_ENGINE], row[kernel.AT_SKEW] = engines, skewed
            engines += self._engines(v)
            skewed += int(row[kernel.SKEW]) + 1
            if not row[kernel.WORDS]:
                self._put_rounds(v, _cycles_of_one(layers[v]), durations)
        self.duration = np.concatenate(durations) if durations else np.zeros(1, np.int32)
        self.mean_duration = np.concatenate(means) if means else np.zeros(1, np.float32)
        self.engines, self.skewed = max(engines, 1), max(skewed, 1)

    def _put_rounds(self, v: int, cycles: NDArray[np.int32], durations: list[NDArray[np.int32]]) -> None:
        """Append the cycles of stage v's rounds, (images, groups of pixels, blocks, blocks of filters[, engines]); 1 in
        place of a number along which all are alike."""
        row = self.table[v]
        row[kernel.AT_DURATION] = sum(map(len, durations))
        columns = (kernel.PER_IMAGE, kernel.PER_GROUP, kernel.PER_BLOCK, kernel.PER_PART)
        for axis, column in enumerate(columns):
            row[column] = np.prod(cycles.shape[axis + 1 :]) if cycles.shape[axis] > 1 else 0
        durations.append(cycles.ravel())

    def _rounds_of_pairs(self, v: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(images, groups of pixels, blocks, blocks of filters) the cycles of every round of pairs in lock-step, of the
        slowest engine of stage v, and on average."""
        row = self.table[v]
        rounds = [self.real, *row[[kernel.GROUPS, kernel.BLOCKS, kernel.FILTERS]]]
        most, total = (np.zeros((self.real, int(np.prod(rounds[1:]))), np.int64) for _ in range(2))
        kernel.lockstep_durations(
            row, self.flat["act"], self.flat["weight"], self.flat["lookup"], self.real, most, total
        )
        mean = (total / self._engines(v)).astype(np.float32)
        return most.astype(np.int32).reshape(rounds), mean.reshape(rounds)

    def _engines(self, v: int) -> int:
        """The number of compute engines of stage v."""
        row = self.table[v]
        sides = (kernel.ENGINE_COLUMNS, kernel.ENGINE_GROUPS, kernel.ENGINE_BUNDLES, kernel.ENGINE_FILTERS)
        return int(np.prod([row[side] for side in sides]))


def real_images(designs: Sequence[StageDesign], nonzeros: Mapping[str, NonZeros]) -> int:
    """How many real images are given for the layers whose rounds depend on them; 1 where there are no such layers.

    Raises:
        ValueError: layers are given different numbers of them, or none.
    """
    seeing = (design.name for design in designs if design.sees_activations and design.name in nonzeros)
    images = {len(nonzeros[name].activations) for name in seeing}
    if len(images) > 1 or 0 in images:
        raise ValueError(f"the layers' activations are of {sorted(images)} images; they must be of equally many")
    return images.pop() if images else 1


def _cycles_of_one(packed: Packed) -> NDArray[np.int32]:
    """The cycles of every engine in every round where only one operand counts.

    Returns:
        (images, groups of pixels, blocks of groups and channels, blocks of filters, engines); 1 in place of a number
        along which all are alike.
    """
    windows = packed.activations if packed.weights is None else packed.weights
    assert windows is not None  # a round without either does not skip zeros
    most = np.zeros(windows.shape[:-1], np.int64)
    kernel.fullest_lanes(windows.ravel(), windows.shape[-1], packed.lanes, packed.lane_size, most.ravel())
    cycles = packed.lookup[most].astype(np.int32)
    if packed.weights is None:
        return cycles.reshape(*cycles.shape[:2], cycles.shape[2] * cycles.shape[3], 1, -1)
    return cycles.reshape(1, 1, *cycles.shape[:2], -1)
