"""Objectives: what the best design is, by throughput, latency, efficiency or energy (hardware-model, section 6)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import cache

from hass_train.hardware.dataflow.designs.tables import BANDWIDTH
from hass_train.hardware.dataflow.exploration.explore import Explorer
from hass_train.hardware.dataflow.exploration.selection import PipelineDesign, Selection
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.device import Device
from hass_train.hardware.estimate import TooSlow

_GAP = 1e-3  # relative gap at which efficiency and energy are taken as optimal, unless the tolerance is larger


def best_design(explorer: Explorer, options: DataflowOptions, device: Device) -> PipelineDesign:
    """The best design by the options' objective.

    Raises:
        CannotFit: no design fits.
        TooSlow: no design that fits reaches `min_throughput`.
    """
    alone = options.objective == "latency"
    fastest = explorer.fastest_design(1 if alone else options.max_replicas)
    clock = device.clock_mhz * 1e6
    if fastest.replicas * clock / fastest.interval < options.min_throughput:
        raise TooSlow(
            f"min_throughput is {options.min_throughput:,.0f} images/s; the fastest design that fits reaches "
            f"{fastest.replicas * clock / fastest.interval:,.0f}"
        )
    if options.objective in ("throughput", "latency"):
        return fastest
    if options.objective == "efficiency":
        return _least(explorer, options, clock, 0, lambda interval, spent, _: interval * spent)
    per_bit = options.offchip_pj_per_bit * 1e-12
    image = explorer.limits.image_bits * per_bit

    def joules(interval: int, spent: float, replicas: int) -> float:
        return image + spent * per_bit + device.static_w * interval / (replicas * clock)

    return _least(explorer, options, clock, BANDWIDTH, joules)


def _least(
    explorer: Explorer,
    options: DataflowOptions,
    clock: float,
    column: int,
    value: Callable[[int, float, int], float],
) -> PipelineDesign:
    """The design of the least value(interval, resource of one column, replicas), by branch and bound over intervals.

    The value rises with the interval and the resource, and the least resource falls with the interval. So the value
    over [low, high] is at least value(low, least at high), and at high there is a design of value(high, least at high).

    Raises:
        TooSlow: no design reaches `min_throughput`.
    """
    best: tuple[float, int, int, Selection] | None = None
    gap = max(_GAP, options.tolerance)
    replicas = 0
    while not options.max_replicas or replicas < options.max_replicas:
        replicas += 1
        found = explorer.fastest_of(replicas)
        if found is None:
            break
        high = explorer.horizon(replicas)  # past this nothing gets cheaper
        if options.min_throughput:
            high = min(high, int(replicas * clock / options.min_throughput))
        if high < found.interval:
            continue

        @cache
        def least_at(interval: int, replicas: int = replicas, known: Selection = found.selection) -> Selection:
            return explorer.cheapest(interval, replicas, column, gap / 2, known)

        def valued(interval: int, at: int, replicas: int = replicas) -> float:
            return value(interval, float(least_at(at).total[column]), replicas)

        ranges = [(valued(found.interval, high), found.interval, high)]
        lowest, interval = min((valued(each, each), each) for each in (found.interval, high))
        while ranges:
            bound, low, high = heapq.heappop(ranges)
            if bound >= (lowest if best is None else min(lowest, best[0])) * (1 - gap):
                break
            middle = (low + high) // 2
            lowest, interval = min((lowest, interval), (valued(middle, middle), middle))
            if middle > low:
                heapq.heappush(ranges, (valued(low, middle), low, middle))
            if high > middle + 1:
                heapq.heappush(ranges, (valued(middle + 1, high), middle + 1, high))
        if best is None or lowest < best[0] * (1 - gap):
            best = (lowest, interval, replicas, least_at(interval))
        else:
            break  # more copies share the device ever more tightly
    if best is None:
        raise TooSlow(f"no design reaches min_throughput = {options.min_throughput:,.0f} images/s")
    _, interval, replicas, selection = best
    shortest = int(selection.intervals.max()) if column != BANDWIDTH else interval
    return explorer.settled(shortest, replicas, selection, column)
