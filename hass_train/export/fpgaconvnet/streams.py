"""Operations without weights as fpgaConvNet's blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hass_train.export.fpgaconvnet.blocks import Blocks, Map, Plain, fixed, map_of, refused
from hass_train.precision.graph import Kind
from hass_train.precision.operation import IntegerOperation

_SUM_BITS = 32  # of accumulators in pools and sums
_HAS = "it has ReLU, hard-swish, sigmoid and hard-sigmoid"
_FUNCTIONS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "HardSwish": ("HARD_SWISH", F.hardswish),
    "HardSigmoid": ("HARD_SIGMOID", F.hardsigmoid),
    "Sigmoid": ("SIGMOID", torch.sigmoid),
}


def max_pool(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a maximum pool.

    Raises:
        UserError: it is dilated.
    """
    if one.dilation != (1, 1):
        raise refused(one.name, "is dilated", "replace it in the network")
    left, right, top, bottom = one.padding
    kernel, stride = list(one.kernel), list(one.stride)
    parameters = {
        "kernel_rows": kernel[0], "kernel_cols": kernel[1], "kernel_size": kernel, "stride_rows": stride[0],
        "stride_cols": stride[1], "stride": stride, "pad_top": top, "pad_right": right, "pad_bottom": bottom,
        "pad_left": left,
    }  # fmt: skip
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": [top, left, bottom, right], "dilations": [1, 1]}
    _stream(blocks, one, "MaxPool", "POOLING", "max", parameters, attributes)


def global_pool(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a mean over the whole map.

    Raises:
        UserError: it is a mean over something else.
    """
    source = blocks.maps[one.inputs[0]]
    whole = tuple(sorted(one.arguments)) == (2, 3) if one.kind is Kind.MEAN else one.kernel == source[1:]
    if not whole:
        raise refused(one.name, "averages less than a whole map", "replace it in the network")
    sums = {"acc_t": {"width": _SUM_BITS, "binary_point": -one.sources[0].exponent}}
    _stream(blocks, one, "GlobalAveragePool", "AVERAGE_POOLING", "avg", sums, {}, result=(source[0], 1, 1))
    if len(one.shape) == 2:
        blocks.flatten(one.name)


def pair(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a sum or a product.

    Raises:
        UserError: it is a difference, or reads a value twice.
    """
    if len(set(one.inputs)) < 2:
        raise refused(one.name, "reads one value twice", "replace it in the network")
    if one.kind is Kind.ADD and min(one.arguments) < 0:
        raise refused(one.name, "is a difference", "replace it in the network")
    kind = "Add" if one.kind is Kind.ADD else "Mul"
    sums = {"width": _SUM_BITS, "binary_point": -one.output.exponent}
    _stream(blocks, one, kind, "ELTWISE", kind.lower(), {"acc_t": sums, "ports_in": 2, "ports_out": 1}, {})


def concatenation(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a concatenation of channels."""
    channels = [blocks.maps[name][0] for name in one.inputs]
    parameters = {"channels_in_array": channels, "ports_in": len(channels), "ports_out": 1}
    _stream(blocks, one, "Concat", "CONCAT", "", parameters, {"axis": 1})


def clip(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a ReLU, or one with an upper limit.

    Raises:
        UserError: it clips at another value than zero.
    """
    source = one.sources[0]
    if one.low != 0:
        raise refused(one.name, "clips at another value than zero", _HAS)
    if one.high == source.high:
        _stream(blocks, one, "Relu", "RELU", "ReLU", {}, {})
    else:
        limits = [blocks.graph.constant(limit * source.scale) for limit in (one.low, one.high)]
        _stream(blocks, one, "Clip", "RELU", "ReLU", {}, {}, constants=limits)


def table(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a pointwise function, known by the integers of its table.

    Raises:
        UserError: fpgaConvNet has no such function.
    """
    source, integers = one.sources[0], blocks.run.network.tensors_of(one)["table"].long()
    values = torch.arange(source.low, source.high + 1).double() * source.scale
    for kind, (layer, function) in _FUNCTIONS.items():
        if torch.equal(one.output.quantise(function(values)), integers):
            words = {"input_t": fixed(source), "output_t": fixed(one.output)}
            _stream(blocks, one, kind, layer, kind, words, {})
            return
    raise refused(one.name, "is another pointwise function", _HAS)


def reshape(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a flattening.

    Raises:
        UserError: it makes anything but rows.
    """
    if len(one.shape) != 2:
        raise refused(one.name, "is a reshape that does not flatten", "replace it in the network")
    blocks.alias(one)
    blocks.flatten(one.name)


def _stream(
    blocks: Blocks, one: IntegerOperation, kind: str, layer: str, variant: str, parameters: Plain, attributes: Plain,
    constants: Sequence[str] = (), result: Map | None = None,
) -> None:  # fmt: skip
    """Append an operation without weights, with streams that divide the channels of all its operands.

    Raises:
        UserError: the pipeline would have to wait for so few.
    """
    made, designed = result or map_of(one.shape), blocks.run.design(one.name).folds["s"]
    maps = [*(blocks.maps[name] for name in one.inputs), made]
    streams = math.gcd(designed, *(channels for channels, *_ in maps))
    if streams < designed and max(math.prod(one) for one in maps) > streams * blocks.run.interval:
        channels = " and ".join(map(str, sorted({channels for channels, *_ in maps})))
        raise refused(
            one.name, f"has {designed} streams for {channels} channels",
            f"its streams divide all of these, {streams} do here, and the pipeline would wait: take "
            "numbers of channels with larger common divisors, or a smaller device",
        )  # fmt: skip
    inputs = (*(blocks.values[name] for name in one.inputs), *constants)
    given = {"coarse": streams, "coarse_in": streams, "coarse_out": streams, "data_t": fixed(one.output)}
    blocks.add(
        one, kind, inputs, [blocks.makers[name] for name in one.inputs], made, attributes, kind=layer,
        streams_in=streams, streams_out=streams, variant=variant, parameters={**given, **parameters},
    )  # fmt: skip
