"""fpgaConvNet's `fpgaconvnet.proto`, as far as designs use it, as a protobuf class: fields by number, type and label.

Field numbers and types are those of fpgaconvnet-model at commit edfbeb6.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

OPTIONAL, REQUIRED, REPEATED = 1, 2, 3
TYPES = {"float": 2, "int": 5, "bool": 8, "string": 9, "message": 11, "enum": 14}
LAYERS = (
    "CONVOLUTION", "POOLING", "ACTIVATION", "SQUEEZE", "INNER_PRODUCT", "CONCAT", "BATCH_NORM", "SPLIT", "ELTWISE",
    "AVERAGE_POOLING", "CONVOLUTION_SPARSE", "RELU", "SILU", "SIGMOID", "HARD_SIGMOID", "HARD_SWISH", "RESIZE", "CHOP",
    "THRESHOLDEDRELU",
)  # fmt: skip
_INTS = {
    1: "buffer_depth", 2: "batch_size", 3: "rows_in", 4: "cols_in", 6: "channels_in", 7: "rows_out", 8: "cols_out",
    10: "channels_out", 11: "coarse_in", 12: "coarse_out", 13: "coarse", 14: "coarse_group", 15: "groups", 16: "fine",
    17: "filters", 18: "pad_top", 19: "pad_right", 21: "pad_bottom", 22: "pad_left", 24: "kernel_rows",
    25: "kernel_cols", 28: "stride_rows", 29: "stride_cols", 39: "has_bias", 41: "ports_in", 42: "ports_out",
    73: "stream_weights",
}  # fmt: skip
_FIXED = {34: "data_t", 35: "weight_t", 36: "acc_t", 37: "input_t", 38: "output_t"}
MESSAGES: dict[str, dict[int, tuple[str, str, int, str]]] = {
    "fixed_point": {1: ("width", "int", REQUIRED, ""), 2: ("binary_point", "int", REQUIRED, "")},
    "stream": {
        1: ("name", "string", REQUIRED, ""), 2: ("coarse", "int", REQUIRED, ""),
        3: ("buffer_depth", "int", REQUIRED, ""), 4: ("node", "string", OPTIONAL, ""),
    },
    "parameter": {
        **{number: (name, "int", OPTIONAL, "") for number, name in _INTS.items()},
        **{number: (name, "message", OPTIONAL, "fixed_point") for number, name in _FIXED.items()},
        27: ("kernel_size", "int", REPEATED, ""), 31: ("stride", "int", REPEATED, ""),
        46: ("channels_in_array", "int", REPEATED, ""), 58: ("use_uram", "bool", OPTIONAL, ""),
        59: ("block_floating_point", "bool", OPTIONAL, ""), 67: ("threshold", "float", OPTIONAL, ""),
        68: ("sparsity", "float", REPEATED, ""), 74: ("skip_all_zero_window", "bool", OPTIONAL, ""),
        75: ("stream_inputs", "bool", REPEATED, ""), 76: ("stream_outputs", "bool", REPEATED, ""),
        78: ("input_compression_ratio", "float", REPEATED, ""), 79: ("output_compression_ratio", "float", REPEATED, ""),
        80: ("weight_compression_ratio", "float", REPEATED, ""),
    },
    "layer": {
        1: ("name", "string", REQUIRED, ""), 2: ("onnx_node", "string", REQUIRED, ""),
        3: ("type", "enum", REQUIRED, "layer_type"), 4: ("op_type", "string", OPTIONAL, ""),
        5: ("streams_in", "message", REPEATED, "stream"), 6: ("streams_out", "message", REPEATED, "stream"),
        7: ("parameters", "message", REQUIRED, "parameter"), 8: ("weights_path", "string", OPTIONAL, ""),
        9: ("bias_path", "string", OPTIONAL, ""),
    },
    "partition": {
        1: ("id", "int", REQUIRED, ""), 2: ("ports", "int", REQUIRED, ""), 3: ("batch_size", "int", REQUIRED, ""),
        4: ("input_nodes", "string", REPEATED, ""), 5: ("output_nodes", "string", REPEATED, ""),
        6: ("weights_reloading_factor", "int", REQUIRED, ""), 7: ("weights_reloading_layer", "string", REQUIRED, ""),
        8: ("layers", "message", REPEATED, "layer"), 9: ("gen_last_width", "int", OPTIONAL, ""),
    },
    "partitions": {1: ("partition", "message", REPEATED, "partition")},
}  # fmt: skip


@cache
def partitions() -> Any:
    """The class of the message `partitions`."""
    file = descriptor_pb2.FileDescriptorProto(name="fpgaconvnet_test.proto", package="peer", syntax="proto2")
    layer_type = file.enum_type.add(name="layer_type")
    for number, name in enumerate(LAYERS):
        layer_type.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, (name, kind, label, of) in fields.items():
            field = made.field.add(name=name, number=number, type=TYPES[kind], label=label)
            if of:
                field.type_name = f".peer.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("peer.partitions"))
