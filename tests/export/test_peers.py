"""What other tools are given of a run: fpgaConvNet by its schema, FINN and hls4ml where they are installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hass_train.export.__main__ import main
from hass_train.export.design import DESIGN
from hass_train.export.finn import finn_config
from hass_train.export.fpgaconvnet import blocks
from hass_train.export.fpgaconvnet.config import fpgaconvnet_files
from hass_train.export.hls4ml import Fixed, hls4ml_config, reuse_factor
from hass_train.export.peer_run import PeerRun
from hass_train.precision import IntegerNetwork
from hass_train.runtime.errors import UserError
from tests.build.toys import TOYS
from tests.export.fpgaconvnet_schema import partitions
from tests.export.runs import EXPRESSIBLE, finished
from tests.export.test_onnx import Small, run
from tests.precision.networks import images

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
FINN = os.environ.get("FINN_PYTHON", "")  # the interpreter of an environment with finn-plus, whose pins are its own


class Branched(nn.Module):
    """A residual sum, a pool, a depthwise layer and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.depthwise = nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.inner(x))
        return self.head(torch.relu(self.depthwise(self.pool(x))).mean((2, 3)))


class Headed(nn.Module):
    """A stride, a depthwise and a 1×1 convolution, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.point, self.head = nn.Conv2d(4, 8, 1), nn.Linear(72, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.point(torch.relu(self.depthwise(torch.relu(self.stem(x))))))
        return self.head(x.flatten(1))


class Classifier(nn.Module):
    """A convolution over the whole map, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.whole, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 6), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.whole(torch.relu(self.stem(x)))).flatten(1))


class Flattened(nn.Module):
    """A linear layer that reads a map of several pixels, channel by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(36, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.stem(x)).flatten(1))


# ---- fpgaConvNet -----------------------------------------------------------------------------------------------------


def parsed(folder: Path) -> tuple[dict[str, dict[str, object]], object]:
    """The layers of a run's config.json by name, read and written again by fpgaConvNet's schema, and the ONNX model."""
    json_format = pytest.importorskip("google.protobuf.json_format", reason="protobuf, which onnx brings, is absent")
    model, config = fpgaconvnet_files(PeerRun.read(folder, "fpgaConvNet"))
    message = json_format.Parse(json.dumps(config), partitions()())
    again = json_format.MessageToDict(message, preserving_proto_field_name=True)
    (partition,) = again["partition"]
    assert message.IsInitialized()
    assert json_format.ParseDict(again, partitions()()) == message
    return {layer["name"]: layer for layer in partition["layers"]}, model


@pytest.mark.parametrize("name", ["branched", "gated", "mobilenetv3_small_050"])
def test_fpgaconvnet_reads_designs_with_its_options(name: str, tmp_path: Path) -> None:
    model = {"branched": Branched, "gated": TOYS["gated"]}.get(name, lambda: timm.create_model(name, num_classes=10))()
    estimate = finished(tmp_path, model, 8 if name in ("branched", "gated") else 32, **EXPRESSIBLE)
    layers, made = parsed(tmp_path)
    nodes = {node.name: node for node in made.graph.node}
    assert [*nodes] == [f"{node.op_type}_{place}" for place, node in enumerate(made.graph.node)]
    outputs = {node.output[0]: node.name for node in made.graph.node}
    for row in (one for one in estimate.layers if one.engine != "stream"):
        layer = layers[outputs.get(row.name, outputs["logits"])]
        own = layer["parameters"]
        assert [own[key] for key in ("coarse_in", "coarse_out")] == [row.folds["i"], row.folds["o"]]
        if layer["type"] == "CONVOLUTION":
            assert (own["fine"], own["coarse_group"]) == (row.folds["N"], row.folds["g"])
            assert layer["op_type"] == {"dense": "dense", "crossbar": "sparse"}[row.engine]
    for name, layer in layers.items():  # streams meet, at SQUEEZE where they differ, and at SPLIT where several read
        assert layer["onnx_node"] in nodes
        for stream in layer["streams_in"]:
            if stream["name"] != "in":
                (other,) = (one for one in layers[stream["node"]]["streams_out"] if one["name"] == stream["name"])
                assert (other["coarse"], other["node"]) == (stream["coarse"], name)
    assert {"SQUEEZE", "SPLIT"} <= {layer["type"] for layer in layers.values()}


def test_zeros_are_told_by_channel(tmp_path: Path) -> None:
    """Rows of the histogram are zero pairs of a channel: they sum to 1, and have the channel's density."""
    finished(tmp_path, Branched(), 8, **EXPRESSIBLE)
    densities = PeerRun.read(tmp_path, "").sparsity["inner"].channel_densities
    _, model = parsed(tmp_path)
    attributes = {node.output[0]: {one.name: one for one in node.attribute} for node in model.graph.node}
    rows = np.array(attributes["inner"]["channel_sparsity_hist"].floats).reshape(8, 10)
    assert rows.sum(1) == pytest.approx(np.ones(8))
    assert 1 - rows @ np.arange(10) / 9 == pytest.approx(densities, abs=1e-6)
    assert {attributes["inner"][f"{kind}_width"].i > 0 for kind in ("data", "weight", "acc")} == {True}


