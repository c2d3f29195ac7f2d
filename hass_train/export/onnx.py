"""The integer network as ONNX: `model.onnx` (QuantizeLinear and DequantizeLinear) and `model.qonnx.onnx` (Quant).

Between the nodes that round, values are real numbers, integers times powers of two, on which single precision is exact
as long as an accumulator has at most 25 bits. Wider layers are written as several convolutions of fewer input
channels each, added in double precision. Optimisations of ONNX Runtime that fuse integer kernels may saturate sums of
two products at 16 bits, on some CPUs; equality holds without them (`ORT_DISABLE_ALL`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hass_train.export.onnx_graph import Array, OnnxGraph, QdqGraph, QonnxGraph
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.floating import EXACT_BITS
from hass_train.precision.folding import accumulator_bits, width_of
from hass_train.precision.graph import LAYERS, Kind
from hass_train.precision.integer_network import IntegerNetwork
from hass_train.precision.operation import IntegerOperation
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath

MODEL, QONNX_MODEL = "model.onnx", "model.qonnx.onnx"
Tensors = dict[str, Array]


def save_onnx(network: IntegerNetwork, folder: AnyPath) -> None:
    """Write `model.onnx` and `model.qonnx.onnx` into a directory; both are checked.

    Raises:
        UserError: the extra `export` is not installed, or a layer has numbers too wide for single precision.
    """
    for name, graph in ((MODEL, QdqGraph()), (QONNX_MODEL, QonnxGraph())):
        made = onnx_model(network, graph)
        graph.onnx.checker.check_model(made, full_check=graph.domain is None)  # no checker knows another's operators
        graph.onnx.save(made, str(Path(folder) / name))


def save_run(folder: AnyPath) -> list[Path]:
    """Write the ONNX models of a run into its directory; returns their paths.

    Raises:
        UserError: the run has no integers, or as `save_onnx`.
    """
    save_onnx(IntegerNetwork.load(folder), folder)
    return [Path(folder) / MODEL, Path(folder) / QONNX_MODEL]


def onnx_model(network: IntegerNetwork, graph: OnnxGraph) -> Any:
    """Return an integer network as an `onnx.ModelProto`, which maps images `input` (n, channels, height, width) to
    `logits`.

    Args:
        network: the network.
        graph: an empty graph of the dialect to write.

    Raises:
        UserError: a layer has numbers too wide for single precision.
    """
    helper, kind = graph.onnx.helper, graph.onnx.TensorProto.FLOAT
    names = {NETWORK_INPUT: graph.rounded("input", network.input, "input.rounded")}
    for operation in network.operations:
        tensors = {key: value.numpy() for key, value in network.tensors_of(operation).items()}
        operands, before = [names[name] for name in operation.inputs], len(graph.nodes)
        names[operation.name] = _WRITERS[operation.kind](graph, operation, operands, tensors)
        graph.written[operation.name] = graph.nodes[before:]
    graph.rename(names[network.output], "logits")
    result = next(one.shape for one in network.operations if one.name == network.output)
    inputs = [helper.make_tensor_value_info("input", kind, [graph.images, *network.input_shape])]
    outputs = [helper.make_tensor_value_info("logits", kind, [graph.images, *result[1:]])]
    made = helper.make_graph(graph.nodes, network.name, inputs, outputs, graph.constants)
    domains = [("", graph.opset), *([(graph.domain, 1)] if graph.domain else [])]
    opsets = [helper.make_opsetid(*one) for one in domains]
    return helper.make_model(made, opset_imports=opsets, ir_version=graph.ir_version, producer_name="hass-train")


# ---- layers ----------------------------------------------------------------------------------------------------------


def _layer(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    """A convolution or linear layer, behind its threshold."""
    x, source, name = operands[0], one.sources[0], one.name
    if one.threshold:
        level = graph.constant(one.threshold * source.scale)
        x = graph.node("Where", graph.node("Greater", graph.node("Abs", x), level), x, graph.constant(0.0))
    weight, scales = tensors["weight"].astype(np.int64), 2.0 ** tensors["exponents"].astype(np.float64)
    own = scales * source.scale
    if one.accumulator_bits <= EXACT_BITS:
        written = _weight(graph, one, f"{name}.weight", weight, scales)
        bias = graph.bias(f"{name}.bias", tensors["bias"], own)
        sums = _product(graph, one, x, written, bias, weight.shape[2:])
        if not bias:
            sums = graph.node("Add", sums, graph.constant(_at_channels(one, tensors["bias"] * own)))
        return graph.rounded(sums, one.output, name)
    parts = _parts(one, weight)
    sums = graph.constant(_at_channels(one, tensors["bias"] * own), np.float64)
    for place, part in enumerate(parts):
        written = _weight(graph, one, f"{name}.weight.{place}", part, scales)
        sums = graph.node("Add", sums, graph.cast(_product(graph, one, x, written, "", weight.shape[2:]), "DOUBLE"))
    return graph.rounded(graph.rounded_double(sums, 1 / one.output.scale, one.output), one.output, name)


def _at_channels(one: IntegerOperation, values: Array) -> Array:
    """Values of filters (filters,), in a shape that can be added to a layer's output."""
    return values.reshape(-1, *[1] * (len(one.shape) - 2)) if one.kind is Kind.CONV else values


