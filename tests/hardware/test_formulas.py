"""What modules cost: many instances at once against one by one, and the fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hass_train.hardware.dataflow.costs import formulas
from hass_train.hardware.dataflow.costs.alike import alike
from hass_train.hardware.dataflow.costs.formulas import RESULTS, Costs, Formula, fitted, read_points
from hass_train.hardware.dataflow.costs.modules.activation import ActivationEngine
from hass_train.hardware.dataflow.costs.modules.dense import DenseEngine
from hass_train.hardware.dataflow.costs.modules.memories import address_bits, multiplexer, rom, state_bits
from hass_train.hardware.dataflow.costs.modules.pairs import CrossbarEngine, PairEngine
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters
from hass_train.hardware.dataflow.costs.modules.plumbing import LutramFifo, WidthConverter
from hass_train.hardware.dataflow.costs.modules.pointwise import Threshold
from hass_train.hardware.dataflow.costs.modules.sparse import WeightEngine
from hass_train.runtime.errors import UserError

ENGINES = (DenseEngine, ActivationEngine, WeightEngine, PairEngine, CrossbarEngine)
FAMILIES: tuple[Family, ...] = ("xc7", "ecp5")
VARIED = {"filters", "bundles", "rounds", "passes", "rows"}
COUNTS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 31, 32, 33, 64, 100, 127, 128, 255, 256, 257, 512, 1000])


def some_formula(kind: type[ModuleParameters], family: Family, *modules: ModuleParameters) -> Formula:
    """A formula with coefficients that are no round numbers."""
    rng = np.random.default_rng(3)
    terms = [{name for one in modules for name in getattr(one, which)(family)} for which in ("lut_terms", "ff_terms")]
    return Formula(kind, family, *({name: float(rng.gamma(1.0)) for name in sorted(names)} for names in terms))


@st.composite
def engines(draw: st.DrawFn, kind: type[ModuleParameters]) -> ModuleParameters:
    """An engine whose positions, multipliers and widths are among few, and whose other sizes are of all kinds."""
    products = draw(st.sampled_from([1, 2, 4] if kind is DenseEngine else [1, 2]))
    positions = draw(st.sampled_from([1, 2, 3, 7, 9, 16, 18, 36, 63, 64]))
    wanted = {
        "positions": positions, "multipliers": draw(st.integers(1, positions)), "products": products,
        "data_bits": draw(st.integers(4, 16 // products)), "weight_bits": draw(st.integers(4, 16 // products)),
        "columns": draw(st.integers(1 + (products > 1), 4)),
        "in_dsp": draw(st.integers(0, 1)), "lanes": draw(st.integers(0, 1)),
    }  # fmt: skip
    varied = {
        "filters": draw(st.integers(1 + (products > 1), 40) | COUNTS.filter(lambda one: one > 1)),
        "bundles": draw(st.integers(1, 9)), "rounds": draw(COUNTS), "passes": draw(COUNTS),
    }  # fmt: skip
    varied["rows"] = varied["rounds"] * varied["passes"]
    known = {field.name for field in dataclasses.fields(kind)}
    try:
        return kind(**{name: value for name, value in (wanted | varied).items() if name in known})
    except UserError:  # a DSP that accumulates holds fewer positions
        assume(False)
        raise


@st.composite
def beside(draw: st.DrawFn, kind: type[ModuleParameters]) -> list[ModuleParameters]:
    """Engines, several of which differ only in what array arithmetic has to tell apart."""
    found = []
    for one in draw(st.lists(engines(kind), min_size=1, max_size=3)):
        others = draw(st.lists(engines(kind), max_size=5))
        sizes_of = VARIED & {field.name for field in dataclasses.fields(kind)}
        varied = [{name: getattr(other, name) for name in sizes_of} for other in others]
        alone = [sizes for sizes in varied if getattr(one, "products", 1) == 1 or sizes["filters"] > 1]
        found += [one, *(dataclasses.replace(one, **sizes) for sizes in alone)]
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ENGINES)
@given(data=st.data())
def test_many_engines_cost_what_each_of_them_does(
    kind: type[ModuleParameters], family: Family, data: st.DataObject
) -> None:
    modules = data.draw(beside(kind))
    formula = some_formula(kind, family, *modules)
    found = formula.many(**{name.lower(): [one.parameters[name] for one in modules] for name in modules[0].parameters})
    assert found.tolist() == [list(dataclasses.astuple(formula(one))) for one in modules]


@pytest.mark.parametrize("kind", ENGINES)
def test_huge_engines_do_not_overflow(kind: type[ModuleParameters]) -> None:
    sizes = {
        "positions": [64, 36], "multipliers": [16, 9], "filters": 2048, "bundles": 64, "rounds": 1, "passes": 9,
        "rows": 9, "data_bits": 16, "weight_bits": 16, "products": 1, "columns": 8, "in_dsp": 0, "lanes": 1,
    }  # fmt: skip
    given = {field.name: sizes[field.name] for field in dataclasses.fields(kind)}
    narrow = kind(**{name: value[0] if isinstance(value, list) else value for name, value in given.items()})
    formula = some_formula(kind, "xc7", narrow)
    assert formula.many(**given)[0].tolist() == list(dataclasses.astuple(formula(narrow)))
    assert formula(narrow).ff > 0


def test_modules_that_take_no_arrays_are_priced_one_by_one() -> None:
    steps = [Threshold(streams=streams, bits=8, threshold=value, signed=1) for streams in (8, 3, 8) for value in (3, 0)]
    formula = some_formula(Threshold, "xc7", *steps)
    found = formula.many(streams=[[8], [3], [8]], bits=8, threshold=[3, 0], signed=1)
    assert found.reshape(-1, 4).tolist() == [list(dataclasses.astuple(formula(one))) for one in steps]
    with pytest.raises(UserError, match="THRESHOLD=200 is not supported"):
        formula.many(streams=[8, 3], bits=8, threshold=200, signed=1)


def test_arrays_of_parameters_broadcast() -> None:
    fifos = [LutramFifo(width=width, depth=9, shift_registers=kind) for width in (8, 3, 8) for kind in (1, 0)]
    formula = some_formula(LutramFifo, "xc7", *fifos)
    found = formula.many(width=[[8], [3], [8]], depth=9, shift_registers=[1, 0])
    assert found.shape == (3, 2, len(RESULTS))
    assert found.reshape(-1, 4).tolist() == [list(dataclasses.astuple(formula(one))) for one in fifos]
    assert formula.many(width=8, depth=9, shift_registers=1).tolist() == found[0, 0].tolist()
    assert formula.many(width=np.zeros(0), depth=9, shift_registers=1).shape == (0, 4)


def test_terms_that_were_not_fitted_are_an_error() -> None:
    engine = PairEngine(
        positions=9, multipliers=3, filters=2, bundles=1, rounds=3, passes=4, data_bits=8, weight_bits=8
    )
    formula = some_formula(PairEngine, "xc7", engine)
    with pytest.raises(KeyError, match="pair_engine has terms that were not fitted: counters"):
        dataclasses.replace(formula, lut={k: v for k, v in formula.lut.items() if k != "counters"})(engine)


@given(st.lists(st.integers(1, 1 << 40), min_size=1))
def test_bits_of_arrays_are_those_of_numbers(counts: list[int]) -> None:
    assert state_bits(np.array(counts)).tolist() == [state_bits(one) for one in counts]
    assert address_bits(np.array(counts)).tolist() == [max(1, (one - 1).bit_length()) for one in counts]


def test_a_fit_finds_the_coefficients_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [
        WidthConverter(bits=8, in_values=small, out_values=wide, total=total)
        for small, wide in ((1, 4), (2, 3), (8, 2), (3, 5)) for total in (7, 24, 60)
    ]  # fmt: skip
    true = Formula(
        WidthConverter, "xc7", {"multiplexer": 3, "zeros": 2, "counters": 4, "fixed": 5}, {"history": 1, "counters": 2}
    )
    points = [(one.parameters, true(one)) for one in modules]
    lines = [",".join([*points[0][0], *RESULTS])]
    lines += [",".join(map(str, [*point.values(), *dataclasses.astuple(costs)])) for point, costs in points]
    path = tmp_path / "width_converter.xc7.csv"
    path.write_text("\n".join(["# what made them", *lines]) + "\n")
    assert read_points(path) == points
    found = fitted(WidthConverter, "xc7", points)
    assert found.lut == pytest.approx(true.lut)
    assert found.ff == pytest.approx(true.ff)
    told = r"^there are no synthesised points of width_converter; run python -m hass_train.rtl.characterise width_conv"
    with pytest.raises(UserError, match=told):
        fitted(WidthConverter, "ecp5", read_points(tmp_path / "none.csv"))


def test_formulas_of_the_package_are_fitted_once_and_price_arrays() -> None:
    first = formulas.formula(LutramFifo, "ecp5")
    assert formulas.formula(LutramFifo, "ecp5") is first
    found = formulas.module_costs(LutramFifo, "ecp5", width=[8, 16], depth=32, shift_registers=0)
    assert [Costs(*row) for row in found.tolist()] == [
        first(LutramFifo(width=width, depth=32, shift_registers=0)) for width in (8, 16)
    ]
    assert 0 < found[0, 0] < found[1, 0]


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 1, 2**40]), st.sampled_from([0, 5, 2**40]))),
    st.booleans(),
)
def test_rows_that_are_alike_are_numbered_as_they_first_come(rows: list[tuple[int, int, int]], many: bool) -> None:
    if many:  # more kinds than the hash table begins with
        rows = [(one, 2**40 * (one % 7), 0) for one in range(2000)] + rows
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    first, which = alike(*columns)
    kinds = list(dict.fromkeys(rows))
    assert first.tolist() == [rows.index(kind) for kind in kinds]
    assert which.tolist() == [kinds.index(row) for row in rows]


def test_a_memory_of_constants_is_cut_into_parts_that_fit_block_rams() -> None:
    found = rom([8, 8, 1000], [9216, 60, 2], "xc7")  # as `rom` says; in LUTs; a register for each column that differs
    assert found.blocks.tolist() == [4, 0, 0]
    assert found.lut.tolist() == [8 * multiplexer(9, "xc7"), 8, 2]
    assert found.ff.tolist() == [state_bits(9), 8, 2]
