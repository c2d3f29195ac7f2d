"""What every plug-in must keep, as pytest classes: subclass one, say how yours is made, and run pytest.

    class TestMine(PatternContract):
        def make_pattern(self):
            return Mine()

The project's own patterns, engines and accelerators pass the same tests. (The idea is Optuna's, whose samplers are
tested in this way.)
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from hass_train.data.base import ImageData, TensorImages
from hass_train.export.weights import DENSE_WEIGHTS, save_dense
from hass_train.hardware import (
    Accelerator,
    DataflowAccelerator,
    DataflowOptions,
    Device,
    Estimate,
    SparsityProfile,
    Structure,
    Workload,
    trace,
)
from hass_train.search.engine import Choice, SearchEngine
from hass_train.search.goals import Goal, Sparsity, TargetSpeedup
from hass_train.search.question import HardwareQuestion
from hass_train.search.subject import Subject
from hass_train.sparsity import LayerRule, Mode, Pattern, SearchStep, SparseConv2d, sparse_layers, sparsify
from hass_train.sparsity.thresholds import Level

SHAPES = ((24, 16, 3, 3), (20, 12, 1, 1), (16, 1, 3, 3), (10, 32))
"""Weights of a convolution, a pointwise one, a depthwise one and a linear layer."""
_ROUNDING = 0.02  # how much slower zeros may make an accelerator, for folds that are whole numbers


class PatternContract:
    """The contract of `hass_train.sparsity.Pattern`."""

    def make_pattern(self) -> Pattern:
        """Return the pattern to test."""
        raise TypeError(f"{type(self).__name__} does not say how its pattern is made")

    def _weights(self) -> list[tuple[Tensor, int]]:
        """Weights, and the groups of their layers."""
        random = torch.Generator().manual_seed(0)
        return [(torch.randn(shape, generator=random), 16 if shape[1] == 1 else 1) for shape in SHAPES]

    def test_it_has_a_name(self) -> None:
        assert str(self.make_pattern()).strip()

    def test_it_can_be_compared_and_used_as_a_key(self) -> None:
        assert self.make_pattern() == self.make_pattern()
        assert len({self.make_pattern(), self.make_pattern()}) == 1

    def test_a_higher_level_never_brings_a_weight_back(self) -> None:
        pattern = self.make_pattern()
        for weight, groups in self._weights():
            masks = [
                pattern.keep_mask(weight, groups, pattern.level_at(weight, groups, share)) for share in (0, 0.3, 0.6)
            ]
            assert all(mask.shape == weight.shape and mask.dtype == torch.bool for mask in masks)
            assert bool(masks[0].all())
            assert bool((masks[1] | ~masks[2]).all())

    def test_a_level_takes_no_more_than_the_fraction_that_is_asked_for(self) -> None:
        pattern = self.make_pattern()
        for weight, groups in self._weights():
            level = pattern.level_at(weight, groups, 0.5)
            kept = float(pattern.keep_mask(weight, groups, level).float().mean())
            assert kept >= 0.5 - 8 * 8 / weight.numel()  # groups at the edges are smaller

    def test_masked_weights_are_zero_and_the_gradient_passes_everywhere(self) -> None:
        pattern = self.make_pattern()
        for weight, groups in self._weights():
            level = pattern.level_at(weight, groups, 0.4)
            weight.requires_grad_()
            applied = pattern.apply(weight, groups, level)
            assert torch.equal(applied, weight.detach() * pattern.keep_mask(weight.detach(), groups, level))
            (gradient,) = torch.autograd.grad(applied.sum(), weight)
            assert bool((gradient != 0).all())

    def test_thresholds_have_a_slope_and_the_density_is_the_masks(self) -> None:
        pattern = self.make_pattern()
        for weight, groups in self._weights():
            value, scale = pattern.level_at(weight, groups, 0.4), float(pattern.scale(weight))
            if bool(pattern.keep_mask(weight, groups, 1e30).all()):
                continue  # nothing of this layer can be pruned
            threshold = torch.tensor(value, requires_grad=True)
            level = Level(threshold, torch.tensor(0.3 * scale), value, scale)
            kept = pattern.keep_mask(weight, groups, value)
            ways = (
                pattern.apply_with_gradient(weight, groups, level, (0, len(weight))),
                pattern.apply_traceable(weight, groups, level),
            )
            for gated, density in ways:
                assert torch.allclose(gated.detach(), weight * kept)
                assert math.isclose(float(density.detach()), float(kept.float().mean()), abs_tol=1e-5)
                (slope,) = torch.autograd.grad(density, threshold)
                assert float(slope) < 0  # a higher threshold leaves less

    def test_what_the_hardware_is_told_holds(self) -> None:
        pattern = self.make_pattern()
        for weight, groups in self._weights():
            mask = pattern.keep_mask(weight, groups, pattern.level_at(weight, groups, 0.5))
            promised = pattern.promise(weight, groups, float(mask.float().mean()))
            told = pattern.structure(mask, groups)
            for structure in filter(None, (promised, told)):
                assert Structure.from_dict(json.loads(json.dumps(structure.to_dict()))) == structure
                for channels in mask.reshape(*mask.shape[:2], -1).split(structure.bounded or mask.shape[1], 1):
                    assert int(channels.sum((1, 2)).max()) <= structure.most(*channels.shape[1:])
            if told is None:
                continue
            assert not any(bool(mask[dead].any()) for dead in told.dead_filters)
            if told.blocks is not None and groups == 1:
                (rows, columns), live = told.blocks.size, told.blocks.live
                for filter_, channel in mask.reshape(*mask.shape[:2], -1).any(2).nonzero().tolist():
                    assert live[filter_ // rows][channel // columns] == "1"

    def test_a_layer_lives_through_all_modes(self) -> None:
        torch.manual_seed(0)
        layer = SparseConv2d.from_dense(nn.Conv2d(16, 24, 3, bias=False), True, False, self.make_pattern())
        images = torch.randn(2, 16, 6, 6)
        dense = layer(images)
        layer.set_mode(Mode.SEARCH)
        layer.set_sparsity(0.5, 0.0)
        with SearchStep(layer)():
            searched = layer.train()(images)
        layer.set_mode(Mode.FROZEN)
        assert layer.weight_density() < 0.95
        assert torch.allclose(layer(images), searched, atol=1e-5)
        assert not torch.allclose(dense, searched)
        again = SparseConv2d.from_dense(nn.Conv2d(16, 24, 3, bias=False), True, False, self.make_pattern())
        again.load_state_dict(layer.state_dict())
        again.synchronize()
        assert torch.equal(again(images), layer(images))


class AcceleratorContract:
    """The contract of `hass_train.hardware.Accelerator`."""

    def make_accelerator(self) -> Accelerator:
        """Return the accelerator to test, large enough for a network of three layers."""
        raise TypeError(f"{type(self).__name__} does not say how its accelerator is made")

    def _asked(self) -> tuple[Accelerator, Workload]:
        return self.make_accelerator(), trace(_network(), (1, 8, 8), "small")

    def test_it_has_a_name(self) -> None:
        assert self.make_accelerator().name.strip()

    def test_there_is_a_row_for_every_operation_and_a_price_for_every_layer(self) -> None:
        accelerator, workload = self._asked()
        found = accelerator.estimate(workload, SparsityProfile.uniform(workload, 0.5))
        assert [row.name for row in found.layers] == [operation.name for operation in workload]
        names = {layer.name for layer in workload.compute_layers}
        for prices in (found.prices, found.weight_prices):
            assert set(prices) == names
            assert all(math.isfinite(price) and price >= 0 for price in prices.values())
        assert set(found.activation_prices) <= names
        assert all(math.isfinite(price) and price >= 0 for price in found.activation_prices.values())
        assert found.throughput_ips > 0
        assert found.latency_ms > 0
        assert found.bottleneck.layer in {row.name for row in found.layers}

    def test_the_same_question_has_the_same_answer_from_another_instance_too(self) -> None:
        accelerator, workload = self._asked()
        profile = SparsityProfile.uniform(workload, 0.4)
        answers = [one.estimate(workload, profile) for one in (accelerator, accelerator, self.make_accelerator())]
        assert answers[0] == answers[1] == answers[2]

    def test_without_prices_the_answer_is_the_same(self) -> None:
        accelerator, workload = self._asked()
        profile = SparsityProfile.uniform(workload, 0.5)
        answers = [ask(workload, profile) for ask in (accelerator.estimate, accelerator.unpriced)]
        one, other = (replace(found, prices={}, weight_prices={}, activation_prices={}) for found in answers)
        assert one == other

    def test_zeros_do_not_make_it_slower(self) -> None:
        accelerator, workload = self._asked()
        profiles = [SparsityProfile.dense(workload)]
        profiles += [SparsityProfile.uniform(workload, density) for density in (0.8, 0.5, 0.2)]
        speeds = [accelerator.estimate(workload, profile).throughput_ips for profile in profiles]
        assert all(then >= now * (1 - _ROUNDING) for now, then in itertools.pairwise(speeds))

    def test_the_quick_one_is_nearly_as_good(self) -> None:
        accelerator, workload = self._asked()
        profile = SparsityProfile.uniform(workload, 0.5)
        exact, quick = (one.estimate(workload, profile).throughput_ips for one in (accelerator, accelerator.quick()))
        assert 0.8 * exact <= quick <= 1.001 * exact

    def test_a_profile_of_another_network_is_refused(self) -> None:
        accelerator, workload = self._asked()
        refused = False
        try:
            accelerator.estimate(workload, SparsityProfile({}))
        except ValueError:
            refused = True
        assert refused

    def test_answers_survive_json(self) -> None:
        accelerator, workload = self._asked()
        found = accelerator.estimate(workload, SparsityProfile.uniform(workload, 0.5))
        assert Estimate.from_dict(json.loads(json.dumps(found.to_dict()))) == found

    def test_it_has_designs_if_it_says_so(self) -> None:
        accelerator, workload = self._asked()
        found = accelerator.estimate(workload, SparsityProfile.dense(workload))
        assert (accelerator.design(workload, found) is not None) == accelerator.has_designs


class EngineContract:
    """The contract of `hass_train.search.engine.SearchEngine`. pytest's `tmp_path` is the run's directory."""

    def make_engine(self, output: Path) -> SearchEngine:
        """Return the engine to test; one that looks at trials keeps them in `output`."""
        raise TypeError(f"{type(self).__name__} does not say how its engine is made")

    def make_goal(self) -> Goal:
        """Return a goal that the engine serves."""
        return Sparsity(0.5) if self.make_engine(Path()).recipe else TargetSpeedup(1.2)

    def _chosen(self, output: Path) -> tuple[Subject, Choice]:
        subject, engine = _subject(self.make_goal(), output), self.make_engine(output)
        engine.prepare(subject.model)
        for epoch in range(engine.epochs(1)):
            engine.begin_epoch(subject.model, epoch)
        return subject, engine.choose(subject)

    def test_it_has_a_name_and_whole_epochs(self, tmp_path: Path) -> None:
        engine = self.make_engine(tmp_path)
        assert engine.name.strip()
        assert isinstance(engine.epochs(3), int)
        assert engine.epochs(3) >= 0

    def test_what_it_chose_survives_json(self, tmp_path: Path) -> None:
        _, choice = self._chosen(tmp_path)
        assert Choice.from_dict(json.loads(json.dumps(choice.to_dict()))) == choice

    def test_it_moves_thresholds_and_leaves_the_weights_alone(self, tmp_path: Path) -> None:
        before = _subject(self.make_goal(), tmp_path / "before")
        subject, _ = self._chosen(tmp_path / "run")
        for (_, layer), (_, old) in zip(sparse_layers(subject.model), sparse_layers(before.model), strict=True):
            assert layer.mode_now is Mode.SEARCH
            assert torch.equal(layer.weight, old.weight)
            assert all(bool(torch.isfinite(raw)) for raw in layer.thresholds)
        moved = [
            not torch.equal(new, old)
            for (_, layer), (_, was) in zip(sparse_layers(subject.model), sparse_layers(before.model), strict=True)
            for new, old in zip(layer.thresholds, was.thresholds, strict=True)
        ]
        assert any(moved)

    def test_it_repeats(self, tmp_path: Path) -> None:
        first, _ = self._chosen(tmp_path / "first")
        again, _ = self._chosen(tmp_path / "again")
        for (_, one), (_, other) in zip(sparse_layers(first.model), sparse_layers(again.model), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one.thresholds, other.thresholds, strict=True))


class _TwoClasses(ImageData):
    """Noise whose mean tells its two classes apart."""

    def __init__(self) -> None:
        super().__init__("two_classes", 2, (1, 8, 8), 16, 0, 0)

    def load(self) -> dict[str, Dataset[tuple[Tensor, Tensor]]]:  # type: ignore[override]
        random, labels = torch.Generator().manual_seed(0), torch.arange(48) % 2
        images = torch.randn(48, 1, 8, 8, generator=random) + labels[:, None, None, None] * 2 - 1
        return {split: TensorImages(images, labels) for split in ("train", "val", "test")}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 2),
    ).eval()  # fmt: skip


def _subject(goal: Goal, output: Path) -> Subject:
    """A small network in its search mode, on a small device."""
    model = _network()
    workload = trace(model, (1, 8, 8), "small")
    sparsify(model, {"all": LayerRule("*")})
    for _, layer in sparse_layers(model):
        layer.activation_scale.fill_(1.0)
        layer.set_mode(Mode.SEARCH)
    data = _TwoClasses()
    data.setup()
    device = Device("small", 24, 100, 0, 100_000, 200_000, 100, 10.0)
    hardware = DataflowAccelerator(device, DataflowOptions(limits=("dsp",)))
    dense = hardware.estimate(workload, SparsityProfile.dense(workload))
    output.mkdir(parents=True, exist_ok=True)
    save_dense(model, output / DENSE_WEIGHTS)
    question = HardwareQuestion(workload, hardware, hardware, goal, goal.rate(dense))
    return Subject(model, question, data, 32, 0.0, output)