def _weight(graph: OnnxGraph, one: IntegerOperation, name: str, weight: Array, scales: Array) -> str:
    """A layer's weight as `_product` takes it: of linear layers (filters, channels) for Gemm, else transposed."""
    bits = accumulator_bits([int(abs(weight).max())])
    write = graph.weight if one.kind is Kind.CONV or _gemm(graph, one) else graph.matrix
    return write(name, weight, scales, bits)


def _gemm(graph: OnnxGraph, one: IntegerOperation) -> bool:
    """Whether a linear layer is written as Gemm."""
    return graph.gemm and len(one.shape) == 2


def _product(graph: OnnxGraph, one: IntegerOperation, x: str, weight: str, bias: str, kernel: tuple[int, ...]) -> str:
    """A layer's products and sums; no bias if that is empty."""
    operands = [x, weight, *([bias] if bias else [])]
    if one.kind is Kind.CONV:
        return graph.node("Conv", *operands, **_windows(one, kernel), group=one.groups)
    if _gemm(graph, one):
        return graph.node("Gemm", *operands, transB=1)
    product = graph.node("MatMul", x, weight)
    return graph.node("Add", product, bias) if bias else product


def _parts(one: IntegerOperation, weight: Array) -> list[Array]:
    """A layer's weight as a sum of weights with fewer input channels, each exact in single precision.

    Raises:
        UserError: a single channel is too wide.
    """
    each = abs(weight).reshape(len(weight), weight.shape[1], -1).sum(2) * one.sources[0].largest
    if accumulator_bits([int(each.max())]) > EXACT_BITS:
        raise UserError(
            f"layer {one.name} sums numbers of more than {EXACT_BITS} bits, which ONNX's single precision does not "
            "hold; take fewer precision.weight_bits or activation_bits, or integers.safetensors, which holds them"
        )
    first, bounds, parts = 0, each[:, 0], list[Array]()
    for channel in range(1, weight.shape[1] + 1):
        last = channel == weight.shape[1]
        if last or accumulator_bits([int((bounds + each[:, channel]).max())]) > EXACT_BITS:
            part = np.zeros_like(weight)
            part[:, first:channel] = weight[:, first:channel]
            parts.append(part)
            first, bounds = channel, np.zeros_like(bounds)
        if not last:
            bounds = bounds + each[:, channel]
    return parts


def _windows(one: IntegerOperation, kernel: tuple[int, ...] = ()) -> dict[str, Any]:
    """The attributes of a convolution's or pool's windows; readers of ONNX do not all know defaults."""
    left, right, top, bottom = one.padding
    size, pads = list(kernel or one.kernel), [top, left, bottom, right]
    return {"kernel_shape": size, "strides": list(one.stride), "dilations": list(one.dilation), "pads": pads}


