"""Convolutions and linear layers: from a map to a map (docs/rtl.md, "A layer")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hass_train.build.engines import EngineDesign, engines
from hass_train.build.errors import refused
from hass_train.build.flows import Flow, buffered, fifo, reordered, trimmed
from hass_train.build.layout import NOTHING, Layout
from hass_train.build.netlist import Netlist, Signal
from hass_train.build.sums import accumulated, added, as_values, signed_bits
from hass_train.build.windows import Windows, windows
from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.costs.synthesised_engines import LEAST_BITS
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.precision.operation import IntegerOperation
from hass_train.rtl.reference.pointwise import Threshold
from hass_train.rtl.streams import Ints, Stream


@dataclass(frozen=True, slots=True)
class Folds:
    """The folds of a layer, with the shape that its map has in its stream.

    Args:
        i, o, g, m, n, q, p: see hardware-model, section 3.
        groups, channels, filters: groups, and of each its channels and filters; where the stream has empty places,
            those that stand for them too.
    """

    i: int
    o: int
    g: int
    m: int
    n: int
    q: int
    p: int
    groups: int
    channels: int
    filters: int

    @property
    def passes(self) -> int:
        """Windows of a pixel whose sums are added up."""
        return int(ceil_div(self.channels, self.i))

    @property
    def turns(self) -> int:
        """Blocks of groups, one after another."""
        return int(ceil_div(self.groups, self.g))

    @property
    def rounds(self) -> int:
        """Blocks of filters that meet a window."""
        return int(ceil_div(self.filters, self.o))


@dataclass(frozen=True, slots=True)
class Given:
    """What a layer is built from.

    Args:
        operation: the layer.
        tensors: its integers.
        design: how it is built.
        fifos: depths of FIFOs by name.
        busy: cycles of an image for which the layer's engines work, by the design.
        interval: cycles between two images that the design promises.
        family: what is synthesised for.
    """

    operation: IntegerOperation
    tensors: Mapping[str, Tensor]
    design: StageDesign
    fifos: Mapping[str, int]
    busy: int
    interval: int
    family: Family


def layer(net: Netlist, given: Given, flow: Flow) -> Flow:
    """Place a convolution or linear layer.

    Raises:
        UserError: its design cannot be built.
    """
    operation, design = given.operation, given.design
    flow = _grouped(net, operation, flow)
    folds = _folds(given, flow.layout)
    depth = given.fifos.get(design.name, 2)
    flow = buffered(net, flow, folds.i * folds.g, folds.q, depth, design.name)
    flow = _pruned(net, operation, flow)
    weights = _weights(given, folds, flow.layout)
    kernel = _kernel(given.tensors["weight"])
    found = windows(net, operation, kernel, flow, 0, given.fifos, given.busy, given.interval)
    engine = _engine_design(given, folds, flow.layout, weights)
    sums, bits = engines(net, engine, _operands(net, folds, found, flow.layout, engine.data_bits, weights), weights)
    sums, bits = added(net, sums, bits, (folds.p, folds.g, folds.i // folds.m, folds.o))
    sums = fifo(net, "sum_queue", sums, 2, bits)  # from the sums' readers through engines is too far for one cycle
    return _results(net, given, folds, (sums, bits), found, flow.layout)


def _kernel(weight: Tensor) -> tuple[int, int]:
    """(rows, columns) of a layer's kernel; of a linear layer 1 × 1."""
    return (int(weight.shape[2]), int(weight.shape[3])) if weight.ndim == 4 else (1, 1)


def _pruned(net: Netlist, operation: IntegerOperation, flow: Flow) -> Flow:
    """The map behind the layer's activation threshold."""
    layout = flow.layout
    if not operation.threshold:
        return flow
    module = Threshold(
        streams=layout.streams * layout.pixels, bits=layout.format.bits,
        threshold=min(operation.threshold, layout.format.high), signed=int(layout.format.signed),
    )  # fmt: skip
    return Flow(net.add("threshold", module, {"in": flow.signal})["out"], layout)


def _folds(given: Given, layout: Layout) -> Folds:
    """The folds, checked against what modules can do.

    Raises:
        UserError: what cannot be built.
    """
    operation, design, name = given.operation, given.design, given.operation.name
    if design.bands:
        raise refused(name, "its weights are off the chip")
    weight, places = given.tensors["weight"], layout.places
    groups = operation.groups
    channels, filters = int(weight.shape[1]), int(weight.shape[0]) // groups
    i, o, g, m, n, q, p = (design.folds[fold] for fold in ("i", "o", "g", "m", "N", "q", "p"))
    if groups == 1:
        channels = len(places)
    else:
        groups = len(places) // channels
        if g > 1 and i < channels:
            raise refused(name, f"g={g} groups at once need all {channels} channels of each, and i={i}")
        if channels % i:
            raise refused(name, f"i={i} does not divide the {channels} channels of a group")
    if q > 1 and i * g != len(places):
        raise refused(name, f"q={q} pixels at once need all channels, and i={i}")
    if p > 1 and (o * g < filters * groups):
        raise refused(name, f"p={p} columns at once need all filters, and o={o}")
    return Folds(i, o, g, m, n, q, p, groups, channels, filters)


