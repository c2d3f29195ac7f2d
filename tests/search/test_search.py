"""Goals, phases, the controller, the penalty and settling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from callbacks.phases import Phases
from hass_train.config.schema import PhaseConfig, SearchConfig
from hass_train.hardware import SparsityProfile, trace
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.device import Device
from hass_train.runtime.errors import UserError
from hass_train.search.engine import Choice
from hass_train.search.goal import Goal, Reached
from hass_train.search.goals import (
    FixedPenalty,
    MaxAccuracyDrop,
    MaxEnergy,
    Sparsity,
    TargetLatency,
    TargetSpeedup,
    TargetThroughput,
)
from hass_train.search.penalty import PenaltyController, PricedPenalty
from hass_train.search.phases import Phase, PhasePlan
from hass_train.search.question import floor_profile
from hass_train.search.settle import BEYOND, inverse_softplus, meet, settle
from hass_train.search.stated import stated
from hass_train.sparsity import LayerRule, Mode, running_profile, sparse_layers, sparsify, watching
from hass_train.sparsity.balanced import Balanced
from hass_train.sparsity.layers import SparseLayer

PLAN = PhasePlan((3, 2, 4), (1e-2, 2e-2, 3e-2))


GOALS = {
    "target_speedup": ("TargetSpeedup", "speedup"), "target_throughput": ("TargetThroughput", "images_per_second"),
    "max_accuracy_drop": ("MaxAccuracyDrop", "drop"), "penalty": ("FixedPenalty", "weight"),
}  # fmt: skip


def config(**goals: float) -> SearchConfig:
    """What conf/search/learned.yaml says of goals, with some of them given."""
    phase = PhaseConfig(1, 1e-3)
    sections = {
        name: {"_target_": f"hass_train.search.goals.{kind}", argument: goals.get(name)}
        for name, (kind, argument) in GOALS.items()
    }
    return SearchConfig(warmup=phase, search=phase, recover=phase, goals=sections)


def test_the_goal_is_the_one_whose_argument_is_given() -> None:
    assert stated(config(), False, "learned") is None
    assert stated(config(target_throughput=500), False, "learned") == TargetThroughput(500)
    assert stated(config(penalty=0.0), False, "learned") == FixedPenalty(0.0)
    assert TargetThroughput(500).target_ips(100) == 500
    assert TargetSpeedup(3).target_ips(100) == 300
    assert FixedPenalty(0.0).target_ips(100) is None


@pytest.mark.parametrize("goal", [{"target_speedup": -1}, {"target_throughput": 0}, {"penalty": math.nan}])
def test_senseless_goals_are_refused(goal: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(goal))):
        stated(config(**goal), False, "learned")


def test_two_goals_are_refused() -> None:
    with pytest.raises(UserError, match=r"2 goals \(target_speedup, penalty\)"):
        stated(config(target_speedup=2, penalty=1), False, "learned")


def answer(throughput: float = 100.0, **others: Any) -> Any:
    """What goals see of an estimate."""
    seen = {"latency_ms": 1.0, "energy_j": 1e-3, "objective": "latency", "sequential": False}
    return SimpleNamespace(throughput_ips=throughput, **seen | others)


def test_a_goal_beyond_the_roof_names_the_roof() -> None:
    with pytest.raises(UserError, match=r"target_speedup is 9, beyond the roof of u250: .* reaches 4\.2 \(dsp binds\)"):
        TargetSpeedup(9).check_reachable(answer(100), answer(420), "u250", "dsp")
    with pytest.raises(UserError, match=r"target_throughput is 900, .* reaches 420 \(dsp binds\)"):
        TargetThroughput(900).check_reachable(answer(100), answer(420), "u250", "dsp")
    TargetSpeedup(4).check_reachable(answer(100), answer(420), "u250", "dsp")
    FixedPenalty(9).check_reachable(answer(100), answer(420), "u250", "dsp")
    dense, sparse = answer(latency_ms=0.2, energy_j=2e-3), answer(latency_ms=0.05, energy_j=5e-4)
    with pytest.raises(UserError, match=r"target_latency_ms is 0\.04, .* reaches 0\.05 .*; ask for at least that"):
        TargetLatency(0.04).check_reachable(dense, sparse, "u250", "dsp")
    with pytest.raises(UserError, match=r"max_energy_mj is 0\.4, .* reaches 0\.5 .*; ask for at least that"):
        MaxEnergy(0.4).check_reachable(dense, sparse, "u250", "dsp")
    with pytest.raises(UserError, match=r"designs are chosen for throughput; add hw\.objective=latency"):
        TargetLatency(0.1).check_reachable(answer(objective="throughput"), sparse, "u250", "dsp")
    TargetLatency(0.06).check_reachable(dense, sparse, "u250", "dsp")
    MaxEnergy(0.6).check_reachable(dense, sparse, "u250", "dsp")


def test_goals_judge_a_finished_network() -> None:
    half = sparsify(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Linear(16, 10)), {"all": LayerRule("*")})
    for _, layer in sparse_layers(half):
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(0.5, 0.0)
        layer.set_mode(Mode.FROZEN)
    reached = Reached(half, 0.9, 0.88, 100, 250)
    verdicts: list[tuple[Goal, bool | None]] = [
        (TargetSpeedup(2.5), True), (TargetSpeedup(2.6), False), (TargetThroughput(251), False),
        (MaxAccuracyDrop(0.03), True), (MaxAccuracyDrop(0.01), False), (FixedPenalty(1.0), None),
        (Sparsity(0.5), True), (Sparsity(0.6), False), (TargetLatency(1 / 250), True), (TargetLatency(1 / 251), False),
        (MaxEnergy(1 / 249), True), (MaxEnergy(1 / 251), False),
    ]  # fmt: skip
    assert [goal.met(reached) for goal, _ in verdicts] == [verdict for _, verdict in verdicts]


def test_goals_steer_towards_what_they_ask_for() -> None:
    assert TargetLatency(0.1).controller(2.0, 50.0, 0.1, 30).log_target == pytest.approx(math.log(11 / 2))
    assert [goal.rate(answer(latency_ms=0.2, energy_j=2e-3)) for goal in (TargetLatency(1), MaxEnergy(1))] == [5, 0.5]
    assert (TargetLatency(1).shown(5.0), MaxEnergy(1).shown(0.5)) == ("0.2 ms", "2 mJ an image")
    assert TargetSpeedup(2).controller(100, 900, 0.1, 30).log_target == pytest.approx(math.log(2.2))
    assert FixedPenalty(0.3).controller(100, 900, 0.1, 30).fixed == 0.3
    assert Sparsity(0.5).controller(100, 900, 0.1, 30).fixed == 0.0
    free = MaxAccuracyDrop(0.02).controller(100, 900, 0.1, 30)
    assert (free.fixed, free.log_target, free.allowance) == (None, pytest.approx(math.log(9)), 0.04)


def test_phases_follow_each_other() -> None:
    expected = [Phase.WARMUP] * 3 + [Phase.SEARCH] * 2 + [Phase.RECOVER] * 4
    assert [PLAN.phase_at(epoch) for epoch in range(9)] == expected
    assert PLAN.phase_at(9) is Phase.RECOVER
    assert PhasePlan((0, 2, 0), PLAN.rates).phase_at(7) is Phase.SEARCH
    paces = [PLAN.threshold_pace(step, 100) for step in range(900)]  # the search takes the steps from 300 to 500
    assert set(paces[:440] + paces[500:]) == {1.0}
    assert all(later < earlier for earlier, later in itertools.pairwise(paces[440:500]))
    assert 0.1 < paces[499] < 0.12
    nothing = PhasePlan((0, 0, 0), PLAN.rates)
    assert (nothing.phase_at(0), nothing.learning_rate(0, 10)) == (Phase.RECOVER, 0.0)
    assert (nothing.progress(0, 10), nothing.threshold_pace(0, 10)) == ((Phase.RECOVER, 1.0), 1.0)
    assert PLAN.progress(30, 10) == (Phase.SEARCH, 0.0)
    assert PLAN.progress(45, 10) == (Phase.SEARCH, 0.75)


@given(st.integers(0, 89))
def test_learning_rates_stay_below_their_phase_peak(step: int) -> None:
    phase, _ = PLAN.progress(step, 10)
    rate = PLAN.learning_rate(step, 10)
    assert 0 < rate <= PLAN.rates[list(Phase).index(phase)]


def test_learning_rate_peaks_and_ends() -> None:
    assert PLAN.learning_rate(3, 10) == pytest.approx(1e-2)
    assert PLAN.learning_rate(29, 10) < 1e-4
    assert PLAN.learning_rate(49, 10) == pytest.approx(2e-2 / 3, rel=0.1)


def plant(controller: PenaltyController, gain: float, steps: int = 400) -> list[float]:
    """Log speed-up of a system that follows λ slowly."""
    speedup, course = 0.1, []
    for step in range(steps):
        weight = controller.update(speedup, step / steps, steps)
        speedup += gain * (weight - 0.15 * max(speedup, 0.0))
        course.append(speedup)
    return course


@pytest.mark.parametrize("gain", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("target", [0.7, 1.4])
def test_the_controller_reaches_its_goal_without_overshooting(gain: float, target: float) -> None:
    course = plant(PenaltyController(None, target, cap=30.0), gain)
    assert course[-1] == pytest.approx(target, abs=0.05)
    assert max(course) < target + 0.15


def test_the_integral_does_not_wind_up_at_the_cap() -> None:
    controller = PenaltyController(None, 2.0, cap=0.5)
    for step in range(1000):
        controller.update(0.0, step / 1000, 1000)
    assert controller.value == 0.5
    assert controller.integral < 1.0
    controller.update(2.5, 1.0, 1000)
    assert controller.value == 0.0  # lets go at once


def test_a_fixed_penalty_stays_and_state_returns() -> None:
    assert PenaltyController(0.3, 0.0, 30.0).update(5.0, 0.5, 10) == 0.3
    one, other = PenaltyController(None, 1.0, 30.0), PenaltyController(None, 1.0, 30.0)
    for step in range(20):
        one.update(0.1, step / 50, 50)
    other.load_state_dict(one.state_dict())
    assert one.update(0.2, 0.5, 50) == other.update(0.2, 0.5, 50)


def test_the_controller_waits_while_accuracy_falls() -> None:
    """A network that loses a tenth of accuracy for every 0.3 of log speed-up beyond 0.6: the goal of 2 gives way."""
    controller, speedup, drops = PenaltyController(None, 2.0, cap=30.0), 0.0, []
    for epoch in range(30):
        for step in range(20):
            weight = controller.update(speedup, (epoch * 20 + step) / 600, 600)
            speedup += 0.03 * (weight - 0.15 * max(speedup, 0.0))
        drops.append(max(speedup - 0.6, 0.0) / 3)
        controller.observe(drops[-1], speedup, 30)
    collapsed = [drop > 0.05 for drop in drops]
    assert not any(a and b and c for a, b, c in zip(collapsed, collapsed[1:], collapsed[2:], strict=False))
    assert speedup > 0.6  # and yet it goes as far as it may
    assert controller.ceiling < 2.0


def test_a_goal_held_back_pulls_thresholds_back() -> None:
    controller = PenaltyController(None, 2.0, cap=30.0)
    controller.update(0.2, 0.5, 100)
    assert controller.update(3.0, 0.6, 100) == 0.0  # beyond the goal: λ just rests
    controller.observe(0.08, 1.9, 10)
    assert -controller.release <= controller.update(1.9, 0.6, 100) < 0.0


def test_recent_training_accuracy_is_held_against_the_best() -> None:
    controller = PenaltyController(None, 2.0, cap=30.0)
    for accuracy in (1.0, 0.0, 0.8, 0.8):  # a few batches say nothing yet
        controller.follow(accuracy, 96)
    assert controller.best == 0.0
    assert controller.lost == 0.0
    for _ in range(200):
        controller.follow(0.8, 96)
    assert controller.best == pytest.approx(0.8, abs=0.01)
    for _ in range(10):
        controller.follow(0.6, 96)
    assert 0.05 < controller.lost < 0.2
    few = PenaltyController(None, 2.0, cap=30.0)
    few.load_state_dict({**controller.state_dict(), "images": 2})
    assert few.lost == 0.0  # two images a batch: it may be chance
    again = PenaltyController(None, 2.0, cap=30.0)
    again.load_state_dict(controller.state_dict())
    assert again.lost == controller.lost


def test_lost_training_accuracy_stops_the_controller_at_once() -> None:
    controller = PenaltyController(None, 2.0, cap=30.0)
    for _ in range(50):
        controller.follow(0.9, 96)
        controller.update(0.2, 0.5, 100)
    assert controller.value > 1
    before = controller.integral
    for _ in range(6):
        controller.follow(0.7, 96)
    assert controller.update(0.2, 0.5, 100) <= 0
    assert controller.integral < before
    for _ in range(40):
        controller.follow(0.9, 96)
    assert controller.update(0.2, 0.5, 100) > 0


def test_the_controller_goes_on_when_accuracy_is_back() -> None:
    controller = PenaltyController(None, 1.0, cap=30.0)
    controller.update(0.2, 0.1, 100)
    controller.observe(0.06, 0.4, 10)
    held = controller.ceiling
    assert held < 0.4
    for _ in range(20):
        controller.observe(0.0, 0.4, 10)
    assert controller.ceiling == math.inf
    again = PenaltyController(None, 1.0, cap=30.0)
    again.load_state_dict({**controller.state_dict(), "ceiling": held})
    assert again.ceiling == held


def tiny() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    return sparsify(model, {"all": LayerRule("*"), "first": LayerRule("@first", weight=False, activation=False)})


DEVICE = Device("small", 200, 280, 0, 53200, 106400, 200, 34.1)


def test_controls_keep_the_sum_of_prices() -> None:
    model = tiny()
    workload = trace(model, (3, 12, 12))
    profile = SparsityProfile.uniform(workload, 0.5)
    estimate = DataflowAccelerator(DEVICE).estimate(workload, profile)
    layers = workload.compute_layers
    control = PricedPenalty.at(estimate, profile, 1.0, {layer.name: float(layer.macs) for layer in layers})
    prices = (estimate.prices, estimate.weight_prices, estimate.activation_prices)
    total = sum(sum(one.values()) for one in prices)
    assert total > 0
    assert sum(control.pair_prices.values()) == pytest.approx(total)
    for layer in layers:
        share = layer.macs / sum(other.macs for other in layers)
        assert control.pair_prices[layer.name] == pytest.approx(total * share)
    assert not any(control.weight_prices.values())
    assert not any(control.activation_prices.values())


def test_the_penalty_is_prices_times_densities() -> None:
    model = tiny()
    workload = trace(model, (3, 12, 12))
    images = torch.randn(8, 3, 12, 12)
    model.train()(images)
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    model(images)
    profile = running_profile(model)
    estimate = DataflowAccelerator(DEVICE).estimate(workload, profile)
    penalty = PricedPenalty.at(estimate, profile, 0.0)
    cost = penalty(sparse_layers(model))
    assert float(cost.detach()) == pytest.approx(penalty.cost, rel=0.1)
    assert penalty.speedup_at(penalty.cost) == pytest.approx(0.0)
    assert penalty.speedup_at(penalty.cost - 0.2) == pytest.approx(-math.log(0.8))  # intervals are linear
    assert penalty.speedup_at(penalty.cost - 2.0) == pytest.approx(-math.log(0.05))
    cost.backward()
    for name, layer in sparse_layers(model):
        searching = name != "0"
        assert (layer.weight_threshold.grad is not None) == searching
        if searching:
            assert layer.weight_threshold.grad <= 0  # a higher threshold is cheaper


def test_settling_meets_the_target_exactly_and_not_more() -> None:
    model = tiny().train()
    with watching(model):
        model(torch.randn(8, 3, 12, 12))
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
        with torch.no_grad():
            layer.weight_threshold.fill_(-1.0)

    def sparsity() -> float:
        densities = [layer.weight_density() for name, layer in sparse_layers(model) if name != "0"]
        return 1 - sum(densities) / len(densities)

    for target in (0.3, 0.7):
        settle(model, sparsity, target)
        assert target <= sparsity() < target + 0.03
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.FROZEN)
    before = [layer.activation_level() for _, layer in sparse_layers(model)]
    left = [int(layer.mask.sum()) for _, layer in sparse_layers(model)]
    smallest = [float(layer.weight.abs()[layer.mask].min()) for _, layer in sparse_layers(model)]
    goal = before[1] * 1.5
    factor = settle(model, lambda: dict(sparse_layers(model))["2"].activation_level(), goal)
    assert factor == pytest.approx(1.5, rel=0.02)
    after = [layer.activation_level() for _, layer in sparse_layers(model)]
    assert after[1:] == pytest.approx([level * factor for level in before[1:]])
    for (_, layer), count, size in zip(sparse_layers(model), left, smallest, strict=True):
        if layer.prune_weights:  # a third of the weights that were left, the smallest
            assert int(layer.mask.sum()) == count - int(count * (1 - 1 / factor))
            assert float(layer.weight.abs()[layer.mask].min()) > size
            assert not layer.weight[~layer.mask].any()
    weights = [layer.weight.clone() for _, layer in sparse_layers(model)]
    settle(model, lambda: dict(sparse_layers(model))["2"].activation_level(), goal / 1.2)
    assert dict(sparse_layers(model))["2"].activation_level() == pytest.approx(goal / 1.2, rel=0.02)
    for (_, layer), weight in zip(sparse_layers(model), weights, strict=True):
        assert torch.equal(layer.weight, weight)  # none comes back


def half_active() -> tuple[nn.Module, list[SparseLayer]]:
    """A small network in its search, half of whose activations are zero, and its layers."""
    model = tiny().train()
    with watching(model):
        model(torch.randn(8, 3, 12, 12))
    layers = [layer for _, layer in sparse_layers(model)]
    for layer in layers:
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(0.0, 0.5)
    return model, layers


@pytest.mark.parametrize("mode", [Mode.SEARCH, Mode.FROZEN])
def test_settling_meets_the_target_though_a_layer_jumps(mode: Mode) -> None:
    """As thresholds of integers do: a layer's density changes only where its threshold reaches another integer."""
    model, layers = half_active()
    for layer in layers:
        layer.set_mode(mode)
    start = [layer.activation_level() for layer in layers]

    def factors() -> list[float]:
        return [layer.activation_level() / level for layer, level in zip(layers, start, strict=True) if level]

    def rate() -> float:
        jumping, *others = factors()
        return math.exp(0.3 * (jumping >= 1.1) + sum(others) / len(others))

    target = math.exp(1.2)
    settle(model, rate, target, beyond_jumps=2)
    jumping, *others = factors()
    assert target <= rate() <= target * (1 + BEYOND)
    assert jumping == pytest.approx(1.1, rel=0.02)
    assert others == pytest.approx([0.9] * len(others), rel=0.02)


