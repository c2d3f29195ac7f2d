"""Stages, designs and operands as the flat arrays that the compiled kernel reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.simulator import kernel
from hass_train.hardware.dataflow.simulator.rounds import NonZeros, Packed, pack
from hass_train.hardware.dataflow.simulator.stages import REGISTERS, Stage, StageDesign
from hass_train.hardware.profile import SparsityProfile
from hass_train.hardware.workload import NETWORK_INPUT, Workload

UNLIMITED = 2**50
"""Words in a FIFO without a limit."""


class Tables:
    """Everything of a pipeline but the depths of its FIFOs.

    Args:
        workload, designs: the network, and how its operations are built.
        stages: of the operations, and last the network's input.
        nonzeros: operands of the layers with sparse engines.
        profile, t_min, image_cycles: as of `simulate.Pipeline`.

    Attributes:
        table: (stages, columns of `kernel`).
        edges: (FIFOs, columns of `kernel`).
        outgoing: FIFOs that leave each stage, stage by stage.
        flat: what the tables point into, by name.
        duration, mean_duration: cycles of rounds in lock-step, of the slowest engine and on average.
        lanes, skewed: sizes of the state of decoupled engines.
        real: images given.

    Raises:
        ValueError: a sparse layer without operands, operands of another shape, or of different numbers of images.
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
        place = {stage.name: k for k, stage in enumerate(stages)}
        self.real = real_images(designs, nonzeros)
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

        sparse = {design.name for design in designs if design.engine == "sparse"}
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
            row[kernel.AT_RELEASE] = put("release", stage.release)
            row[kernel.AT_WRITTEN] = put("written", stage.written)
            if stage.name == NETWORK_INPUT:
                row[kernel.ENGINE], row[kernel.PACE] = kernel.SOURCE, image_cycles
                continue
            operation, design = workload.operations[v], designs[v]
            if design.engine == "dense":
                row[kernel.CYCLES] = ceil_div(operation.window * design.folds["m"], design.folds["N"])
            elif design.engine == "sparse":
                sparsity = profile.layers.get(stage.name) if profile else None
                packed = layers[v] = pack(operation, design, nonzeros[stage.name], sparsity, t_min)
                shape = packed.activations.shape
                row[kernel.ENGINE] = kernel.DECOUPLED if design.engine_fifo else kernel.LOCKSTEP
                row[kernel.AT_ACTIVATION], row[kernel.ACTIVATIONS] = put("act", packed.activations), np.prod(shape[1:])
                row[kernel.AT_WEIGHT] = put("weight", packed.weights)
                row[kernel.AT_LOOKUP] = put("lookup", packed.lookup)
                row[kernel.LANE_COLUMNS], row[kernel.LANE_GROUPS], row[kernel.LANE_BUNDLES] = shape[4:7]
                row[kernel.WORDS], row[kernel.LANE_FILTERS] = shape[7], packed.weights.shape[4]
                row[kernel.SKEW] = design.engine_fifo
                row[kernel.REGISTERS] += design.engine_fifo  # results wait behind the engines that are ahead
            first = len(edges)
            for operand in stage.operands:
                u = place[operand.producer]
                producer = stages[u]
                step = np.searchsorted(producer.written, operand.needed)
                step = np.where(operand.needed > 0, np.minimum(step, len(producer.written) - 1), -1)
                by_producer[u].append(len(edges))
                whole = int(producer.written[-1])
                edges.append([u, v, put("need", step), put("used", operand.used), UNLIMITED, whole])
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


def real_images(designs: Sequence[StageDesign], nonzeros: Mapping[str, NonZeros]) -> int:
    """Real images given for the sparse layers, which repeat; 1 where there are none.

    Raises:
        ValueError: different numbers of them, or none.
    """
    sparse = (design.name for design in designs if design.engine == "sparse" and design.name in nonzeros)
    images = {len(nonzeros[name].activations) for name in sparse}
    if len(images) > 1 or 0 in images:
        raise ValueError(f"the layers' activations are of {sorted(images)} images; they must be of equally many")
    return images.pop() if images else 1
