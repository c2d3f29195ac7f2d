"""The test bench around a network: what it reads, what its layers should write, and the SystemVerilog that compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from hass_train.build.flows import Flow
from hass_train.build.plan import Plan
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.rtl.streams import Stream
from hass_train.runtime.files import write_text

DATA = "words"


@dataclass(frozen=True, slots=True)
class Probe:
    """A stream that is compared.

    Args:
        name: of the operation whose result it is.
        flow: the stream.
    """

    name: str
    flow: Flow

    @property
    def masked(self) -> bool:
        """Whether some values of its words mean nothing."""
        return not bool(self.flow.layout.known().all())


def probes_of(plan: Plan, all_layers: bool) -> list[Probe]:
    """What is compared: the accelerator's output, and before it each layer's."""
    last = plan.layers[-1].name
    output = next((one.name for one in plan.layers if one.output.signal == plan.output.signal), last)
    found = {one.output.signal: Probe(one.name, one.output) for one in reversed(plan.layers)} if all_layers else {}
    found.pop(plan.output.signal, None)
    own = [one for one in reversed(list(found.values())) if one.flow.signal != plan.input.signal]
    return [*own, Probe(output, plan.output)]


def write_words(plan: Plan, probes: Sequence[Probe], values: Mapping[str, Tensor], folder: Path) -> None:
    """Write the words that the bench plays and expects, and the masks of those that mean something."""
    (folder / DATA).mkdir(parents=True, exist_ok=True)
    for number, probe in enumerate([Probe(NETWORK_INPUT, plan.input), *probes]):
        name, layout = "in" if number == 0 else str(number - 1), probe.flow.layout
        tensor = values[probe.name].numpy()
        maps = tensor.reshape(len(tensor), layout.channels, layout.height, layout.width)
        write_text(folder / DATA / f"{name}.hex", layout.stream.hexadecimal(layout.words_of(maps)))
        if probe.masked and number:
            mask = np.where(layout.known(), -1, 0)
            write_text(folder / DATA / f"{name}.mask.hex", Stream(*_shape(layout.stream)).hexadecimal(mask))


def _shape(stream: Stream) -> tuple[int, int]:
    return stream.values, stream.bits


def bench(plan: Plan, probes: Sequence[Probe], images: int, seed: int) -> str:
    """The SystemVerilog text of the bench."""
    read, fifos = plan.input, list(plan.fifos.values())
    body = []
    for number, probe in enumerate(probes):
        last = number == len(probes) - 1
        name = "out" if last else f"dut.{probe.flow.signal.name}"
        layout = probe.flow.layout
        mask = f', .MASKED(1), .MASK("{DATA}/{number}.mask.hex")' if probe.masked else ""
        body += [
            f"  // {probe.name}",
            f"  probe #(.WIDTH({layout.stream.width}), .IMAGES({images}), .WORDS({layout.words}), .NUMBER({number}),"
            f' .ENDS({int(last)}), .FILE("{DATA}/{number}.hex"){mask}) probe_{number} (',
            f"    .clock(clock), .reset(reset), .cycle(cycle), .valid({name}_valid), .ready({name}_ready),"
            f" .data({name}_data), .taken(taken[{number}]), .done(all[{number}]), .failed(wrong[{number}]));",
        ]
    for number, instance in enumerate(fifos):
        (come,), (go,) = instance.streams["in"], instance.streams["out"]
        put, take = (f"dut.{signal.name}_valid && dut.{signal.name}_ready" for signal in (come, go))
        body.append(
            f"  level #(.NUMBER({number})) level_{number} (.clock(clock), .reset(reset), .report(report),"
            f" .put({put}), .take({take}));"
        )
    width, count = read.layout.stream.width, len(probes)
    return "\n".join([
        "module bench (input logic clock, reset, stall, report, output logic done, failed, moved);",
        f"  logic [{count - 1}:0] all, wrong, taken; logic [31:0] cycle; logic begun, entered;",
        f"  logic in_valid, in_ready; logic [{width - 1}:0] in_data;",
        f"  logic out_valid, out_ready; logic [{plan.output.layout.stream.width - 1}:0] out_data;",
        "  assign done = &all; assign failed = |wrong; assign moved = |taken || entered;",
        "  always_ff @(posedge clock) begin",
        "    cycle <= reset ? 0 : cycle + 1;",
        "    if (reset) begun <= 0;",
        '    else if (in_valid && !begun) begin begun <= 1; $display("BEGIN %0d", cycle); end',
        "  end",
        f"  source #(.WIDTH({width}), .WORDS({images * read.layout.words}), .SEED({seed}),"
        f' .FILE("{DATA}/in.hex")) source (',
        "    .clock(clock), .reset(reset), .stall(stall), .out_valid(in_valid), .out_ready(in_ready),",
        "    .out_data(in_data), .taken(entered));",
        f"  taker #(.SEED({seed + 1})) taker (.clock(clock), .reset(reset), .stall(stall), .ready(out_ready));",
        "  top dut (.clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),",
        "    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data));",
        *body,
        "endmodule",
        "",
    ])  # fmt: skip
