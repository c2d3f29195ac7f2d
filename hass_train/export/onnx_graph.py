"""ONNX graphs under construction: nodes, constants, and how quantised numbers are written in either dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hass_train.precision.formats import Format
from hass_train.runtime.errors import UserError

Array = NDArray[Any]


def onnx_module() -> Any:
    """The `onnx` package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError(f"writing ONNX needs pip install 'hass-train[export]' ({error})") from error
    return onnx


class OnnxGraph(ABC):
    """Collects the nodes and constants of an ONNX graph, all of whose values are real numbers (float32)."""

    opset: int
    ir_version: int
    domain: str | None = None
    images: str | int = "n"  # of a batch
    gemm = True  # for linear layers of one token

    def __init__(self) -> None:
        self.onnx = onnx_module()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.written: dict[str, list[Any]] = {}
        """The nodes of each operation."""
        self._known: dict[tuple[str, bytes, tuple[int, ...]], str] = {}
        self._count = 0

    def node(self, kind: str, *inputs: str, output: str = "", domain: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output, which is numbered unless one is given."""
        self._count += 1
        output = output or f"{kind}_{self._count}"
        made = self.onnx.helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes)
        self.nodes.append(made)
        return output

    def rename(self, old: str, new: str) -> None:
        """Give a node's output another name: nodes that only do so are lost by some readers."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new

    def constant(self, value: Array | float | int, kind: Any = np.float32, name: str = "") -> str:
        """Add a constant, unless the same is there, and return its name."""
        array = np.asarray(value, dtype=kind)
        key = (array.dtype.str, array.tobytes(), array.shape)
        if name or key not in self._known:
            made = name or f"constant_{len(self.constants)}"
            self.constants.append(self.onnx.numpy_helper.from_array(array, made))
            if name:
                return made
            self._known[key] = made
        return self._known[key]

    def cast(self, x: str, kind: str) -> str:
        """Append a conversion to `FLOAT`, `DOUBLE` or `INT64`."""
        return self.node("Cast", x, to=getattr(self.onnx.TensorProto, kind))

    def rounded_double(self, x: str, factor: float, to: Format) -> str:
        """Append what rounds a double, times a factor, to the integers of a format, and scales them (float32)."""
        steps = self.node("Round", self.node("Mul", x, self.constant(factor, np.float64)))
        limits = (self.constant(to.low, np.float64), self.constant(to.high, np.float64))
        steps = self.node("Clip", steps, *limits)
        return self.cast(self.node("Mul", steps, self.constant(to.scale, np.float64)), "FLOAT")

    def rectified(self, x: str, source: Format, output: str) -> str:
        """Append the ReLU of a value of a format."""
        return self.node("Relu", x, output=output)

    @abstractmethod
    def rounded(self, x: str, to: Format, output: str) -> str:
        """Append what rounds and saturates a value to a format."""

    @abstractmethod
    def weight(self, name: str, integers: Array, scales: Array, bits: int) -> str:
        """Append a weight of symmetric integers (filters, …), one scale for each filter."""

    def matrix(self, name: str, integers: Array, scales: Array, bits: int) -> str:
        """Append the weight of a linear layer, (filters, channels) as above, so that it comes (channels, filters)."""
        return self.node("Transpose", self.weight(name, integers, scales, bits), perm=[1, 0])

    @abstractmethod
    def bias(self, name: str, integers: Array, scales: Array) -> str:
        """Append the bias of a layer, integers (filters,) each with a scale of its own; an empty name if it is to be
        added behind the layer instead."""


class QdqGraph(OnnxGraph):
    """Writes QuantizeLinear and DequantizeLinear."""

    opset, ir_version = 21, 10  # the first with integers of 16 bits

    def rounded(self, x: str, to: Format, output: str) -> str:
        wide = 8 if to.bits <= 8 else 16
        if to.bits < wide:  # what QuantizeLinear does not saturate
            limits = (self.constant(to.low * to.scale), self.constant(to.high * to.scale))
            x = self.node("Clip", x, *limits)
        scale, zero = self.constant(to.scale), self.constant(0, np.dtype(f"{'int' if to.signed else 'uint'}{wide}"))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, scale, zero), scale, zero, output=output)

    def weight(self, name: str, integers: Array, scales: Array, bits: int) -> str:
        kind = np.int8 if bits <= 8 else np.int16
        stored = self.constant(integers, kind, f"{name}.integers")
        given = (self.constant(scales), self.constant(np.zeros(len(scales)), kind))
        return self.node("DequantizeLinear", stored, *given, output=name, axis=0)

    def bias(self, name: str, integers: Array, scales: Array) -> str:
        stored = self.constant(integers, np.int32, f"{name}.integers")
        return self.node("DequantizeLinear", stored, self.constant(scales), output=name, axis=0)


class QonnxGraph(OnnxGraph):
    """Writes the `Quant` nodes of QONNX (Pappalardo et al., 2022), as FINN and hls4ml read them."""

    opset, ir_version = 17, 8
    images = 1  # compilers of dataflow accelerators want all shapes
    gemm = False  # which hls4ml does not know
    domain = "qonnx.custom_op.general"

    def _quant(self, x: str, scale: str, bits: int, signed: bool, narrow: bool, output: str) -> str:
        return self.node(
            "Quant", x, scale, self.constant(0.0), self.constant(float(bits)), output=output, domain=self.domain,
            signed=int(signed), narrow=int(narrow), rounding_mode="ROUND",
        )  # fmt: skip

    def rectified(self, x: str, source: Format, output: str) -> str:
        return super().rectified(x, source, output) if source.signed else x  # `rounded` wrote it

    def rounded(self, x: str, to: Format, output: str) -> str:
        if not to.signed:  # saturates at 0 anyhow, but FINN's thresholds are made of a ReLU followed by its Quant
            x = self.node("Relu", x)
        return self._quant(x, self.constant(to.scale), to.bits, to.signed, narrow=False, output=output)

    def weight(self, name: str, integers: Array, scales: Array, bits: int) -> str:
        return self._weight(name, integers, scales.reshape(-1, *[1] * (integers.ndim - 1)), bits)

    def matrix(self, name: str, integers: Array, scales: Array, bits: int) -> str:
        return self._weight(name, integers.T, scales[None], bits)

    def _weight(self, name: str, integers: Array, scales: Array, bits: int) -> str:
        stored = self.constant(integers * scales, name=f"{name}.real")
        return self._quant(stored, self.constant(scales), bits, signed=True, narrow=True, output=name)

    def bias(self, name: str, integers: Array, scales: Array) -> str:
        # hls4ml knows biases of layers whose filters share a scale, and else sums behind layers
        return self.constant(integers * scales, name=name) if np.ptp(scales) == 0 else ""
