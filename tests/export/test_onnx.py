"""ONNX Runtime answers what the integer network answers, every element, and so does QONNX's executor."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from hass_train.export.onnx import MODEL, QONNX_MODEL, save_onnx
from hass_train.precision import IntegerNetwork, Precision
from hass_train.runtime.errors import UserError
from tests.precision.networks import PRESETS, TOYS, Convolutions, images, quantised

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime, which is among `dev`, is not installed")

SIZE = 14


def run(path: Path, batch: Tensor, optimised: bool = False) -> Tensor:
    """What ONNX Runtime answers."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"input": batch.numpy()})[0])


def check(network: IntegerNetwork, folder: Path, batch: Tensor) -> Any:
    """Assert equality, and return the model."""
    save_onnx(network, folder)
    expected = network(batch) * network.output_format.scale
    assert torch.equal(run(folder / MODEL, batch).double(), expected.double())
    return onnx.load(folder / MODEL)


@pytest.mark.parametrize("name", TOYS)
def test_toy_networks_are_equal(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    check(IntegerNetwork.of(quantised(TOYS[name](), SIZE)), tmp_path, images(16, SIZE, 3))


@pytest.mark.parametrize("precision", [PRESETS["int4"], Precision(6, 5), Precision(8, 12)])
@pytest.mark.parametrize("name", ["convolutions", "pools", "sums", "gates"])
def test_other_bits_are_equal(name: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    check(IntegerNetwork.of(quantised(TOYS[name](), SIZE, precision)), tmp_path, images(8, SIZE, 3))


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "resnet18", "efficientnet_b0"])
def test_networks_are_equal(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IntegerNetwork.of(quantised(timm.create_model(name, num_classes=10), 32))
    start = time.perf_counter()
    model = check(network, tmp_path, images(16, 32, 3))
    assert time.perf_counter() - start < 30
    assert model.opset_import[0].version >= 17
    assert {node.domain for node in model.graph.node} == {""}
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Greater") == sum(one.threshold > 0 for one in network.operations) > 0


def test_wide_accumulators_are_exact(tmp_path: Path) -> None:
    """A layer of more than 25 bits is written in parts."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 600, 3), torch.nn.ReLU(), torch.nn.Conv2d(600, 8, 3))
    network = IntegerNetwork.of(quantised(model, 7, weights=0.0, level=0.0))
    assert network.operations[-1].accumulator_bits > 25
    written = check(network, tmp_path, images(8, 7, 3))
    assert [node.op_type for node in written.graph.node].count("Conv") > 2


def test_numbers_too_wide_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IntegerNetwork.of(quantised(Convolutions(), SIZE, PRESETS["fixed16"]))
    with pytest.raises(UserError, match=r"layer stem sums numbers of more than 25 bits"):
        save_onnx(network, tmp_path)


@pytest.mark.skipif(not importlib.util.find_spec("qonnx"), reason="qonnx is not installed")
@pytest.mark.parametrize("name", ["convolutions", "gates", "hardswish"])
def test_qonnx_executes_the_same(name: str, tmp_path: Path) -> None:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    torch.manual_seed(0)
    network, batch = IntegerNetwork.of(quantised(TOYS[name](), SIZE)), images(4, SIZE, 3)
    save_onnx(network, tmp_path)
    model = ModelWrapper(str(tmp_path / QONNX_MODEL)).transform(InferShapes())
    assert any(node.op_type == "Quant" for node in model.graph.node)
    for image, expected in zip(batch, network(batch) * network.output_format.scale, strict=True):
        answer = execute_onnx(model, {"input": image[None].numpy()})["logits"]
        assert torch.equal(torch.from_numpy(answer)[0].double(), expected.double())


def test_a_relu_stands_before_the_quant_that_rounds_it(tmp_path: Path) -> None:
    """FINN makes thresholds of a ReLU and the unsigned Quant behind it, and of no ReLU behind a Quant."""
    torch.manual_seed(0)
    save_onnx(IntegerNetwork.of(quantised(Small(), 6, level=0.0)), tmp_path)
    nodes = onnx.load(tmp_path / QONNX_MODEL).graph.node
    makers = {node.output[0]: node for node in nodes}
    unsigned = [node for node in nodes if any(one.name == "signed" and one.i == 0 for one in node.attribute)]
    assert len(unsigned) == 2
    assert [makers[node.input[0]].op_type for node in unsigned] == ["Relu", "Relu"]
    assert [node.op_type for node in nodes].count("Relu") == 2


class Small(torch.nn.Module):
    """What hls4ml reads: it has neither thresholds (Where) nor tables (Gather)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4)
        self.pool, self.conv, self.head = torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 6, 3), torch.nn.Conv2d(6, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.norm(self.stem(x))))
        return self.head(torch.relu(self.conv(x))).flatten(1)


@pytest.mark.nightly  # g++ takes half a minute
@pytest.mark.skipif(not importlib.util.find_spec("hls4ml"), reason="hls4ml is not installed")
@pytest.mark.skipif(not importlib.util.find_spec("qonnx"), reason="qonnx is not installed")
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_hls4ml_compiles_the_same(tmp_path: Path) -> None:
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    torch.manual_seed(0)
    network = IntegerNetwork.of(quantised(Small(), 6, level=0.0))
    exponents = [value for name, value in network.tensors.items() if name.endswith(".exponents")]
    assert any(len(one.unique()) > 1 for one in exponents)  # filters of different scales are read too
    assert all(float((value == 0).float().mean()) > 0.4 for name, value in network.tensors.items() if "weight" in name)
    save_onnx(network, tmp_path)
    model = cleanup_model(ModelWrapper(str(tmp_path / QONNX_MODEL)))
    model = cleanup_model(model.transform(ConvertToChannelsLastAndClean()))
    for node in model.get_nodes_by_op_type("Add"):  # constants without the batch's axis, which is what hls4ml wants
        model.set_initializer(node.input[1], model.get_initializer(node.input[1])[0])
    wide = {"granularity": "name", "backend": "Vitis", "default_precision": "fixed<48,16>"}
    config = hls4ml.utils.config.config_from_onnx_model(model, **wide)
    compiled = hls4ml.converters.convert_from_onnx_model(
        model, output_dir=str(tmp_path / "hls"), io_type="io_parallel", backend="Vitis", hls_config=config
    )
    compiled.compile()
    batch = images(64, 6, 3)
    expected = (network(batch) * network.output_format.scale).double()
    assert torch.equal(torch.from_numpy(compiled.predict(batch.numpy())).double(), expected)


def test_without_the_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    network = IntegerNetwork.of(quantised(TOYS["relu"](), SIZE))
    with pytest.raises(UserError, match=r"pip install 'hass-train\[export\]'"):
        save_onnx(network, tmp_path)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet10t"])
def test_seven_bits_are_equal_with_fused_kernels_too(name: str, tmp_path: Path) -> None:
    """Kernels that saturate sums of two 8-bit products at 16 bits have nothing to saturate."""
    torch.manual_seed(0)
    model = quantised(timm.create_model(name, num_classes=10), 32, Precision(weight_bits=7))
    network, batch = IntegerNetwork.of(model), images(16, 32, 3)
    save_onnx(network, tmp_path)
    expected = (network(batch) * network.output_format.scale).double()
    assert torch.equal(run(tmp_path / MODEL, batch, optimised=True).double(), expected)
