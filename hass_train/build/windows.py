"""The input side of convolutions and pools: FIFOs, padding, and windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hass_train.build.errors import refused
from hass_train.build.flows import Flow, fifo
from hass_train.build.netlist import Netlist, Signal
from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.border import streamed
from hass_train.precision.graph import Step
from hass_train.rtl.reference.fifos import LutramFifo
from hass_train.rtl.reference.windows import Padding, SlidingWindow

_LARGEST = 2  # stride and dilation that the sliding window has
_NEAR = 0.9  # reading and computing take about the same time if they differ by less


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows on their way.

    Args:
        signal: words of windows; of each window its kernel positions, then channels, then columns.
        columns: windows side by side.
        height, width: of the map of windows.
        depth: words of a pixel, or of some side by side.
        streams: channels in a word.
        idle: cycles of an image in which the window's module reads a word that completes no window.
    """

    signal: Signal
    columns: int
    height: int
    width: int
    depth: int
    streams: int
    idle: int


def padded(net: Netlist, flow: Flow, sides: tuple[int, int, int, int], value: int) -> Flow:
    """A map with a constant border.

    Args:
        net: the netlist.
        flow: the map.
        sides: (left, right, above, below).
        value: the constant.
    """
    if not any(sides):
        return flow
    (left, right, top, bottom), layout = sides, flow.layout
    module = Padding(
        streams=layout.streams, pixels=layout.pixels, bits=layout.format.bits, depth=layout.depth, height=layout.height,
        width=layout.width, top=top, bottom=bottom, left=left, right=right, value=value % (1 << layout.format.bits),
    )  # fmt: skip
    made = net.add("padding", module, {"in": flow.signal})["out"]
    return Flow(made, replace(layout, height=layout.height + top + bottom, width=layout.width + left + right))


def windows(
    net: Netlist,
    step: Step,
    kernel: tuple[int, int],
    flow: Flow,
    value: int,
    fifos: Mapping[str, int],
    busy: int = 0,
    interval: int = 0,
) -> Windows:
    """The windows of a kernel on a map.

    Args:
        net: the netlist.
        step: the operation, with its strides, dilations and padding.
        kernel: (rows, columns).
        flow: the map, behind its FIFO.
        value: what it is padded with.
        fifos: the depths of FIFOs by name; "NAME rows" holds words that are read ahead of the windows.
        busy: cycles of an image for which its reader works on windows.
        interval: cycles that an image may take. Where the pauses in which no window is complete make it longer, windows
            get a FIFO that lasts over them.

    Raises:
        UserError: a stride or dilation that the sliding window has not.
    """
    if max(*step.stride, *step.dilation) > _LARGEST:
        raise refused(step.name, f"strides {step.stride} and dilations {step.dilation} beyond 2", "use another network")
    left, right, top, bottom = step.padding
    reach = [(size - 1) * apart + 1 for size, apart in zip(kernel, step.dilation, strict=True)]
    above, below = streamed(flow.layout.height, top, bottom, reach[0], step.stride[0])
    before, after = streamed(flow.layout.width, left, right, reach[1], step.stride[1])
    flow = padded(net, flow, (before, after, above, below), value)
    layout = flow.layout
    if kernel == step.stride == (1, 1):
        return Windows(flow.signal, layout.pixels, layout.height, layout.width, layout.depth, layout.streams, 0)
    rows = f"{step.name} rows"
    if rows in fifos:
        queued = fifo(net, "rows", flow.signal, fifos[rows], layout.format.bits, rows)
        flow = Flow(queued, layout)
    module = SlidingWindow(
        streams=layout.streams, pixels=layout.pixels, bits=layout.format.bits, depth=layout.depth, height=layout.height,
        width=layout.width, kernel_height=kernel[0], kernel_width=kernel[1], stride_height=step.stride[0],
        stride_width=step.stride[1], dilation_height=step.dilation[0], dilation_width=step.dilation[1],
        top=top - above, left=left - before, value=value % (1 << layout.format.bits),
    )  # fmt: skip
    made = net.add("windows", module, {"in": flow.signal})["out"]
    down, across = module.windows
    words = down * int(ceil_div(across, module.columns)) * layout.depth
    idle = layout.words - words
    if idle and busy + idle > interval > 0:
        made = _ahead(net, module, made, busy / words)
    return Windows(made, module.columns, down, across, layout.depth, layout.streams, idle)


def _ahead(net: Netlist, module: SlidingWindow, signal: Signal, pace: float) -> Signal:
    """A FIFO of windows between reading and computing, which then hold up neither each other.

    Where engines take longer than reading, windows last while words are read that complete none: between rows, and
    between images. Where reading takes longer, the FIFO takes the windows that come in a burst.
    """
    complete = np.tile(_completing(module), 2)
    owed = np.arange(1, len(complete) + 1) / pace - np.cumsum(complete)  # windows that would be missing
    computing = pace * float(complete.sum()) / len(complete)  # cycles for each word read
    needs = [1.0]
    if computing > _NEAR:
        needs.append(float((owed - np.minimum.accumulate(owed)).max()))
    if computing < 1 / _NEAR:
        needs.append(float((np.maximum.accumulate(owed) - owed).max()))
    depth = int(np.ceil(max(needs))) + 1
    if depth <= 2:
        return fifo(net, "window_queue", signal, depth, module.bits)
    # not in block RAM, whatever the depth: its second cycle of latency would lengthen the interval by a cycle
    queue = LutramFifo(width=signal.width, depth=depth, shift_registers=0)
    return net.add("window_queue", queue, {"in": signal})["out"]


def _completing(module: SlidingWindow) -> NDArray[np.int64]:
    """(words of an image,) whether each word that is read completes a word of windows."""
    (down, across), (first_row, first) = module.windows, module.first
    row = np.arange(module.height) - first_row
    complete = (row >= 0) & (row % module.stride_height == 0) & (row // module.stride_height < down)
    if module.pixels == 1:
        column = np.arange(module.width) - first
        ends = (column >= 0) & (column % module.stride_width == 0) & (column // module.stride_width < across)
    else:
        group = np.arange(module.groups) - first
        ends = (group >= 0) & (group < ceil_div(across, module.columns))
    return np.repeat(np.ravel(complete[:, None] & ends), module.depth).astype(np.int64)
