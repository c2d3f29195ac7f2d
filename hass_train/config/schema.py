"""What a user may configure: one typed schema, which the composed Hydra configuration is checked against."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


def within(default: Any, low: float, high: float = math.inf) -> Any:
    """A field of a number with bounds, which `hass_train.config.values.check_values` holds it to.

    Args:
        default: value where none is given; None where the number may be left out.
        low, high: the least and the largest value that are allowed.
    """
    return field(default=default, metadata={"low": low, "high": high})


@dataclass
class ModelConfig:
    """A timm model.

    Args:
        name: timm's name.
        pretrained: load timm's weights (downloads them unless cached).
        input_size: [channels, height, width]; the data's by default.
        kwargs: handed to `timm.create_model`.
    """

    name: str = MISSING
    pretrained: bool = False
    input_size: list[int] | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class RuleConfig:
    """See `hass_train.sparsity.LayerRule`."""

    match: str = MISSING
    weight: bool = True
    activation: bool = True


@dataclass
class SparsityConfig:
    """Pattern, a class and its arguments (`_target_`), and rules per layer; the last rule that matches holds."""

    pattern: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, RuleConfig] = field(default_factory=dict)


@dataclass
class PhaseConfig:
    """The epochs and the peak learning rate of one phase."""

    epochs: int = within(MISSING, 0, 10**6)
    lr: float = within(MISSING, 1e-12, 10)


@dataclass
class SearchConfig:
    """The engine, the goal, the phases and the controller of a search.

    Args:
        engine: the search engine: a class (`_target_`) and its arguments, most of which are fields below.
        goals: what may be asked for, by name: each a class (`_target_`) and its arguments. The one whose arguments are
            all given is the goal.
        penalty: fixed weight λ of the hardware penalty, in cross-entropy per e-fold of throughput.
        target_speedup: throughput to reach, over the dense network's on the same device.
        target_throughput: throughput to reach, images/s.
        max_accuracy_drop: validation accuracy that may be lost, as a fraction.
        sparsity: for the recipes, the fraction of zeros among the weights of every layer that may be pruned.
        activation_sparsity: for the recipes, the fraction of zeros among the inputs of every layer that may be gated.
        increment, increment_epochs: `incremental` adds this fraction of the weights every so many epochs.
        default_density: where no goal is given, the search aims at what the device gains at this pair density.
        margin: how far beyond a throughput target the search aims, as a fraction, since activations drift in recovery.
        prices: what the densities in the loss are weighted by: `hardware`, or for comparison `macs` or `ones`.
        queries: least number of questions to the hardware model in a search; at least one is asked in every epoch.
        density_floor: the least pair density of any layer that the roof assumes.
        threshold_travel: how far raw thresholds may move in the search phase, in units of softplus's argument.
        learning_steps: the least number of search steps in which thresholds learn; where a search has more steps,
            thresholds learn in one step of up to four.
        distill: weight of the dense network's answers against the labels while the accuracy recovers.
        max_penalty: the largest λ.
        calibration_images: validation images on which exact histograms are measured.
        trials, seconds: what engines that look at trials may spend: networks, and wall clock (null = no limit).
        study: a name under which the trials are stored, to go on with them later; by default they stay in the run's
            directory.
        storage: database URL of the study; by default a journal file under `paths.runs`.
        workers: processes that share the study.
        max_threshold, threshold_step: the largest threshold and the greedy walk's step, in typical magnitudes.
        sparsity_weight, throughput_weight, dsp_weight: λ1, λ2 and λ3 of HASS's objective.
        warmup, search, recover: the three phases.
        weight_decay, label_smoothing: of the weights' training in all phases.
    """

    engine: dict[str, Any] = field(default_factory=dict)
    goals: dict[str, Any] = field(default_factory=dict)
    penalty: float | None = None
    target_speedup: float | None = None
    target_throughput: float | None = None
    max_accuracy_drop: float | None = None
    sparsity: float | None = within(None, 0.0, 1.0)
    activation_sparsity: float = within(0.0, 0.0, 1.0)
    increment: float = within(0.05, 1e-3, 1.0)
    increment_epochs: int = within(2, 1)
    default_density: float = within(0.2, 1e-3, 1.0)
    margin: float = within(0.01, 0.0, 1.0)
    prices: str = "hardware"
    queries: int = within(1, 1)
    density_floor: float = within(0.05, 1e-3, 1.0)
    threshold_travel: float = within(12.0, 1e-3, 1e3)
    learning_steps: int = within(150, 1)
    distill: float = within(0.0, 0.0, 1.0)
    max_penalty: float = within(30.0, 0.0, 1e6)
    calibration_images: int = within(256, 1)
    trials: int = within(96, 1)
    seconds: float | None = within(None, 1e-3)
    study: str | None = None
    storage: str | None = None
    workers: int = within(1, 1)
    max_threshold: float = within(0.8, 1e-3, 100.0)
    threshold_step: float = within(0.1, 1e-4, 100.0)
    sparsity_weight: float = within(0.1, 0.0, 1e6)
    throughput_weight: float = within(0.1, 0.0, 1e6)
    dsp_weight: float = within(0.1, 0.0, 1e6)
    warmup: PhaseConfig = field(default_factory=PhaseConfig)
    search: PhaseConfig = field(default_factory=PhaseConfig)
    recover: PhaseConfig = field(default_factory=PhaseConfig)
    weight_decay: float = within(0.05, 0.0, 10.0)
    label_smoothing: float = within(0.05, 0.0, 0.99)


@dataclass
class PathsConfig:
    """Where things are read and written."""

    runs: str = "runs"
    data: str = "data"
    output: str = MISSING


@dataclass
class RunConfig:
    """A whole run. `data`, `hw`, `trainer`, `callbacks` and `logger` name classes (`_target_`) and their arguments.

    Args:
        tolerance: how far from the optimum designs may be, as a fraction; for accelerators that search designs.
        summary_depth: levels of layers' names that make a row of the network's summary; 0 = every layer.
    """

    seed: int = within(0, 0, 2**32 - 1)
    tolerance: float = within(0.001, 0.0, 1.0)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: dict[str, Any] = field(default_factory=dict)
    hw: dict[str, Any] = field(default_factory=dict)
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    paths: PathsConfig = field(default_factory=PathsConfig)
    simulate: bool = False
    report: bool = True
    summary_depth: int = within(2, 0)
    init_from: str | None = None
    ckpt_path: str | None = None


@dataclass
class ProfileConfig:
    """Sparsity to estimate with.

    Args:
        kind: `uniform`, or `run`: as a run measured it.
        pair_density: of every layer's pairs, binomial.
        weight_density: of every layer's weights; for weights kept compressed.
        dense_layers: layers without zeros.
        block: [output, input] channels, if the weights' zeros come in whole blocks of that size.
        path: run directory, or a profile.json.
    """

    kind: str = "uniform"
    pair_density: float = within(1.0, 0.0, 1.0)
    weight_density: float = within(1.0, 0.0, 1.0)
    dense_layers: list[str] = field(default_factory=list)
    block: list[int] | None = None
    path: str = ""


@dataclass
class EstimateConfig:
    """What `python -m hass_train.estimate` asks."""

    tolerance: float = within(0.001, 0.0, 1.0)
    model: ModelConfig = field(default_factory=ModelConfig)
    hw: dict[str, Any] = field(default_factory=dict)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
