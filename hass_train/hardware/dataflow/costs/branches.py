"""What branches cost: how long each operand of a join has to wait, and so how deep its FIFO must be.

All layers of a balanced pipeline take about one interval for an image, so waiting is measured in images: an operation
can start when the fraction `fill` of its input map is there and then takes its time for a pixel, and the operand that
arrives first waits for the last one. That waiting time is the fraction of its map that a FIFO has to hold
(hardware-model, section 4). The gate of a squeeze-excite block comes out of a global pool, which needs the whole image,
and then goes through layers of a single pixel: the map it scales is held whole, and longer the longer they take. So
these are built faster than the pipeline needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, OperationKind, Workload

_REGISTERS = 2  # words that any FIFO holds, as the peer's
MARGIN = 1.35
"""On waiting, for rates that are not uniform within an image; fitted in `benchmarks/truth.py`."""
URGENCY = 16
"""How many times faster than the pipeline an operation is that turns one pixel into one while a whole map waits."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """FIFOs of one operation, in words of one image.

    Args:
        fifos: words that each of its operands has to be held back by, where it has several.
        bypass: words per image of the edges that run beside it to a later join: what one image of delay in this
            operation would have to be held back elsewhere.
    """

    fifos: tuple[int, ...]
    bypass: int


def fill(operation: Operation) -> float:
    """Fraction of the input map that must arrive before the first output pixel."""
    if operation.kind is OperationKind.GLOBAL_POOL:
        return 1.0
    rows = operation.kernel[0] - 1 - operation.padding[0]
    columns = operation.kernel[1] - 1 - operation.padding[1]
    return max(rows * operation.source.width + columns, 0) / operation.source.pixels


def delay(operation: Operation, bands: int = 0) -> float:
    """Images from when an operation could start to when its first pixel leaves: `fill`, and its time for a pixel.

    With off-chip weights in `bands`, a whole band must be there and then be computed.
    """
    if operation.result.pixels == 1:
        return fill(operation) + 1 / URGENCY
    return max(fill(operation) + 1 / operation.result.pixels, 2 / bands if bands else 0.0)


def held(operation: Operation, operand: int, words: int) -> int:
    """Words of an operand of `words` that are needed to the end of an image: a value for every channel or row."""
    if operation.kind is OperationKind.MATMUL:
        return words * (operand == len(operation.inputs) - 1)
    return words if operation.kind is OperationKind.MULTIPLY and words < operation.result.words else 0


def urgent(operation: Operation, bypass: int) -> bool:
    """Whether a map waits beside an operation that turns one pixel into one (a squeeze-excite gate's layers)."""
    return operation.source.pixels == operation.result.pixels == 1 and bypass > 0


def operand_wait(operation: Operation, operand: int) -> float:
    """Images that an operand must be ahead: the second one of a matrix product is there as a whole before it starts."""
    return 1.0 if operation.kind is OperationKind.MATMUL and operand == len(operation.inputs) - 1 else 0.0


def operand_words(operation: Operation, operand: int, words: int) -> int:
    """Words that an operation reads of a map of so many; a matmul reads its part of queries, keys and values."""
    if operation.kind is not OperationKind.MATMUL:
        return words
    return operation.source.words if operand == 0 else operation.operand_words


def starts(workload: Workload, bands: Mapping[str, int] = MappingProxyType({})) -> dict[str, float]:
    """When each operation starts, in images (intervals) after the network's input begins.

    Args:
        workload: the network.
        bands: of operations that fetch their weights.
    """
    ready, begin = {NETWORK_INPUT: 0.0}, {}
    for operation in workload:
        begin[operation.name] = max(ready[name] + operand_wait(operation, k) for k, name in enumerate(operation.inputs))
        ready[operation.name] = begin[operation.name] + delay(operation, bands.get(operation.name, 0))
    return begin


def waiting(workload: Workload, bands: Mapping[str, int] = MappingProxyType({})) -> dict[str, Waiting]:
    """FIFOs of every operation, by name; arguments as of `starts`."""
    channels, height, width = workload.input_shape
    maps = {NETWORK_INPUT: FeatureMap(height, width, channels)} | {o.name: o.result for o in workload}
    begin = starts(workload, bands)
    ready = {NETWORK_INPUT: 0.0} | {o.name: begin[o.name] + delay(o, bands.get(o.name, 0)) for o in workload}
    ancestors: dict[str, frozenset[str]] = {NETWORK_INPUT: frozenset()}
    bypass = {operation.name: 0 for operation in workload}
    fifos: dict[str, tuple[int, ...]] = {}
    for operation in workload:
        reached = [ancestors[name] | {name} for name in operation.inputs]
        ancestors[operation.name] = frozenset().union(*reached)
        if len(operation.inputs) < 2:
            fifos[operation.name] = ()
            continue
        depths = []
        for k, name in enumerate(operation.inputs):
            lag = begin[operation.name] - ready[name] - operand_wait(operation, k)
            words = operand_words(operation, k, maps[name].words)
            row = maps[name].width * maps[name].channels if lag > 0 else 0
            depths.append(
                math.ceil(MARGIN * lag * words) + min(row, words) + 2 * held(operation, k, words) + _REGISTERS
            )
            for beside in ancestors[operation.name] - reached[k] - {NETWORK_INPUT}:
                bypass[beside] += words
        fifos[operation.name] = tuple(depths)
    return {operation.name: Waiting(fifos[operation.name], bypass[operation.name]) for operation in workload}