def test_the_annotated_model_computes_the_network(tmp_path: Path) -> None:
    """Up to rounding, which fpgaConvNet does itself; thresholds are ThresholdedRelu."""
    pytest.importorskip("onnxruntime", reason="onnxruntime, which is among `dev`, is not installed")
    finished(tmp_path, Small(), 6, level=0.3, signed=False, **EXPRESSIBLE)
    main([str(tmp_path), "--for", "fpgaconvnet"])
    model = onnx.load(tmp_path / "fpgaconvnet" / "model.onnx")
    assert "ThresholdedRelu" in {node.op_type for node in model.graph.node}
    for node in model.graph.node:  # which ONNX Runtime does not know
        for name in ("channel_sparsity_hist", "data_width", "weight_width", "acc_width", "block_floating_point"):
            for attribute in [one for one in node.attribute if one.name == name]:
                node.attribute.remove(attribute)
    onnx.save(model, tmp_path / "plain.onnx")
    network, batch = IntegerNetwork.load(tmp_path), images(16, 6, 3)
    expected = network(batch) * network.output_format.scale
    assert float((run(tmp_path / "plain.onnx", batch) - expected).abs().max()) < 0.1 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"which fpgaConvNet cannot express; search with hw.costs=peer"),
        ({"bundle": "auto"}, r"bundles \d+ channels in an engine, which"),
        ({"max_replicas": 3}, r"is \d copies of a pipeline, and fpgaConvNet builds one; search with hw.max_replicas=1"),
    ],
)
def test_designs_that_fpgaconvnet_has_not_are_refused(
    options: dict[str, object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path, Branched(), 8, **({**EXPRESSIBLE, **options} if options else {}))
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path), "--for", "fpgaconvnet"])
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(message, told)
    assert not (tmp_path / "fpgaconvnet").exists()


def test_the_documentation_says_with_which_options_designs_are_fpgaconvnets() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "integer-network.md").read_text().replace("\\", "").split())
    assert blocks.EXPRESSIBLE in text


def test_streams_that_do_not_divide_all_operands_are_refused_with_what_would(tmp_path: Path) -> None:
    """A concatenation of 3 and 5 channels has as many streams as divide both: one, for which the pipeline waits."""

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 5, 3, padding=1)
            self.head = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([self.left(x), self.right(x)], 1).mean((2, 3)))

    finished(tmp_path, Joined(), 16, **EXPRESSIBLE)
    with pytest.raises(UserError, match=r"^cat has \d streams for 3 and 5 and 8 channels, .* 1 do here, .* a smaller"):
        fpgaconvnet_files(PeerRun.read(tmp_path, "fpgaConvNet"))


