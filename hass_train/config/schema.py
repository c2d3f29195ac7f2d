"""The typed schema of everything that a user may configure; the composed Hydra configuration is checked against it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


def within(default: Any, low: float, high: float = math.inf) -> Any:
    """Make a dataclass field for a number with bounds, which `hass_train.config.values.check_values` checks.

    Args:
        default: the value if none is given; None if the number may be left out.
        low, high: the smallest and the largest value that are allowed.
    """
    return field(default=default, metadata={"low": low, "high": high})


@dataclass
class ModelConfig:
    """A timm model.

    Args:
        name: name of the model in timm.
        pretrained: whether to load timm's weights, which are downloaded unless they are cached.
        input_size: [channels, height, width] of an image; by default that of the data, or for an estimate the model's.
        kwargs: further arguments of `timm.create_model`.
    """

    name: str = MISSING
    pretrained: bool = False
    input_size: list[int] | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class RuleConfig:
    """A rule that says which layers may become sparse; see `hass_train.sparsity.LayerRule`."""

    match: str = MISSING
    weight: bool = True
    activation: bool = True


@dataclass
class SparsityConfig:
    """Where zeros may be.

    Args:
        pattern: the pattern of the weights' zeros: a class (`_target_`) and its arguments.
        rules: the rules by name; for each layer the last one that matches holds.
    """

    pattern: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, RuleConfig] = field(default_factory=dict)


@dataclass
class PhaseConfig:
    """The number of epochs and the peak learning rate of one phase."""

    epochs: int = within(MISSING, 0, 10**6)
    lr: float = within(MISSING, 1e-12, 10)


@dataclass
class SearchConfig:
    """The search engine, the goal, the phases and the hardware penalty of a search.

    Args:
        engine: the search engine: a class (`_target_`) and its arguments, most of which are fields below.
        goals: the possible goals by name: each a class (`_target_`) and its arguments. The goal is the one whose
            arguments are all given.
        penalty: fixed weight λ of the hardware penalty, in cross-entropy per e-fold of throughput.
        target_speedup: throughput to reach, as a multiple of the dense network's on the same device.
        target_throughput: throughput to reach, in images/s.
        target_latency_ms: time from an image's first pixel to its result, in an empty pipeline.
        max_energy_mj: energy of an image.
        max_accuracy_drop: validation accuracy that may be lost, as a fraction.
        sparsity: for recipes, the fraction of zeros among the weights of every layer that may be pruned.
        activation_sparsity: for recipes, the fraction of zeros among the inputs of every layer that may be gated.
        increment, increment_epochs: the fraction of the weights that `incremental` adds, and the number of epochs
            between two increments.
        default_density: the pair density that determines the goal if none is given: the speed-up of the device there.
        margin: how far beyond a throughput target the search aims, as a fraction, since activations drift in recovery.
        prices: what weights the densities in the loss: `hardware`, or for comparison `macs` or `ones`.
        queries: least number of queries to the hardware model in a search; there is at least one in every epoch.
        density_floor: the pair density of all layers at which the highest throughput, the roof, is estimated.
        threshold_travel: how far raw thresholds can move in the search phase, in units of softplus's argument.
        learning_steps: least number of search steps that train thresholds; where a search has more, only every second,
            third or fourth step trains them.
        distill: weight of the dense network's answers against the labels in the recover phase, in [0, 1].
        max_penalty: the largest λ.
        calibration_images: number of validation images on which exact histograms are measured.
        trials, seconds: limits of search engines that work by trials: number of trials, and wall-clock seconds
            (null = no limit).
        study: a name under which the trials are stored, so that a later run can continue them; by default they stay in
            the run's directory.
        storage: database URL of the study; by default a journal file under `paths.runs`.
        workers: number of processes that share the study.
        max_threshold, threshold_step: the largest threshold and the step of the greedy walk, in typical magnitudes.
        sparsity_weight, throughput_weight, dsp_weight: λ1, λ2 and λ3 of HASS's objective.
        warmup, search, recover: epochs and learning rates of the three phases.
        weight_decay, label_smoothing: regularisation of the training, in all phases.
    """

    engine: dict[str, Any] = field(default_factory=dict)
    goals: dict[str, Any] = field(default_factory=dict)
    penalty: float | None = None
    target_speedup: float | None = None
    target_throughput: float | None = None
    target_latency_ms: float | None = None
    max_energy_mj: float | None = None
    max_accuracy_drop: float | None = None
    sparsity: float | None = within(None, 0.0, 1.0)
    activation_sparsity: float = within(0.0, 0.0, 1.0)
    increment: float = within(0.05, 1e-3, 1.0)
    increment_epochs: int = within(2, 1)
    default_density: float = within(0.25, 1e-3, 1.0)
    margin: float = within(0.01, 0.0, 1.0)
    prices: str = "hardware"
    queries: int = within(1, 1)
    density_floor: float = within(0.05, 1e-3, 1.0)
    threshold_travel: float = within(12.0, 1e-3, 1e3)
    learning_steps: int = within(120, 1)
    distill: float = within(0.5, 0.0, 1.0)
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
    """The folders that are read and written.

    Args:
        runs: folder of all runs and studies.
        data: folder of the data sets.
        output: directory of this run.
    """

    runs: str = "runs"
    data: str = "data"
    output: str = MISSING


@dataclass
class ExportConfig:
    """What is written of the integer network beside its integers.

    Args:
        onnx: whether to write `model.onnx` and `model.qonnx.onnx`.
    """

    onnx: bool = False


@dataclass
class RunConfig:
    """The configuration of a run.

    Args:
        seed: seed of everything random.
        tolerance: how far from the optimum designs may be, as a fraction; for accelerators that search designs.
        model: the network.
        data, hw: the data module and the accelerator: a class (`_target_`) and its arguments.
        sparsity: where zeros may be.
        precision: what the network computes with: a class (`_target_`) and its arguments.
        search: the search.
        trainer: arguments of Lightning's trainer, and `compile`, whether to train through `torch.compile`.
        callbacks, logger: Lightning's callbacks and loggers by name: each a class (`_target_`) and its arguments.
        paths: the folders that are read and written.
        simulate: whether to simulate the searched design on validation images at the end.
        build: whether to generate, verify, synthesise and, on ECP5, place the accelerator at the end.
        report: whether to write figures and the HTML report at the end.
        export: what is written of the integer network.
        summary_depth: number of parts of a layer's name by which the network's summary groups layers; 0 = every layer.
        init_from: file of weights to start from.
        init_strict: whether the file must hold every weight of the network and no other.
        init_head: whether the classifier's weights are loaded too; false for another number of classes.
        init_prefix: what stands before the names of the weights in the file; found out if it is not given.
        ckpt_path: checkpoint to resume: a file, a run's directory, `last` or `best`.
    """

    seed: int = within(0, 0, 2**32 - 1)
    tolerance: float = within(0.001, 0.0, 1.0)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: dict[str, Any] = field(default_factory=dict)
    hw: dict[str, Any] = field(default_factory=dict)
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    precision: dict[str, Any] = field(default_factory=dict)
    search: SearchConfig = field(default_factory=SearchConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    paths: PathsConfig = field(default_factory=PathsConfig)
    simulate: bool = False
    build: bool = False
    report: bool = True
    export: ExportConfig = field(default_factory=ExportConfig)
    summary_depth: int = within(2, 0)
    init_from: str | None = None
    init_strict: bool = True
    init_head: bool = True
    init_prefix: str | None = None
    ckpt_path: str | None = None


@dataclass
class ProfileConfig:
    """The sparsity for which an estimate is made.

    Args:
        kind: `uniform` for the same sparsity in every layer, or `run` for what a run measured.
        pair_density: pair density of every layer; the pairs of a dot product are binomial.
        weight_density: weight density of every layer; it matters where weights are stored compressed.
        dense_layers: names of layers without zeros.
        block: [output, input] channels, if the weights' zeros come in whole blocks of that size.
        path: the run's directory, or its profile.json.
    """

    kind: str = "uniform"
    pair_density: float = within(1.0, 0.0, 1.0)
    weight_density: float = within(1.0, 0.0, 1.0)
    dense_layers: list[str] = field(default_factory=list)
    block: list[int] | None = None
    path: str = ""


@dataclass
class EstimateConfig:
    """The configuration of `python -m hass_train.estimate`.

    Args:
        tolerance: how far from the optimum designs may be, as a fraction; for accelerators that search designs.
        model: the network.
        hw: the accelerator: a class (`_target_`) and its arguments.
        precision: what the network computes with, likewise.
        profile: the sparsity.
        paths: the folders that are read and written.
    """

    tolerance: float = within(0.001, 0.0, 1.0)
    model: ModelConfig = field(default_factory=ModelConfig)
    hw: dict[str, Any] = field(default_factory=dict)
    precision: dict[str, Any] = field(default_factory=dict)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
