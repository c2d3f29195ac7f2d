"""What branches cost: how long each operand of a join waits for the others, and so how deep its FIFO must be.

All layers of a balanced pipeline take about one interval for an image, so waiting is measured in images: an operation
can start when the fraction `fill` of its input map is there and then takes its time for a pixel, and the operand that
arrives first waits for the last one. That waiting time is the fraction of its map that a FIFO has to hold
(hardware-model, section 4). The gate of a squeeze-excite block comes out of a global pool, which needs the whole image,
and then goes through layers of a single pixel. Meanwhile the whole map that it scales is held back, which is why these
layers are built faster than the pipeline needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hass_train.hardware.spans import spans
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap, Operation, OperationKind, Workload

_REGISTERS = 2  # words that any FIFO holds, as the peer's
MARGIN = 1.35
"""Factor on waiting times, because rates are not uniform within an image; fitted in `benchmarks/truth.py`."""
_URGENCIES = (1, 2, 4, 8, 16)
"""How many times faster than the pipeline an operation may be built that turns one pixel into one while a map waits."""


_RECTIFIED, _GATES = ("relu", "relu6"), ("sigmoid", "hardsigmoid")
"""Activation functions without negative values: what requantising does along the way, and tables."""
_KEEP_SIGNS = frozenset(
    {OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL, OperationKind.GLOBAL_POOL, OperationKind.ADD}
    | {OperationKind.MULTIPLY, OperationKind.CONCAT, OperationKind.PAD}
)
"""Operations whose results are negative only where operands are."""


@dataclass(frozen=True, slots=True)
class OperandFifos:
    """The FIFOs that hold back one operation's operands, in words of one image.

    Args:
        words: how many words the FIFO of each operand holds; empty for an operation with a single operand.
        bypass: words per image on the edges that run past this operation to a later join. An image of delay in the
            operation would have to be held back there.
        urgency: how many times faster than the pipeline the operation has to be, so that no more is held back.
        unsigned: whether its operands are never negative: integers then have a bit less.
    """

    words: tuple[int, ...]
    bypass: int
    urgency: int = 1
    unsigned: bool = False


def fill(operation: Operation) -> float:
    """The fraction of its input map that comes before the last pixel of the first window.

    The map is read pixel by pixel up to the window's last corner; what is border of that need not arrive.
    """
    source = operation.source
    if operation.kind is OperationKind.GLOBAL_POOL:
        return 1.0
    if operation.joins_end_to_end:
        return 1 - source.pixels / operation.result.pixels
    if operation.block:
        return min(operation.block / source.words, 1.0)
    if operation.kind is OperationKind.RESIZE or operation.function == "adaptive":
        row, column = (int(spans(operation, axis)[1][0]) for axis in (0, 1))
        return (row * source.width + column) / source.pixels
    row, column = (reach - 1 - pad for reach, pad in zip(operation.reach, operation.padding, strict=True))
    arrived = max(row, 0) * source.width + min(max(column + 1, 0), source.width) * (row >= 0)
    return max(min(arrived, source.pixels) - 1, 0) / source.pixels


def _reading(operation: Operation) -> float:
    """The images that reading takes from the last pixel of one image to the end of the next one's first window.

    It reads the border below the one image and above the other, which arrives from nowhere. Of dilated windows that is
    far more than the margin allows for; reading is taken to fill the interval.
    """
    if operation.reach == operation.kernel:
        return 0.0
    (rows, columns), (above, beside), width = operation.reach, operation.lead, operation.rows_read[1]
    (_, below), (_, right) = operation.border
    steps = below * width + right + (rows - 1 - above) * width + columns - beside
    return steps / operation.pixels_read / MARGIN


def delay(operation: Operation, bands: int = 0, urgency: int = 1) -> float:
    """The images that pass from when an operation could start until its first pixel leaves: `fill` and a pixel's time.

    With off-chip weights, read once for each of `bands` bands of rows, a whole band must arrive and then be computed.
    """
    if operation.result.pixels == 1:
        return fill(operation) + 1 / urgency
    return max(fill(operation), _reading(operation)) + (2 / bands if bands else 1 / operation.result.pixels)


def held(operation: Operation, operand: int, words: int, read: FeatureMap) -> int:
    """How many of an operand's `words` are needed until the end of an image, because all of its pixels use them.

    Args:
        operation: the operation.
        operand: which of its operands.
        words: how many words of it are read.
        read: the whole map of which they are words.
    """
    if operation.kind is OperationKind.MATMUL:
        return words * (operand == len(operation.inputs) - 1)
    return words if is_repeated(operation, read) else 0


def is_repeated(operation: Operation, read: FeatureMap) -> bool:
    """Whether a map that is read is one row, or one pixel, that an element-wise operation reads for every row."""
    several = len(operation.inputs) > 1 and operation.kind is not OperationKind.CONCAT
    return several and read.height == 1 and read.pixels < operation.result.pixels


def urgencies(workload: Workload, memory_words: float) -> dict[str, int]:
    """How many times faster than the pipeline each operation is built, by name: where a map waits for it, as for the
    layers of a squeeze-excite gate, that saves memory and costs multipliers.

    An operation on a single pixel takes 1/u of an interval if it is u times as fast as the pipeline needs. It then
    takes u times its share of the multipliers, while 1/u of the words that pass it by are held back meanwhile. Of a few
    u, that with the smallest sum of both shares is taken.

    Args:
        workload: the network.
        memory_words: words that the whole device can hold.
    """
    passing, macs = _bypass(workload), max(sum(operation.macs for operation in workload), 1)

    def spent(operation: Operation, urgency: int) -> float:
        held_back = MARGIN * passing[operation.name] / urgency
        return urgency * max(operation.macs, operation.result.words) / macs + held_back / max(memory_words, 1.0)

    return {
        operation.name: min(_URGENCIES, key=lambda urgency: spent(operation, urgency))
        if operation.source.pixels == operation.result.pixels == 1 and passing[operation.name]
        else 1
        for operation in workload
    }


def operand_wait(operation: Operation, operand: int) -> float:
    """How many images ahead an operand must be: 1 for the second one of a matrix product, which is needed whole."""
    return 1.0 if operation.kind is OperationKind.MATMUL and operand == len(operation.inputs) - 1 else 0.0


def operand_words(operation: Operation, operand: int, words: int) -> int:
    """How many of a map's `words` an operation reads; a matmul reads only its part of queries, keys and values."""
    if operation.kind is not OperationKind.MATMUL:
        return words
    return operation.source.words if operand == 0 else operation.operand_words


