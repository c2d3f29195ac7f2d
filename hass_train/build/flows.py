"""Maps in flight: forks, FIFOs, and conversions between the words that one layer writes and another reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from hass_train.build.layout import NOTHING, Layout
from hass_train.build.netlist import Netlist, Signal, whole
from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.memory import LUTRAM_BITS
from hass_train.hardware.dataflow.costs.stream_cycles import repacking_cycles
from hass_train.precision.formats import Format
from hass_train.rtl.module import Module
from hass_train.rtl.reference.fifos import BlockFifo, LutramFifo, RegisterFifo
from hass_train.rtl.reference.plumbing import Reorder, StreamFork, WidthConverter

_REGISTERS = 2  # the depth of a FIFO that only cuts paths


@dataclass(frozen=True, slots=True)
class Flow:
    """A map on its way: a signal, and how the map lies in it."""

    signal: Signal
    layout: Layout


def fork(net: Netlist, flow: Flow, copies: int) -> list[Flow]:
    """The same map for several readers."""
    if copies < 2:
        return [flow] * copies
    module = StreamFork(width=flow.signal.width, copies=copies)
    made = net.add("fork", module, {"in": flow.signal})
    return [Flow(made[f"out_{copy}"], flow.layout) for copy in range(copies)]


def fifo(net: Netlist, what: str, signal: Signal, depth: int, bits: int, role: str = "") -> Signal:
    """A queue of words.

    Args:
        net: the netlist.
        what: a word for its name.
        signal: what comes in.
        depth: words that it holds; one is made two, with which a word passes in every cycle.
        bits: of a value; a bank of `LUTRAM_BITS` and more is in block RAM (hardware-model, section 4).
        role: the name of the FIFO in the design.
    """
    module: Module
    if depth <= _REGISTERS:
        module = RegisterFifo(width=signal.width, depth=_REGISTERS)
    elif depth * bits < LUTRAM_BITS:
        module = LutramFifo(width=signal.width, depth=depth, shift_registers=0)
    else:
        module = BlockFifo(width=signal.width, depth=depth)
    return net.add(what, module, {"in": signal}, role=role)["out"]


def converted(net: Netlist, flow: Flow, streams: int, pixels: int = 1) -> Flow:
    """The map in words of other sizes.

    Args:
        net: the netlist.
        flow: the map.
        streams: places in a word.
        pixels: pixels in a word; more than one only with all places.
    """
    layout = flow.layout
    if (layout.streams, layout.pixels) == (streams, pixels):
        return flow
    whole = len(layout.places)
    if layout.pixels == pixels == 1:
        return _repacked(net, flow, streams, 1, whole)
    if layout.pixels == 1 and whole % layout.streams:
        flow = _repacked(net, flow, whole, 1, whole)
    if pixels == 1 and whole % streams:
        return converted(net, _repacked(net, flow, whole, 1, layout.width * whole), streams)
    if (flow.layout.streams, flow.layout.pixels) == (streams, pixels):
        return flow
    return _repacked(net, flow, streams, pixels, layout.width * whole)


def buffered(net: Netlist, flow: Flow, streams: int, pixels: int, depth: int, role: str) -> Flow:
    """The map in the words that a reader takes, with the reader's FIFO on the side where words are wider.

    So a layer that writes wide words in a burst is not held up while they are divided.

    Args:
        net: the netlist.
        flow: the map.
        streams, pixels: of the reader's words.
        depth: of the FIFO, in the reader's words.
        role: the FIFO's name in the design.
    """
    written, read = flow.layout.stream.values, streams * pixels
    bits = flow.layout.format.bits
    if written > read:
        deep = max(ceil_div(depth * read, written), 1)
        queued = fifo(net, "fifo", flow.signal, int(deep), bits, role)
        return converted(net, Flow(queued, flow.layout), streams, pixels)
    flow = converted(net, flow, streams, pixels)
    return Flow(fifo(net, "fifo", flow.signal, depth, bits, role), flow.layout)


def _repacked(net: Netlist, flow: Flow, streams: int, pixels: int, total: int) -> Flow:
    """The map behind a width converter, whose frames (a pixel, or a row) have `total` values."""
    layout = flow.layout
    module = WidthConverter(
        bits=layout.format.bits, in_values=layout.streams * layout.pixels, out_values=streams * pixels, total=total
    )
    frames = layout.height * (1 if max(layout.pixels, pixels) > 1 or total > len(layout.places) else layout.width)
    cycles = frames * repacking_cycles(total, module.in_values, module.out_values)
    made = net.add("converter", module, {"in": flow.signal}, cycles=cycles)
    return Flow(made["out"], replace(layout, streams=streams, pixels=pixels))


def reordered(net: Netlist, flow: Flow, places: Sequence[int]) -> Flow:
    """The map with the places of a pixel in another order: wires if a word has them all, else a memory of two pixels.

    Args:
        net: the netlist.
        flow: the map.
        places: the channel at every place; all channels, or `NOTHING`.
    """
    layout = flow.layout
    if tuple(places) == layout.places:
        return flow
    if layout.pixels > 1:
        flow = converted(net, flow, len(layout.places))
        layout = flow.layout
    at = {channel: place for place, channel in enumerate(layout.places)}
    from_ = np.array([at.get(channel, 0) for channel in places])
    streams = len(places) if layout.depth == 1 else layout.streams
    made = replace(layout, places=tuple(places), streams=streams)
    if layout.depth == 1:
        bits, signed = layout.format.bits, layout.format.signed
        return Flow(net.values("order", flow.signal, layout.stream, from_.tolist(), bits, signed), made)
    module = Reorder(
        bits=layout.format.bits, in_words=layout.depth, in_values=streams, out_words=made.depth, out_values=streams
    )
    order = module.entries(np.pad(from_, (0, made.depth * streams - len(from_))))
    memory = whole(net, "order", order.word, order.rows)
    cycles = layout.height * layout.width * max(layout.depth, made.depth)
    return Flow(net.add("reorder", module, {"in": flow.signal}, {"order": memory}, cycles=cycles)["out"], made)


def widened(net: Netlist, flow: Flow, format_: Format) -> Flow:
    """The same integers in another format that holds them: more bits, or a sign."""
    layout = flow.layout
    if (layout.format.bits, layout.format.signed) == (format_.bits, format_.signed):
        return Flow(flow.signal, replace(layout, format=format_))
    values = range(layout.stream.values)
    made = net.values("wide", flow.signal, layout.stream, values, format_.bits, layout.format.signed)
    return Flow(made, replace(layout, format=format_))


def common_streams(layout: Layout, streams: int) -> int:
    """The most places in a word, a divisor of `streams`, that words of a map fill without a rest."""
    return gcd(len(layout.places), streams)


def trimmed(places: Sequence[int]) -> Sequence[int]:
    """Places without the empty ones at the end."""
    last = max(place for place, channel in enumerate(places) if channel != NOTHING)
    return places[: last + 1]
