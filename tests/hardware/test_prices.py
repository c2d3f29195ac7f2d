"""Prices against finite differences of the exact exploration, and their limits."""

from __future__ import annotations

import dataclasses
import math

import pytest
import timm
from scipy.stats import spearmanr

from hass_train.hardware import LayerSparsity, SparsityProfile, Workload, load_device
from hass_train.hardware.dataflow.exploration.prices import Usage
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.trace import trace
from tests.hardware.peers import peers

ZCU104 = load_device("zcu104")


COUNTED = ("dsp", "bram18", "uram", "bandwidth")
"""What counts here: with LUTs, folds move throughput in steps larger than a tenth of one layer's density."""


@pytest.fixture(scope="module")
def mobilenet() -> Workload:
    return trace(timm.create_model("mobilenetv3_small_100"), (3, 224, 224))


@pytest.fixture(scope="module")
def resnet() -> Workload:
    return trace(timm.create_model("resnet18"), (3, 224, 224))


@pytest.mark.parametrize(
    ("network", "tolerance", "step"),
    [
        ("mobilenet", 2e-4, 2),
        pytest.param("mobilenet", 2e-4, 1, marks=pytest.mark.nightly),
        pytest.param("resnet", 5e-4, 1, marks=pytest.mark.nightly),
    ],
)
def test_prices_rank_layers_as_finite_differences_do(
    network: str, tolerance: float, step: int, request: pytest.FixtureRequest
) -> None:
    """Steps of 10 % density either way: same sign, rank correlation ≥ 0.8 (hardware-model, section 7).

    Every second of MobileNet's 54 layers; nightly, all of them and all of ResNet-18's, which take seconds each.
    """
    workload: Workload = request.getfixturevalue(network)
    accelerator = DataflowAccelerator(load_device("u250"), peers(limits=COUNTED, tolerance=tolerance))
    base = SparsityProfile.uniform(workload, 0.5)
    prices = accelerator.estimate(workload, base).prices
    names = list(base.layers)[::step]
    slopes = []
    for name in names:
        rates = []
        for density in (0.4, 0.6):
            layers = dict(base.layers) | {name: dataclasses.replace(base.layers[name], pair_density=density)}
            rates.append(math.log(accelerator.estimate(workload, SparsityProfile(layers)).throughput_ips))
        slopes.append(rates[0] - rates[1])
    assert min(slopes) >= -2 * tolerance
    assert min(prices.values()) >= 0
    assert spearmanr([prices[name] for name in names], slopes).statistic >= 0.8


def test_logic_has_its_price_where_luts_bind(mobilenet: Workload) -> None:
    device = load_device("zcu102", dsp=20_000)
    estimate = DataflowAccelerator(device, peers()).estimate(mobilenet, SparsityProfile.uniform(mobilenet, 0.5))
    assert estimate.utilization["lut"] > 0.8 > estimate.utilization["dsp"]
    assert sum(estimate.prices.values()) > 0.1


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
