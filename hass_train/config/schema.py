"""What a user may configure: one typed schema, which the composed Hydra configuration is checked against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from omegaconf import MISSING


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
class HardwareConfig:
    """An accelerator; what else it has depends on its kind, see `KINDS`.

    Args:
        name: as in `hw=`.
        kind: of accelerator.
        tolerance: how far from the optimum a design may be, as a fraction, where designs are searched.
    """

    gates: ClassVar[bool] = True
    """Whether zeros among activations gain anything, so that activations are worth gating."""

    name: str = MISSING
    kind: str = "dataflow"
    tolerance: float = 0.001


@dataclass
class DataflowConfig(HardwareConfig):
    """A device and the design rules of the dataflow accelerator; see `Device` and `DataflowOptions`."""

    dsp: int = MISSING
    bram18: int = MISSING
    uram: int = MISSING
    lut: int = MISSING
    ff: int = MISSING
    clock_mhz: float = MISSING
    bandwidth_gbps: float = MISSING
    reconfiguration_s: float = 0.08255
    static_w: float = 3.0
    weight_bits: int = 16
    activation_bits: int = 16
    accumulator_bits: int = 30
    folding: str = "free"
    bundle: str = "ends"
    weights: str = "compressed"
    skip_all_zero: bool = False
    engines: str = "auto"
    engine_fifo: int = 16
    max_pixels: int = 4
    max_replicas: int = 0
    limits: list[str] = field(default_factory=lambda: ["dsp", "bram18", "uram", "lut", "ff", "bandwidth"])
    objective: str = "throughput"
    min_throughput: float = 0.0
    partitions: str = "needed"
    batch: int = 256
    max_dsp_utilization: float = 1.0
    max_bram_utilization: float = 1.0
    max_uram_utilization: float = 1.0
    max_lut_utilization: float = 0.85
    max_ff_utilization: float = 0.85
    mac_pj: float = 0.9
    onchip_pj_per_bit: float = 0.16
    offchip_pj_per_bit: float = 20.0


@dataclass
class AieConfig(HardwareConfig):
    """An AI-engine array; see `AieArray`."""

    gates: ClassVar[bool] = False

    kind: str = "aie"
    rows: int = MISSING
    columns: int = MISSING
    clock_mhz: float = 1000.0
    macs_per_cycle: int = 256
    lanes: list[int] = field(default_factory=lambda: [4, 8, 8])
    core_kb: int = 64
    tile_kb: int = 512
    ddr_gbs: float = 4.0
    stream_gbs: float = 4.0
    weight_bits: int = 8
    activation_bits: int = 8
    accumulator_bits: int = 32
    weights: str = "compressed"
    square_kernels: bool = False
    depth_tiling: bool = False
    balance: bool = True
    kernel_efficiency: float = 0.45
    stream_efficiency: float = 0.45
    ddr_efficiency: float = 0.45
    static_w: float = 3.0
    mac_pj: float = 0.2
    onchip_pj_per_bit: float = 0.16
    offchip_pj_per_bit: float = 20.0


@dataclass
class CustomConfig(HardwareConfig):
    """An accelerator of somebody else's.

    Args:
        model: a class (`_target_`) that answers as `hass_train.hardware.HardwareModel` does, and its arguments.
    """

    kind: str = "custom"
    model: dict[str, Any] = field(default_factory=dict)


KINDS: dict[str, type[HardwareConfig]] = {"dataflow": DataflowConfig, "aie": AieConfig, "custom": CustomConfig}
"""Kinds of accelerators, and what their configurations say."""


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
    """Epochs and peak learning rate of one phase."""

    epochs: int = MISSING
    lr: float = MISSING


@dataclass
class SearchConfig:
    """Goal, phases and controller of the learned search.

    Args:
        engine: `learned`; a recipe, `one_shot` or `incremental`; or one that looks at trials of the trained network:
            `tpe`, `nsga2`, `greedy`, `uniform`.
        penalty: fixed λ of the hardware penalty, in cross-entropy per e-fold of throughput.
        target_speedup: throughput wanted, over the dense network's on the same device.
        target_throughput: throughput wanted, images/s.
        max_accuracy_drop: validation accuracy that may be lost, as a fraction; of engines that look at trials.
        sparsity: of the weights of every layer that may be pruned; of the recipes `one_shot` and `incremental`.
        activation_sparsity: of the inputs of every layer that may be gated; of the recipes.
        increment, increment_epochs: `incremental` takes this fraction more of the weights every so many epochs.
        default_density: if none of these is given, the goal is what the device gains at this pair density.
        margin: how far beyond the target the search aims, as a fraction, for activations that drift in recovery.
        prices: what weighs densities in the loss: `hardware`, or for comparison `macs` or `ones`.
        queries: least number of questions to the hardware in a search; one an epoch where it has as many epochs.
        density_floor: least pair density that the roof assumes of any layer.
        threshold_travel: how far raw thresholds may move in the search phase, in units of softplus's argument.
        learning_steps: of a search, that thresholds learn in at least; beyond them, in one step of up to four.
        distill: weight of the dense network's answers against the labels while the accuracy recovers.
        max_penalty: cap of λ.
        calibration_images: validation images that exact histograms are measured on.
        trials, seconds: that engines that look at trials may spend: networks looked at, wall clock; null = no limit.
        study: name to store the trials under, and to go on with; by default they stay in the run's directory.
        storage: database URL of the study; by default a journal file under `paths.runs`.
        workers: processes that share the study.
        max_threshold, threshold_step: largest threshold and the greedy walk's step, in typical magnitudes.
        sparsity_weight, throughput_weight, dsp_weight: λ1, λ2 and λ3 of HASS's objective.
        warmup, search, recover: the phases.
        weight_decay, label_smoothing: of all phases.
    """

    engine: str = "learned"
    penalty: float | None = None
    target_speedup: float | None = None
    target_throughput: float | None = None
    max_accuracy_drop: float | None = None
    sparsity: float | None = None
    activation_sparsity: float = 0.0
    increment: float = 0.05
    increment_epochs: int = 2
    default_density: float = 0.2
    margin: float = 0.01
    prices: str = "hardware"
    queries: int = 1
    density_floor: float = 0.05
    threshold_travel: float = 12.0
    learning_steps: int = 150
    distill: float = 0.0
    max_penalty: float = 30.0
    calibration_images: int = 256
    trials: int = 96
    seconds: float | None = None
    study: str | None = None
    storage: str | None = None
    workers: int = 1
    max_threshold: float = 0.8
    threshold_step: float = 0.1
    sparsity_weight: float = 0.1
    throughput_weight: float = 0.1
    dsp_weight: float = 0.1
    warmup: PhaseConfig = field(default_factory=PhaseConfig)
    search: PhaseConfig = field(default_factory=PhaseConfig)
    recover: PhaseConfig = field(default_factory=PhaseConfig)
    weight_decay: float = 0.05
    label_smoothing: float = 0.05


@dataclass
class PathsConfig:
    """Where things are read and written."""

    runs: str = "runs"
    data: str = "data"
    output: str = MISSING


@dataclass
class RunConfig:
    """A whole run. `data`, `trainer`, `callbacks` and `logger` name classes and their arguments (`_target_`)."""

    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: dict[str, Any] = field(default_factory=dict)
    hw: HardwareConfig = field(default_factory=HardwareConfig)
    sparsity: SparsityConfig = field(default_factory=SparsityConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    paths: PathsConfig = field(default_factory=PathsConfig)
    simulate: bool = False
    report: bool = True
    summary_depth: int = 2
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
    pair_density: float = 1.0
    weight_density: float = 1.0
    dense_layers: list[str] = field(default_factory=list)
    block: list[int] | None = None
    path: str = ""


@dataclass
class EstimateConfig:
    """What `python -m hass_train.estimate` asks."""

    model: ModelConfig = field(default_factory=ModelConfig)
    hw: HardwareConfig = field(default_factory=HardwareConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
