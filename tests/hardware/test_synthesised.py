"""Costs of designs from the synthesis of our modules: DSPs of products, sums of modules, memories of weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware import (
    DataflowAccelerator,
    DataflowOptions,
    LayerSparsity,
    Operation,
    OperationKind,
    SparsityProfile,
    Workload,
    load_device,
)
from hass_train.hardware.dataflow.costs.branches import OperandFifos
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.cost_model import Schedule, WeightBanks
from hass_train.hardware.dataflow.costs.engine_kinds import VARIANTS
from hass_train.hardware.dataflow.costs.formulas import formula
from hass_train.hardware.dataflow.costs.logic import Folds, Widths
from hass_train.hardware.dataflow.costs.modules.activation import ActivationEngine
from hass_train.hardware.dataflow.costs.modules.dense import DenseEngine
from hass_train.hardware.dataflow.costs.modules.memories import rom
from hass_train.hardware.dataflow.costs.modules.pairs import PairEngine
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters
from hass_train.hardware.dataflow.costs.modules.plumbing import BlockFifo, LutramFifo, RegisterFifo, WidthConverter
from hass_train.hardware.dataflow.costs.modules.pointwise import Requantise, Threshold
from hass_train.hardware.dataflow.costs.modules.sparse import WeightEngine
from hass_train.hardware.dataflow.costs.modules.sums import Accumulator, AdderTree, Align
from hass_train.hardware.dataflow.costs.modules.windows import Padding, SlidingWindow
from hass_train.hardware.dataflow.costs.synthesised import SynthesisedCosts
from hass_train.hardware.dataflow.costs.weight_rounds import filter_order
from hass_train.hardware.dataflow.designs.compute import ComputeDesigns
from hass_train.hardware.dataflow.designs.tables import DesignSpace
from hass_train.hardware.workload import FeatureMap
from tests.hardware.peers import CODES, one_design

DENSE, ACTIVATION, WEIGHT, PAIR, CROSSBAR = ComputeEngine
BY_LANES = [(one.engine, one.lanes, one.multiplier) for one in VARIANTS].index(("weight", True, "dsp"))


def conv(channels: int, filters: int, window: int = 3, **others: Any) -> Operation:
    pad = (window // 2, window // 2)
    source, result = FeatureMap(10, 10, channels), FeatureMap(10, 10, filters)
    return Operation("conv", OperationKind.CONV, ("input",), source, result, (window, window), padding=pad, **others)


def costs(bits: int = 8, family: Family = "xc7") -> SynthesisedCosts:
    return SynthesisedCosts(Widths(bits, bits, 30), family)


# ---- DSPs ------------------------------------------------------------------------------------------------------------


def dsps_of_a_lane(engine: ComputeEngine, bits: int, o: int, p: int) -> int:
    """DSPs for o filters and p columns: a lone product of two values of 4 bits goes to LUTs."""
    if engine in (PAIR, CROSSBAR) or bits == 16:
        return o * p if bits > 4 else 0
    if engine is WEIGHT:  # columns have the weight in common
        return o * math.ceil(p / 2) if bits == 8 or p > 1 else 0
    if bits == 8:  # filters have the activation in common
        return p * math.ceil(o / 2)
    if engine is ACTIVATION or p == 1:
        return p * (o // 2)
    return math.ceil(o / 2) * math.ceil(p / 2) - (o % 2 and p % 2) if o > 1 else 0


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("engine", ComputeEngine)
def test_products_share_dsps(engine: ComputeEngine, bits: int) -> None:
    layer = conv(4, 12)
    for o, p, n, fifo in itertools.product((1, 2, 3, 4), (1, 2, 3, 4), (1, 3), (0, 16)):
        if fifo and engine in (DENSE, WEIGHT):
            continue
        folds = one_design(engine, 4, o, m=2, n=n, q={3: 4}.get(p, p), p=p, fifo=fifo)
        assert costs(bits).compute(layer, folds)[0, 0] == 2 * n * dsps_of_a_lane(engine, bits, o, p), (o, p, n, fifo)


@pytest.mark.parametrize("engine", ComputeEngine)
def test_products_of_eight_bits_share_no_multiplier_of_an_ecp5(engine: ComputeEngine) -> None:
    """Two took two multipliers of 18 bits with an adder behind them, the slowest path of a placed network."""
    layer = conv(4, 12)
    for o, p in itertools.product((1, 2, 3), (1, 2)):
        found = [
            costs(bits, "ecp5").compute(layer, one_design(engine, 4, o, m=2, n=3, q=p, p=p))[0, 0] for bits in (8, 4)
        ]
        shared = p * (o - o // 2) if engine in (DENSE, ACTIVATION) else p * o
        assert found == [2 * 3 * p * o, 2 * 3 * shared], (o, p)


@pytest.mark.parametrize("code", [k for k, one in enumerate(VARIANTS) if one.multiplier == "lut"])
def test_products_in_luts_take_no_dsp(code: int) -> None:
    model, (engine, lanes) = costs(4), (VARIANTS[code].engine, VARIANTS[code].lanes)
    in_dsps = [(one.engine, one.lanes, one.multiplier) for one in VARIANTS].index((engine, lanes, "dsp"))
    folds = [one_design(one, 4, 4, m=2, n=3, q=2, p=2) for one in (code, in_dsps)]
    (none, more, _), (some, fewer, _) = (model.compute(conv(4, 12), one)[0] for one in folds)
    assert none == 0 < some
    assert more > fewer
    assert not costs(5).small_products
    assert not costs(4, "ecp5").small_products


# ---- sums of modules -------------------------------------------------------------------------------------------------


def summed(family: Family, modules: Iterable[tuple[int, ModuleParameters]], beside: int = 0) -> list[int]:
    """DSPs, LUTs and flip-flops of so many of each module, and of some LUTs with a register each beside them."""
    total = np.array([0, beside, beside])
    for count, module in modules:
        one = formula(type(module), family)(module)
        total += count * np.array([one.dsp, one.lut, one.ff])
    return total.tolist()


def test_a_dense_convolution_is_the_sum_of_its_modules() -> None:
    """12 channels, 4 at once in two engines of 18 positions; 8 filters, 2 at once; a bias."""
    layer = conv(12, 8, bias=True)
    window = SlidingWindow(
        streams=4, pixels=1, bits=8, depth=3, height=11, width=11, kernel_height=3, kernel_width=3, stride_height=1,
        stride_width=1, dilation_height=1, dilation_width=1, top=1, left=1, value=0,
    )  # fmt: skip
    modules = [
        WidthConverter(bits=8, in_values=6, out_values=4, total=12),
        Padding(streams=4, pixels=1, bits=8, depth=3, height=10, width=10, top=0, bottom=1, left=0, right=1, value=0),
        window,
        DenseEngine(
            positions=18, multipliers=6, filters=2, bundles=2, rounds=4, passes=3, data_bits=8, weight_bits=8,
            products=2, columns=1, in_dsp=0,
        ),
        AdderTree(addends=2, streams=2, in_bits=21),
        RegisterFifo(width=2 * 22, depth=2),
        Accumulator(streams=2, passes=3, rounds=4, groups=1, in_bits=21, bias_bits=13, out_bits=21),
        Align(streams=2, in_bits=21, out_bits=22, shift_bits=2, rows=4),
        Requantise(streams=2, in_bits=22, out_bits=8, shift=11, signed_out=1),
    ]  # fmt: skip
    folds = one_design(DENSE, 4, 2, m=2, n=6)
    memories = (2**4 - 2) + 2 * 2  # of biases, of whose bits no more than 14 differ over 4 rows, and of shifts
    assert costs().compute(layer, folds)[0].tolist() == summed("xc7", ((1, one) for one in modules), memories)
    held = costs().window(layer, folds.i, folds.q)
    assert (held.bram18[0], held.lut[0]) == (formula(SlidingWindow, "xc7")(window).bram, 0)


def test_decoupled_pairs_are_the_sum_of_their_modules() -> None:
    """16 channels of single pixels, 8 at once in two engines; 8 filters, 2 at once; each of four with its queues."""
    layer = conv(16, 8, 1)
    engine = PairEngine(
        positions=4, multipliers=2, filters=1, bundles=1, rounds=4, passes=2, data_bits=16, weight_bits=16
    )
    modules = [
        (1, WidthConverter(bits=16, in_values=12, out_values=8, total=16)),
        (1, Threshold(streams=8, bits=16, threshold=3, signed=1)),
        (4, engine),
        (4, LutramFifo(width=4 * 16, depth=16, shift_registers=0)),
        (4, LutramFifo(width=34, depth=16, shift_registers=0)),
        (1, AdderTree(addends=2, streams=2, in_bits=34)),
        (1, RegisterFifo(width=2 * 35, depth=2)),
        (1, Accumulator(streams=2, passes=2, rounds=4, groups=1, in_bits=34, bias_bits=29, out_bits=34)),
        (1, Align(streams=2, in_bits=34, out_bits=35, shift_bits=2, rows=4)),
        (1, Requantise(streams=2, in_bits=35, out_bits=16, shift=16, signed_out=1)),
    ]
    for family in ("xc7", "ecp5"):
        found = costs(16, family).compute(layer, one_design(PAIR, 8, 2, m=4, n=2, fifo=16))[0]
        assert found.tolist() == summed(family, modules, 2 * 2)  # shifts


def test_lists_and_shared_picks_are_the_sum_of_their_modules() -> None:
    """6 channels at once, 2 columns; nothing is left to add up outside engines but three bundles."""
    layer = conv(6, 4)
    size = {"positions": 18, "multipliers": 4, "filters": 4, "rounds": 1, "data_bits": 8, "weight_bits": 8}
    lists = WeightEngine(**size, bundles=3, columns=2, rows=5, lanes=1, products=2)
    picks = ActivationEngine(**size, bundles=6, passes=1, products=2)
    beside = [
        (1, WidthConverter(bits=8, in_values=6, out_values=12, total=12)),
        (1, Padding(streams=6, pixels=2, bits=8, depth=1, height=10, width=10, top=0, bottom=1, left=0, right=1,
                    value=0)),
        (1, SlidingWindow(streams=6, pixels=2, bits=8, depth=1, height=11, width=11, kernel_height=3, kernel_width=3,
                          stride_height=1, stride_width=1, dilation_height=1, dilation_width=1, top=1,
                          left=1, value=0)),
        (1, AdderTree(addends=3, streams=8, in_bits=21)),
        (1, RegisterFifo(width=8 * 23, depth=2)),
        (1, Requantise(streams=8, in_bits=20, out_bits=8, shift=10, signed_out=1)),
    ]  # fmt: skip
    own: dict[int, list[tuple[int, ModuleParameters]]] = {
        BY_LANES: [(1, lists)],
        CODES[ACTIVATION]: [(1, picks), (1, Threshold(streams=12, bits=8, threshold=3, signed=1))],
    }
    for code, modules in own.items():
        found = costs().compute(layer, one_design(code, 6, 4, m=2, n=4, q=2, p=2))[0]
        assert found.tolist() == summed("xc7", [*beside, *modules])


def test_queues_of_windows_are_the_same_whatever_multipliers_are_made_of() -> None:
    options, space = DataflowOptions(weight_bits=8, activation_bits=8), DesignSpace(np.full(6, np.inf))
    table = ComputeDesigns(conv(12, 8), LayerSparsity(0.4, 0.5, 0.2), OperandFifos((), 0), options, space)
    intervals: dict[ComputeEngine, set[int]] = {}
    for code, kind in enumerate(VARIANTS):
        one = one_design(code, 4, 2)
        intervals.setdefault(kind.engine, set()).add(int(table._pricing._usual_interval(one)[0]))
    assert all(len(found) == 1 for found in intervals.values())
    assert max(intervals[ComputeEngine.DENSE]) > max(intervals[ComputeEngine.PAIR])


def test_a_row_of_a_table_is_its_logic_and_its_memories() -> None:
    layer, options = conv(12, 8), DataflowOptions(weight_bits=8, activation_bits=8, max_pixels=1)
    sparsity = LayerSparsity(0.4, 0.5, 0.2)
    table = ComputeDesigns(layer, sparsity, OperandFifos((), 0), options, DesignSpace(np.full(6, np.inf)))
    model, seen = costs(), set()
    for row in range(0, len(table), 97):
        one = table.folds[np.array([row])]
        i, o, passes = int(one.i[0]), int(one.o[0]), math.ceil(12 / one.i[0]) * math.ceil(8 / one.o[0])
        deep = math.ceil(12 / i)
        load = min(121 * deep / table.interval[row], 1)
        burst = deep + 2 + math.ceil(load * (1 - 100 / 121) * 100 * deep - 1e-9)
        rows = min(2 * 11 * deep + 3 * deep, 121 * deep) + 2
        queues = model.fifo(one.i, burst) + model.fifo(one.i, rows)
        ahead = model.windows_ahead(layer, one, table._pricing._usual_interval(one))
        assert ahead is not None
        queues = queues + ahead
        banks = model.weights(layer, one, Schedule(np.array([passes]), np.ones(1), table.t[[row]], 1.0))
        dsp, lut, ff = model.compute(layer, one)[0]
        held, lines = table.resources(row, 0), model.window(layer, one.i, one.q).bram18[0]
        assert held[0] == dsp
        assert held[3] == math.ceil(lut + banks.luts[0] + queues.lut[0])
        assert held[4] == math.ceil(ff + banks.ffs[0] + queues.ff[0])
        assert held[1] == lines + queues.bram18[0] + banks.bram18[0]
        seen.add((VARIANTS[one.engine[0]].engine, o))
    assert {engine for engine, _ in seen} == set(ComputeEngine)


# ---- memories of weights ---------------------------------------------------------------------------------------------


def banks_of(layer: Operation, folds: Folds, cycles: float, kept: float = 1.0) -> WeightBanks:
    passes = -(-layer.channels_per_group // folds.i) * -(-layer.filters_per_group // folds.o)
    return costs().weights(layer, folds, Schedule(passes, np.array([kept]), np.array([cycles]), 1.0))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 8), st.integers(1, 2), st.sampled_from([1, 2]))
def test_banks_of_every_kind(o: int, bundles: int, n: int, m: int, p: int) -> None:
    """9·m positions; what is read together is a row, and whoever has an address of its own has a bank."""
    layer, i = conv(12, 8), bundles * m
    passes, positions, steps = math.ceil(12 / i) * math.ceil(8 / o), 9 * m, math.ceil(9 * m / n)
    expected = {  # banks, words of a row, bits of each, rows
        CODES[DENSE]: (1, n * o * bundles, 8, passes * steps),  # columns share what all read
        CODES[ACTIVATION]: (n * bundles * p, o, 8, passes * steps),  # filters share picks
        CODES[WEIGHT]: (1, n * o * bundles, 8 + math.ceil(math.log2(positions)), math.ceil(passes * 1.75)),
        BY_LANES: (1, n * o * bundles, 8 + max(math.ceil(math.log2(steps)), 1), math.ceil(passes * 1.75)),
        CODES[PAIR]: (n * bundles * p * o, 1, 8, passes * steps),
        CODES[CROSSBAR]: (n * bundles * p * o, 1, 8, passes * positions),
    }
    for code, wanted in expected.items():
        banks = banks_of(layer, one_design(code, i, o, m=m, n=n, q=p, p=p), 1.75)
        found = (banks.count[0], banks.words[0], banks.word_bits[0], banks.depth[0])
        assert found == wanted, VARIANTS[code].engine
        masks = (banks.masks[0], banks.mask_bits[0], banks.mask_depth[0])  # a bit tells of zeros
        assert masks == (
            (1, positions * bundles * p * o, passes) if code in (CODES[PAIR], CODES[CROSSBAR]) else (0, 1, 1)
        )
        if code in (CODES[WEIGHT], BY_LANES):
            listed = 1.75 * n * wanted[2] / (positions * 8)
            assert banks.stored[0] == pytest.approx(min(listed, 1.0))  # here a mask with all weights takes as much


def test_tiles_of_zeros_are_not_stored() -> None:
    half, whole = (banks_of(conv(16, 16), one_design(DENSE, 4, 2, n=3), 3.0, kept) for kept in (0.5, 1.0))
    assert (half.depth[0], whole.depth[0]) == (48, 96)


@pytest.mark.parametrize("engine", ComputeEngine)
def test_only_lists_are_shorter_for_fewer_weights(engine: ComputeEngine) -> None:
    """Whole tables of a layer whose weights take block RAMs, at the same folds."""
    layer, options = conv(64, 64), DataflowOptions(max_pixels=1, compute_engines=[engine], engines="lockstep")
    held = []
    for density in (0.8, 0.5, 0.2):
        sparsity = LayerSparsity(density, 0.5, density / 2)
        table = ComputeDesigns(layer, sparsity, OperandFifos((), 0), options, DesignSpace(np.full(6, np.inf)))
        keys = zip(*(getattr(table.folds, key).tolist() for key in ("i", "o", "m", "n", "engine")), strict=True)
        stored = table._pricing._weight_banks(table.folds, table.t)
        bits = stored.count * stored.words * stored.word_bits * stored.depth
        held.append(dict(zip(keys, bits.tolist(), strict=True)))
    alike = [key for key in held[0] if all(key in one for one in held)]
    assert len(alike) > 50
    shorter = [held[0][key] > held[1][key] > held[2][key] for key in alike]
    if engine is WEIGHT:
        assert all(held[0][key] >= held[1][key] >= held[2][key] for key in alike)
        assert sum(shorter) > len(shorter) / 2
    else:
        assert all(held[0][key] == held[2][key] for key in alike)


@pytest.mark.parametrize(
    ("family", "width", "depth", "luts", "blocks"),
    [  # random contents, synthesised by `hass_train.rtl.synthesise`
        ("ecp5", 10, 16, 10, 0), ("ecp5", 32, 64, 128, 0), ("ecp5", 256, 34, 786, 0), ("ecp5", 8, 128, 98, 0),
        ("ecp5", 8, 256, 185, 0), ("ecp5", 10, 256, 0, 1), ("ecp5", 64, 128, 0, 2), ("ecp5", 10, 1152, 20, 1),
        ("ecp5", 32, 2304, 96, 5), ("ecp5", 8, 9216, 56, 4), ("ecp5", 8, 36864, 112, 16), ("ecp5", 8, 4, 3, 0),
        ("xc7", 32, 34, 42, 0), ("xc7", 32, 100, 106, 0), ("xc7", 8, 1000, 147, 0), ("xc7", 64, 128, 266, 0),
            ("xc7", 8, 1100, 0, 1), ("xc7", 32, 300, 0, 1), ("xc7", 8, 4, 3, 0),
    ],
)  # fmt: skip
def test_memories_of_constants_as_they_were_synthesised(
    family: Family, width: int, depth: int, luts: int, blocks: int
) -> None:
    found = rom(np.array([width]), np.array([depth]), family)
    assert found.blocks[0] == blocks
    assert abs(found.lut[0] - luts) <= max(0.36 * luts, 12)
    single = rom(np.array([width]), np.array([1]), family)  # which is constant
    assert [int(one[0]) for one in single] == [0, 0, 0]


@given(st.integers(1, 40), st.integers(0, 3000), st.booleans(), st.sampled_from(["xc7", "ecp5"]))
def test_queues_are_the_generators(words: int, depth: int, unsigned: bool, family: Family) -> None:
    """Registers, LUTs or block RAM, by the rule of `hass_train.build.flows.fifo`."""
    model, bits = SynthesisedCosts(Widths(8, 8, 30), family, unsigned), 8 - unsigned
    found = model.fifo(np.array([words]), depth)
    module: ModuleParameters | None = None
    if depth > 2:
        shallow, given = depth * bits < 1024, {"width": words * bits, "depth": depth}
        module = LutramFifo(**given, shift_registers=0) if shallow else BlockFifo(**given)
    elif depth:
        module = RegisterFifo(width=words * bits, depth=2)
    expected = formula(type(module), family)(module) if module else None
    wanted = (expected.lut, expected.ff, expected.bram) if expected else (0, 0, 0)
    assert (found.lut[0], np.ravel(found.ff)[0], found.bram18[0]) == wanted


# ---- rows of estimates -----------------------------------------------------------------------------------------------


def estimate_of(layer: Operation, sparsity: LayerSparsity, device: dict[str, Any], **options: Any) -> Any:
    workload = Workload("one", (layer.source.channels, 10, 10), (layer,))
    accelerator = DataflowAccelerator(load_device("zedboard", **device), DataflowOptions(tolerance=0.0, **options))
    return accelerator.estimate(workload, SparsityProfile({"conv": sparsity})).layers[0]


def test_rows_tell_the_order_of_filters() -> None:
    """A permutation that keeps groups, most weights first; none where filters are alike or the engine has no lists."""
    layer, held = conv(8, 8, groups=2), (3, 36, 9, 20, 0, 7, 30, 30)
    sparsity = LayerSparsity(sum(held) / 288, 0.5, 0.2, filter_nonzeros=held)
    row = estimate_of(layer, sparsity, {}, compute_engines=["weight"], limits=("dsp",))
    assert sorted(row.filter_order) == list(range(8))
    assert [{k // 4 for k in row.filter_order[a : a + 4]} for a in (0, 4)] in ([{0}, {1}], [{1}, {0}])
    assert row.filter_order == tuple(filter_order(np.array(held), 2).tolist())
    alike = LayerSparsity(0.5, 0.5, 0.25, filter_nonzeros=(18,) * 8)
    assert estimate_of(layer, alike, {}, compute_engines=["weight"], limits=("dsp",)).filter_order == ()
    assert estimate_of(layer, sparsity, {}, compute_engines=["pair"], limits=("dsp",)).filter_order == ()


@pytest.mark.parametrize("engine", ComputeEngine)
def test_rows_tell_the_variant(engine: ComputeEngine) -> None:
    sparsity = LayerSparsity(0.5, 0.5, 0.25)
    row = estimate_of(conv(8, 8), sparsity, {}, compute_engines=[engine], limits=("dsp", "lut"))
    known = {one.lanes for one in VARIANTS if one.engine is engine}
    assert (row.engine, row.multiplier) == (engine, "dsp")
    assert row.lanes in known
    assert row.lanes == (engine in (ACTIVATION, PAIR)) or engine is WEIGHT


def test_where_luts_are_plenty_products_go_there() -> None:
    narrow: dict[str, Any] = {"weight_bits": 4, "activation_bits": 4, "compute_engines": ["dense"], "limits": ("dsp",)}
    row = estimate_of(conv(8, 8), LayerSparsity(), {"dsp": 1}, **narrow)
    assert (row.multiplier, row.resources.dsp) == ("lut", 0)
    assert row.folds["o"] > 1


def test_prices_are_numbers_where_no_dsp_is_used() -> None:
    """All products in LUTs, and nothing else counts: no pair is worth anything."""
    workload = Workload("one", (8, 10, 10), (conv(8, 8),))
    options = DataflowOptions(weight_bits=4, activation_bits=4, limits=("dsp",))
    found = DataflowAccelerator(load_device("zedboard", dsp=1), options).estimate(
        workload, SparsityProfile({"conv": LayerSparsity(0.5, 0.5, 0.25)})
    )
    assert found.resources.dsp == 0
    assert (found.prices, found.weight_prices) == ({"conv": 0.0}, {"conv": 0.0})


@pytest.mark.parametrize(
    ("engine", "multiplied"), [(DENSE, 1.0), (ACTIVATION, 0.75), (WEIGHT, 0.5), (PAIR, 0.3), (CROSSBAR, 0.3)]
)
def test_energy_is_spent_on_what_is_multiplied(engine: ComputeEngine, multiplied: float) -> None:
    layer, sparsity = conv(8, 8), LayerSparsity(0.5, 0.75, 0.3)
    workload = Workload("one", (8, 10, 10), (layer,))
    options = DataflowOptions(compute_engines=[engine], limits=("dsp",), tolerance=0.01)
    found = DataflowAccelerator(load_device("zedboard"), options).estimate(
        workload, SparsityProfile({"conv": sparsity})
    )
    row, pj = found.layers[0], options.onchip_pj_per_bit * 16
    assert found.energy.compute_j == pytest.approx(layer.macs * multiplied * 0.9e-12)
    read = layer.macs * multiplied / row.folds["p"] + 2 * 800  # columns share weights; values go in and out
    assert found.energy.onchip_j == pytest.approx(read * pj * 1e-12)