def test_a_jump_within_what_is_accepted_is_taken_without_further_questions() -> None:
    """A single layer jumps past the target, by a rise that one margin accepts."""
    model, layers = half_active()
    jumping = next(layer for layer in layers if layer.activation_level())
    start = jumping.activation_level()

    def rate() -> Any:
        return 1.3 if jumping.activation_level() >= 1.1 * start else 0.9

    questions = []
    for margin in (0.01, 0.35):
        jumping.set_sparsity(0.0, 0.5)
        exact, quick = Fake(1.0), Fake(1.0)
        question: Any = SimpleNamespace(
            steering=quick, accelerator=exact,
            rate=lambda hardware, known: hardware.estimate(None, known).throughput_ips,
        )  # fmt: skip
        meet(model, question, rate, lambda known: rate(), 1.0, margin)
        assert rate() == 1.3
        questions.append(quick.asked)
    assert questions[1] < 0.75 * questions[0]


def test_settling_meets_the_target_though_all_layers_jump() -> None:
    """As banks do: at one threshold every filter of every layer loses a weight."""
    model = sparsify(
        nn.Sequential(*(nn.Conv2d(width, width, 3, bias=False) for width in (16, 16, 24, 32, 48))),
        {"all": LayerRule("*")},
        Balanced(),
    )
    layers = [layer for _, layer in sparse_layers(model)]
    for layer in layers:
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(0.0, 0.5)
    sizes = [layer.weight.numel() for layer in layers]

    def left() -> list[float]:
        return [layer.weight_density() for layer in layers]

    def rate() -> float:
        return sum(sizes) / sum(size * one for size, one in zip(sizes, left(), strict=True))

    order = sorted(range(len(sizes)), key=lambda layer: -sizes[layer])
    for target in (1.5, 2.0, 4.0):
        for layer in layers:
            layer.set_sparsity(0.5, 0.5)
        settle(model, rate, target, beyond_jumps=4, order=lambda: order)
        jump = min(sizes) / 9  # of the smallest layer
        assert target <= rate() < sum(sizes) / (sum(sizes) / target - jump - 1e-6 * sum(sizes)) * 1.01
        assert max(left()) - min(left()) <= 2 / 9 + 1e-6  # some a jump ahead, the others a jump back


