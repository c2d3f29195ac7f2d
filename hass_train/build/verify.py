"""A generated network played in Verilator against its integers: every word, the interval, and what FIFOs hold."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from hass_train.build.bench import bench, probes_of, write_words
from hass_train.build.fingerprints import fingerprint
from hass_train.build.plan import Plan
from hass_train.build.sources import MEMORIES, MODULES, TOP
from hass_train.hardware.arithmetic import ceil_div
from hass_train.precision.integer_network import IntegerNetwork
from hass_train.rtl.simulate import BENCH, WARNINGS, require_verilator, run
from hass_train.runtime.files import write_text

_OWN = Path(__file__).parent / "bench"
_EFFORT = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1"  # of the C++ compiler
_PLACE = "verify"  # a folder beside the sources, with the compiled program: it is compiled once
_PATIENCE = 3  # intervals without any word after which the network stands still
_SETTLE = 20_000  # cycles beyond that


@dataclass(frozen=True)
class Verified:
    """What a play found.

    Args:
        images: that were played.
        stalls: whether source and reader paused at random.
        words: words that were compared.
        mismatch: the first difference with the name of the layer; empty if there is none.
        interval_cycles: between the ends of two images, in steady state; 0 with stalls, or for a single image.
        latency_cycles: from the first word offered to the first image's last one; 0 with stalls.
        peaks: the most words that each FIFO of the design held, by name, in words of its reader.
        cycles: of the whole play.
    """

    images: int
    stalls: bool
    words: int
    mismatch: str
    interval_cycles: float
    latency_cycles: int
    peaks: Mapping[str, int] = field(repr=False)
    cycles: int = 0


def verify(
    folder: Path,
    plan: Plan,
    network: IntegerNetwork,
    images: Tensor,
    stalls: bool = False,
    probes: bool = False,
    fifo_peaks: bool = True,
    seed: int = 1,
    held: int = 0,
) -> Verified:
    """Play images through the RTL in a directory and compare every word with `IntegerNetwork.values`.

    Args:
        folder: what `sources.write` wrote.
        plan: its plan.
        network: what it should compute.
        images: (n, channels, height, width) real numbers.
        stalls: whether source and reader pause at random.
        probes: whether every layer's stream is compared too, so that a difference names the first layer that has one.
        fifo_peaks: whether to count what FIFOs hold.
        seed: of the stalls.
        held: images that the accelerator holds at once. While it empties it answers at another pace: so the images are
            played again, half of them before the interval is measured, all while it is, and as many behind as it holds.
            0 = they are played once, and the second half is measured.

    Raises:
        UserError: Verilator or a C++ compiler is missing, or the sources do not compile.
    """
    compared, values = probes_of(plan, probes), network.values(images)
    values["input"] = network.quantise(images)
    again = torch.arange(len(images) // 2 + len(images) + 1 + held if held else len(images)) % len(images)
    values = {name: one[again] for name, one in values.items()}
    place = folder / _PLACE
    place.mkdir(parents=True, exist_ok=True)
    write_words(plan, compared, values, place)
    if not (place / MEMORIES).exists():
        (place / MEMORIES).symlink_to(Path("..") / MEMORIES)
    text = bench(plan, compared, len(again), seed)
    program = _compiled(folder, place, text)
    # an image passes at most about an interval in every operation before its first answer comes
    patience = (_PATIENCE + len(plan.layers)) * plan.interval + _SETTLE
    printed = run([str(program), str(int(stalls)), str(patience)], place)
    words = sum(one.flow.layout.words for one in compared) * len(again)
    ends = [int(one) for one in re.findall(r"^END (\d+)$", printed, re.MULTILINE)]
    begin = re.search(r"^BEGIN (\d+)$", printed, re.MULTILINE)
    played = re.search(r"^PLAYED (\d) cycles (\d+)$", printed, re.MULTILINE)
    mismatch = _mismatch(printed, [one.name for one in compared], played, len(ends), len(again))
    peaks = {}
    if fifo_peaks:
        most_in = {int(one): int(most) for one, most in re.findall(r"^PEAK (\d+) (\d+)$", printed, re.MULTILINE)}
        peaks = {
            name: _entries(plan, name, most_in[number]) for number, name in enumerate(plan.fifos) if number in most_in
        }
    interval, latency = 0.0, 0
    if not stalls and not mismatch:
        latency = ends[0] - int(begin[1]) + 1 if begin else 0
        interval = _interval(ends, len(images) // 2, held)
    cycles = int(played[2]) if played else 0
    return Verified(len(images), stalls, words, mismatch, interval, latency, peaks, cycles)


def _interval(ends: Sequence[int], settle: int, held: int) -> float:
    """Cycles between two images, by the ends of all but the first ones and the last `held`; 0 for a single image."""
    last = len(ends) - 1 - held
    settle = min(settle, last - 1)
    return (ends[last] - ends[settle]) / (last - settle) if last > 0 else 0.0


def _entries(plan: Plan, name: str, held: int) -> int:
    """What a FIFO held in words of its reader, as the design counts; it may stand where words are wider."""
    depth = plan.fifos[name].module.parameters["DEPTH"]
    return int(ceil_div(held * plan.depths[name], depth))


def _mismatch(printed: str, names: list[str], played: re.Match[str] | None, ended: int, images: int) -> str:
    """The first difference, in words; that of the earliest layer if several differ."""
    found = re.findall(r"^FAIL (\d+) (.+)$", printed, re.MULTILINE)
    if found:
        number, what = min(found, key=lambda one: int(one[0]))
        return f"{names[int(number)]}: {what}"
    if played is None or played[1] == "0":
        return f"the network stands still after {ended} of {images} images"
    return ""


def _compiled(folder: Path, place: Path, text: str) -> Path:
    """The program of a bench, compiled unless it is there already."""
    require_verilator()
    shared = [BENCH / name for name in ("pauses.sv", "source.sv")]
    files = [folder / TOP, *sorted((folder / MODULES).glob("*.sv")), *shared, *sorted(_OWN.glob("*.sv"))]
    built = place / f"obj_{fingerprint(text, *(one.read_bytes() for one in files))}"
    program, mark = built / "Vbench", built / "whole"
    if mark.is_file():
        return program.resolve()
    for old in place.glob("obj_*"):
        shutil.rmtree(old)
    write_text(place / "bench.sv", text)
    command = [
        "verilator", "--cc", "--exe", "--build", "-j", "2", "-O3", "--x-assign", "fast", "--x-initial", "fast",
        "--noassert", "--top-module", "bench", "-Wno-fatal", "-Werror-USERERROR",
        *(f"-Wno-{warning}" for warning in (*WARNINGS, "REDEFMACRO", "BLKSEQ")),
        "--output-split", "20000", "-MAKEFLAGS", _EFFORT, "--Mdir", str(built.resolve()),
        str((place / "bench.sv").resolve()),
        *(str(one.resolve()) for one in files), str(_OWN / "main.cpp"),
    ]  # fmt: skip
    run(command, place)
    mark.touch()
    return program.resolve()