@pytest.mark.parametrize(("name", "what"), [("residual", "sub is a difference"), ("gated", "zeroes small values")])
def test_operations_that_fpgaconvnet_has_not_are_named(name: str, what: str, tmp_path: Path) -> None:
    finished(tmp_path, TOYS[name](), 8, level=0.3, signed=name == "gated", **EXPRESSIBLE)
    with pytest.raises(UserError, match=what):
        fpgaconvnet_files(PeerRun.read(tmp_path, "fpgaConvNet"))


# ---- FINN ------------------------------------------------------------------------------------------------------------


def test_finn_gets_at_least_the_multipliers_of_the_design(tmp_path: Path) -> None:
    estimate = finished(tmp_path, Branched(), 8)
    folded = finn_config(PeerRun.read(tmp_path, "FINN"))
    for row, node in zip(
        (one for one in estimate.layers if one.engine != "stream"),
        ("MVAU_rtl_0", "MVAU_rtl_1", "VVAU_hls_0", "MVAU_rtl_2"), strict=True,
    ):  # fmt: skip
        folds = row.folds
        multipliers = folds["N"] * folds["i"] // folds["m"] * folds["o"] * folds["g"] * folds["p"]
        assert folded[node]["PE"] * folded[node]["SIMD"] >= multipliers
    assert 8 % folded["MVAU_rtl_1"]["PE"] == 0
    assert 72 % folded["MVAU_rtl_1"]["SIMD"] == 0
    assert [*folded].count("FMPadding_rtl_2") == 1  # of the three padded convolutions
    assert folded["ConvolutionInputGenerator_rtl_3"]["SIMD"] == folded["VVAU_hls_0"]["PE"]


