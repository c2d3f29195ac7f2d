"""The costs of our own modules, from their synthesis (hardware-model, section 5; docs/rtl.md).

A layer is what docs/rtl.md draws: FIFOs, border, sliding window, compute engines, adder tree, accumulator, alignment,
requantiser. Each is priced by its formula (`formulas`), as its RTL would be instantiated; constant memories by what
Yosys was seen to make of them (`modules.memories.rom`). What a layer's own table does not know:

- a layer's folds need not match those of the layer before: each is charged for a converter from words half as wide
  again as those it reads;
- how many bits its integers need and how far apart its filters' powers of two are: `_SPARED`, `_BIAS_SPARED` and
  `_SHIFT_BITS` are what networks of 8 bits had (benchmarks/results/built.md);
- a convolution with strides or dilations beyond 2, which the modules do not support, is priced as if they were 2;
- layer norm, softmax, quotients, reductions, resizing, unfolding, rearrangements and, beyond 8 bits, smooth activation
  functions have no modules yet; they cost what the peer's regressions say (`stream_logic`);
- forks of streams, maps in another order, and the logic that fetches off-chip weights, cost nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs import memory
from hass_train.hardware.dataflow.costs.alike import alike
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.cost_model import CostModel, Schedule, WeightBanks
from hass_train.hardware.dataflow.costs.engine_kinds import by_kind
from hass_train.hardware.dataflow.costs.formulas import module_costs
from hass_train.hardware.dataflow.costs.logic import Folds, Widths
from hass_train.hardware.dataflow.costs.modules import plumbing, pointwise, pools
from hass_train.hardware.dataflow.costs.modules import sums as adders
from hass_train.hardware.dataflow.costs.modules import windows as maps
from hass_train.hardware.dataflow.costs.modules.memories import SMALL_PRODUCT, rom, state_bits
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.costs.stream_logic import NO_MODULE, stream_dsp, stream_logic
from hass_train.hardware.dataflow.costs.synthesised_engines import LEAST_BITS, Engines, sum_bits
from hass_train.hardware.workload import Operation, OperationKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHOICES = 64  # positions among which a multiplier chooses at most
_LUT, _FF, _DSP, _BRAM = range(4)
_REGISTERS = 2  # the depth of a FIFO in registers
_NEAR = 0.9  # reading and computing take about the same time if they differ by less
_SPARED = 2  # bits: the magnitudes of a filter's weights add up to about a quarter of the most that they could
_BIAS_SPARED = 3  # bits that a bias has less than a product, as seen
_SHIFT_BITS = 2  # of the differences of powers of two among the filters of a layer, as seen
_PLAIN = ("relu", "relu6", "identity")  # what requantising to unsigned values does at no cost


class SynthesisedCosts(CostModel):
    """What synthesis says of our modules.

    Args:
        bits: word widths, at most `MOST_BITS`; modules have at least `LEAST_BITS`, memories of weights may be narrower.
        family: what they are synthesised for.
        unsigned: whether what an operation reads is never negative: its map then has a bit less than the operands of
            engines, which are signed.
    """

    engines = tuple(ComputeEngine)
    lists = (ComputeEngine.WEIGHT,)
    most_choices = _CHOICES

    def __init__(self, bits: Widths, family: Family, unsigned: bool = False) -> None:
        self.bits, self.family = replace(bits, data=max(bits.data, LEAST_BITS)), family
        self.map_bits = self.bits.data - unsigned
        operands = self.bits.data + max(bits.weight, LEAST_BITS)
        self.small_products = family == "xc7" and operands <= SMALL_PRODUCT

    # ---- operations with multipliers -------------------------------------------------------------------------

    def compute(self, layer: Operation, folds: Folds, pixels: int = 1) -> Floats:
        total = np.zeros((len(folds), 4), np.int64)
        for kind, rows in by_kind(folds.engine):
            total[rows] += Engines(self.bits, self.family, layer, folds[rows], kind).costs()
        # whatever the kind of engine, its multipliers and its FIFOs
        first, which = alike(folds.i, folds.o, folds.g, folds.m, folds.q, folds.p)
        total += self._beside(layer, folds[first], max(int(folds.q.max()), pixels))[which]
        return total[:, [_DSP, _LUT, _FF]].astype(float)

    def weights(self, layer: Operation, folds: Folds, schedule: Schedule) -> WeightBanks:
        whole = ("count", "words", "word_bits", "depth", "masks", "mask_bits", "mask_depth")
        found = {name: np.empty(len(folds), np.int64) for name in whole}
        stored = np.empty(len(folds))
        for kind, rows in by_kind(folds.engine):
            banks = Engines(self.bits, self.family, layer, folds[rows], kind).weights(schedule[rows])
            for name, values in found.items():
                values[rows] = getattr(banks, name)
            stored[rows] = banks.stored
        return WeightBanks(**found, stored=stored, family=self.family)

    # ---- memories of maps ------------------------------------------------------------------------------------

    def window(self, operation: Operation, streams: Ints, pixels: Ints) -> memory.Buffer:
        held = memory.window_buffers(operation, streams, self.map_bits, pixels)
        if operation.window == 1:
            return held
        found = self._sliding_window(operation, streams, pixels)
        return memory.Buffer(found[:, _BRAM], held.uram, np.zeros(len(streams)))

    def fifo(self, words: ArrayLike, depth: ArrayLike) -> memory.Buffer:
        every = [one.ravel() for one in np.broadcast_arrays(*(np.asarray(x, np.int64) for x in (words, depth)))]
        first, which = alike(*every)
        wide, deep = (one[first] for one in every)
        found, bits = np.zeros((len(deep), 4)), wide * self.map_bits
        shallow = deep <= _REGISTERS
        blocks = ~shallow & (deep * self.map_bits >= memory.LUTRAM_BITS)
        for kind, rows, given in (
            (plumbing.RegisterFifo, shallow & (deep > 0), {}),
            (plumbing.LutramFifo, ~shallow & ~blocks, {"shift_registers": 0}),
            (plumbing.BlockFifo, blocks, {}),
        ):
            held = np.maximum(deep[rows], _REGISTERS)
            found[rows] = module_costs(kind, self.family, width=bits[rows], depth=held, **given)
        uram = memory.banked_uram(self.map_bits, wide, deep)
        found = found[which]
        return memory.Buffer(found[:, _BRAM].astype(np.int64), uram[which], found[:, _LUT], found[:, _FF])

    def rows(self, operation: Operation, words: ArrayLike, depth: ArrayLike) -> memory.Buffer:
        # windows of one value have none
        return self.fifo(words, depth if operation.slides or operation.stride != (1, 1) else np.zeros_like(depth))

    def windows_ahead(self, layer: Operation, folds: Folds, interval: Ints) -> memory.Buffer | None:
        """See `CostModel`; as `hass_train.build` places them, for engines that work all the time.

        The longest pause lies between two images (rows below the last window and above the first one) or between two
        rows of windows. Where reading takes about as long as computing, windows that came in a burst wait too.
        """
        if not layer.slides and layer.stride == (1, 1):
            return None
        (height, width), result, (down, right) = layer.rows_read, layer.result, layer.stride
        steps = ceil_div(layer.source.channels, folds.i * folds.g)
        across, columns = ceil_div(width, folds.q), ceil_div(folds.q, right)
        each = ceil_div(result.width, columns) * steps  # of a row
        reads, words = height * across * steps, result.height * each
        beside = np.maximum(across - (ceil_div(result.width, columns) - 1) * columns * right // folds.q - 1, 0)
        rows = max(height - (result.height - 1) * down, down) - 1  # in which no window is complete
        pause = (rows * across + beside) * steps
        pace = interval / words  # cycles of a window
        burst = np.maximum(words - (reads - pause) / pace, each * (1 - right / pace))
        waiting = np.maximum(pause / pace, np.where(_NEAR * interval < reads, burst, 1))
        depth = np.where(reads > words, np.ceil(waiting).astype(np.int64) + 1, 0)
        # never in block RAM, whatever the depth
        found = np.zeros((len(folds), 4))
        width_bits = folds.i * folds.g * columns * layer.window * self.map_bits
        queued = np.flatnonzero(depth)
        if len(queued):
            found[queued] = module_costs(
                plumbing.LutramFifo, self.family, width=width_bits[queued], depth=np.maximum(depth[queued], 2),
                shift_registers=0,
            )  # fmt: skip
        none = np.zeros(len(folds), np.int64)
        return memory.Buffer(none, none, found[:, _LUT], found[:, _FF])

    def _sliding_window(self, operation: Operation, streams: Ints, pixels: Ints) -> Ints:
        """(n, 4) costs of windows."""
        (rows, columns), (height, width) = operation.kernel, operation.rows_read
        stride, dilation = (np.minimum(size, 2) for size in (operation.stride, operation.dilation))
        above, beside = (
            min(lead, (size - 1) * step)
            for lead, size, step in zip(operation.lead, operation.kernel, dilation, strict=True)
        )
        # pools that round their map up reach beyond it
        height = max(height, (rows - 1) * dilation[0] + 1 - above)
        width = max(width, (columns - 1) * dilation[1] + 1 - beside)
        return module_costs(
            maps.SlidingWindow, self.family, streams=streams, pixels=pixels, bits=self.map_bits,
            depth=ceil_div(operation.source.channels, streams), height=height, width=width, kernel_height=rows,
            kernel_width=columns, stride_height=stride[0], stride_width=stride[1], dilation_height=dilation[0],
            dilation_width=dilation[1], top=above, left=beside, value=0,
        )  # fmt: skip

    def _padding(self, operation: Operation, streams: Ints, pixels: Ints) -> Ints:
        """(n, 4) costs of streaming a border in."""
        ((above, below), (left, right)), source = operation.border, operation.source
        if not any((above, below, left, right)):
            return np.zeros((len(streams), 4), np.int64)
        return module_costs(
            maps.Padding, self.family, streams=streams, pixels=pixels, bits=self.map_bits,
            depth=ceil_div(source.channels, streams), height=source.height, width=source.width, top=above, bottom=below,
            left=left, right=right, value=0,
        )  # fmt: skip

    def _converter(self, operation: Operation, words: Ints, total: int) -> Ints:
        """(n, 4) costs of getting words of so many values from words half as wide again, or of half where none are.

        Folds of neighbours seldom divide each other: values are chosen from several places, and some wait for others.
        """
        wide = np.where(words % 2, 2 * words, words * 3 // 2)
        wide = np.where(wide <= total, wide, ceil_div(words, 2))
        return module_costs(
            plumbing.WidthConverter, self.family, bits=self.map_bits, in_values=wide, out_values=words, total=total
        )

    def _beside(self, layer: Operation, folds: Folds, pixels: int) -> Ints:
        """(n, 4) costs of all modules but the compute engines; block RAMs of windows are not among them."""
        family = self.family
        read, written, bundles = folds.i * folds.g, folds.o * folds.g * folds.p, folds.bundles
        total = self._converter(layer, read * folds.q, layer.source.channels * pixels)
        if layer.kind is OperationKind.CONV:
            total = total + self._padding(layer, read, folds.q)
        if layer.window > 1:
            total = total + self._sliding_window(layer, read, folds.q)
        each = sum_bits(self.bits, layer, layer.window * folds.m)
        tree = module_costs(adders.AdderTree, family, addends=np.maximum(bundles, 2), streams=written, in_bits=each)
        total = total + tree * (bundles > 1)[:, None]
        inside = each + state_bits(bundles)
        # two words in which sums wait, so that ready does not pass from their readers through engines
        total = total + module_costs(plumbing.RegisterFifo, family, width=written * inside, depth=2)
        return np.asarray(total + self._results(layer, folds, written, inside))

    def _results(self, layer: Operation, folds: Folds, written: Ints, inside: Ints) -> Ints:
        """(n, 4) costs of what makes values of sums of `inside` bits: accumulator, alignment, division, and memories.

        Sums have the bits that the integers of a network need: of weights that are seldom all at their largest, fewer
        than of any (`_SPARED`). Filters whose weights have different powers of two are aligned, where they take turns.
        """
        family, data = self.family, self.bits.data
        passes, rounds = ceil_div(layer.channels_per_group, folds.i), ceil_div(layer.filters_per_group, folds.o)
        products = np.full(len(folds), layer.window * layer.channels_per_group)
        whole = sum_bits(self.bits, layer, products) - _SPARED
        turns = rounds * ceil_div(layer.groups, folds.g)
        sums = module_costs(
            adders.Accumulator, family, streams=written, passes=passes, rounds=rounds,
            groups=ceil_div(layer.groups, folds.g), in_bits=np.minimum(inside, whole), bias_bits=1, out_bits=whole,
        )  # fmt: skip
        summed = (passes > 1) | bool(layer.bias)
        total = sums * summed[:, None]
        shifted = turns > 1
        total = total + shifted[:, None] * module_costs(
            adders.Align, family, streams=written, in_bits=whole, out_bits=whole + 1, shift_bits=_SHIFT_BITS, rows=turns
        )
        for bits, there in ((self.bits.data + self.bits.weight - _BIAS_SPARED, layer.bias), (_SHIFT_BITS, True)):
            held = rom(written * bits, turns, family)
            total[:, _LUT] += held.lut * (shifted & there)
            total[:, _FF] += held.ff * (shifted & there)
            total[:, _BRAM] += held.blocks * (shifted & there)
        values = module_costs(
            pointwise.Requantise, family, streams=written, in_bits=whole + shifted, out_bits=data,
            shift=whole - data - 2, signed_out=1,
        )  # fmt: skip
        return np.asarray(total + values)

    # ---- operations without weights --------------------------------------------------------------------------

    def stream(self, operation: Operation, streams: Ints) -> Floats:
        kind, data = operation.kind, self.bits.data
        table = kind is OperationKind.ACTIVATION and data <= 8 and operation.function not in _PLAIN
        unusual = kind in NO_MODULE or operation.function in ("adaptive", "choice")
        if unusual or (kind is OperationKind.ACTIVATION and data > 8):
            used = stream_logic(operation, streams, self.bits)
            return np.stack([stream_dsp(operation) * streams, used.lut, used.ff], 1)
        total = self._converter(operation, streams, max(operation.source.channels, operation.result.channels))
        if operation.slides:
            ones = np.ones_like(streams)
            total = total + self._padding(operation, streams, ones) + self._sliding_window(operation, streams, ones)
        total = total + self._pointwise(operation, streams)
        if table:  # the memory of the function
            held = rom(data, np.full(len(streams), 2**data), self.family)
            total[:, _LUT] += streams * held.lut
            total[:, _FF] += streams * held.ff
        return np.asarray(total[:, [_DSP, _LUT, _FF]], float)

    def _pointwise(self, operation: Operation, streams: Ints) -> Ints:
        """(n, 4) costs of what is done to the values of an operation without weights."""
        family, data, none = self.family, self.map_bits, np.zeros((len(streams), 4), np.int64)
        depth = ceil_div(operation.source.channels, streams)
        count = operation.source.pixels if operation.kind is OperationKind.GLOBAL_POOL else operation.window
        # a power of two divides without a product
        average = {"signed": 0, "multiplier": 0x8000 if count & (count - 1) == 0 else 0xAAAB, "shift": 20}
        more = max(len(operation.inputs) - 1, 1)
        match operation.kind:
            case OperationKind.MAX_POOL:
                return module_costs(
                    pools.MaxPool, family, streams=streams, columns=1, positions=operation.window, bits=data, signed=0
                )
            case OperationKind.AVERAGE_POOL:
                return module_costs(
                    pools.AveragePool, family, streams=streams, bits=data, columns=1, positions=operation.window,
                    **average,
                )  # fmt: skip
            case OperationKind.GLOBAL_POOL:
                return module_costs(
                    pools.GlobalPool, family, streams=streams, bits=data, depth=depth,
                    pixels_of_map=operation.source.pixels, operation=0, **average,
                )  # fmt: skip
            case OperationKind.ADD:
                return more * module_costs(
                    pointwise.StreamAdd, family, streams=streams, a_bits=data, b_bits=data, signed_a=1, signed_b=1,
                    shift_a=1, shift_b=0, shift=1, out_bits=data, signed_out=1,
                )  # fmt: skip
            case OperationKind.MULTIPLY:
                return more * module_costs(
                    pointwise.StreamMultiply, family, streams=streams, a_bits=data, b_bits=data, signed_a=1, signed_b=1,
                    depth=ceil_div(operation.result.channels, streams), pixels=operation.result.pixels,
                    shift=data - 1, out_bits=data, signed_out=1, block=0,
                )  # fmt: skip
            case OperationKind.CONCAT:
                half = np.maximum(ceil_div(operation.result.channels, 2 * streams), 1)
                return more * module_costs(
                    plumbing.Concatenate, family, width=data * streams, depth_a=half, depth_b=half
                )
            case OperationKind.ACTIVATION if operation.function not in _PLAIN:
                return module_costs(pointwise.LookupTable, family, streams=streams, in_bits=data, out_bits=data)
            case _:
                return none
