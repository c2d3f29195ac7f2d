"""Prices against finite differences of the exact exploration, and their limits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
import timm
from scipy.stats import spearmanr

from hass_train.hardware import Estimate, LayerSparsity, SparsityProfile, Workload, load_device
from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.exploration.estimate_builder import EstimateBuilder
from hass_train.hardware.dataflow.exploration.prices import KindDemand, LayerDemand, Usage, prices_of
from hass_train.hardware.dataflow.exploration.relax import Relaxation
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.profile import DENSITIES
from hass_train.hardware.structure import Structure
from hass_train.hardware.trace import trace
from tests.hardware.peers import peers

ZCU104 = load_device("zcu104")


@pytest.fixture(scope="module")
def mobilenet() -> Workload:
    return trace(timm.create_model("mobilenetv3_small_100"), (3, 224, 224))


@pytest.fixture(scope="module")
def resnet() -> Workload:
    return trace(timm.create_model("resnet18"), (3, 224, 224))


@pytest.fixture(scope="module")
def small_resnet() -> Workload:
    return trace(timm.create_model("resnet18", num_classes=10, in_chans=1), (1, 32, 32))


def varied(workload: Workload) -> SparsityProfile:
    """Another sparsity in every layer. Layers of one sparsity have the same few intervals, and none is faster alone."""
    layers = {}
    for k, layer in enumerate(workload.compute_layers):
        weight, activation = (0.55 + 0.3 * (k * step % 1) for step in (0.618034, 0.414214))
        layers[layer.name] = LayerSparsity(weight, activation, weight * activation)
    return SparsityProfile(layers)


FEW = (
    "layer1.0.conv2", "layer2.1.conv2", "layer3.0.conv1", "layer3.1.conv2", "layer4.0.conv1", "layer4.0.downsample.0",
    "layer4.1.conv2",
)  # fmt: skip
"""One of each size of a layer of ResNet-18."""


@pytest.mark.parametrize(
    ("network", "device", "density", "step", "tolerance", "chosen"),
    [
        ("mobilenet", "u250", "pair_density", 0.1, 2e-4, slice(None, None, 3)),
        ("mobilenet", "u250", "activation_density", 0.1, 2e-4, slice(None, None, 9)),
        pytest.param("mobilenet", "u250", "pair_density", 0.1, 2e-4, slice(None), marks=pytest.mark.nightly),
        pytest.param("resnet", "u200", "pair_density", 0.1, 5e-4, slice(None), marks=pytest.mark.nightly),
        # weights do not fit, so that the rate is that of reading them
        pytest.param("small_resnet", "zcu104", "weight_density", 0.15, 2e-3, FEW, marks=pytest.mark.nightly),
    ],
)
def test_prices_rank_layers_as_finite_differences_do(
    network: str, device: str, density: str, step: float, tolerance: float, chosen: slice | tuple[str, ...],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """Steps of one density either way, all resources limited: no negative slope, and a rank correlation ≥ 0.8; where no
    slope can be told from none, prices are as small (hardware-model, section 7)."""
    workload: Workload = request.getfixturevalue(network)
    accelerator, base = DataflowAccelerator(load_device(device), peers(tolerance=tolerance)), varied(workload)
    prices = _prices(accelerator.estimate(workload, base))[density]
    names = list(base.layers)[chosen] if isinstance(chosen, slice) else list(chosen)
    slopes = []
    for name in names:
        rates = []
        for moved in (-step, step):
            layer = base.layers[name]
            layers = {**base.layers, name: dataclasses.replace(layer, **{density: getattr(layer, density) + moved})}
            rates.append(math.log(accelerator.estimate(workload, SparsityProfile(layers)).throughput_ips))
        slopes.append(rates[0] - rates[1])
    assert min(slopes) >= -2 * tolerance
    assert min(prices.values()) >= 0
    if max(slopes) <= 2 * tolerance:
        assert 2 * step * max(prices.values()) <= 2 * tolerance
    else:
        assert spearmanr([prices[name] for name in names], slopes).statistic >= 0.8


ALL = slice(None)


@pytest.mark.parametrize(
    ("network", "size", "device", "chosen", "least"),
    [
        ("mobilenetv3_small_100", 224, "u250", slice(None, None, 2), 0.8),
        # all limits but flip-flops bind, and a large layer that frees one of them changes what binds: slopes miss that
        ("resnet18", 64, "u250", slice(None, None, 2), 0.7),
        pytest.param("mobilenetv3_small_100", 224, "u250", ALL, 0.8, marks=pytest.mark.nightly),
        pytest.param("mobilenetv3_small_100", 96, "zcu104", ALL, 0.8, marks=pytest.mark.nightly),
        pytest.param("resnet18", 64, "u250", ALL, 0.75, marks=pytest.mark.nightly),
        pytest.param("resnet18", 32, "zcu104", ALL, 0.8, marks=pytest.mark.nightly),  # reading weights binds
    ],
)
def test_prices_of_five_kinds_rank_layers_as_halved_densities_do(
    network: str, size: int, device: str, chosen: slice, least: float
) -> None:
    """All kinds at synthesis costs, 8 bits, all resources limited: what halving a density of one layer saves of what
    any design needs at the answer's interval, by linear programming (`CandidateSet.relax`). Unlike the integer answer
    that bound tells small differences apart."""
    workload = trace(timm.create_model(network), (3, size, size))
    base, options = varied(workload), DataflowOptions(tolerance=0.02, weight_bits=8, activation_bits=8)
    accelerator = DataflowAccelerator(load_device(device), options)
    estimate = accelerator.estimate(workload, base)

    def need(profile: SparsityProfile, weights: np.ndarray | None) -> Relaxation:
        built = accelerator.network(workload, profile)
        explorer = built.explorer(0, len(built.tables), options.tolerance, False)
        budget = explorer.limits.budget(estimate.interval_cycles, estimate.replicas)
        return explorer.candidates.relax(estimate.interval_cycles, budget, weights, 1e-5)

    present, names = need(base, None), list(base.layers)[chosen]
    for density, prices in _prices(estimate).items():
        saved, priced = [], []
        for name in names:
            here = getattr(base.layers[name], density)
            layers = {**base.layers, name: dataclasses.replace(base.layers[name], **{density: here / 2})}
            saved.append(math.log(present.bound / need(SparsityProfile(layers), present.weights).bound))
            priced.append(prices[name] * here / 2)
        assert min(prices.values()) >= 0
        assert min(saved) >= -1e-3
        if max(saved) < 1e-4:
            assert max(priced) < 1e-3
            continue
        assert spearmanr(priced, saved).statistic >= least, density


def _prices(estimate: Estimate) -> dict[str, Mapping[str, float]]:
    """The prices of an estimate by density."""
    three = (estimate.prices, estimate.weight_prices, estimate.activation_prices)
    return dict(zip(DENSITIES, three, strict=True))


def test_a_kind_that_does_not_pay_yet_has_a_price() -> None:
    """The layer's present kind gains nothing, and a kind that costs little more would, from another density."""
    half = LayerSparsity(0.5, 0.5, 0.25)
    dense, near = KindDemand(0.1, {}), KindDemand(0.11, {"weight_density": 0.055})
    far, slow = KindDemand(1.0, {"activation_density": 0.5}), KindDemand(np.inf, {"pair_density": 0.08})
    prices = prices_of([LayerDemand("a", half, (dense, near, far, slow))])
    assert prices["pair_density"]["a"] * 0.125 == pytest.approx(0.02, rel=0.05)  # what is too slow today
    assert prices["weight_density"]["a"] * 0.25 == pytest.approx(0.045, rel=0.05)  # from 0.1 to 0.055
    assert prices["activation_density"]["a"] == 0
    assert prices_of([LayerDemand("a", half, (slow,))])["pair_density"]["a"] == 0  # nothing keeps the interval today


