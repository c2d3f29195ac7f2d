"""The hardware model once more, as slow and plain as possible: loops over integers, straight from the equations."""

from __future__ import annotations

import itertools
import math

from hass_train.hardware import Operation
from hass_train.hardware.dataflow.memory import BRAM18_CLASSES, URAM_CLASSES

BITS = 16


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


def buffers(layer: Operation, streams: int) -> int:
    kh, kw = layer.kernel
    if kh * kw == 1:
        return 0
    deep = math.ceil(layer.source.channels / streams)
    width = layer.source.width + 2 * layer.padding[1]
    return (kh - 1) * bank(streams, width * deep) + kh * (kw - 1) * bank(streams, deep)


def points(layer: Operation, density: float) -> set[tuple[int, int, int, int]]:
    """(interval, dsp, bram18, uram) of every design with weights on chip, dense storage."""
    found = set()
    height, width = layer.result.height, layer.result.width
    cg, fg = layer.channels_per_group, layer.filters_per_group
    for i, o, g in itertools.product(range(1, cg + 1), range(1, fg + 1), range(1, layer.groups + 1)):
        for m in {1, i} if layer.window == 1 else {1}:
            pairs = layer.window * m
            for n, sparse in itertools.product(range(1, pairs + 1), (False, True)):
                passes = math.ceil(layer.groups / g) * math.ceil(cg / i) * math.ceil(fg / o)
                t = expected_cycles(pairs, n, density, 1) if sparse else math.ceil(pairs / n)
                compute = height * width * passes * t
                padded = (layer.source.height + 2 * layer.padding[0]) * (layer.source.width + 2 * layer.padding[1])
                read = padded * math.ceil(layer.source.channels / (i * g))
                write = height * width * math.ceil(layer.result.channels / (o * g))
                interval = max(math.ceil(max(compute, read, write) * (1 - 1e-12)), 1)
                engines = g * o * i // m
                dsp = engines * n
                words = engines * (pairs if sparse else n)
                depth = passes * (1 if sparse else math.ceil(pairs / n))
                lines = buffers(layer, i * g)
                found.add((interval, dsp, lines + bank(words, depth), 0))
                found.add((interval, dsp, lines, uram(words, depth)))
    return found


def front(some: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [p for p in some if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in some)]


def best(layers: list[Operation], densities: list[float], limits: tuple[int, int, int], max_replicas: int) -> float:
    """Highest replicas / interval over all combinations of designs; 0 if nothing fits."""
    fronts = [front(points(layer, density)) for layer, density in zip(layers, densities, strict=True)]
    rate = 0.0
    for chosen in itertools.product(*fronts):
        spent = [sum(point[k] for point in chosen) for k in (1, 2, 3)]
        copies = min([max_replicas] + [limit // s for limit, s in zip(limits, spent, strict=True) if s])
        if copies >= 1:
            rate = max(rate, copies / max(point[0] for point in chosen))
    return rate
