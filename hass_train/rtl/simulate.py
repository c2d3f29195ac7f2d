"""Modules played by Verilator against their references: the words that they write, and the cycles that they take."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hass_train.rtl.module import SOURCES, Module
from hass_train.rtl.streams import Ints, Memory
from hass_train.runtime.errors import UserError

BENCH = Path(__file__).parent / "bench"
_PATIENCE = 40  # how many times longer than unstalled a play with random stalls may last
_HOLD = 8  # cycles that readers wait at first, with stalls, for each word that a module is to hold
_SETTLE = 4000  # cycles beyond that
_EFFORT = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
"""What the C++ compiler is to do: it takes ten times as long as its program then runs, also for a thousand words."""
WARNINGS = ("WIDTH", "UNUSED", "PINMISSING", "DECLFILENAME", "UNOPTFLAT", "TIMESCALEMOD", "CASEINCOMPLETE")


@dataclass(frozen=True)
class Case:
    """A module at some parameters, with what it is to read and should write.

    Args:
        module: the module.
        words: (words, values) integers by input stream.
        memories: the memories beside it, by their prefix in the port list.
        stalls: the seed of the random stalls.
        netlist: the file of a synthesised netlist that is played in place of the module's source.
    """

    module: Module
    words: dict[str, Ints]
    memories: dict[str, Memory]
    stalls: int = 1
    netlist: Path | None = None

    @classmethod
    def of(cls, module: Module, rng: np.random.Generator, words: int) -> Case:
        """A module with random words, memories and stalls."""
        return cls(module, module.stimulus(rng, words), module.memories(rng), int(rng.integers(1, 1 << 30)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case went.

    Args:
        words: words that it wrote, over all streams.
        cycles: cycles from the first word offered to the last one written, both included, where nobody stalled.
        expected: the cycles that its formula says.
        fault: what differed first; empty if nothing did.
    """

    words: int
    cycles: int
    expected: int
    fault: str


def play(cases: Sequence[Case], sources: Path = SOURCES, models: Path | None = None) -> list[Outcome]:
    """Compile some cases into one program and run it.

    Args:
        cases: what to play, all at once.
        sources: the folder of the modules.
        models: the simulation models of the cells of netlists; needed only where a case has one.

    Returns:
        The outcome of each case, in order.

    Raises:
        UserError: Verilator or a C++ compiler is missing, or the modules do not compile.
    """
    require_verilator()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [case.module.reference(case.words, case.memories) for case in cases]
        expected = [case.module.busy(case.words, case.memories) + case.module.latency for case in cases]
        for number, case in enumerate(cases):
            _write_words(folder, number, case, results[number])
        benches = [_bench(number, case, results[number]) for number, case in enumerate(cases)]
        (folder / "bench.sv").write_text("\n".join([_top(len(cases)), *benches]))
        netlists = [case.netlist for case in cases if case.netlist is not None]
        _compile(folder, sources, [*netlists, *([models] if models else [])])
        longest = max(cycles + sum(map(len, case.words.values())) for cycles, case in zip(expected, cases, strict=True))
        limit = _PATIENCE * longest + _SETTLE
        done = run([str(folder / "obj" / "Vbench"), str(limit)], folder)
        return [
            _outcome(number, case, done, expected[number], sum(map(len, results[number].values())))
            for number, case in enumerate(cases)
        ]


def _compile(folder: Path, sources: Path, netlists: list[Path]) -> None:
    """Translate the bench by Verilator and compile it."""
    files = [*sorted(sources.glob("*.sv")), *sorted(BENCH.glob("*.sv")), folder / "bench.sv", *netlists]
    command = [
        "verilator", "--cc", "--exe", "--build", "-j", "2", "-O3", "--x-initial", "unique", "--top-module", "bench",
        "-Wno-fatal", "-Werror-USERERROR", *(f"-Wno-{warning}" for warning in WARNINGS),
        "-MAKEFLAGS", _EFFORT, "--Mdir", str(folder / "obj"), *map(str, files), str(BENCH / "main.cpp"),
    ]  # fmt: skip
    run(command, folder)


