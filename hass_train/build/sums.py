"""Behind compute engines: bundles and passes are added up, a bias too, and the sums become values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hass_train.build.netlist import Netlist, Signal, whole
from hass_train.precision.formats import Format
from hass_train.rtl.reference.pointwise import Requantise
from hass_train.rtl.reference.sums import Accumulator, AdderTree, Align
from hass_train.rtl.streams import Ints, Stream


def signed_bits(value: int) -> int:
    """Bits of a two's-complement number that hold every integer of at most this magnitude, and its negative."""
    return int(value).bit_length() + 1


def added(net: Netlist, sums: Signal, bits: int, shape: tuple[int, int, int, int]) -> tuple[Signal, int]:
    """Add up the bundles of a group.

    Args:
        net: the netlist.
        sums: filter fastest, then bundle, then group, then column.
        bits: of a sum.
        shape: (columns, groups, bundles, filters).

    Returns:
        The sums, filter fastest, then group, then column, and their bits.
    """
    columns, groups, bundles, filters = shape
    if bundles == 1:
        return sums, bits
    place = np.arange(columns * groups * bundles * filters).reshape(shape).transpose(2, 0, 1, 3).ravel()
    count = columns * groups * filters
    ordered = net.values("bundles", sums, Stream(len(place), bits), place.tolist(), bits, signed=True)
    tree = AdderTree(addends=bundles, streams=count, in_bits=bits)
    return net.add("tree", tree, {"in": ordered})["out"], bits + tree.latency


def accumulated(
    net: Netlist, sums: Signal, bits: int, biases: Ints, passes: int, groups: int, whole_bits: int
) -> tuple[Signal, int]:
    """Add up the passes over channels, and a bias.

    Args:
        net: the netlist.
        sums: what passes give, pass by pass, round by round.
        bits: of each.
        biases: (groups × rounds, streams).
        passes: that are added up.
        groups: one after another.
        whole_bits: bits that no sum, whole or partial, overflows.
    """
    streams = biases.shape[1]
    if bits > whole_bits:
        sums = net.values("narrow", sums, Stream(streams, bits), range(streams), whole_bits, signed=True)
        bits = whole_bits
    if passes == 1 and not biases.any():
        return sums, bits
    bias_bits = min(signed_bits(int(np.abs(biases).max())), whole_bits)
    module = Accumulator(
        streams=streams, passes=passes, rounds=len(biases) // groups, groups=groups, in_bits=bits,
        bias_bits=bias_bits, out_bits=whole_bits,
    )  # fmt: skip
    memory = whole(net, "biases", Stream(streams, bias_bits), biases)
    return net.add("accumulator", module, {"in": sums}, {"bias": memory})["out"], whole_bits


def as_values(net: Netlist, sums: Signal, bits: int, shifts: Ints, largest: Ints, to: Format) -> Signal:
    """Divide sums by 2^shift, each its own, round half to even and saturate.

    Args:
        net: the netlist.
        sums: word by word; rows of shifts repeat.
        bits: of a sum.
        shifts: (rows, streams); negative ones multiply.
        largest: (rows, streams) magnitudes that sums do not exceed.
        to: the format of the results.
    """
    streams = shifts.shape[1]
    # beyond these nothing changes: all rounds to 0, or all but 0 saturates
    shifts = np.clip(shifts, -to.bits, bits)
    most = max(int(shifts.max()), 0)
    left = most - shifts
    aligned = max(bits, *(signed_bits(int(one) << int(by)) for one, by in zip(largest.flat, left.flat, strict=True)))
    if left.any():
        if (left == left[:1]).all():
            sums, bits = moved(net, sums, bits, left[0].tolist(), aligned), aligned
        else:
            shift_bits = int(left.max()).bit_length()
            module = Align(streams=streams, in_bits=bits, out_bits=aligned, shift_bits=shift_bits, rows=len(left))
            memory = whole(net, "shifts", Stream(streams, shift_bits), left)
            sums, bits = net.add("align", module, {"in": sums}, {"shift": memory})["out"], aligned
    return divided(net, sums, streams, bits, most, to)


def divided(net: Netlist, values: Signal, streams: int, bits: int, shift: int, to: Format) -> Signal:
    """Divide signed values by 2^shift, round half to even and saturate.

    Args:
        net: the netlist.
        values: words of `streams` values of `bits` bits.
        streams, bits: see there.
        shift: at least 0.
        to: the format of the results.
    """
    if shift >= bits:
        values = net.values("sign", values, Stream(streams, bits), range(streams), shift + 1, signed=True)
        bits = shift + 1
    module = Requantise(streams=streams, in_bits=bits, out_bits=to.bits, shift=shift, signed_out=int(to.signed))
    return net.add("requantise", module, {"in": values})["out"]


def moved(net: Netlist, values: Signal, bits: int, left: Sequence[int], aligned: int) -> Signal:
    """Move signed values to the left by constants, which is wiring.

    Args:
        net: the netlist.
        values: words of values.
        bits, aligned: of a value before and after.
        left: places that each value of a word is moved by.
    """
    chosen: list[int] = []
    for stream, by in enumerate(left):
        low = stream * bits
        kept = min(bits, aligned - by)
        chosen += [*[-1] * by, *range(low, low + kept), *[low + bits - 1] * (aligned - by - kept)]
    return net.wire("aligned", values, chosen)