def test_kinds_take_the_densities_that_they_gain_from(mobilenet: Workload) -> None:
    device, base = load_device("u250"), varied(mobilenet)
    dense = DataflowAccelerator(device, DataflowOptions(compute_engines=(ComputeEngine.DENSE,), tolerance=0.01))
    for prices in _prices(dense.estimate(mobilenet, base)).values():
        assert set(prices) == set(base.layers)
        assert max(prices.values()) == 0
    blocks = {
        name: dataclasses.replace(layer, structure=Structure(block=(8, 8)), pair_density=layer.activation_density)
        for name, layer in base.layers.items()
    }
    found = _prices(dense.estimate(mobilenet, SparsityProfile(blocks)))
    assert max(found["pair_density"].values()) == max(found["activation_density"].values()) == 0
    assert max(found["weight_density"].values()) > 0  # dense engines leave out tiles of zeros


def test_questions_for_a_rate_work_out_no_price(mobilenet: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EstimateBuilder, "_prices", None)  # asking for one would raise an error
    accelerator = DataflowAccelerator(load_device("zcu104"), peers())
    found = accelerator.unpriced(mobilenet, SparsityProfile.uniform(mobilenet, 0.5))
    assert found.prices == found.weight_prices == found.activation_prices == {}


def test_logic_has_its_price_where_luts_bind(mobilenet: Workload) -> None:
    device = load_device("zcu102", dsp=20_000)
    estimate = DataflowAccelerator(device, peers()).estimate(mobilenet, SparsityProfile.uniform(mobilenet, 0.5))
    assert estimate.utilization["lut"] > 0.8 > estimate.utilization["dsp"]
    assert sum(estimate.prices.values()) > 0.03  # halving all densities makes it 2 % faster


