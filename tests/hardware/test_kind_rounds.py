"""Rounds in tables of designs, against those of engines that meet all windows which the densities make possible."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from hass_train.hardware import DataflowOptions, LayerSparsity, Operation, OperationKind, Structure
from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS
from hass_train.hardware.dataflow.costs.engine_rounds import lane_rounds, pooled_rounds
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace
from hass_train.hardware.lanes import Lanes
from hass_train.hardware.workload import FeatureMap

Floats = NDArray[np.float64]


def conv(channels: int, filters: int, kernel: tuple[int, int] = (1, 2), groups: int = 1) -> Operation:
    source, result = FeatureMap(6, 6, channels), FeatureMap(7 - kernel[0], 7 - kernel[1], filters)
    return Operation("conv", OperationKind.CONV, ("input",), source, result, kernel, groups=groups)


def designs(layer: Operation, sparsity: LayerSparsity, pixels: int = 4) -> ComputeDesigns:
    options = DataflowOptions(weight_bits=4, activation_bits=4, bundle="auto", max_pixels=pixels)
    return ComputeDesigns(layer, sparsity, OperandFifos((), 0), options, DesignSpace(np.full(6, np.inf)))


def at_most(counts: Floats, multipliers: int, lanes: bool) -> Floats:
    """(M + 1,) the probability that an engine takes at most so many cycles, over all its windows.

    Args:
        counts: (M + 1,) the probabilities of 0 … M non-zeros; windows with equally many are as likely.
        multipliers: N.
        lanes: whether each takes only positions of its own.
    """
    positions = len(counts) - 1
    windows = np.array(list(itertools.product([False, True], repeat=positions)))
    held = windows.sum(1)
    likely = counts[held] / np.array([math.comb(positions, k) for k in held])
    cycles = (lane_rounds if lanes else pooled_rounds)(windows[:, None], multipliers)
    return np.array([likely[cycles <= x].sum() for x in range(positions + 1)])


def binomial(positions: int, density: float) -> Floats:
    return np.array([math.comb(positions, k) * density**k * (1 - density) ** (positions - k)
                     for k in range(positions + 1)])  # fmt: skip


def drawn(total: int, nonzeros: int, positions: int) -> Floats:
    """(M + 1,) the non-zeros among M of `total` weights, of which so many are not zero."""
    ways = [math.comb(positions, k) * math.comb(total - positions, nonzeros - k) if k <= nonzeros else 0
            for k in range(positions + 1)]  # fmt: skip
    return np.array(ways) / math.comb(total, nonzeros)


def blocks_of(size: int, fold: int) -> list[int]:
    """How many of `size` are side by side in each block of up to `fold`."""
    return [min(fold, size - start) for start in range(0, size, fold)]


SPARSITY = LayerSparsity(0.45, 0.6, 0.27)


@pytest.mark.parametrize(
    "layer", [conv(4, 4), conv(4, 16, groups=4), conv(3, 5, (1, 1)), conv(8, 2, (1, 1)), conv(6, 6, (1, 3), groups=2)]
)
def test_rounds_are_the_expectation_over_all_windows(layer: Operation) -> None:
    """Engines of each kind in lock-step, from densities alone."""
    table, seen = designs(layer, SPARSITY), set()
    errors: dict[bool, list[float]] = {True: [], False: []}  # at points of the lanes' grid, and between them
    lanes = Lanes.unknown(4, layer.source.channels, layer.filters_per_group)
    grid = (lanes.columns, lanes.channels, lanes.filters)
    rows = zip(*(getattr(table.folds, key).tolist() for key in ("i", "o", "g", "m", "n", "p", "engine", "fifo")),
               table.t.tolist(), strict=True)  # fmt: skip
    for i, o, g, m, n, p, engine, fifo, t in rows:
        kind, pairs, windows = VARIANTS[engine], layer.window * m, g * (i // m)
        if pairs > 9 or fifo:
            continue
        seen.add((kind.engine, kind.lanes, kind.multiplier))
        match kind.engine:
            case "dense":
                assert t == math.ceil(pairs / n)
                continue
            case "weight":
                below = at_most(binomial(pairs, SPARSITY.weight_density), n, kind.lanes)
                blocks = itertools.product(blocks_of(layer.groups, g), blocks_of(layer.filters_per_group, o))
                sizes = [groups * filters * (i // m) for groups, filters in blocks]
                assert t == pytest.approx(np.mean([(1 - below**size).sum() for size in sizes])), (i, o, g, m, n)
                continue
            case "activation":
                below, side = at_most(binomial(pairs, SPARSITY.activation_density), n, True), (p, windows)
            case _:
                below, side = at_most(binomial(pairs, SPARSITY.pair_density), n, kind.lanes), (p, windows, o)
        expected = (1 - below ** math.prod(side)).sum()
        errors[all(count in axis for count, axis in zip(side, grid, strict=False))].append(abs(t / expected - 1))
    assert seen == {(kind.engine, kind.lanes, kind.multiplier) for kind in VARIANTS}
    assert len(errors[True]) > 30
    assert max(errors[True]) < 1e-9
    assert max(errors[False], default=0) < 0.06


@pytest.mark.parametrize("held", [(8, 1, 5, 0, 3, 6), (0, 2, 2, 1, 8, 7)])
@pytest.mark.parametrize("groups", [1, 2])
def test_lists_of_filters_that_differ(groups: int, held: tuple[int, ...]) -> None:
    """Sorted by their non-zeros within groups; those of a filter lie anywhere in it."""
    layer = conv(4 * groups, 6, groups=groups)
    sparsity = LayerSparsity(sum(held) / 48, 0.5, 0.25, filter_nonzeros=held)
    table, seen = designs(layer, sparsity, 1), 0
    by_group = np.sort(np.reshape(held, (groups, -1)), axis=1)[:, ::-1]
    by_group = by_group[np.argsort(-by_group.sum(1), kind="stable")].tolist()
    for row in np.flatnonzero([VARIANTS[code].engine == "weight" for code in table.folds.engine]):
        one = table.folds[np.array([row])]
        i, o, g, m, n = (int(getattr(one, key)[0]) for key in ("i", "o", "g", "m", "n"))
        pooled = VARIANTS[int(one.engine[0])].lanes
        cycles = []
        for a, f in itertools.product(range(0, groups, g), range(0, 6 // groups, o)):
            block = [count for group in by_group[a : a + g] for count in group[f : f + o]] * (i // m)
            cycles.append((1 - np.prod([at_most(drawn(8, count, 2 * m), n, pooled) for count in block], axis=0)).sum())
        assert table.t[row] == pytest.approx(np.mean(cycles)), (i, o, g, m, n)
        seen += 1
    assert seen > 20


def test_queues_leave_rounds_between_one_engines_and_lock_step() -> None:
    table = designs(conv(4, 16, groups=4), SPARSITY)
    keys = list(zip(*(getattr(table.folds, key).tolist() for key in ("i", "o", "g", "m", "n", "q", "p", "engine")),
                    strict=True))  # fmt: skip
    lockstep = {key: t for key, t, fifo in zip(keys, table.t, table.folds.fifo, strict=True) if not fifo}
    found = [
        (alone, t, lockstep[key])
        for key, t, alone, fifo in zip(keys, table.t, table.alone, table.folds.fifo, strict=True)
        if fifo and key in lockstep
    ]
    assert len(found) > 50
    assert all(alone - 1e-9 <= t <= together + 1e-9 for alone, t, together in found)
    assert any(t < 0.95 * together for _, t, together in found)


@pytest.mark.parametrize(("groups", "window"), [(1, (1, 1)), (1, (3, 3)), (2, (1, 2))])
def test_rounds_of_balanced_filters_are_exact(groups: int, window: tuple[int, int]) -> None:
    """As many weights of every bank as the pattern leaves, whatever is beside it: nobody waits."""
    channels = 2
    bank = channels * math.prod(window)
    kept = max(bank // 3, 1)
    layer = conv(8 * groups, 4 * groups, window, groups)
    structure = Structure(bank=(kept, channels))
    table = designs(layer, LayerSparsity(kept / bank, 1.0, kept / bank, structure=structure), 1)
    weights = np.array([VARIANTS[code].engine == "weight" for code in table.folds.engine])
    pooled = weights & ~np.array([VARIANTS[code].lanes for code in table.folds.engine])
    whole = pooled & (table.folds.m % channels == 0)
    assert set(table.folds.o[whole]) == {1, 2, 4}
    most = kept * table.folds.m[whole] // channels
    np.testing.assert_allclose(table.t[whole], np.ceil(most / table.folds.n[whole]), rtol=1e-12)
    waits = table.t[weights & ~whole] > table.alone[weights & ~whole] + 1e-9
    assert waits.any()  # engines that hold parts of banks, or have lanes