# ---- operations without weights --------------------------------------------------------------------------------------


def _table(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    """A pointwise function, looked up by the integers of its operand."""
    source, to = one.sources[0], one.output
    steps = graph.cast(graph.node("Mul", operands[0], graph.constant(1 / source.scale)), "INT64")
    rows = graph.node("Sub", steps, graph.constant(source.low, np.int64))
    found = graph.node("Gather", graph.constant(tensors["table"] * to.scale), rows, axis=0)
    return graph.rounded(found, to, one.name)


def _average(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    """A mean or average pool: a sum, times a reciprocal."""
    if one.kind is Kind.MEAN:
        axes = graph.constant(np.array(one.arguments), np.int64)
        sums = graph.node("ReduceSum", operands[0], axes, keepdims=0)
    else:
        ones = graph.constant(np.ones((one.shape[1], 1, *one.kernel)))
        sums = graph.node("Conv", operands[0], ones, **_windows(one), group=one.shape[1])
    factor = one.multiplier / 2.0**one.shift / one.sources[0].scale
    made = graph.rounded_double(graph.cast(sums, "DOUBLE"), factor, one.output)
    return graph.rounded(_reshaped(graph, one, made), one.output, one.name)


def _pair(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    """A sum, difference or product."""
    kind = "Mul" if one.kind is Kind.MULTIPLY else "Add" if one.arguments[1] > 0 else "Sub"
    if width_of(one, one.sources) <= EXACT_BITS:
        return graph.rounded(graph.node(kind, *operands), one.output, one.name)
    result = graph.node(kind, *(graph.cast(each, "DOUBLE") for each in operands))
    return graph.rounded(graph.rounded_double(result, 1 / one.output.scale, one.output), one.output, one.name)


def _concat(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    """A concatenation, each operand of which is rounded to the result's format."""
    return graph.rounded(graph.node("Concat", *operands, axis=one.arguments[0]), one.output, one.name)


def _max_pool(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    return graph.node("MaxPool", operands[0], output=one.name, **_windows(one))


def _clip(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    """ReLU, ReLU6 or another clip."""
    source = one.sources[0]
    if one.low == 0 and one.high == source.high:
        return graph.rectified(operands[0], source, one.name)
    limits = (graph.constant(limit * source.scale) for limit in (one.low, one.high))
    return graph.node("Clip", operands[0], *limits, output=one.name)


def _pad(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    left, right, top, bottom = one.padding
    pads = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right]), np.int64)
    return graph.node("Pad", operands[0], pads, graph.constant(one.low * one.sources[0].scale), output=one.name)


def _reshaped(graph: OnnxGraph, one: IntegerOperation, x: str, output: str = "") -> str:
    return graph.node("Reshape", x, graph.constant(np.array([-1, *one.shape[1:]]), np.int64), output=output)


def _view(graph: OnnxGraph, one: IntegerOperation, operands: list[str], tensors: Tensors) -> str:
    """A reshape, permutation or slice."""
    if one.kind is Kind.RESHAPE:
        return _reshaped(graph, one, operands[0], one.name)
    if one.kind is Kind.PERMUTE:
        return graph.node("Transpose", operands[0], output=one.name, perm=list(one.arguments))
    axis, start, stop, step = (graph.constant(np.array([value]), np.int64) for value in one.arguments)
    return graph.node("Slice", operands[0], start, stop, axis, step, output=one.name)


_WRITERS: dict[Kind, Callable[[OnnxGraph, IntegerOperation, list[str], Tensors], str]] = {
    **dict.fromkeys(LAYERS, _layer),
    **dict.fromkeys([Kind.MEAN, Kind.AVERAGE_POOL], _average),
    **dict.fromkeys([Kind.ADD, Kind.MULTIPLY], _pair),
    **dict.fromkeys([Kind.RESHAPE, Kind.PERMUTE, Kind.SLICE], _view),
    Kind.TABLE: _table,
    Kind.CONCAT: _concat,
    Kind.MAX_POOL: _max_pool,
    Kind.CLIP: _clip,
    Kind.PAD: _pad,
}