@dataclass
class Fake:
    """A hardware model whose throughput is a fraction of what the profile, here a number, says."""

    share: float
    asked: int = 0

    def estimate(self, workload: Any, profile: Any) -> Any:
        self.asked += 1
        return SimpleNamespace(throughput_ips=self.share * profile)


def test_a_goal_is_met_on_the_exact_model_though_the_quick_one_is_off() -> None:
    model = tiny().train()
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
        with torch.no_grad():
            layer.weight_threshold.fill_(-1.0)

    def ips() -> Any:
        return 1000 / (0.1 + sum(layer.weight_density() for _, layer in sparse_layers(model)))

    exact, quick = Fake(1.0), Fake(0.96)
    question: Any = SimpleNamespace(
        steering=quick, accelerator=exact, rate=lambda hardware, known: hardware.estimate(None, known).throughput_ips
    )
    target = 1.4 * ips()
    meet(model, question, ips, lambda known: 0.98 * ips(), target)
    assert target <= ips() <= 1.015 * target
    assert exact.asked < 5 < quick.asked


def test_a_rate_that_no_threshold_makes_is_not_fought() -> None:
    model = tiny().train()
    for _, layer in sparse_layers(model):
        layer.set_mode(Mode.SEARCH)
    exact, quick = Fake(1.0), Fake(1.0)
    question: Any = SimpleNamespace(
        steering=quick, accelerator=exact, rate=lambda hardware, known: hardware.estimate(None, known).throughput_ips
    )
    meet(model, question, lambda: 3.0, lambda known: 3.0, 2.0)
    assert exact.asked == 2  # at its beginning, and once more with the least thresholds


