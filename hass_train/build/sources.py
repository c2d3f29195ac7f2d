"""The RTL of a plan as files: top.sv, the memories, and the modules that it uses."""

from __future__ import annotations

import re
import shutil
from itertools import groupby
from pathlib import Path

from hass_train.build.netlist import Instance, Ports, Signal, Wire
from hass_train.build.plan import LayerPlan, Plan
from hass_train.rtl.module import SOURCES
from hass_train.runtime.files import write_text

TOP, MEMORIES, MODULES = "top.sv", "memories", "modules"
_MEMORY = "weight_memory"


def write(plan: Plan, folder: Path) -> None:
    """Write `top.sv`, `memories/*.hex` and `modules/*.sv` into a directory.

    Memory files are named relative to it: simulate and synthesise there.
    """
    for name in (MEMORIES, MODULES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for bank in plan.memories:
        write_text(folder / MEMORIES / f"{bank.name}.hex", bank.word.hexadecimal(bank.rows))
    for name in modules_of(plan):
        shutil.copyfile(SOURCES / f"{name}.sv", folder / MODULES / f"{name}.sv")
    write_text(folder / TOP, top(plan))


def modules_of(plan: Plan) -> list[str]:
    """The names of all files of modules that a plan uses, those inside others included, in order."""
    texts = {path.stem: path.read_text() for path in SOURCES.glob("*.sv")}
    made_in = {name: file for file, text in texts.items() for name in re.findall(r"^module (\w+)", text, re.MULTILINE)}
    found, left = set[str](), [_MEMORY, *{one.module.name for one in plan.instances}]
    while left:
        file = made_in[left.pop()]
        if file not in found:
            found.add(file)
            left += [name for name in re.findall(r"\b\w+\b", texts[file]) if name in made_in]
    return sorted(found)


def top(plan: Plan) -> str:
    """The text of `top.sv`."""
    read, written = plan.input.signal, plan.output.signal
    lines = [
        f"// {plan.network}: made by HASS-Train from design.json and integers.json. Instances and wires only.",
        f"// {plan.interval:,} cycles an image.",
        "module top (",
        "    input  logic clock,",
        "    input  logic reset,",
        "    input  logic in_valid,",
        "    output logic in_ready,",
        f"    input  logic [{read.width - 1}:0] in_data,",
        "    output logic out_valid,",
        "    input  logic out_ready,",
        f"    output logic [{written.width - 1}:0] out_data",
        ");",
    ]
    wires = {name: [wire for _, wire in some] for name, some in groupby(plan.wires, lambda one: one[0])}
    instances = {name: list(some) for name, some in groupby(plan.instances, lambda one: one.layer)}
    lines += _declared(plan)
    blocks = {one.name: one for one in plan.layers}
    for name in dict.fromkeys([*instances, *blocks, *wires]):
        lines += ["", f"  // ---- {_title(name, blocks.get(name))}"]
        lines += [line for wire in wires.get(name, ()) for line in _wired(wire)]
        lines += [line for instance in instances.get(name, ()) for line in _placed(instance)]
    name = written.name
    lines += [
        "", f"  assign out_valid = {name}_valid;", f"  assign {name}_ready = out_ready;",
        f"  assign out_data = {name}_data;", "endmodule", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _title(name: str, block: LayerPlan | None) -> str:
    """What a layer's block is headed by."""
    if block is None:
        return name
    folds = " ".join(f"{fold}={value}" for fold, value in block.folds.items())
    return f"{name}: {block.kind}, {block.engine} {folds}, {block.interval:,} cycles an image"


def _declared(plan: Plan) -> list[str]:
    """Declarations of all streams but the accelerator's own input, and of what stands between memories and ports."""
    made = [wire.signal for _, wire in plan.wires]
    made += [signal for one in plan.instances for port, signals in one.streams.items() for signal in signals]
    lines = []
    for signal in dict.fromkeys(made):
        if signal.name != plan.input.signal.name:
            lines.append(f"  logic {signal.name}_valid, {signal.name}_ready; logic {_range(signal)}{signal.name}_data;")
    return lines


def _range(signal: Signal) -> str:
    return f"[{signal.width - 1}:0] "


def _wired(wire: Wire) -> list[str]:
    """The assignments of a wire."""
    name, source = wire.signal.name, wire.source.name
    return [
        f"  assign {name}_valid = {source}_valid;",
        f"  assign {source}_ready = {name}_ready;",
        f"  assign {name}_data = {{{', '.join(reversed(_pieces(source, wire.bits)))}}};",
    ]


def _pieces(source: str, bits: tuple[int, ...]) -> list[str]:
    """Parts of a concatenation, from the lowest up: runs of neighbouring bits, of zeros and of a repeated bit."""
    pieces, at = [], 0
    while at < len(bits):
        first, end = bits[at], at + 1
        if first < 0:
            while end < len(bits) and bits[end] < 0:
                end += 1
            pieces.append(f"{end - at}'d0")
        elif end < len(bits) and bits[end] == first:
            while end < len(bits) and bits[end] == first:
                end += 1
            pieces.append(f"{{{end - at}{{{source}_data[{first}]}}}}")
        else:
            while end < len(bits) and bits[end] == first + end - at:
                end += 1
            pieces.append(f"{source}_data[{first + end - at - 1}:{first}]")
        at = end
    return pieces


def _placed(instance: Instance) -> list[str]:
    """An instance, and the memories beside it."""
    lines, ports = [], [".clock(clock)", ".reset(reset)"]
    for port, signals in instance.streams.items():
        for what in ("valid", "ready", "data"):
            names = [f"{signal.name}_{what}" for signal in reversed(signals)]
            ports.append(f".{port}_{what}({names[0] if len(names) == 1 else '{' + ', '.join(names) + '}'})")
    for port, memory in instance.memories.items():
        lines += _memories(f"{instance.name}_{port}", memory)
        ports += [f".{port}_{what}({instance.name}_{port}_{what})" for what in ("enable", "address", "data")]
    parameters = ", ".join(f".{name}({value})" for name, value in instance.module.parameters.items())
    role = f"  // FIFO {instance.role!r}" if instance.role else ""
    return [
        *lines,
        f"  {instance.module.name} #({parameters}) {instance.name}_i ({role}",
        f"      {', '.join(ports)}",
        "  );",
    ]


def _memories(name: str, memory: Ports) -> list[str]:
    """The memories behind a port, and how their words become its rows."""
    bits = max((memory.depth - 1).bit_length(), 1)
    lines = [
        f"  logic [{memory.ports - 1}:0] {name}_enable; logic [{memory.ports * bits - 1}:0] {name}_address;",
        f"  logic [{memory.ports * memory.row - 1}:0] {name}_data;",
    ]
    plain = len(memory.banks) == 1 and memory.banks[0].word.width == memory.row
    pieces: list[str] = []
    at = 0
    for bank in memory.banks:
        data = f"{name}_data" if plain else f"{bank.name}_data"
        if not plain:
            lines.append(f"  logic [{bank.word.width - 1}:0] {data};")
            low = 0
            for start, width in bank.slices:
                start += bank.first * memory.row
                if start > at:
                    pieces.append(f"{start - at}'d0")
                pieces.append(f"{data}[{low + width - 1}:{low}]")
                low, at = low + width, start + width
        lines += [
            f"  {_MEMORY} #(.WIDTH({bank.word.width}), .DEPTH({memory.depth}), .PORTS({bank.ports}),"
            f' .FILE("{MEMORIES}/{bank.name}.hex")) {bank.name}_i (',
            f"      .clock(clock), .enable({name}_enable[{bank.first}+:{bank.ports}]),"
            f" .address({name}_address[{bank.first * bits}+:{bank.ports * bits}]), .data({data})",
            "  );",
        ]
    if not plain:
        if at < memory.ports * memory.row:
            pieces.append(f"{memory.ports * memory.row - at}'d0")
        lines.append(f"  assign {name}_data = {{{', '.join(reversed(pieces))}}};")
    return lines