def operand_fifos(
    workload: Workload,
    urgency: Mapping[str, int] = MappingProxyType({}),
    bands: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, OperandFifos]:
    """The operand FIFOs of every operation, by name.

    Args:
        workload: the network.
        urgency: how many times faster than the pipeline operations are, by name; 1 where it is not said.
        bands: bands of rows of the operations that fetch their weights from off-chip memory, by name.
    """
    maps, bypass = workload.maps, _bypass(workload)
    ready, begin = {NETWORK_INPUT: 0.0}, {}  # in images (intervals) after the network's input begins
    depths: dict[str, tuple[int, ...]] = {}
    for operation in workload:
        start = max(ready[name] + operand_wait(operation, k) for k, name in enumerate(operation.inputs))
        taken = delay(operation, bands.get(operation.name, 0), urgency.get(operation.name, 1))
        begin[operation.name], ready[operation.name] = start, start + taken
        if len(operation.inputs) < 2:
            depths[operation.name] = ()
            continue
        held_back = []
        for k, name in enumerate(operation.inputs):
            lag = begin[operation.name] - ready[name] - operand_wait(operation, k)
            words = operand_words(operation, k, maps[name].words)
            row = maps[name].width * maps[name].channels if lag > 0 else 0
            whole = 2 * held(operation, k, words, maps[name])
            lag += _behind(operation, k, maps)
            held_back.append(math.ceil(MARGIN * lag * words) + min(row, words) + whole + _REGISTERS)
        depths[operation.name] = tuple(held_back)
    unsigned = unsigned_operands(workload)
    return {
        name: OperandFifos(words, bypass[name], urgency.get(name, 1), name in unsigned)
        for name, words in depths.items()
    }


def unsigned_operands(workload: Workload) -> frozenset[str]:
    """The operations whose operands are never negative.

    What makes an operand of a plain ReLU writes it without what the ReLU removes: this reads no negative either.
    """
    made, found = {NETWORK_INPUT: False}, set[str]()
    for operation in workload:
        read = all(made[name] for name in operation.inputs)
        plain = operation.kind is OperationKind.ACTIVATION and operation.function in _RECTIFIED
        if read or plain:
            found.add(operation.name)
        gate = operation.kind is OperationKind.ACTIVATION and operation.function in _GATES
        made[operation.name] = plain or gate or (read and operation.kind in _KEEP_SIGNS)
    return frozenset(found)


def _behind(operation: Operation, operand: int, maps: Mapping[str, FeatureMap]) -> float:
    """The images that an operand waits in a concatenation of maps behind each other; 0 for other operations.

    All operands come at their pace, an image an interval, but each is read only after those before it, in its share of
    the interval.
    """
    if not operation.joins_end_to_end:
        return 0.0
    parts = [maps[name] for name in operation.inputs]
    before = sum(1 - 1 / one.pixels for one in parts[:operand])
    return min(before, 1.0) + max(1 - parts[operand].pixels / operation.result.pixels, 0.0)  # maps may be cut


def _bypass(workload: Workload) -> dict[str, int]:
    """The words per image on the edges that run past each operation to a later join, by name."""
    ancestors: dict[str, frozenset[str]] = {NETWORK_INPUT: frozenset()}
    bypass = {operation.name: 0 for operation in workload}
    for operation in workload:
        reached = [ancestors[name] | {name} for name in operation.inputs]
        ancestors[operation.name] = frozenset().union(*reached)
        for k, name in enumerate(operation.inputs if len(operation.inputs) > 1 else ()):
            words = operand_words(operation, k, workload.maps[name].words)
            for beside in ancestors[operation.name] - reached[k] - {NETWORK_INPUT}:
                bypass[beside] += words
    return bypass
