"""The simulator's compute engines, each kind against brute force: the rounds of `engine_rounds` in every design."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hass_train.hardware import Operation, OperationKind, Workload
from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.engine_rounds import dense_rounds, lane_rounds, pooled_rounds
from hass_train.hardware.dataflow.simulator.packing import NonZeros, bundled, dealt
from hass_train.hardware.dataflow.simulator.pipeline import Pipeline, steady
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.workload import FeatureMap

Case = tuple[Operation, StageDesign, NonZeros]
IMAGES = 12
DECOUPLED = (ComputeEngine.ACTIVATION, ComputeEngine.PAIR, ComputeEngine.CROSSBAR)


def conv(size: int, channels: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Operation:
    out = (size - 1) // stride + 1
    return Operation(
        "layer", OperationKind.CONV, ("input",), FeatureMap(size, size, channels), FeatureMap(out, out, filters),
        (kernel, kernel), (stride, stride), (kernel // 2, kernel // 2), groups=groups,
    )  # fmt: skip


def built(engine: str, fifo: int = 0, lanes: bool = False, order: tuple[int, ...] = (), **folds: int) -> StageDesign:
    all_folds = {"i": 1, "o": 1, "g": 1, "m": 1, "N": 1, "q": 1, "p": 1} | folds
    return StageDesign("layer", engine, all_folds, 0, fifo, lanes, order)


def alone(layer: Operation, design: StageDesign, nonzeros: NonZeros | None = None) -> Pipeline:
    shape = (layer.source.channels, layer.source.height, layer.source.width)
    return Pipeline(Workload("one", shape, (layer,)), [design], {"layer": nonzeros} if nonzeros else {})


def few(most: int) -> st.SearchStrategy[int]:
    """Numbers of what works side by side: mostly so few that computing is what takes longest."""
    return st.one_of(st.integers(1, math.ceil(most / 3)), st.integers(1, math.ceil(most / 3)), st.integers(1, most))


@st.composite
def cases(draw: st.DrawFn, engine: ComputeEngine) -> Case:
    """A layer, how it is built with engines of a kind, and where two images and the weights are not zero."""
    kernel, groups = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 1, 2, 3]))
    stride, width = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    channels, filters = draw(st.integers(1, 5)), draw(st.integers(1, 5))  # of a group
    dilation = draw(st.sampled_from([1, 1, 2])) if kernel == 3 else 1
    pad = kernel // 2 * dilation
    out = (width + 2 * pad - (kernel - 1) * dilation - 1) // stride + 1
    layer = replace(
        conv(width, groups * channels, groups * filters, kernel, stride, groups),
        result=FeatureMap(out, out, groups * filters), padding=(pad, pad), dilation=(dilation, dilation),
    )  # fmt: skip
    i, o, g = (draw(few(most)) for most in (channels, filters, groups))
    m = draw(st.sampled_from([m for m in range(1, i + 1) if i % m == 0]))
    folds = {"i": i, "o": o, "g": g, "m": m, "N": draw(few(kernel * kernel * m))}
    folds["p"] = folds["q"] = draw(st.integers(1, 2)) if i * g == groups * channels and stride == 1 else 1
    fifo = draw(st.sampled_from([0, 1, 3])) if engine in DECOUPLED else 0
    random, densities = np.random.default_rng(draw(st.integers(0, 10**6))), st.sampled_from([0.1, 0.5, 0.8, 0.9, 1])
    order: tuple[int, ...] = ()
    if draw(st.booleans()):
        own = [block * filters + random.permutation(filters) for block in random.permutation(groups)]
        order = tuple(np.concatenate(own).tolist())
    activations = np.zeros((2, width + 2 * pad, width + 2 * pad, groups * channels), bool)
    inside = slice(pad, pad + width)
    activations[:, inside, inside] = random.random((2, width, width, groups * channels)) < draw(densities)
    weights = random.random((groups * filters, channels, kernel, kernel)) < draw(densities)
    lanes = draw(st.booleans()) if engine == ComputeEngine.WEIGHT else engine in ("activation", "pair")
    return layer, built(engine, fifo, lanes, order, **folds), NonZeros(activations, weights)


def consecutive(order: list[int], size: int) -> list[list[int]]:
    """An order in blocks of so many, the last one filled up with −1."""
    return [(order[k : k + size] + [-1] * size)[:size] for k in range(0, len(order), size)]


def blocks(case: Case) -> list[tuple[list[int], list[list[int]], list[list[int]]]]:
    """The blocks of an output pixel in turn: groups side by side, the channels of each bundle, and of each group the
    filters; −1 where there is none."""
    layer, design, nonzeros = case
    i, o, g, m = (design.folds[name] for name in "iogm")
    groups, filters, channels = layer.groups, layer.filters_per_group, layer.channels_per_group
    in_turn = [consecutive(bundle, m) for bundle in consecutive(list(range(channels)), i)]
    group_blocks, filter_blocks = consecutive(list(range(groups)), g), [consecutive(list(range(filters)), o)] * groups
    if design.engine != ComputeEngine.WEIGHT:
        density = nonzeros.weights.reshape(groups, filters, -1).mean((0, 2))
        in_turn = bundled(np.zeros(channels), i // m, m).tolist()
        group_blocks, filter_blocks = dealt(np.zeros(groups), g).tolist(), [dealt(density, o).tolist()] * groups
    if design.filter_order:
        own = np.reshape(design.filter_order, (groups, filters))
        places = (own[:, 0] // filters).tolist()
        group_blocks = consecutive(places, g)
        filter_blocks = [consecutive((own[places.index(k)] % filters).tolist(), o) for k in range(groups)]
    return [
        (gs, bundles, [filter_blocks[group][k] for group in gs])
        for gs, bundles, k in itertools.product(group_blocks, in_turn, range(ceil_div(filters, o)))
    ]


def cycles(case: Case) -> list[np.ndarray]:
    """(rounds, engines) cycles of every engine in every round of each image, engine by engine."""
    layer, design, nonzeros = case
    filters, channels, n = layer.filters_per_group, layer.channels_per_group, design.folds["N"]
    corners = list(itertools.product(range(layer.kernel[0]), range(layer.kernel[1])))

    def held(image: np.ndarray, y: int, x: int, group: int, bundle: list[int], f: int) -> list[bool]:
        """Which of an engine's positions count in a round, channel by channel."""
        found = []
        for c, (dy, dx) in itertools.product(bundle, corners):
            row, column = y * layer.stride[0] + dy * layer.dilation[0], x * layer.stride[1] + dx * layer.dilation[1]
            present = group >= 0 and c >= 0
            activation = present and x < layer.result.width and image[row, column, group * channels + c]
            weight = present and f >= 0 and nonzeros.weights[group * filters + f, c, dy, dx]
            both = {"activation": activation, "weight": weight}
            found.append(bool(both.get(design.engine, activation and weight)))
        return found

    images = []
    for image in nonzeros.activations:
        rounds = []
        columns = range(math.ceil(layer.result.width / design.folds["p"]))
        for y, column, (gs, bundles, fs) in itertools.product(range(layer.result.height), columns, blocks(case)):
            engines = []
            for p, (k, group), bundle in itertools.product(range(design.folds["p"]), enumerate(gs), bundles):
                for f in fs[k] if design.engine != ComputeEngine.ACTIVATION else [-1]:  # which filters share
                    engines.append(held(image, y, column * design.folds["p"] + p, group, bundle, f))
            rounds.append(engines)
        bits = np.array(rounds)
        counted = (lane_rounds if design.lanes else pooled_rounds)(bits.reshape(-1, 1, bits.shape[2]), n)
        images.append(counted.reshape(bits.shape[:2]))
    return images


