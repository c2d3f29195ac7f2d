"""fpgaConvNet's files of a run: `model.onnx` with its annotations, and `config.json` (`partitions` of its proto)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hass_train.export.fpgaconvnet.blocks import TOOL, Block, Blocks, Map, Plain, fixed, refused
from hass_train.export.fpgaconvnet.layers import convolution, linear
from hass_train.export.fpgaconvnet.streams import clip, concatenation, global_pool, max_pool, pair, reshape, table
from hass_train.export.peer_run import PeerRun
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.graph import Kind
from hass_train.precision.operation import IntegerOperation
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath, replacing, write_text

FOLDER, MODEL, CONFIG = "fpgaconvnet", "model.onnx", "config.json"
_FIFO = 2  # entries of a stream's FIFO, fpgaConvNet's default
_WRITERS: dict[Kind, Callable[[Blocks, IntegerOperation], None]] = {
    Kind.CONV: convolution,
    Kind.LINEAR: linear,
    Kind.MAX_POOL: max_pool,
    Kind.MEAN: global_pool,
    Kind.AVERAGE_POOL: global_pool,
    Kind.ADD: pair,
    Kind.MULTIPLY: pair,
    Kind.CONCAT: concatenation,
    Kind.CLIP: clip,
    Kind.TABLE: table,
    Kind.RESHAPE: reshape,
    Kind.DROP: Blocks.alias,
}


def save_fpgaconvnet(folder: AnyPath) -> list[Path]:
    """Write `fpgaconvnet/model.onnx` and `fpgaconvnet/config.json` into a run's directory; returns their paths.

    Raises:
        UserError: the run lacks something, or fpgaConvNet cannot express its design; nothing is written then.
    """
    model, config = fpgaconvnet_files(PeerRun.read(folder, TOOL))
    paths = [Path(folder) / FOLDER / name for name in (MODEL, CONFIG)]
    with replacing(paths[0]) as partly:
        partly.write_bytes(model.SerializeToString())
    write_text(paths[1], json.dumps(config, indent=1))
    return paths


def fpgaconvnet_files(run: PeerRun) -> tuple[Any, Plain]:
    """The annotated `onnx.ModelProto` of a run, and the content of its config.json.

    Raises:
        UserError: fpgaConvNet cannot express an operation or its design; one line that names it.
    """
    blocks = Blocks(run)
    for one in run.network.operations:
        if one.kind not in _WRITERS:
            raise refused(one.name, f"is a {one.kind}", "replace it in the network")
        _WRITERS[one.kind](blocks, one)
    model = blocks.model()
    first = [block for block in blocks.made.values() if NETWORK_INPUT in block.inputs]
    if len(first) > 1:
        raise UserError(f"{first[0].name} and {first[1].name} read the image, where {TOOL} has one layer that does")
    layers = _with_squeezes(_with_splits(blocks.made))
    partition = {
        "id": 0, "ports": 1, "batch_size": 1, "input_nodes": ["input"], "output_nodes": ["logits"],
        "weights_reloading_factor": 1, "weights_reloading_layer": "None", "layers": list(_plain(layers)),
    }  # fmt: skip
    return model, {"partition": [partition]}


def _readers(blocks: Iterable[Block]) -> dict[str, list[str]]:
    """The blocks that read each block."""
    found: dict[str, list[str]] = {}
    for block in blocks:
        for name in block.inputs:
            found.setdefault(name, []).append(block.name)
    return found


def _with_splits(blocks: dict[str, Block]) -> dict[str, Block]:
    """The blocks, with a SPLIT behind each that several read."""
    several = {name for name, found in _readers(blocks.values()).items() if len(found) > 1}
    renamed, made = {name: f"{name}_split" for name in several}, dict[str, Block]()
    readers = _readers(blocks.values())
    for name, block in blocks.items():
        inputs = tuple(renamed.get(one, one) for one in block.inputs)
        made[name] = replace(block, inputs=inputs)
        if name in several:
            streams, parameters = block.streams_out, {
                "coarse": block.streams_out, "ports_in": 1, "ports_out": len(readers[name]), "data_t": fixed(block.word)
            }  # fmt: skip
            made[renamed[name]] = Block(
                renamed[name], "SPLIT", (name,), block.result, block.result, streams, streams, block.word,
                parameters=parameters, node=name,
            )  # fmt: skip
    return made


def _with_squeezes(blocks: dict[str, Block]) -> dict[str, Block]:
    """The blocks, with a SQUEEZE wherever one writes fewer or more streams than the next one reads."""
    made = dict[str, Block]()
    for name, block in blocks.items():
        inputs = []
        for one in block.inputs:
            before = made.get(one)
            if before is None or before.streams_out == block.streams_in:
                inputs.append(one)
                continue
            squeeze = f"{one}_squeeze_{name}"
            made[squeeze] = Block(
                squeeze, "SQUEEZE", (one,), before.result, before.result, before.streams_out, block.streams_in,
                before.word, parameters={"data_t": fixed(before.word)}, node=before.node or one,
            )  # fmt: skip
            inputs.append(squeeze)
        made[name] = replace(block, inputs=tuple(inputs))
    return made


def _plain(blocks: dict[str, Block]) -> Iterable[Plain]:
    """The blocks as messages `layer` of the proto."""
    readers = _readers(blocks.values())
    for name, block in blocks.items():
        following = readers.get(name, [])
        layer: Plain = {"name": name, "onnx_node": block.node or name, "type": block.kind}
        if block.variant:
            layer["op_type"] = block.variant
        layer["streams_in"] = [
            {"name": "in" if one == NETWORK_INPUT else f"{one}_{name}", "coarse": block.streams_in,
             "buffer_depth": _FIFO, "node": name if one == NETWORK_INPUT else one} for one in block.inputs
        ]  # fmt: skip
        layer["streams_out"] = [
            {"name": f"{name}_{one}" if one else "out", "coarse": block.streams_out, "buffer_depth": _FIFO,
             "node": one or name} for one in following or [""]
        ]  # fmt: skip
        layer["parameters"] = {**_shapes(block), **block.parameters, "stream_inputs": [False] * len(block.inputs),
                               "stream_outputs": [False] * max(len(following), 1)}  # fmt: skip
        if block.weights:
            layer |= {"weights_path": block.weights, "bias_path": block.bias}
        yield layer


def _shapes(block: Block) -> Plain:
    """The parameters that all layers have."""
    return {
        "batch_size": 1, **_map("in", block.source), **_map("out", block.result), "coarse_in": block.streams_in,
        "coarse_out": block.streams_out, "input_compression_ratio": [1.0] * len(block.inputs),
        "output_compression_ratio": [1.0],
    }  # fmt: skip


def _map(side: str, shape: Map) -> Plain:
    return {f"{name}_{side}": size for name, size in zip(("channels", "rows", "cols"), shape, strict=True)}
