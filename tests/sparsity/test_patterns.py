"""Patterns: what lives, against loops; one life cycle over all patterns and schedules; what the hardware is told."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from callbacks import HardwarePenalty, Phases
from hass_train.data import ImageData
from hass_train.hardware import DataflowAccelerator, DataflowOptions, SparsityProfile, Structure, load_device, trace
from hass_train.runtime.errors import UserError
from hass_train.search.engines import Incremental, Learned, OneShot, SearchEngine
from hass_train.search.goals import FixedPenalty, Goal, Sparsity
from hass_train.search.phases import Phase, PhasePlan
from hass_train.search.question import HardwareQuestion
from hass_train.sparsity import (
    NM,
    Balanced,
    Block,
    Channel,
    LayerRule,
    Mode,
    Pattern,
    SearchStep,
    SparseConv2d,
    Unstructured,
    calibrate,
    link_norms,
    sparse_layers,
    sparsify,
    sparsity_of,
)
from hass_train.sparsity.group_ranks import places_by_sorting, places_of
from hass_train.sparsity.thresholds import Level, raw_threshold
from hass_train.training.module import SparseClassifier, TrainingOptions
from hass_train.training.state import SearchState

PATTERNS: list[Pattern] = [
    Unstructured(),
    Block((4, 4)),
    NM(2, 4),
    Balanced(8, 2),
    Channel(),
]
VARIANTS: list[Pattern] = [
    Block((8, 2), "l1"),
    Block((2, 2), "variance"),
    NM(1, 4),
    NM(4, 8),
    Balanced(),
    Balanced(5, 3),
]
SCHEDULES: list[SearchEngine] = [Learned(), OneShot(0.5), Incremental(0.5, increment=0.25, every=1)]
RULES = {"all": LayerRule("*"), "first": LayerRule("@first", weight=False), "last": LayerRule("@last", weight=False)}
shapes = st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([(), (1, 1), (3, 3), (1, 3)]))


def weights(shape: tuple[int, int, tuple[int, ...]], seed: int) -> torch.Tensor:
    return torch.randn(shape[0], shape[1], *shape[2], generator=torch.Generator().manual_seed(seed))


def blocks_of(weight: torch.Tensor, size: tuple[int, int]) -> dict[tuple[int, int], torch.Tensor]:
    rows, columns = size
    return {
        (r, c): weight[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns]
        for r in range(-(-weight.shape[0] // rows)) for c in range(-(-weight.shape[1] // columns))
    }  # fmt: skip


@given(shapes, st.sampled_from([(2, 2), (4, 4), (3, 5), (1, 8)]), st.floats(0, 1), st.integers(0, 99))
def test_blocks_live_or_die_whole_and_none_of_the_dead_beats_the_living(
    shape: tuple[int, int, tuple[int, ...]], size: tuple[int, int], fraction: float, seed: int
) -> None:
    weight, pattern = weights(shape, seed), Block(size)
    live = pattern.keep_mask(weight, 1, pattern.level_at(weight, 1, fraction))
    assert live.shape == weight.shape
    masks, sizes = blocks_of(live, size), blocks_of(weight, size)
    alive = {place: bool(mask.all()) for place, mask in masks.items()}
    assert all(mask.any() == mask.all() for mask in masks.values())
    score = {place: float(block.square().mean()) for place, block in sizes.items()}
    for axis in (0, 1):  # no row and no column of blocks is empty, and its best block lives
        for index in {place[axis] for place in alive}:
            best = max((place for place in alive if place[axis] == index), key=lambda one: score[one])
            assert alive[best]
    must = {
        max((p for p in alive if p[axis] == index), key=lambda one: score[one])
        for axis in (0, 1) for index in {p[axis] for p in alive}
    }  # fmt: skip
    free = [place for place in alive if place not in must]
    worst_living = min((score[p] for p in free if alive[p]), default=np.inf)
    assert all(score[p] <= worst_living for p in free if not alive[p])
    assert sum(not one for one in alive.values()) == min(int(fraction * len(alive) + 1e-6), len(free))


@given(shapes, st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 8)]), st.integers(0, 99))
def test_nm_keeps_the_n_largest_of_every_m(
    shape: tuple[int, int, tuple[int, ...]], nm: tuple[int, int], seed: int
) -> None:
    weight, (n, m) = weights(shape, seed), nm
    pattern = NM(n, m)
    live = pattern.keep_mask(weight, 1, pattern.level_at(weight, 1, 1 - n / m)).flatten(2) if weight.dim() > 2 else (
        pattern.keep_mask(weight, 1, pattern.level_at(weight, 1, 1 - n / m))[..., None]
    )  # fmt: skip
    flat = weight.flatten(2) if weight.dim() > 2 else weight[..., None]
    for f in range(flat.shape[0]):
        for k in range(flat.shape[2]):
            for start in range(0, flat.shape[1], m):
                own, kept = flat[f, start : start + m, k].abs(), live[f, start : start + m, k]
                places = own.argsort(descending=True)[:n]
                if len(own) == m:
                    assert set(kept.nonzero().flatten().tolist()) == set(places.tolist())
                else:
                    assert kept[places].all()
    assert pattern.structure(live, 1) is not None


@given(shapes, st.sampled_from([(1, 1), (3, 2), (16, 1), (4, 8)]), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_every_bank_keeps_its_k_largest(
    shape: tuple[int, int, tuple[int, ...]], sizes: tuple[int, int], share: float, seed: int, last: bool
) -> None:
    weight, pattern = weights(shape, seed), Balanced(*sizes)
    weight = (4 * weight).round()  # so that some are equal
    if last and weight.dim() == 4:
        weight = weight.contiguous(memory_format=torch.channels_last)
    window = int(np.prod(shape[2]))
    channels = min(sizes[0] if window == 1 else sizes[1], shape[1])
    k = channels * window - int(share * (channels * window - 1))  # from all that a whole bank has to one
    live = pattern.keep_mask(weight, 1, pattern.level_at(weight, 1, 1 - k / (channels * window)))
    banks = list(zip(weight.split(channels, 1), live.split(channels, 1), strict=True))
    for own, kept in ((one.flatten(1).abs(), mask.flatten(1)) for one, mask in banks):
        assert (kept.sum(1) == min(k, own.shape[1])).all()
        assert (own.masked_fill(~kept, np.inf).amin(1) >= own.masked_fill(kept, -1).amax(1)).all()
    fullest = min(k, banks[0][0].flatten(1).shape[1])
    assert pattern.structure(live, 1) == Structure(bank=(fullest, channels))
    assert pattern.promise(weight, 1, k / (channels * window)) == Structure(bank=(k, channels))


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_places_are_those_of_a_stable_sort(members: int, columns: int, seed: int) -> None:
    for count in (members, members + 64):  # few are compared in pairs, many are sorted
        values = torch.randint(4, (count, columns), generator=torch.Generator().manual_seed(seed)).float()
        order = np.argsort(-values.numpy(), axis=0, kind="stable")
        for found in (places_of(values), places_by_sorting(values)):
            assert np.array_equal(found.numpy(), np.argsort(order, axis=0))


@pytest.mark.parametrize("pattern", [NM(), Balanced()], ids=str)
def test_ranks_in_groups_compile_without_a_graph_break(pattern: Pattern) -> None:
    def pruned(weight: torch.Tensor, threshold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return pattern.apply_traceable(weight, 1, Level(threshold, torch.tensor(0.15), 0.45, 0.5))

    inputs = [weights((6, 10, (3, 3)), 0).requires_grad_(), torch.tensor(0.45, requires_grad=True)]
    torch.compiler.reset()
    ways = [pruned(*inputs), torch.compile(pruned, fullgraph=True, backend="aot_eager")(*inputs)]
    slopes = [torch.autograd.grad(weight.square().sum() + density, inputs) for weight, density in ways]
    for one, other in zip(ways[0] + slopes[0], ways[1] + slopes[1], strict=True):
        assert torch.allclose(one, other)
    applied = torch.compile(lambda weight: pattern.apply(weight, 1, 0.45), fullgraph=True, backend="aot_eager")
    assert torch.equal(applied(inputs[0]), pattern.apply(inputs[0], 1, 0.45))


def test_what_has_one_weight_in_a_bank_stays_dense() -> None:
    alone = SparseConv2d.from_dense(nn.Conv2d(8, 8, 1, groups=8), True, True, Balanced())
    assert alone.unprunable
    depthwise = SparseConv2d.from_dense(nn.Conv2d(16, 16, 3, groups=16), True, True, Balanced())
    assert depthwise.least_density() == pytest.approx(1 / 9)
    grouped = SparseConv2d.from_dense(nn.Conv2d(32, 32, 1, groups=4), True, True, Balanced())
    assert grouped.least_density() == pytest.approx(1 / 8)


@given(st.integers(1, 20), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
def test_channels_die_whole_and_the_best_stays(filters: int, channels: int, fraction: float, seed: int) -> None:
    weight, pattern = weights((filters, channels, (3, 3)), seed), Channel()
    live = pattern.keep_mask(weight, 1, pattern.level_at(weight, 1, fraction)).flatten(1)
    norms = weight.flatten(1).norm(dim=1)
    assert (live.any(1) == live.all(1)).all()
    dead = (~live.any(1)).nonzero().flatten()
    assert len(dead) == min(int(fraction * filters + 1e-6), filters - 1)
    if len(dead):
        assert norms[dead].max() <= norms[live.any(1)].min()


@pytest.mark.parametrize("pattern", PATTERNS + VARIANTS, ids=str)
def test_thresholds_of_groups_have_the_gradients_of_the_window(pattern: Pattern) -> None:
    torch.manual_seed(0)
    layer = SparseConv2d.from_dense(nn.Conv2d(16, 24, 3).double(), True, False, pattern)
    layer.set_mode(Mode.SEARCH)
    layer.set_sparsity(0.3, 0.0)
    images = torch.randn(4, 16, 6, 6, dtype=torch.float64)
    with SearchStep(layer)():
        out = layer(images)
        weight_density = layer.penalty_densities[0][0]
    assert float(weight_density) == pytest.approx(layer.weight_density(), abs=0.02)
    (slope,) = torch.autograd.grad(weight_density, layer.weight_threshold, retain_graph=True)
    assert slope < 0  # a higher threshold leaves less
    out.square().sum().backward()
    assert torch.count_nonzero(layer.weight.grad) == layer.weight.numel()  # the dead may come back
    assert layer.weight_threshold.grad is not None


@pytest.mark.parametrize("pattern", PATTERNS + VARIANTS, ids=str)
def test_a_penalty_reaches_thresholds_wherever_they_are(pattern: Pattern) -> None:
    """Between two scores, and where they start, there is a slope towards fewer weights."""
    torch.manual_seed(0)
    layer = SparseConv2d.from_dense(nn.Conv2d(16, 24, 3), True, False, pattern)
    layer.set_mode(Mode.SEARCH)
    for level in (0.02, 0.2, 0.5, 0.9):
        with torch.no_grad():
            layer.weight_threshold.copy_(raw_threshold(level))
        with SearchStep(layer)():
            layer(torch.randn(1, 16, 6, 6))
            (slope,) = torch.autograd.grad(layer.penalty_densities[0][0], layer.weight_threshold)
        assert slope < 0, level


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_half_of_a_large_layer_is_half(fraction: float) -> None:
    """Also where sizes differ by kernel position, which a sample with a stride would not see."""
    weight = torch.randn(512, 256, 3, 3) * torch.linspace(0.1, 2.0, 9).reshape(3, 3)
    pattern = Unstructured()
    live = pattern.keep_mask(weight, 1, pattern.level_at(weight, 1, fraction))
    assert float(live.float().mean()) == pytest.approx(1 - fraction, abs=1e-5)


def test_sr_ste_pulls_dead_weights_to_zero() -> None:
    weight = torch.randn(8, 8, requires_grad=True)
    pattern = NM(2, 4, pull=0.5)
    level = pattern.level_at(weight, 1, 0.5)
    pattern.apply(weight, 1, level).sum().backward()
    live = pattern.keep_mask(weight, 1, level)
    assert weight.grad is not None
    assert torch.allclose(weight.grad, torch.where(live, 1.0, 1.0 + 0.5 * weight.detach()))


class _Net(nn.Module):
    """Channels that 8 does not divide, a depthwise convolution, batch-norms and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, stride=4, padding=1)
        self.conv, self.norm = nn.Conv2d(12, 20, 3, padding=1, bias=False), nn.BatchNorm2d(20)
        self.depthwise, self.norm2 = nn.Conv2d(20, 20, 3, padding=1, groups=20, bias=False), nn.BatchNorm2d(20)
        self.point, self.act = nn.Conv2d(20, 16, 1), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.conv(self.act(self.stem(x)))))
        x = self.act(self.point(self.act(self.norm2(self.depthwise(x)))))
        return self.fc(self.pool(x).flatten(1))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def digits() -> ImageData:
    from hass_train.data.digits import Digits

    data = Digits(batch_size=16)
    data.setup()
    return data


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one.name)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_life_cycle(
    pattern: Pattern, schedule: SearchEngine, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dense before the search, as the schedule says at its end, constant after; exact zeros in whole groups."""
    monkeypatch.setattr("callbacks.phases._NORM_BATCHES", 2)
    pl.seed_everything(0, verbose=False)
    model = _Net()
    workload = trace(model, (1, 32, 32), "net")
    sparsify(model, RULES, pattern)
    if pattern.prunes_norm:
        link_norms(model, torch.zeros(1, 1, 32, 32))
    device = load_device("zedboard")
    hardware = DataflowAccelerator(device, DataflowOptions(tolerance=0.05, limits=("dsp",)))
    dense = hardware.estimate(workload, SparsityProfile.dense(workload))
    goal: Goal = FixedPenalty(10.0) if schedule.trains else Sparsity(0.5)
    plan = PhasePlan((1, schedule.epochs(2), 2), (1e-3, 1e-3, 1e-3))
    question = HardwareQuestion(workload, hardware, hardware, goal, goal.rate(dense), dense=dense)
    state = SearchState(plan, question, schedule)
    options = TrainingOptions(weight_decay=0.01, label_smoothing=0.0, learning_steps=8)
    module = SparseClassifier(model, 10, state, options, {"seed": 0})
    seen: list[tuple[Phase, float]] = []
    masks: list[dict[str, torch.Tensor]] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            seen.append((state.phase, sparsity_of(model)))
            if state.phase is Phase.RECOVER:
                masks.append({name: (layer.weight != 0).clone() for name, layer in sparse_layers(model)})

    trainer = pl.Trainer(
        default_root_dir=tmp_path, max_epochs=plan.total, limit_train_batches=4, limit_val_batches=2, accelerator="cpu",
        logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        callbacks=[Phases(str(tmp_path), calibration_images=8), HardwarePenalty(images=4), Watch()],
    )  # fmt: skip
    trainer.fit(module, datamodule=digits)

    assert {value for phase, value in seen if phase is Phase.WARMUP} == {0.0}
    end = sparsity_of(model)
    if schedule.name == "incremental":
        search = [value for phase, value in seen if phase is Phase.SEARCH]
        assert search[0] < search[-1] <= end + 0.02
    if not schedule.trains:
        assert end == pytest.approx(0.5, abs=0.03)
    assert end > 0
    for name, layer in sparse_layers(model):
        assert all(torch.equal(one[name], masks[0][name]) for one in masks)
        assert torch.equal(layer.weight != 0, layer.mask) or not layer.prune_weights
    profile = calibrate(model, [torch.randn(2, 1, 32, 32)])
    _check_told(model, pattern, profile)
    assert hardware.estimate(workload, profile).throughput_ips > 0


def _check_told(model: nn.Module, pattern: Pattern, profile: SparsityProfile) -> None:
    """What the hardware is told of the structure is so."""
    layers = dict(sparse_layers(model))
    for name, one in profile.layers.items():
        weight, structure = layers[name].weight, one.structure
        if structure is None:
            continue
        if structure.blocks is not None:
            for (r, c), block in blocks_of(weight, structure.blocks.size).items():
                assert bool(block.any()) == bool(block.all())
                assert bool(block.any()) == (structure.blocks.live[r][c] == "1")
        if structure.nm is not None:
            counts = nn.functional.pad((weight != 0).flatten(2).float(), (0, 0, 0, -weight.shape[1] % structure.nm[1]))
            assert counts.unflatten(1, (-1, structure.nm[1])).sum(2).max() <= structure.nm[0]
        if structure.bank is not None:
            k, channels = structure.bank
            counts = torch.stack([bank.flatten(1).count_nonzero(1) for bank in weight.split(channels, 1)])
            assert counts.max() == k
            assert (counts[: weight.shape[1] // channels] == k).all()  # exactly: no engine waits
        for dead in structure.dead_filters:
            assert not weight[dead].any()
    if isinstance(pattern, Channel):  # what a dead filter makes is zero, whatever the image, after its norm too
        images, made = torch.randn(4, 1, 32, 32), {}
        for name, module in model.named_modules():
            module.register_forward_hook(lambda _, __, out, name=name: made.update({name: out}))
        model.eval()(images)
        for name, after in (("conv", "norm"), ("depthwise", "norm2"), ("point", "point")):
            for dead in profile.layers[name].structure.dead_filters:  # type: ignore[union-attr]
                assert not made[after][:, dead].any()


def test_a_depthwise_convolution_has_no_block_to_take_but_channels() -> None:
    depthwise = nn.Conv2d(16, 16, 3, groups=16)
    assert not SparseConv2d.from_dense(copy.deepcopy(depthwise), True, True, Block()).prune_weights
    assert SparseConv2d.from_dense(copy.deepcopy(depthwise), True, True, Channel()).prune_weights
    grouped = SparseConv2d.from_dense(nn.Conv2d(32, 32, 1, groups=2), True, True, Block())
    assert grouped.prune_weights
    live = grouped.pattern.keep_mask(grouped.weight, 2, grouped.pattern.level_at(grouped.weight, 2, 0.25))
    assert all((half.any(0) if axis else half.any(1)).all() for half in live.flatten(1).chunk(2) for axis in (0, 1))


def test_a_sparsity_that_the_pattern_cannot_have_is_refused() -> None:
    model = sparsify(_Net(), RULES, NM(2, 4))
    with pytest.raises(UserError, match=r"search.sparsity is 0.75, but 2:4 takes 0\.\d+ of the weights"):
        OneShot(0.75).prepare(model)
    OneShot(0.75).prepare(sparsify(_Net(), RULES, NM(1, 4)))


@pytest.mark.parametrize("make", [
    lambda: Block((8,)), lambda: Block((0, 8)), lambda: Block(score="median"),  # type: ignore[arg-type]
    lambda: NM(4, 4), lambda: NM(0, 4), lambda: NM(pull=-1.0), lambda: Balanced(0), lambda: Balanced(window_channels=0),
    lambda: Balanced(pull=1.0),
])  # fmt: skip
def test_senseless_patterns_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="is"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("pattern", [Balanced(), Balanced(8, 2), Balanced(4, 1, 0.0), NM(2, 4), NM(1, 8)])
@pytest.mark.parametrize("shape", [(6, 16, 1, 1), (5, 20, 1, 1), (4, 3, 3, 3), (8, 1, 3, 3), (7, 33), (3, 130, 1, 1)])
@given(st.floats(0, 1), st.booleans(), st.booleans())
def test_one_pass_gates_as_tensor_operations_do(
    pattern: NM | Balanced, shape: tuple[int, ...], threshold: float, last: bool, double: bool
) -> None:
    """Values, strides, densities and all gradients, of weights with equal magnitudes among them."""
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64 if double else torch.float32)
    weight[weight.abs() < 0.3] = 0.25
    if last and len(shape) == 4:
        weight = weight.to(memory_format=torch.channels_last)
    slopes, found = torch.randn(shape, dtype=weight.dtype), []
    for way in (pattern.apply_with_gradient, lambda *given: pattern.apply_traceable(*given[:3])):
        own, level = weight.clone().requires_grad_(), torch.tensor(threshold, requires_grad=True)
        gated, density = way(own, 1, Level(level, torch.tensor(0.1), level.item(), 0.5), (0, len(weight)))
        ((gated * slopes).sum() + 3 * density).backward()
        found.append((gated.detach(), density.detach(), own.grad, level.grad))
        assert gated.stride() == weight.stride()
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, check_dtype=False)
    kept = pattern.keep_mask(weight, 1, level.item())
    assert torch.equal(pattern.apply(weight, 1, level.item()), weight * kept)