def slow_elsewhere(layer: Operation, design: StageDesign) -> int:
    """Cycles an image of reading and of writing."""
    streams = design.folds["i"] * design.folds["g"]
    reads = ceil_div(layer.pixels_read, design.folds["q"]) * ceil_div(layer.source.channels, streams)
    return int(max(reads, layer.result.words))


def check(case: Case) -> None:
    """Of one layer that always has its input.

    In lock-step it takes the sum of the slowest engines' cycles; decoupled, engines are D rounds ahead of the slowest
    at most.
    """
    layer, design, nonzeros = case
    images = cycles(case)
    found = alone(layer, design, nonzeros).play(IMAGES, settle=4)
    stage = found.stages[0]
    played = [images[number % 2] for number in range(1, IMAGES)]  # the first image is not counted
    busy = np.mean([rounds.mean(1).sum() for rounds in played])
    assert stage.interval_cycles * stage.busy / (stage.busy + stage.uneven) == pytest.approx(busy, rel=1e-6)
    if design.engine_fifo == 0:
        assert stage.interval_cycles == pytest.approx(np.mean([rounds.max(1).sum() for rounds in played]), rel=1e-6)
    finished: list[float] = []
    free = np.zeros(images[0].shape[1])
    for number in range(IMAGES):
        for each in images[number % 2]:
            gate = finished[-1 - design.engine_fifo] if len(finished) > design.engine_fifo else 0.0
            free = np.maximum(free, gate) + each
            finished.append(max(free.max(), finished[-1] if finished else 0.0))
    by_itself = (finished[-1] - finished[5 * len(images[0]) - 1]) / (IMAGES - 5)
    if by_itself > 1.5 * slow_elsewhere(layer, design) + 2:  # neither its input nor its output holds it up
        exact = design.engine == ComputeEngine.WEIGHT
        assert found.interval_cycles == pytest.approx(by_itself, rel=1e-12 if exact else 0.02)