@pytest.mark.skipif(not FINN, reason="FINN_PYTHON names no interpreter of an environment with finn-plus")
@pytest.mark.parametrize(("model", "size"), [(Small, 8), (Headed, 6)])
def test_finn_applies_the_folding(model: type[nn.Module], size: int, tmp_path: Path) -> None:
    """Every name is that of a node, every attribute is taken, and no other node of the layers is left over."""
    finished(tmp_path, model(), size)
    main([str(tmp_path), "--for", "finn"])
    script = Path(__file__).parent / "finn_loads.py"
    told = subprocess.run(
        [FINN, script, tmp_path / "model.qonnx.onnx", tmp_path / "finn.json"], capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    answer, given = json.loads(told.stdout.splitlines()[-1]), json.loads((tmp_path / "finn.json").read_text())
    assert {name: {key: one[key] for key in given[name]} for name, one in answer["nodes"].items()} == {
        name: one for name, one in given.items() if name != "Defaults"
    }
    assert set(answer["folded"]) == set(answer["nodes"])
    layers = [one for name, one in answer["nodes"].items() if "MVAU" in name]
    slowest = max(one["cycles"] for one in layers)
    narrow = ("Thresholding", "Pool")  # windows and padding take what the map takes, with all channels at once at best
    assert all(one["cycles"] <= slowest for name, one in answer["nodes"].items() if name.startswith(narrow))


# ---- hls4ml ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 5000))
def test_reuse_factors_divide_and_leave_enough_multipliers(inputs: int, outputs: int, multipliers: int) -> None:
    multipliers = min(multipliers, inputs * outputs)
    found = reuse_factor(inputs, outputs, multipliers)
    assert inputs % found == 0
    assert inputs * outputs / found >= multipliers


@given(st.integers(2, 40), st.lists(st.integers(-20, 10), min_size=1, max_size=4))
def test_fixed_types_hold_their_numbers(bits: int, exponents: list[int]) -> None:
    made = Fixed.of(bits, exponents)
    assert str(made) == f"fixed<{bits + max(exponents) - min(exponents)},{bits + max(exponents)}>"
    for exponent in exponents:
        assert -made.below <= exponent
        assert 2.0 ** (bits - 1 + exponent) <= 2.0 ** (made.above - 1)


def test_hls4ml_gets_the_formats_of_the_integers(tmp_path: Path) -> None:
    finished(tmp_path, Small(), 6)
    config = hls4ml_config(PeerRun.read(tmp_path, "hls4ml"))
    layers = config["LayerName"]
    assert {name for name in layers if name.startswith("Conv")} == {"Conv_0", "Conv_1", "Conv_2"}
    network = IntegerNetwork.load(tmp_path)
    (conv,) = (one for one in network.operations if one.name == "conv")
    assert layers["Conv_1"]["Precision"]["accum"].startswith(f"fixed<{conv.accumulator_bits},")
    assert layers["Conv_1"]["Strategy"] == ("Resource" if layers["Conv_1"]["ReuseFactor"] > 1 else "Latency")


@pytest.mark.nightly  # g++ takes half a minute
@pytest.mark.skipif(not importlib.util.find_spec("hls4ml"), reason="hls4ml is not installed")
@pytest.mark.skipif(not importlib.util.find_spec("qonnx"), reason="qonnx is not installed")
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
@pytest.mark.parametrize("network_of", [Small, Classifier, Flattened])
def test_hls4ml_and_qonnx_answer_the_integers(network_of: type[nn.Module], tmp_path: Path) -> None:
    """With the configuration of the run, its accumulators as narrow as ours and its multipliers shared."""
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.transformation.infer_shapes import InferShapes
    from qonnx.util.cleanup import cleanup_model

    finished(tmp_path, network_of(), 6)
    main([str(tmp_path), "--for", "hls4ml"])
    network, batch = IntegerNetwork.load(tmp_path), images(64, 6, 3)
    expected = (network(batch) * network.output_format.scale).double()
    written = ModelWrapper(str(tmp_path / "model.qonnx.onnx"))
    shaped = written.transform(InferShapes())
    answers = [execute_onnx(shaped, {"input": image[None].numpy()})["logits"][0] for image in batch[:8]]
    assert torch.equal(torch.tensor(np.array(answers)).double(), expected[:8])
    model = cleanup_model(written)
    model = cleanup_model(model.transform(ConvertToChannelsLastAndClean()))
    for node in model.get_nodes_by_op_type("Add"):  # constants without the batch's axis, which is what hls4ml wants
        added = model.get_initializer(node.input[1])
        model.set_initializer(node.input[1], added[0] if added.ndim > 1 else added)
    config = json.loads((tmp_path / "hls4ml.json").read_text())
    assert max(one.get("ReuseFactor", 1) for one in config["LayerName"].values()) > 1
    compiled = hls4ml.converters.convert_from_onnx_model(
        model, output_dir=str(tmp_path / "hls"), io_type="io_parallel", backend="Vitis", hls_config=config
    )
    compiled.compile()
    assert torch.equal(torch.from_numpy(compiled.predict(batch.numpy())).double(), expected)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_names_tools_and_what_a_run_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path, Small(), 6)

    def told(*arguments: str) -> str:
        with pytest.raises(SystemExit) as error:
            main([str(tmp_path), *arguments])
        assert error.value.code == 2
        return capsys.readouterr().err

    assert told("--for", "fin") == "error: there is no tool 'fin'; did you mean 'finn'?\n"
    (tmp_path / "integers.json").unlink()
    assert "was made with precision=float, and FINN is given integers" in told("--for", "finn")
    (tmp_path / DESIGN).unlink()
    assert f"holds no {DESIGN}" in told("--for", "hls4ml")


@pytest.mark.parametrize("made", [finn_config, hls4ml_config])
def test_what_readers_of_qonnx_do_not_know_is_refused_by_name(
    made: Callable[[PeerRun], object], tmp_path: Path
) -> None:
    finished(tmp_path, TOYS["gated"](), 8)
    with pytest.raises(UserError, match=r"look-up table|activation threshold"):
        made(PeerRun.read(tmp_path, "a tool"))