def test_weights_have_prices_where_bandwidth_binds() -> None:
    """ResNet-18's weights do not fit a ZCU104: its rate is that of reading them, so pairs are worth little."""
    workload = trace(timm.create_model("resnet18", num_classes=10, in_chans=1), (1, 32, 32))
    accelerator = DataflowAccelerator(ZCU104, peers(tolerance=0.01))
    half = SparsityProfile({layer.name: LayerSparsity(0.5, 0.6, 0.3) for layer in workload.compute_layers})
    estimate = accelerator.estimate(workload, half)
    assert estimate.utilization["bandwidth"] > 0.9
    assert max(estimate.weight_prices, key=estimate.weight_prices.__getitem__).startswith("layer4")
    dense = accelerator.estimate(workload, SparsityProfile.dense(workload))
    assert estimate.throughput_ips > 1.5 * dense.throughput_ips
    stored = DataflowAccelerator(ZCU104, peers(weights="dense", tolerance=0.01)).estimate(workload, half)
    assert max(stored.weight_prices.values()) == 0
    assert stored.throughput_ips < 1.2 * dense.throughput_ips


def test_a_pinned_pipeline_without_replicas_has_hardly_a_price(mobilenet: Workload) -> None:
    u250 = load_device("u250")
    profile = SparsityProfile.uniform(mobilenet, 0.5)
    pinned = DataflowAccelerator(u250, peers(max_replicas=1, max_pixels=1)).estimate(mobilenet, profile)
    free = DataflowAccelerator(u250, peers()).estimate(mobilenet, profile)
    assert pinned.bottleneck.resource == "parallelism"
    assert sum(pinned.prices.values()) < 0.01 * sum(free.prices.values())


def test_shares_sum_to_one_and_the_fullest_leads() -> None:
    shares = Usage(dsp=0.99, lut=0.2, ff=0.1, memory=0.5, bandwidth=0.1, parallelism=0.0).shares()
    assert shares.sum() == pytest.approx(1)
    assert shares[0] > 0.99
