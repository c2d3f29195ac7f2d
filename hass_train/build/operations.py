"""Operations without weights: pools, sums, products, concatenations and functions of single values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from hass_train.build.errors import refused
from hass_train.build.flows import Flow, buffered, common_streams, converted, fifo, reordered, widened
from hass_train.build.netlist import Netlist, whole
from hass_train.build.sums import divided, moved
from hass_train.build.windows import Windows, padded, windows
from hass_train.precision.formats import Format
from hass_train.precision.graph import Kind
from hass_train.precision.operation import IntegerOperation
from hass_train.rtl.reference.plumbing import Concatenate
from hass_train.rtl.reference.pointwise import LookupTable, StreamAdd, StreamMultiply
from hass_train.rtl.reference.pools import AveragePool, GlobalPool, MaxPool
from hass_train.rtl.streams import Ints, Stream

_DSP_BITS = 18  # of an operand of `stream_multiply`


@dataclass(frozen=True, slots=True)
class Task:
    """An operation without weights that is to be placed.

    Args:
        operation: the operation.
        tensors: its table, if it has one.
        streams: values of a word that its design has; 0 = as they come.
        fifos: depths of FIFOs by name.
        names: the names of the FIFOs of its operands.
        interval: cycles between two images that the design promises.
    """

    operation: IntegerOperation
    tensors: Mapping[str, Tensor]
    streams: int
    fifos: Mapping[str, int]
    names: tuple[str, ...]
    interval: int = 0


def operand(net: Netlist, task: Task, flow: Flow, number: int = 0, streams: int = 0) -> Flow:
    """An operand in the words that the design reads, behind its FIFO."""
    wanted = min(streams or task.streams or flow.layout.streams, len(flow.layout.places))
    name = task.names[number]
    if name in task.fifos:
        return buffered(net, flow, wanted, 1, task.fifos[name], name)
    return converted(net, flow, wanted)


def requantised(net: Netlist, flow: Flow, to: Format) -> Flow:
    """The values in another format: divided by a power of two, half to even, and saturated."""
    layout, shift = flow.layout, to.exponent - flow.layout.format.exponent
    source = layout.format
    if shift == 0 and to.low <= source.low and to.high >= source.high:
        return widened(net, flow, to)
    flow = widened(net, flow, replace(source, bits=source.bits + (not source.signed), signed=True))
    signal, bits, count = flow.signal, flow.layout.format.bits, layout.stream.values
    shift = max(min(shift, bits), -to.bits)  # beyond that nothing changes
    if shift < 0:
        signal, bits, shift = moved(net, signal, bits, [-shift] * count, bits - shift), bits - shift, 0
    return Flow(divided(net, signal, count, bits, shift, to), replace(layout, format=to))


def table(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """A function of every value."""
    flow = operand(net, task, flows[0])
    return looked_up(net, flow, task.tensors["table"].numpy().astype(np.int64), task.operation.output)


def looked_up(net: Netlist, flow: Flow, values: Ints, to: Format) -> Flow:
    """The results of a table, which begins with that of the smallest integer."""
    layout, format_ = flow.layout, flow.layout.format
    rows = np.roll(values, format_.low)  # negative ones are the upper half
    module = LookupTable(streams=layout.stream.values, in_bits=format_.bits, out_bits=to.bits)
    memory = whole(net, "table", Stream(1, to.bits), rows[:, None], layout.stream.values)
    made = net.add("function", module, {"in": flow.signal}, {"table": memory})["out"]
    return Flow(made, replace(layout, format=to))


def clip(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """A clip, where values can be beyond its limits at all."""
    operation, flow = task.operation, flows[0]
    source, to, low, high = flow.layout.format, operation.output, operation.low, operation.high
    if low <= source.low and high >= source.high:
        flow = operand(net, task, flow)
        return widened(net, flow, to)
    flow = operand(net, task, flow)
    if (low, high) == (to.low, to.high):
        return requantised(net, flow, to)
    return looked_up(net, flow, np.arange(source.low, source.high + 1).clip(low, high), to)


def average_pool(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """The averages of windows."""
    operation = task.operation
    flow, to = _same_format(net, task, flows[0])
    found = windows(net, operation, operation.kernel, flow, 0, task.fifos)
    module = AveragePool(
        streams=found.streams, columns=1, positions=operation.kernel[0] * operation.kernel[1],
        bits=flow.layout.format.bits, signed=int(flow.layout.format.signed), multiplier=operation.multiplier,
        shift=operation.shift,
    )  # fmt: skip
    made = net.add("pool", module, {"in": found.signal})["out"]
    layout = replace(flow.layout, height=found.height, width=found.width)
    return requantised(net, _row_held(net, task, Flow(made, layout), found), to)


def mean(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """The average of every channel.

    Raises:
        UserError: it is another one than over all pixels.
    """
    operation = task.operation
    if operation.arguments != (2, 3):
        raise refused(
            operation.name, f"a mean over axes {operation.arguments}, not over all pixels", "use another network"
        )
    flow, to = _same_format(net, task, flows[0])
    layout = flow.layout
    module = GlobalPool(
        streams=layout.streams, depth=layout.depth, pixels_of_map=layout.height * layout.width,
        bits=layout.format.bits, signed=int(layout.format.signed), multiplier=operation.multiplier,
        shift=operation.shift, operation=0,
    )  # fmt: skip
    made = net.add("pool", module, {"in": flow.signal})["out"]
    return requantised(net, Flow(made, replace(layout, height=1, width=1)), to)


def _same_format(net: Netlist, task: Task, flow: Flow) -> tuple[Flow, Format]:
    """The operand of a pool in as many bits as its result has, which pools write as they read; and that format."""
    to, source = task.operation.output, flow.layout.format
    bits = max(source.bits, to.bits)
    flow = widened(net, operand(net, task, flow), replace(source, bits=bits))
    # what the pool writes is at the exponent of the result
    return Flow(flow.signal, replace(flow.layout, format=Format(bits, to.exponent, source.signed))), to


def max_pool(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """The largest values of windows."""
    operation, flow = task.operation, operand(net, task, flows[0])
    format_ = flow.layout.format
    found = windows(net, operation, operation.kernel, flow, format_.low, task.fifos)
    module = MaxPool(
        streams=found.streams, columns=1, positions=operation.kernel[0] * operation.kernel[1], bits=format_.bits,
        signed=int(format_.signed),
    )  # fmt: skip
    made = net.add("pool", module, {"in": found.signal})["out"]
    return _row_held(net, task, Flow(made, replace(flow.layout, height=found.height, width=found.width)), found)


def _row_held(net: Netlist, task: Task, flow: Flow, found: Windows) -> Flow:
    """The results of a pool behind a FIFO of a row, if reading fills most of the interval.

    Results come in bursts, row by row, and the window does not read on while they are not taken.
    """
    layout = flow.layout
    if 2 * (found.idle + layout.words) <= task.interval:
        return flow
    depth = layout.across * layout.depth
    return Flow(fifo(net, "row", flow.signal, depth, layout.format.bits), layout)


def pad(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """A border of a constant."""
    return padded(net, operand(net, task, flows[0]), task.operation.padding, task.operation.low)


def reshape(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """A map whose pixels become channels; nothing moves.

    Raises:
        UserError: another reshape.
    """
    operation, flow = task.operation, flows[0]
    layout, shape = flow.layout, operation.shape[1:]
    if shape == (layout.channels, layout.height, layout.width):
        return flow
    if len(shape) > 3 or shape[0] != layout.channels * layout.height * layout.width:
        raise refused(operation.name, f"a reshape to {shape} that is no flattening", "use another network")
    if layout.pixels > 1 or len(layout.places) % layout.streams:
        flow = converted(net, flow, common_streams(layout, layout.streams))
        layout = flow.layout
    pixels = layout.height * layout.width
    places = [
        channel * pixels + pixel if channel >= 0 else channel for pixel in range(pixels) for channel in layout.places
    ]
    return Flow(flow.signal, replace(layout, height=1, width=1, places=tuple(places)))


def _together(net: Netlist, flows: Sequence[Flow]) -> list[Flow]:
    """Operands with their channels in the same order: that of the largest map, which then needs none of its own."""
    first = max(flows, key=lambda flow: flow.layout.height * flow.layout.width)
    return [reordered(net, flow, first.layout.places) for flow in flows]


def add(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """A sum or a difference."""
    operation, to = task.operation, task.operation.output
    read = [operand(net, task, flow, number) for number, flow in enumerate(_together(net, flows))]
    read = [_negated(net, flow) if sign < 0 else flow for flow, sign in zip(read, operation.arguments, strict=True)]
    formats = [flow.layout.format for flow in read]
    exponent = min(one.exponent for one in formats)
    shifts, shift = [one.exponent - exponent for one in formats], to.exponent - exponent
    if shift < 0:
        shifts, shift = [one - shift for one in shifts], 0
    wide = max(one.bits + by + (not one.signed) for one, by in zip(formats, shifts, strict=True)) + 1
    if shift >= wide:
        first = read[0].layout.format
        read[0] = widened(net, read[0], replace(first, bits=first.bits + shift + 1 - wide))
        formats[0] = read[0].layout.format
        shift = min(shift, max(one.bits + by + (not one.signed) for one, by in zip(formats, shifts, strict=True)))
    layout = read[0].layout
    module = StreamAdd(
        streams=layout.stream.values, a_bits=formats[0].bits, b_bits=formats[1].bits, signed_a=int(formats[0].signed),
        signed_b=int(formats[1].signed), shift_a=shifts[0], shift_b=shifts[1], shift=shift, out_bits=to.bits,
        signed_out=int(to.signed),
    )  # fmt: skip
    made = net.add("sum", module, {"a": read[0].signal, "b": read[1].signal})["out"]
    return Flow(made, replace(layout, format=to))


def _negated(net: Netlist, flow: Flow) -> Flow:
    """The values with the other sign, by a table."""
    source = flow.layout.format
    to = Format(source.bits + 1, source.exponent, signed=True)
    return looked_up(net, flow, -np.arange(source.low, source.high + 1), to)


def multiply(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """A map times one value of each channel, or two maps value by value.

    Raises:
        UserError: words or shapes that the multiplication has not.
    """
    operation, to = task.operation, task.operation.output
    read = [operand(net, task, flow, number) for number, flow in enumerate(_together(net, flows))]
    gate = [flow.layout.height == flow.layout.width == 1 for flow in read]
    if gate[0] and not gate[1]:
        read.reverse()
    a, b = (flow.layout for flow in read)
    whole_map = (a.height, a.width) == (b.height, b.width)
    if not whole_map and (b.height, b.width) != (1, 1):
        raise refused(operation.name, "a product of maps of different sizes", "use another network")
    shift = to.exponent - a.format.exponent - b.format.exponent
    if shift < 0:
        raise refused(operation.name, f"a product that is moved to the left by {-shift} bits", "train it again")
    bits = a.format.bits + b.format.bits + (not a.format.signed and not b.format.signed)
    if shift >= bits:
        read[0] = widened(net, read[0], replace(a.format, bits=a.format.bits + shift + 1 - bits))
        a = read[0].layout
    if max(one.format.bits + (not one.format.signed) for one in (a, b)) > _DSP_BITS:
        raise refused(operation.name, f"a product by more than 2^{_DSP_BITS}", "train it again")
    module = StreamMultiply(
        streams=a.stream.values, a_bits=a.format.bits, b_bits=b.format.bits, signed_a=int(a.format.signed),
        signed_b=int(b.format.signed), depth=1 if whole_map else a.depth, pixels=1 if whole_map else a.height * a.width,
        shift=shift, out_bits=to.bits, signed_out=int(to.signed), block=int(a.depth * b.format.bits >= 1024),
    )  # fmt: skip
    made = net.add("product", module, {"a": read[0].signal, "b": read[1].signal})["out"]
    return Flow(made, replace(a, format=to))


def concatenate(net: Netlist, task: Task, flows: Sequence[Flow]) -> Flow:
    """Maps joined along their channels, each in the format of the result.

    Raises:
        UserError: they are joined along another axis.
    """
    operation, to = task.operation, task.operation.output
    if operation.arguments != (1,):
        raise refused(operation.name, f"a concatenation along axis {operation.arguments[0]}", "use another network")
    streams = task.streams or flows[0].layout.streams
    for flow in flows:
        streams = common_streams(flow.layout, streams)
    read = [requantised(net, operand(net, task, flow, number, streams), to) for number, flow in enumerate(flows)]
    joined, places, before = read[0], read[0].layout.places, read[0].layout.channels
    for flow in read[1:]:
        layout = flow.layout
        module = Concatenate(width=joined.signal.width, depth_a=len(places) // streams, depth_b=layout.depth)
        cycles = layout.height * layout.width * (module.depth_a + module.depth_b)
        made = net.add("concatenation", module, {"a": joined.signal, "b": flow.signal}, cycles=cycles)["out"]
        places = (*places, *(before + one if one >= 0 else one for one in layout.places))
        before += layout.channels
        joined = Flow(made, replace(layout, places=places))
    return joined


OPERATIONS: dict[Kind, Callable[[Netlist, Task, Sequence[Flow]], Flow]] = {
    Kind.TABLE: table, Kind.CLIP: clip, Kind.AVERAGE_POOL: average_pool, Kind.MEAN: mean, Kind.MAX_POOL: max_pool,
    Kind.PAD: pad, Kind.RESHAPE: reshape, Kind.ADD: add, Kind.MULTIPLY: multiply, Kind.CONCAT: concatenate,
}  # fmt: skip
"""What places each kind of operation."""
