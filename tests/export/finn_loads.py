"""What FINN makes of a model and a folding configuration; run by the interpreter of an environment with finn-plus.

python finn_loads.py MODEL.qonnx.onnx FOLDING.json      prints JSON: {node: {attribute: value, …, "cycles": …}}
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
from finn.transformation.general import ApplyConfig
from finn.transformation.qonnx.convert_qonnx_to_finn import ConvertQONNXtoFINN
from finn.transformation.streamline import Streamline, absorb
from finn.transformation.streamline.reorder import MakeMaxPoolNHWC
from finn.util.settings import initialize_dummy_settings
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.general import GiveUniqueNodeNames
from qonnx.transformation.infer_data_layouts import InferDataLayouts
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul
from qonnx.util.cleanup import cleanup_model

HARDWARE = {
    "thresholding": "InferThresholdingLayer",
    "quantized_matrix_vector_activation": "InferQuantizedMatrixVectorActivation",
    "vector_vector_activation": "InferVectorVectorActivation",
    "fm_padding": "InferFMPadding",
    "pool": "InferPool",
    "conv_inp_gen": "InferConvInpGen",
}
CONVERT, PART = "finn.transformation.fpgadataflow.convert_to_hw", "xczu7ev-ffvc1156-2-e"


def main(model_path: str, folding: str) -> None:
    """Convert, specialise and fold the model, and print what each configured node then is."""
    initialize_dummy_settings()
    model = cleanup_model(ModelWrapper(model_path)).transform(ConvertQONNXtoFINN())
    model = model.transform(InferShapes()).transform(InferDataTypes())
    for step in (
        Streamline(), LowerConvsToMatMul(), MakeMaxPoolNHWC(), absorb.AbsorbTransposeIntoMultiThreshold(),
        MakeMaxPoolNHWC(), absorb.AbsorbConsecutiveTransposes(), Streamline(), InferDataLayouts(),
    ):  # fmt: skip
        model = model.transform(step)
    for module, name in HARDWARE.items():
        model = model.transform(
            getattr(import_module(f"finn.transformation.fpgadataflow.convert_to_hw.{module}"), name)()
        )
    for step in (
        absorb.AbsorbConsecutiveTransposes(), GiveUniqueNodeNames(), InferDataLayouts(), InferDataTypes(),
        InferShapes(), SpecializeLayers(PART), GiveUniqueNodeNames(), ApplyConfig(folding),
    ):  # fmt: skip
        model = model.transform(step)
    with open(folding) as file:
        configured = json.load(file)
    found = {}
    for node in model.graph.node:
        if node.name in configured:
            one = getCustomOp(node)
            found[node.name] = {key: one.get_nodeattr(key) for key in configured[node.name]}
            found[node.name]["cycles"] = int(one.get_exp_cycles())
    folded = {
        node.name for node in model.graph.node if "fpgadataflow" in node.domain and "Elementwise" not in node.name
    }
    print("\n" + json.dumps({"nodes": found, "folded": sorted(folded)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