@pytest.mark.parametrize(
    ("rates", "settled", "times"),
    [((0.995,), None, 0), ((0.9, 1.02), None, 1), ((0.9, 0.95, 0.97), None, 2), ((0.9,), 0.8, 0), ((0.7, 0.8), 0.8, 1)],
)
def test_thresholds_settle_again_where_statistics_take_back_the_rate(
    rates: tuple[float, ...], settled: float | None, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, met, renewed = iter(rates), list[float](), list[None]()
    module: Any = SimpleNamespace(state=SimpleNamespace(choice=Choice(settled_rate=settled)))
    subject: Any = SimpleNamespace(
        question=SimpleNamespace(target_rate=1.0),
        rate=lambda: next(measured),
        meet=lambda rate, tries: met.append(rate),
    )
    monkeypatch.setattr(Phases, "_share", lambda *args: renewed.append(None))
    trainer: Any = None
    Phases("run")._hold(trainer, module, subject)
    assert met == [settled or 1.0] * times
    assert len(renewed) == times


@given(st.floats(1e-6, 50.0))
def test_inverse_softplus(value: float) -> None:
    x = inverse_softplus(torch.tensor(value, dtype=torch.float64))
    assert float(nn.functional.softplus(x)) == pytest.approx(value, rel=1e-6)


def test_the_roof_leaves_forbidden_layers_dense() -> None:
    model = tiny()
    workload = trace(model, (3, 12, 12))
    gated = {name: (layer.prune_weights, layer.gate_activations) for name, layer in sparse_layers(model)}
    floor = floor_profile(workload, gated, 0.04)
    assert floor.layers["0"].pair_density == 1.0
    assert floor.layers["2"].pair_density == pytest.approx(0.04)
    assert floor.layers["2"].weight_density == pytest.approx(0.2)
    alone = floor_profile(workload, gated, 0.04, weights_alone=True)
    assert alone.layers["0"].pair_density == 1.0
    assert (alone.layers["2"].weight_density, alone.layers["2"].activation_density) == (0.04, 1.0)
    assert alone.layers["2"].pair_density == pytest.approx(0.04)
    accelerator = DataflowAccelerator(DEVICE)
    dense = accelerator.estimate(workload, SparsityProfile.dense(workload)).throughput_ips
    assert accelerator.estimate(workload, floor).throughput_ips > dense
