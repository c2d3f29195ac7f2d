"""Generated networks answer what the integers answer, word by word, in the cycles that the simulator says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hass_train.build.plan import plan
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.runtime.errors import UserError
from tests.build.toys import TOYS, built, played, random_design, simulated, toy

verilated = pytest.mark.skipif(
    shutil.which("verilator") is None, reason="no Verilator here (Debian: apt-get install verilator)"
)
STATIC = (ComputeEngine.DENSE.value, ComputeEngine.WEIGHT.value)
"""Engines whose rounds do not depend on images."""


def check(name: str, seed: int, folder: Path, engines: tuple[str, ...] | None = None, precision: str = "int8") -> None:
    """Play a toy with random folds: all words are equal, and static engines take the simulator's cycles.

    The simulator knows no order of the channels that a layer reads, which decides what `weight` engines take;
    so there filters keep the network's.
    """
    workload, network = toy(name, precision)
    static = engines is not None and set(engines) <= {*STATIC}
    design = random_design(workload, network, np.random.default_rng(seed), engines, orders=not static)
    made = built(network, design, folder)
    for stalls in (False, True):
        found = played(network, made, folder, 4, stalls, held=8)
        assert found.mismatch == "", (name, seed, stalls)
        for fifo, most in found.peaks.items():
            assert most <= design.parts[0].fifos[fifo], fifo
        if stalls:
            continue
        if not static:  # of the same images: where they differ, so do the intervals between them
            assert found.interval_cycles == pytest.approx(simulated(workload, network, design), rel=0.01), (name, seed)
            continue
        # what the simulator does not know: converters that need a cycle more, and concatenations of narrow words
        slowest = max((one.cycles for one in made.instances), default=0)
        assert found.interval_cycles == max(round(simulated(workload, network, design)), slowest), (name, seed)


@verilated
@pytest.mark.parametrize(
    ("name", "seed", "engines"),
    [("plain", 0, STATIC), ("residual", 11, (ComputeEngine.ACTIVATION.value, ComputeEngine.WEIGHT.value))],
)
def test_every_word_is_equal(name: str, seed: int, engines: tuple[str, ...] | None, tmp_path: Path) -> None:
    check(name, seed, tmp_path, engines)


@verilated
@pytest.mark.nightly
@pytest.mark.parametrize("engine", list(ComputeEngine))
@pytest.mark.parametrize("name", TOYS)
def test_every_word_is_equal_with_any_engine(name: str, engine: ComputeEngine, tmp_path: Path) -> None:
    check(name, 20, tmp_path, (engine.value,))


@verilated
@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(30, 34))
@pytest.mark.parametrize("name", TOYS)
def test_every_word_is_equal_with_engines_mixed(name: str, seed: int, tmp_path: Path) -> None:
    check(name, seed, tmp_path)


@verilated
@pytest.mark.nightly
@pytest.mark.parametrize("precision", ["int4", "fixed16"])
@pytest.mark.parametrize("name", TOYS)
def test_every_word_is_equal_at_other_bits(name: str, precision: str, tmp_path: Path) -> None:
    check(name, 40, tmp_path, None, precision)


@verilated
def test_a_difference_names_the_first_layer_that_has_one(tmp_path: Path) -> None:
    workload, network = toy("plain")
    made = built(network, random_design(workload, network, np.random.default_rng(1), ("dense",)), tmp_path)
    memory = next(one for one in made.memories if one.name.startswith("second_biases"))
    file = tmp_path / "memories" / f"{memory.name}.hex"
    file.write_text(memory.word.hexadecimal(memory.rows ^ (1 << memory.word.bits - 2)))
    found = played(network, made, tmp_path, 2)
    assert found.mismatch.startswith("second: word ")
    assert "should be" in found.mismatch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": 2}, "first cannot be built: its weights are off the chip; search again with hw.buildable=true"),
        (
            {"folds": {"i": 3, "o": 2, "g": 1, "m": 1, "N": 1, "q": 2, "p": 2}},
            "first cannot be built: p=2 columns at once need all filters, and o=2",
        ),
        (
            {"folds": {"i": 1, "o": 6, "g": 1, "m": 1, "N": 1, "q": 2, "p": 2}},
            "first cannot be built: q=2 pixels at once need all channels, and i=1",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(change: dict[str, object], message: str) -> None:
    workload, network = toy("plain")
    design = random_design(workload, network, np.random.default_rng(1), ("dense",))
    (part,) = design.parts
    designs = tuple(replace(one, **change) if one.name == "first" else one for one in part.designs)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="first cannot be built") as told:
        plan(replace(design, parts=(replace(part, designs=designs),)), network)
    assert str(told.value).startswith(message)


def test_several_parts_are_refused() -> None:
    workload, network = toy("plain")
    design = random_design(workload, network, np.random.default_rng(1), ("dense",))
    with pytest.raises(UserError, match=r"its 2 parts need reconfiguration; use hw\.partitions=never"):
        plan(replace(design, parts=design.parts * 2), network)