def run(command: list[str], folder: Path) -> str:
    """What a command prints that runs in a folder.

    Raises:
        UserError: it fails; one line, with the first error of its own.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        told = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
        raise UserError(f"{Path(command[0]).name} failed: {told[0] if told else done.stderr.strip()[-300:]}")
    return done.stdout


def require_verilator() -> None:
    """Raise UserError, which names the package, where Verilator is missing."""
    if shutil.which("verilator") is None:
        raise UserError("Verilator is not installed; on Debian: apt-get install verilator")


def _write_words(folder: Path, number: int, case: Case, results: dict[str, Ints]) -> None:
    """The memory files of a case."""
    module = case.module
    for port, stream in module.inputs.items():
        (folder / f"{number}.{port}.hex").write_text(stream.hexadecimal(case.words[port]))
    for port, stream in module.outputs.items():
        (folder / f"{number}.{port}.hex").write_text(stream.hexadecimal(results[port]))
    for port, memory in case.memories.items():
        (folder / f"{number}.{port}.hex").write_text(memory.word.hexadecimal(memory.rows))


def _bench(number: int, case: Case, results: dict[str, Ints]) -> str:
    """The SystemVerilog module that plays one case."""
    module = case.module
    body, ports = [], [".clock(clock)", ".reset(reset)"]
    streams = [*module.inputs.items(), *module.outputs.items()]
    for place, (port, stream) in enumerate(streams):
        reads, words = port in module.inputs, len((case.words if port in module.inputs else results)[port])
        kind, side = ("source", "out") if reads else ("sink", "in")
        more = "" if reads else f', .HOLD({_HOLD * (module.holds or 0)}), .CASE({number}), .PORT("{port}")'
        status = "" if reads else f", .done({port}_done), .failed({port}_failed)"
        body += [
            f"  logic {port}_valid, {port}_ready, {port}_taken; logic [{stream.width - 1}:0] {port}_data;",
            *([] if reads else [f"  logic {port}_done, {port}_failed;"]),
            f'  {kind} #(.WIDTH({stream.width}), .WORDS({words}), .FILE("{number}.{port}.hex"),'
            f" .SEED({case.stalls + place}){more}) {port}_{kind} (",
            "    .clock(clock), .reset(reset), .stall(stall),",
            f"    .{side}_valid({port}_valid), .{side}_ready({port}_ready),",
            f"    .{side}_data({port}_data), .taken({port}_taken){status});",
        ]
    together = {port: name for name, group in module.vectors.items() for port in group}
    groups = {port: (port,) for port, _ in streams if port not in together} | module.vectors
    for name, group in groups.items():
        for signal in ("valid", "ready", "data"):
            ports.append(f".{name}_{signal}({{{', '.join(f'{port}_{signal}' for port in reversed(group))}}})")
    for port, memory in case.memories.items():
        bits = max(1, (memory.depth - 1).bit_length())
        body += [
            f"  logic [{memory.ports}-1:0] {port}_enable; logic [{memory.ports * bits - 1}:0] {port}_address;",
            f"  logic [{memory.ports * memory.word.width - 1}:0] {port}_data;",
            f"  weight_memory #(.WIDTH({memory.word.width}), .DEPTH({memory.depth}), .PORTS({memory.ports}),"
            f' .FILE("{number}.{port}.hex")) {port}_memory (.clock(clock), .enable({port}_enable),'
            f" .address({port}_address), .data({port}_data));",
        ]
        ports += [f".{port}_{signal}({port}_{signal})" for signal in ("enable", "address", "data")]
    values = {} if case.netlist else module.parameters
    given = ", ".join(f".{name}({value})" for name, value in values.items())
    name = case.netlist.stem if case.netlist else module.name
    reading = " || ".join(f"{port}_valid" for port in module.inputs)
    taking = " || ".join(f"{port}_taken" for port in module.inputs)
    writing = " || ".join(f"{port}_taken" for port in module.outputs)
    done = " && ".join(f"{port}_done" for port in module.outputs)
    failed = " || ".join(f"{port}_failed" for port in module.outputs)
    return "\n".join([
        f"// {module}",
        f"module case_{number} (input logic clock, reset, stall, report, output logic done);",
        *body,
        f"  {name} {f'#({given}) ' if given else ''}dut ({', '.join(ports)});",
        f"  case_counter #(.CASE({number})) counter (.clock(clock), .reset(reset), .report(report), .stall(stall),",
        f"    .reading({reading}), .taking({taking}), .writing({writing}), .whole({done}),",
        f"    .failed({failed}), .done(done));",
        "endmodule",
    ])  # fmt: skip


def _top(cases: int) -> str:
    """The SystemVerilog module that holds all cases."""
    return "\n".join([
        "module bench (input logic clock, reset, stall, report, output logic done);",
        f"  logic [{cases - 1}:0] each;",
        "  assign done = &each;",
        *(
            f"  case_{number} c{number} (.clock(clock), .reset(reset), .stall(stall), .report(report),"
            f" .done(each[{number}]));"
            for number in range(cases)
        ),
        "endmodule",
    ])  # fmt: skip


def _outcome(number: int, case: Case, printed: str, expected: int, words: int) -> Outcome:
    """What a run printed of one case."""
    fault = re.search(rf"^FAIL {number} (.+)$", printed, re.MULTILINE)
    ended = re.findall(rf"^CASE {number} stall (\d) whole (\d) cycles (-?\d+) held (\d+)$", printed, re.MULTILINE)
    cycles = next((int(taken) for stall, _, taken, _ in ended if stall == "0"), 0)
    if fault:
        return Outcome(words, cycles, expected, fault[1])
    stuck = [stall for stall, whole, *_ in ended if whole == "0"]
    if stuck or len(ended) != 2:
        how = "with stalls" if stuck == ["1"] else "without stalls"
        return Outcome(words, cycles, expected, f"it stopped before it had written {words} words, {how}")
    if cycles != expected:
        return Outcome(words, cycles, expected, f"it took {cycles} cycles, and its formula says {expected}")
    held, most = (int(taken) for stall, *_, taken in ended if stall == "1"), case.module.holds
    if most is not None and min(most, sum(map(len, case.words.values()))) not in held:
        return Outcome(words, cycles, expected, f"it did not hold {most} words while its reader took none")
    return Outcome(words, cycles, expected, "")