def _grouped(net: Netlist, operation: IntegerOperation, flow: Flow) -> Flow:
    """The map with the channels of a group side by side, if the layer has groups."""
    if operation.groups == 1:
        return flow
    channels, places = flow.layout.channels // operation.groups, np.array(flow.layout.places)
    if len(places) % channels == 0:
        of_group = places.reshape(-1, channels)
        empty = (of_group == NOTHING).all(1)
        alike = (of_group // channels == of_group[:, :1] // channels).all(1) & (of_group != NOTHING).all(1)
        if (empty | alike).all():
            return flow
    return reordered(net, flow, range(flow.layout.channels))


def _order(given: Given, folds: Folds, layout: Layout) -> Ints:
    """(turns, rounds, g, o) the filter at every place that is written; `NOTHING` where there is none."""
    operation, weight = given.operation, given.tensors["weight"]
    groups, filters = operation.groups, int(weight.shape[0]) // operation.groups
    order = np.array(given.design.filter_order or range(groups * filters)).reshape(groups, filters)
    order = order[np.argsort(order[:, 0] // filters)]  # by group
    if groups > 1:
        of_places = np.array(layout.places).reshape(folds.groups, folds.channels)[:, 0]
        order = np.where((of_places == NOTHING)[:, None], NOTHING, order[of_places // folds.channels])
    sides = ((0, folds.turns * folds.g - len(order)), (0, folds.rounds * folds.o - filters))
    whole = np.pad(order, sides, constant_values=NOTHING)
    return whole.reshape(folds.turns, folds.g, folds.rounds, folds.o).transpose(0, 2, 1, 3)


def _weights(given: Given, folds: Folds, layout: Layout) -> Ints:
    """(passes, rounds, bundles, filters, positions) weights as engines meet them."""
    weight = given.tensors["weight"].numpy().astype(np.int64)
    flat = weight.reshape(*weight.shape[:2], -1)
    flat = np.pad(flat, ((0, 1), (0, 1), (0, 0)))  # the last filter and channel are nothing
    order = _order(given, folds, layout)
    places = np.array(layout.places).reshape(folds.groups, folds.channels)
    within = np.where(places == NOTHING, NOTHING, places % int(weight.shape[1]))
    sides = ((0, folds.turns * folds.g - folds.groups), (0, folds.passes * folds.i - folds.channels))
    within = np.pad(within, sides, constant_values=NOTHING)
    channel = within.reshape(folds.turns, folds.g, folds.passes, folds.i // folds.m, folds.m)
    # turn, pass, round, group, bundle, filter, channel
    filters = order[:, None, :, :, None, :, None]
    channels = channel.transpose(0, 2, 1, 3, 4)[:, :, None, :, :, None, :]
    chosen = flat[filters, channels]
    shape = (folds.turns * folds.passes, folds.rounds, folds.g * (folds.i // folds.m), folds.o, -1)
    return np.ascontiguousarray(chosen.reshape(shape))


def _engine_design(given: Given, folds: Folds, layout: Layout, weights: Ints) -> EngineDesign:
    """The engines of a layer."""
    design, format_ = given.design, layout.format
    most = int(np.abs(weights).max(initial=0))
    return EngineDesign(
        ComputeEngine(design.engine), folds.n, design.lanes, design.multiplier, folds.p,
        max(format_.bits + (not format_.signed), LEAST_BITS), max(signed_bits(most), LEAST_BITS), design.engine_fifo,
        given.family,
    )  # fmt: skip


def _operands(net: Netlist, folds: Folds, found: Windows, layout: Layout, data_bits: int, weights: Ints) -> Signal:
    """The windows of the columns that are computed, in the bits of engines."""
    values = folds.g * folds.i * weights.shape[-1] // folds.m
    stream = Stream(values * found.columns, layout.format.bits)
    chosen = range(values * folds.p)
    return net.values("operands", found.signal, stream, chosen, data_bits, layout.format.signed)


def _results(net: Netlist, given: Given, folds: Folds, sums: tuple[Signal, int], found: Windows, read: Layout) -> Flow:
    """The values of the result: biases, shifts, saturation."""
    operation, tensors = given.operation, {name: one.numpy().astype(np.int64) for name, one in given.tensors.items()}
    order = _order(given, folds, read).reshape(folds.turns * folds.rounds, folds.g * folds.o)
    nothing, source, to = order == NOTHING, operation.sources[0], operation.output
    biases = np.where(nothing, 0, tensors["bias"][order])
    shifts = to.exponent - source.exponent - tensors["exponents"][order]
    shifts = np.where(nothing, shifts[:1], shifts)
    magnitudes = np.abs(tensors["weight"]).reshape(len(tensors["weight"]), -1).sum(1) * source.largest
    largest = np.where(nothing, 0, (magnitudes + np.abs(tensors["bias"]))[order])
    biases, shifts, largest = (np.tile(one, (1, folds.p)) for one in (biases, shifts, largest))
    signal, bits = accumulated(net, *sums, biases, folds.passes, folds.turns, operation.accumulator_bits)
    signal = as_values(net, signal, bits, shifts, largest, to)
    places = order.ravel().tolist()
    least = (len(order) - 1) * order.shape[1] + 1  # the last word stays, whatever it holds
    places = places[: max(len(trimmed(places)), least)]
    return Flow(signal, Layout(found.height, found.width, tuple(places), order.shape[1], folds.p, to))
