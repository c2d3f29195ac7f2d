"""What the estimate of a layer has beside engines is what the generator places: by formulas, without a synthesiser."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hass_train.build.flows import Flow
from hass_train.build.layout import Layout
from hass_train.build.netlist import Netlist, Signal
from hass_train.build.windows import windows
from hass_train.hardware import Operation, OperationKind, Workload
from hass_train.hardware.dataflow.costs.branches import unsigned_operands
from hass_train.hardware.dataflow.costs.formulas import formula
from hass_train.hardware.dataflow.costs.logic import Widths
from hass_train.hardware.dataflow.costs.modules.plumbing import LutramFifo
from hass_train.hardware.dataflow.costs.synthesised import SynthesisedCosts
from hass_train.hardware.workload import NETWORK_INPUT, FeatureMap
from hass_train.precision.formats import Format
from hass_train.precision.graph import Kind, Step
from tests.hardware.peers import one_design


@given(st.data())
def test_windows_wait_in_queues_as_deep_as_the_generators(data: st.DataObject) -> None:
    """Within three windows, or a tenth, of the depth that the generator counts out."""
    size, kernel, stride = data.draw(st.integers(6, 20)), data.draw(st.sampled_from([1, 3, 5])), data.draw(
        st.sampled_from([1, 2])
    )  # fmt: skip
    channels, pace = data.draw(st.sampled_from([1, 2, 4])), data.draw(st.integers(4, 40))
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    layer = Operation(
        "conv", OperationKind.CONV, (NETWORK_INPUT,), FeatureMap(size, size, channels), FeatureMap(out, out, 4),
        (kernel, kernel), (stride, stride), (pad, pad),
    )  # fmt: skip
    interval = max(out * out * channels * pace, (size + 2 * pad) ** 2 * channels)
    ahead = SynthesisedCosts(Widths(8, 8, 30), "xc7").windows_ahead(
        layer, one_design("dense", 1, 1), np.array([interval])
    )
    net = Netlist()
    net.layer = "conv"
    map_ = Flow(Signal("in", 8), Layout(size, size, tuple(range(channels)), 1, 1, Format(8, 0)))
    step = Step("conv", Kind.CONV, (), (1, 4, out, out), stride=(stride, stride), padding=(pad,) * 4)
    windows(net, step, (kernel, kernel), map_, 0, {}, interval, interval)
    placed = [one.module for one in net.instances if "window_queue" in one.name]
    if not placed:
        assert ahead is None or ahead.lut[0] == 0
        return
    assert ahead is not None
    (queue,) = placed
    least, most = (
        formula(LutramFifo, "xc7")(
            LutramFifo(width=8 * kernel**2, depth=max(queue.parameters["DEPTH"] + by, 2), shift_registers=0)
        ).lut
        for by in (-3 - queue.parameters["DEPTH"] // 10, 3 + queue.parameters["DEPTH"] // 10)
    )
    assert least <= ahead.lut[0] <= most


def test_what_follows_a_rectifier_has_no_sign() -> None:
    """A convolution, its ReLU, a pool, a gate and its product: what they read is not negative, but for the first."""
    one, map_ = FeatureMap(1, 1, 4), FeatureMap(4, 4, 4)

    def operation(name: str, kind: OperationKind, *inputs: str, function: str = "") -> Operation:
        return Operation(name, kind, inputs, map_ if name != "gate" else one, map_, function=function)

    kinds = OperationKind
    workload = Workload("net", (4, 4, 4), (
        operation("conv", kinds.CONV, NETWORK_INPUT), operation("relu", kinds.ACTIVATION, "conv", function="relu"),
        operation("pool", kinds.GLOBAL_POOL, "relu"), operation("gate", kinds.ACTIVATION, "pool", function="sigmoid"),
        operation("product", kinds.MULTIPLY, "relu", "gate"), operation("next", kinds.CONV, "product"),
        operation("swish", kinds.ACTIVATION, "next", function="hardswish"), operation("last", kinds.CONV, "swish"),
    ))  # fmt: skip
    assert unsigned_operands(workload) == {"relu", "pool", "gate", "product", "next"}
