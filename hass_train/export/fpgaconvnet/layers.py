"""Convolutions and linear layers as fpgaConvNet's blocks."""

from __future__ import annotations

import math

import numpy as np

from hass_train.export.fpgaconvnet.blocks import Block, Blocks, Plain, fixed, map_of, refused
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.initiation import binomial
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.precision.operation import IntegerOperation
from hass_train.sparsity.tilt import tilted


def convolution(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a convolution, dense or `sparse`, with the histograms of its zeros.

    Raises:
        UserError: fpgaConvNet has none such.
    """
    if one.dilation != (1, 1):
        raise refused(one.name, "is dilated")
    design, own = _checked(blocks, one), _formats(blocks, one)
    folds, (left, right, top, bottom) = design.folds, one.padding
    rows, columns = blocks.run.network.tensors_of(one)["weight"].shape[2:]
    histogram = _histogram(blocks, one, rows * columns)
    x, maker = _above_threshold(blocks, one, folds["i"] * folds["g"])
    weights, bias = _constants(blocks, one)
    kernel, stride = [rows, columns], list(one.stride)
    attributes = {
        "kernel_shape": kernel, "strides": stride, "pads": [top, left, bottom, right], "dilations": [1, 1],
        "group": one.groups, **_widths(own), **({"channel_sparsity_hist": histogram} if histogram else {}),
    }  # fmt: skip
    parameters = {
        **own, "filters": one.shape[1], "groups": one.groups, "kernel_rows": rows, "kernel_cols": columns,
        "kernel_size": kernel, "stride_rows": stride[0], "stride_cols": stride[1], "stride": stride, "pad_top": top,
        "pad_right": right, "pad_bottom": bottom, "pad_left": left, "coarse_in": folds["i"], "coarse_out": folds["o"],
        "coarse_group": folds["g"], "fine": folds["N"],
    }  # fmt: skip
    sparse = design.engine == ComputeEngine.CROSSBAR
    if sparse:
        skips = bool(blocks.run.hardware.get("skip_all_zero"))
        parameters |= {"sparsity": histogram, "skip_all_zero_window": skips}
    blocks.add(
        one, "Conv", (x, weights, bias), [maker], map_of(one.shape), attributes, kind="CONVOLUTION",
        streams_in=folds["i"] * folds["g"], streams_out=folds["o"] * folds["g"],
        variant="sparse" if sparse else "dense", parameters=parameters, weights=weights, bias=bias,
    )  # fmt: skip


def linear(blocks: Blocks, one: IntegerOperation) -> None:
    """Append a linear layer of one pixel.

    Raises:
        UserError: fpgaConvNet has none such.
    """
    if len(one.shape) != 2:
        raise refused(one.name, "computes several tokens", "it has linear layers of one only")
    design, own = _checked(blocks, one), _formats(blocks, one)
    if design.engine != ComputeEngine.DENSE:
        raise refused(one.name, f"is a linear layer with {design.engine} engines")
    folds = design.folds
    x, maker = _above_threshold(blocks, one, folds["i"])
    weights, bias = _constants(blocks, one)
    parameters = {**own, "filters": one.shape[1], "coarse_in": folds["i"], "coarse_out": folds["o"]}
    blocks.add(
        one, "Gemm", (x, weights, bias), [maker], map_of(one.shape), {"transB": 1, **_widths(own)},
        kind="INNER_PRODUCT", streams_in=folds["i"], streams_out=folds["o"], parameters=parameters, weights=weights,
        bias=bias,
    )  # fmt: skip


def _checked(blocks: Blocks, one: IntegerOperation) -> StageDesign:
    """The design of a layer.

    Raises:
        UserError: fpgaConvNet has none such.
    """
    design = blocks.run.design(one.name)
    folds, weight = design.folds, blocks.run.network.tensors_of(one)["weight"]
    if design.engine not in (ComputeEngine.DENSE, ComputeEngine.CROSSBAR):
        raise refused(one.name, f"has {design.engine} engines")
    if folds["m"] > 1:
        raise refused(one.name, f"bundles {folds['m']} channels in an engine")
    if folds["q"] > 1:
        raise refused(one.name, f"reads {folds['q']} pixels a cycle")
    if design.bands:
        raise refused(one.name, "reads its weights from outside, once per band", "take a larger device")
    wholes = {"i": weight.shape[1], "o": len(weight) // one.groups, "g": one.groups}
    if design.engine == ComputeEngine.DENSE:
        wholes["N"] = math.prod(weight.shape[2:])
    for name, whole in wholes.items():
        if whole % folds[name]:
            raise refused(one.name, f"has {name} = {folds[name]}, which does not divide {whole}")
    return design


def _formats(blocks: Blocks, one: IntegerOperation) -> Plain:
    """The formats of a layer's numbers, and where it keeps its weights."""
    source, tensors = one.sources[0], blocks.run.network.tensors_of(one)
    exponents, largest = tensors["exponents"], int(tensors["weight"].abs().max())
    most = int(exponents.max())
    return {
        "input_t": fixed(source), "output_t": fixed(one.output),
        "weight_t": {"width": max(largest.bit_length() + 1, 2), "binary_point": -most},
        "acc_t": {"width": one.accumulator_bits, "binary_point": -(most + source.exponent)},
        "has_bias": 1, "block_floating_point": bool(exponents.min() < most), "stream_weights": 0,
        "use_uram": blocks.run.memories.get(one.name) == "uram", "weight_compression_ratio": [1.0],
    }  # fmt: skip


def _widths(formats: Plain) -> Plain:
    """What fpgaConvNet reads of the formats from the attributes of an ONNX node."""
    bits = {f"{kind}_width": formats[f"{word}_t"]["width"]
            for kind, word in (("data", "input"), ("weight", "weight"), ("acc", "acc"))}  # fmt: skip
    return {**bits, "block_floating_point": int(formats["block_floating_point"])}


def _constants(blocks: Blocks, one: IntegerOperation) -> tuple[str, str]:
    """The names of a layer's weights and biases."""
    tensors = {key: value.numpy() for key, value in blocks.run.network.tensors_of(one).items()}
    scales = 2.0 ** tensors["exponents"].astype(float)
    weights = blocks.graph.weight(f"{one.name}.weight", tensors["weight"], scales, 0)
    return weights, blocks.graph.bias(f"{one.name}.bias", tensors["bias"], scales * one.sources[0].scale)


def _above_threshold(blocks: Blocks, one: IntegerOperation, streams: int) -> tuple[str, str]:
    """The ONNX value that a layer reads, behind its threshold, and the block that makes it.

    Raises:
        UserError: the threshold is on values of both signs.
    """
    producer, source = one.inputs[0], one.sources[0]
    if not one.threshold:
        return blocks.values[producer], blocks.makers[producer]
    if source.signed:
        rule = f"+sparsity.rules.{one.name.replace('.', '_')}='{{match: \"{one.name}\", activation: false}}'"
        raise refused(one.name, "zeroes small values of both signs", f"search with {rule}")
    level, shape, name = one.threshold * source.scale, blocks.maps[producer], blocks.next_name("ThresholdedRelu")
    value = blocks.graph.node(
        "ThresholdedRelu", blocks.values[producer], output=f"{one.name}.threshold", alpha=level
    )  # fmt: skip
    parameters = {"coarse": streams, "threshold": level, "data_t": fixed(source)}
    inputs = (blocks.makers[producer],)
    blocks.made[name] = Block(
        name, "THRESHOLDEDRELU", inputs, shape, shape, streams, streams, source, parameters=parameters
    )
    return value, name


def _histogram(blocks: Blocks, one: IntegerOperation, window: int) -> list[float]:
    """(channels · (K + 1),) for each channel the probabilities of 0 … K zero pairs in a window; empty = unknown.

    Where only all channels together were measured, theirs is tilted to the density of each.
    """
    sparsity = blocks.run.sparsity.get(one.name)
    if sparsity is None:
        return []
    channels = blocks.maps[one.inputs[0]][0]
    measured, found = sparsity.histograms.get(1), list[float]()
    for density in sparsity.channel_densities or (sparsity.pair_density,) * channels:
        mean = density * window
        nonzeros = binomial(window, density) if measured is None else tilted(np.array(measured), mean)
        found += nonzeros[::-1].tolist()
    return found
