"""Tiny networks with every operation that can be built, and random designs of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.build.plan import Plan, plan
from hass_train.build.sources import write
from hass_train.build.verify import Verified, verify
from hass_train.hardware import Operation, Workload
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.design import Design, PartDesign
from hass_train.hardware.dataflow.simulator.depths import rule
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline, steady
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.precision import IntegerNetwork, Precision, integer_graph
from hass_train.precision.nonzeros import integer_nonzeros
from tests.precision.networks import images, quantised

SIZE = 8


class Plain(nn.Module):
    """Two convolutions, the second with a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x)))


class Residual(nn.Module):
    """Sums and a difference, a value that is read three times, a strided 1×1 convolution, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 4, 1)
        self.down, self.beside = nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Conv2d(4, 6, 1, stride=2)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.outer(F.relu6(self.inner(x))))
        x = self.beside(x) - self.down(x)
        x = x + x
        return self.head(x.mean((2, 3)))


class Gated(nn.Module):
    """A depthwise convolution, squeeze and excitation, a table, a flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depthwise = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, 2, 1, groups=6)
        self.reduce, self.excite = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.project, self.head = nn.Conv2d(6, 3, 1), nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.depthwise(F.hardswish(self.expand(x))))
        x = x * F.hardsigmoid(self.excite(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return self.head(self.project(x).flatten(1))


class Joined(nn.Module):
    """A concatenation of three values, pools, and groups of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 6, 1)
        self.grouped = nn.Conv2d(12, 6, 3, padding=1, groups=3)
        self.largest, self.average = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)
        self.multiplied = nn.Conv2d(6, 12, 3, groups=6, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = torch.cat([self.left(x), x, self.right(x)], 1)
        x = self.largest(self.grouped(x))
        return self.multiplied(self.average(x)).mean((2, 3))


TOYS: dict[str, Callable[[], nn.Module]] = {"plain": Plain, "residual": Residual, "gated": Gated, "joined": Joined}
PRECISIONS = {"int8": Precision(), "int4": Precision(4), "fixed16": Precision(16, 16, accumulator_bits=48)}


@cache
def toy(name: str, precision: str = "int8") -> tuple[Workload, IntegerNetwork]:
    """A toy's workload and integers."""
    torch.manual_seed(0)
    model = TOYS[name]()
    workload = integer_graph(model.eval(), (3, SIZE, SIZE)).workload
    return workload, IntegerNetwork.of(quantised(model, SIZE, PRECISIONS[precision]))


def divisors(number: int) -> list[int]:
    """All divisors."""
    return [one for one in range(1, number + 1) if number % one == 0]


def random_design(
    workload: Workload,
    network: IntegerNetwork,
    rng: np.random.Generator,
    engines: tuple[str, ...] | None = None,
    orders: bool = True,
) -> Design:
    """A design with random folds that can be built; FIFOs by the rule.

    Args:
        workload, network: the network.
        rng: draws.
        engines: kinds of compute engine to choose from; None = all.
        orders: whether filters of `weight` engines may be computed in any order.
    """
    designs = tuple(_random_stage(one, network, rng, engines) for one in workload)
    if not orders:
        designs = tuple(replace(one, filter_order=()) for one in designs)
    nonzeros = _nonzeros(designs, network)
    pipeline = Pipeline(workload, designs, nonzeros)
    found = pipeline.play(5)
    intervals = {one.name: max(round(one.interval_cycles), 1) for one in found.stages}
    fifos = rule(pipeline, intervals, {})
    interval = round(found.interval_cycles)
    part = PartDesign(0, len(designs), designs, intervals, fifos, interval, 1, 0)
    return Design(workload.name, workload.input_shape, {"activation_bits": 8}, (part,))


def _nonzeros(designs: tuple[StageDesign, ...], network: IntegerNetwork) -> dict[str, Any]:
    return dict(integer_nonzeros(network, [one.name for one in designs if one.skips_zeros], batch()))


def batch(count: int = 4) -> Tensor:
    """The images that are played."""
    return images(count, SIZE, 3)


def _random_stage(
    operation: Operation, network: IntegerNetwork, rng: np.random.Generator, engines: tuple[str, ...] | None
) -> StageDesign:
    """A random design of one operation."""
    pick: Callable[[Any], int] = lambda some: int(rng.choice(some))  # noqa: E731
    if not operation.multiplies:
        channels = max(operation.source.channels, operation.result.channels)
        return StageDesign(operation.name, "stream", {"s": pick(divisors(channels))})
    channels, filters, groups = operation.channels_per_group, operation.filters_per_group, operation.groups
    q = pick([1, 1, 2]) if groups == 1 or channels == 1 == filters else 1
    g = groups if q > 1 else pick(range(1, groups + 1)) if groups == operation.source.channels else pick([1, groups])
    i = channels if q > 1 or g > 1 else pick(range(1, channels + 1) if groups == 1 else divisors(channels))
    p = min(-(-q // operation.stride[1]), operation.result.width)
    whole = p > 1 or g > 1
    o = filters if whole else pick(range(1, filters + 1) if groups == 1 else divisors(filters))
    m = pick(divisors(i))
    n = pick(range(1, min(operation.window * m, 5) + 1))
    engine = str(rng.choice(engines or [one.value for one in ComputeEngine]))
    waits = engine not in (ComputeEngine.DENSE, ComputeEngine.WEIGHT)
    order: tuple[int, ...] = ()
    if engine == ComputeEngine.WEIGHT and rng.integers(2):
        by_group = rng.permuted(np.arange(groups * filters).reshape(groups, filters), axis=1)
        order = tuple(by_group.ravel().tolist())
    folds = {"i": i, "o": o, "g": g, "m": m, "N": n, "q": q, "p": p}
    return StageDesign(
        operation.name, engine, folds, 0, pick([0, 2, 4]) if waits else 0,
        bool(rng.integers(2)) and engine == ComputeEngine.WEIGHT, order,
    )  # fmt: skip


def simulated(workload: Workload, network: IntegerNetwork, design: Design) -> float:
    """The interval by the simulator."""
    (part,) = design.parts
    return steady(Pipeline(workload, part.designs, _nonzeros(part.designs, network)), part.fifos).interval_cycles


def built(network: IntegerNetwork, design: Design, folder: Path) -> Plan:
    """The plan of a design, with its sources in a folder."""
    made = plan(design, network)
    folder.mkdir(parents=True, exist_ok=True)
    write(made, folder)
    return made


def played(
    network: IntegerNetwork, made: Plan, folder: Path, count: int = 4, stalls: bool = False, held: int = 0
) -> Verified:
    """What a play says, all streams compared."""
    return verify(folder, made, network, batch(count), stalls=stalls, probes=True, held=held)
