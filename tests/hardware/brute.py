"""The hardware model once more, as slow and plain as possible: loops over integers, straight from the equations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware import Operation
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.logic import Widths, lutram, queue
from hass_train.hardware.dataflow.costs.memory import BRAM18_CLASSES, URAM_CLASSES
from hass_train.hardware.dataflow.costs.peer import PeerCosts
from hass_train.hardware.dataflow.designs.tables import Table
from tests.hardware.peers import one_design

Floats = NDArray[np.float64]

BITS = 16
RESOURCES = ("dsp", "bram18", "uram", "lut", "ff")
COSTS = PeerCosts(Widths(BITS, BITS, 30))


class Point(NamedTuple):
    """One design: cycles per image and what it takes."""

    interval: int
    dsp: int
    bram18: int
    uram: int
    lut: int


def expected_cycles(pairs: int, multipliers: int, density: float, t_min: int) -> float:
    """E[max(t_min, ⌈nnz/N⌉)] over a binomial, term by term."""
    return sum(
        math.comb(pairs, k) * density**k * (1 - density) ** (pairs - k) * max(t_min, math.ceil(k / multipliers))
        for k in range(pairs + 1)
    )


def bram18(width: int, depth: int) -> int:
    return min(math.ceil(width / w) * math.ceil(depth / d) for w, d in BRAM18_CLASSES)


def bank(words: int, depth: int) -> int:
    return 0 if depth * BITS < 1024 else bram18(words * BITS, depth)


def uram(words: int, depth: int) -> int:
    counts = [math.ceil(words * BITS / w) * math.ceil(depth / d) for w, d in URAM_CLASSES]
    return 0 if depth * BITS < 1024 else min(counts)


def queues(words: int, depth: int) -> float:
    return float(queue(depth, words * BITS)) if 0 < depth * BITS < 1024 else 0.0


def reads(layer: Operation, q: int) -> int:
    """Steps in which the map and its border are read; every row begins one."""
    height, width = layer.rows_read
    return height * math.ceil(width / q)


def buffers(layer: Operation, streams: int, q: int, interval: int) -> tuple[int, float]:
    """Block RAMs and LUTs of the sliding window and of the FIFOs before it."""
    (kh, kw), (down, across) = layer.kernel, layer.dilation
    deep = math.ceil(layer.source.channels / streams)
    width = layer.rows_read[1]
    padding = 1 - layer.source.pixels / layer.pixels_read
    load = min(reads(layer, q) * deep / interval, 1)
    burst = deep + 2 + math.ceil(load * padding * layer.source.pixels * deep / q)
    rows = (kh - 1) * down + layer.stride[0] - 1
    whole = reads(layer, q) * deep
    ahead = min(rows * math.ceil(width / q) * deep + math.ceil(((kw - 1) * across + 1) * deep / q), whole) + 2
    count = bank(streams * q, burst) + bank(streams * q, ahead)
    slices = queues(streams * q, burst) + queues(streams * q, ahead)
    if kh * kw > 1:
        line, pixel = down * math.ceil(width / q) * deep, across * deep
        count += (kh - 1) * bank(streams * q, line) + kh * (kw - 1) * bank(streams, pixel)
        slices += (kh - 1) * queues(streams * q, line) + kh * (kw - 1) * queues(streams, pixel)
    return count, 8 * slices


def dense_choices(pairs: int) -> list[int]:
    return [n for n in range(1, pairs + 1) if n == 1 or math.ceil(pairs / n) < math.ceil(pairs / (n - 1))]


def folds_of(dimension: int) -> list[int]:
    return [p for p in range(1, dimension + 1) if p == 1 or math.ceil(dimension / p) < math.ceil(dimension / (p - 1))]


def floor(layers: list[Operation], q: int) -> int:
    """Cycles that no design of the network can go below."""
    least = 1
    for layer in layers:
        p = min(math.ceil(q / layer.stride[1]), layer.result.width)
        least = max(least, reads(layer, q), layer.result.height * math.ceil(layer.result.width / p))
    return least


def points(layer: Operation, density: float, lowest: int, max_pixels: int) -> set[Point]:
    """Every design with weights on chip, dense storage; folds widened while that helps."""
    found = set()
    cg, fg = layer.channels_per_group, layer.filters_per_group
    for q, i, g in itertools.product(range(1, max_pixels + 1), folds_of(cg), folds_of(layer.groups)):
        if q > 1 and (i < cg or g < layer.groups):
            continue
        p = min(math.ceil(q / layer.stride[1]), layer.result.width)
        for m, engine in itertools.product({1, i} if layer.window == 1 else {1}, PeerCosts.engines):
            pairs, sparse = layer.window * m, engine is ComputeEngine.CROSSBAR
            if sparse and density == 1.0:
                continue
            choices = list(range(1, pairs)) if sparse else dense_choices(pairs)
            reached: dict[tuple[int, int], int] = {}
            for (a, n), (b, o) in itertools.product(enumerate(choices), enumerate(folds_of(fg))):
                passes = math.ceil(layer.groups / g) * math.ceil(cg / i) * math.ceil(fg / o)
                t = expected_cycles(pairs, n, density, 1) if sparse else math.ceil(pairs / n)
                compute = layer.result.height * math.ceil(layer.result.width / p) * passes * t
                read = reads(layer, q) * math.ceil(layer.source.channels / (i * g))
                write = (
                    layer.result.height * math.ceil(layer.result.width / p) * math.ceil(layer.result.channels / (o * g))
                )
                interval = max(math.ceil(max(compute, read, write) * (1 - 1e-12)), 1)
                reached[a, b] = max(interval, lowest)
                easier = (
                    a > 0 and layer.window > 1 and math.lcm(layer.window, n) < math.lcm(layer.window, choices[a - 1])
                )
                if reached.get((a - 1, b), 10**12) <= reached[a, b] and not easier:
                    continue
                if reached.get((a, b - 1), 10**12) <= reached[a, b]:
                    continue
                engines = g * o * i // m
                words, depth = engines * (pairs if sparse else n), passes * (1 if sparse else math.ceil(pairs / n))
                lines, shallow = buffers(layer, i * g, q, interval)
                lut = float(COSTS.compute(layer, one_design(engine, i, o, g, m=m, n=n, q=q, p=p))[0, 1]) + shallow
                lut += float(lutram(words, BITS, depth)) if depth * BITS < 1024 else 0.0
                dsp = engines * n * p
                found.add(Point(interval, dsp, lines + bank(words, depth), 0, math.ceil(lut)))
                found.add(Point(interval, dsp, lines, uram(words, depth), math.ceil(lut)))
    return found


def front(some: set[Point]) -> list[Point]:
    return [p for p in some if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in some)]


def best(
    layers: list[Operation], densities: list[float], limits: dict[str, int], max_replicas: int, max_pixels: int = 1
) -> float:
    """Highest replicas / interval over all combinations of designs; 0 if nothing fits."""
    lowest = floor(layers, max_pixels)
    fronts = []
    for layer, density in zip(layers, densities, strict=True):
        kept = {p._replace(**{n: 0 for n in ("dsp", "bram18", "uram", "lut") if n not in limits})
                for p in points(layer, density, lowest, max_pixels)}  # fmt: skip
        fronts.append(front(kept))
    rate = 0.0
    for chosen in itertools.product(*fronts):
        spent = {name: sum(getattr(point, name) for point in chosen) for name in limits}
        copies = min([max_replicas] + [limits[name] // used for name, used in spent.items() if used])
        if copies >= 1:
            rate = max(rate, copies / max(point.interval for point in chosen))
    return rate


def best_of_tables(tables: Sequence[Table], limits: dict[str, int], most: int) -> float:
    """Highest replicas / interval over all combinations of the rows of some tables; 0 if nothing fits.

    Args:
        tables: of a few small layers.
        limits: what there is of some of the device's resources; the others do not count.
        most: replicas.
    """
    counted, there = [RESOURCES.index(name) for name in limits], np.array(list(limits.values()))
    whole = np.zeros((1, 1 + len(limits)))  # interval and resources of what is chosen so far
    for table in tables:
        rows = {
            (table.interval[row], *table.resources(row, place)[counted])
            for row, place in itertools.product(range(len(table)), range(len(table.memory)))
        }
        front = _front(np.array(sorted(rows)).reshape(-1, whole.shape[1]))
        both = whole[:, None] + front
        both[..., 0] = np.maximum.outer(whole[:, 0], front[:, 0])
        flat = both.reshape(-1, whole.shape[1])
        whole = _front(flat[(flat[:, 1:] <= there).all(axis=1)])
    copies = np.where(whole[:, 1:] > 0, there // np.maximum(whole[:, 1:], 1), most).min(axis=1, initial=most)
    return float((copies / whole[:, 0]).max(initial=0.0)) if len(whole) else 0.0


def _front(points: Floats) -> Floats:
    """(n, columns) the points of which no other is at most as large in every column."""
    kept = np.zeros((0, points.shape[1]))
    for point in np.unique(points, axis=0):  # those that come later are larger in some column
        if not (kept <= point).all(axis=1).any():
            kept = np.concatenate([kept, point[None]])
    return kept