@given(cases(ComputeEngine.ACTIVATION))
def test_activation_engines(case: Case) -> None:
    check(case)


@given(cases(ComputeEngine.WEIGHT))
def test_weight_engines(case: Case) -> None:
    check(case)


@given(cases(ComputeEngine.PAIR))
def test_pair_engines(case: Case) -> None:
    check(case)


@given(cases(ComputeEngine.CROSSBAR))
def test_crossbar_engines(case: Case) -> None:
    check(case)


@given(cases(ComputeEngine.DENSE))
def test_dense_engines(case: Case) -> None:
    layer, design, _ = case
    rounds = len(blocks(case)) * layer.result.height * ceil_div(layer.result.width, design.folds["p"])
    taken = rounds * dense_rounds(layer.window * design.folds["m"], design.folds["N"])
    found = alone(layer, design).play(IMAGES, settle=4)
    assert found.stages[0].interval_cycles == taken
    if taken > 1.5 * slow_elsewhere(layer, design) + 2:
        assert found.interval_cycles == taken


@given(st.data())
def test_lanes_of_any_width(data: st.DataObject) -> None:
    """Up to 600 positions of up to 64 multipliers: several lanes in a word, or several words in a lane."""
    window = data.draw(st.sampled_from([1, 9, 25]))
    m = data.draw(st.integers(1, 600 // window))
    engine = data.draw(st.sampled_from(["activation", "weight", "pair"]))
    n, fifo = data.draw(st.integers(1, min(64, m * window))), data.draw(st.sampled_from([0, 2]))
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    layer, size = conv(2, m, 2, math.isqrt(window)), 2 + 2 * (math.isqrt(window) // 2)
    activations = random.random((1, size, size, m)) < data.draw(st.floats(0, 1))
    weights = random.random((2, m, *layer.kernel)) < data.draw(st.floats(0, 1))
    design = built(engine, fifo if engine != "weight" else 0, True, i=m, o=1, m=m, N=n)
    case = layer, design, NonZeros(activations, weights)
    found = alone(*case).play(4)
    assert found.stages[0].interval_cycles == cycles(case)[0].sum()  # of a single engine


# ---- the order of filters ----------------------------------------------------------------------------------------


def test_filters_in_their_order_by_hand() -> None:
    """Filters of 9, 1, 9 and 1 weights, two at a time, on 4 × 4 pixels: 9 + 9 cycles a pixel, or 9 + 1 in order."""
    weights = np.zeros((4, 1, 3, 3), bool)
    weights[::2], weights[1::2, 0, 0, 0] = True, True
    nonzeros, layer = NonZeros(np.ones((1, 6, 6, 1), bool), weights), conv(4, 1, 4, 3)
    assert alone(layer, built("weight", o=2), nonzeros).play(4).stages[0].interval_cycles == 16 * 18
    ordered = alone(layer, built("weight", o=2, order=(0, 2, 1, 3)), nonzeros).play(4).stages[0]
    assert ordered.interval_cycles == 16 * 10
    assert ordered.uneven == 0


def test_groups_in_their_order_by_hand() -> None:
    """The same of groups of one filter each."""
    weights = np.zeros((4, 1, 3, 3), bool)
    weights[::2], weights[1::2, 0, 0, 0] = True, True
    nonzeros, layer = NonZeros(np.ones((1, 6, 6, 4), bool), weights), conv(4, 4, 4, 3, groups=4)
    assert alone(layer, built("weight", g=2), nonzeros).play(4).stages[0].interval_cycles == 16 * 18
    ordered = alone(layer, built("weight", g=2, order=(2, 0, 3, 1)), nonzeros).play(4)
    assert ordered.stages[0].interval_cycles == 16 * 10


def test_filters_of_groups_in_their_order_by_hand() -> None:
    """Groups with 9, 1, 9, 1 and 9, 9, 1, 1 weights of their filters: each in an order of its own, 9 + 1 cycles."""
    weights = np.zeros((8, 1, 3, 3), bool)
    weights[[0, 2, 4, 5]], weights[:, 0, 0, 0] = True, True
    nonzeros, layer = NonZeros(np.ones((1, 6, 6, 2), bool), weights), conv(4, 2, 8, 3, groups=2)
    assert alone(layer, built("weight", o=2), nonzeros).play(4).stages[0].interval_cycles == 16 * (18 + 10)
    ordered = alone(layer, built("weight", o=2, order=(4, 5, 6, 7, 0, 2, 1, 3)), nonzeros).play(4)
    assert ordered.stages[0].interval_cycles == 16 * (10 + 10)


def test_weights_take_the_same_for_every_image() -> None:
    """So one image is enough to play them, whatever it holds."""
    random = np.random.default_rng(0)
    layer = conv(4, 3, 4, 3)
    weights = random.random((4, 3, 3, 3)) < 0.5
    intervals = set()
    for images in (1, 3):
        pipeline = alone(layer, built("weight", i=3, o=2), NonZeros(random.random((images, 6, 6, 3)) < 0.5, weights))
        assert pipeline.real == 1
        intervals.add(steady(pipeline).interval_cycles)
    assert len(intervals) == 1


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (built("weight", order=(0, 1, 2)), "filter_order of layer is no permutation of its 4 filters"),
        (built("weight", order=(0, 1, 2, 2)), "filter_order of layer is no permutation of its 4 filters"),
        (built("pair", order=(1, 2, 3, 4)), "filter_order of layer is no permutation of its 4 filters"),
        (built("weight", order=(0, 2, 1, 3)), "filter_order of layer mixes filters of different groups"),
        (built("weight", fifo=2), "layer has engine_fifo=2, but weight engines never wait; it must be 0"),
        (built("dense", fifo=2), "layer has engine_fifo=2, but dense engines never wait; it must be 0"),
    ],
)
def test_designs_that_cannot_be_are_refused(design: StageDesign, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alone(conv(4, 4, 4, groups=2), design)


@pytest.mark.parametrize("engine", [engine for engine in ComputeEngine if engine != ComputeEngine.DENSE])
def test_whatever_skips_zeros_needs_operands(engine: ComputeEngine) -> None:
    with pytest.raises(ValueError, match="layer has engines that skip zeros, but no activations and weights are given"):
        alone(conv(4, 4, 4), built(engine)).play(3)
