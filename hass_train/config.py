"""What a user may configure: one typed schema, which the composed Hydra configuration is checked against."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hydra.utils import get_object
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from hass_train.errors import UserError, nearest, unknown


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
    """A device and the design rules of the dataflow accelerator; see `Device` and `DataflowOptions`."""

    name: str = MISSING
    kind: str = "dataflow"
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
    max_pixels: int = 4
    max_replicas: int = 0
    limits: list[str] = field(default_factory=lambda: ["dsp", "bram18", "uram", "lut", "ff", "bandwidth"])
    objective: str = "throughput"
    min_throughput: float = 0.0
    partitions: str = "needed"
    batch: int = 256
    tolerance: float = 0.001
    max_dsp_utilization: float = 1.0
    max_bram_utilization: float = 1.0
    max_uram_utilization: float = 1.0
    max_lut_utilization: float = 0.85
    max_ff_utilization: float = 0.85
    mac_pj: float = 0.9
    onchip_pj_per_bit: float = 0.16
    offchip_pj_per_bit: float = 20.0


@dataclass
class RuleConfig:
    """See `hass_train.sparsity.LayerRule`."""

    match: str = MISSING
    weight: bool = True
    activation: bool = True


@dataclass
class SparsityConfig:
    """Pattern and rules per layer; the last rule that matches holds."""

    pattern: str = "unstructured"
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
        engine: which engine.
        penalty: fixed λ of the hardware penalty, in cross-entropy per e-fold of throughput.
        target_speedup: throughput wanted, over the dense network's on the same device.
        target_throughput: throughput wanted, images/s.
        default_density: if none of the three is given, the goal is what the device gains at this pair density.
        margin: how far beyond the target the search aims, as a fraction, for activations that drift in recovery.
        density_floor: least pair density that the roof assumes of any layer.
        threshold_travel: how far raw thresholds may move in the search phase, in units of softplus's argument.
        max_penalty: cap of λ.
        calibration_images: validation images that exact histograms are measured on.
        warmup, search, recover: the phases.
        weight_decay, label_smoothing: of all phases.
    """

    engine: str = "learned"
    penalty: float | None = None
    target_speedup: float | None = None
    target_throughput: float | None = None
    default_density: float = 0.4
    margin: float = 0.03
    density_floor: float = 0.05
    threshold_travel: float = 12.0
    max_penalty: float = 30.0
    calibration_images: int = 256
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
        path: run directory, or a profile.json.
    """

    kind: str = "uniform"
    pair_density: float = 1.0
    weight_density: float = 1.0
    dense_layers: list[str] = field(default_factory=list)
    path: str | None = None


@dataclass
class EstimateConfig:
    """What `python -m hass_train.estimate` asks."""

    model: ModelConfig = field(default_factory=ModelConfig)
    hw: HardwareConfig = field(default_factory=HardwareConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


def checked(config: DictConfig) -> RunConfig:
    """The configuration of a run as typed objects.

    Raises:
        UserError: an unknown key (with the nearest one), a value of the wrong type, or one out of range.
    """
    typed, plain = _typed(config, RunConfig)
    _check_targets(plain)
    _check_hardware(typed.hw)
    _check_ranges(typed)
    return typed


def checked_estimate(config: DictConfig) -> EstimateConfig:
    """The configuration of an estimate as typed objects.

    Raises:
        UserError: as `checked`.
    """
    typed, _ = _typed(config, EstimateConfig)
    _check_hardware(typed.hw)
    profile, size = typed.profile, typed.model.input_size
    if profile.kind not in ("uniform", "run"):
        raise unknown("kind of profile", profile.kind, ["uniform", "run"])
    for name in ("pair_density", "weight_density"):
        value = getattr(profile, name)
        if not 0 <= value <= 1:
            raise UserError(f"profile.{name} is {value}; it must lie in [0, 1]")
    if profile.kind == "run" and not profile.path:
        raise UserError("profile.path is not given; say profile.path=RUN_DIR, the directory of a search that ended")
    if size is not None and (len(size) != 3 or min(size) < 1):
        raise UserError(f"model.input_size is {size}; it must be [channels,height,width], each ≥ 1")
    return typed


_Schema = TypeVar("_Schema", RunConfig, EstimateConfig)


def _typed(config: DictConfig, schema: type[_Schema]) -> tuple[_Schema, dict[str, Any]]:
    """Typed objects, and the same as plain data."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    _check_keys(plain, OmegaConf.structured(schema), "")
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain))
    except ConfigKeyError as error:
        raise UserError(_first_line(error)) from error
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is not given; say {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or ""
        raise UserError(f"{key}: {_first_line(error)}" if key else _first_line(error)) from error
    assert isinstance(typed, schema)
    return typed, plain


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


_OPEN = ("model.kwargs", "data", "trainer", "callbacks", "logger", "sparsity.rules")
"""Keys below these are checked against a class's signature, or are the user's own names."""


def _check_keys(plain: Mapping[Any, Any], schema: Any, path: str) -> None:
    known = [str(key) for key in schema]
    for key, value in plain.items():
        where = f"{path}{key}"
        if key not in known:
            raise UserError(f"there is no key {where!r}; did you mean {path + nearest(str(key), known)!r}?")
        if isinstance(value, dict) and where not in _OPEN and not OmegaConf.is_missing(schema, key):
            _check_keys(value, schema[key], f"{where}.")


def _check_targets(plain: Mapping[str, Any]) -> None:
    """Check the arguments of classes named by `_target_` against their signatures."""
    sections: dict[str, Any] = {"data": plain["data"]}
    for group in ("callbacks", "logger"):
        sections |= {f"{group}.{name}": section for name, section in plain[group].items()}
    for path, section in sections.items():
        if section is None:  # switched off
            continue
        if not isinstance(section, dict) or "_target_" not in section:
            raise UserError(f"{path} is {section!r}; it must name a class (_target_) and its arguments, or be null")
        try:
            target = get_object(section["_target_"])
        except Exception as error:
            raise UserError(f"{path}._target_ is {section['_target_']!r}, which cannot be imported") from error
        _check_arguments(path, section, inspect.signature(target).parameters)
    import pytorch_lightning as pl  # late: estimates need none of it, and it takes seconds

    _check_arguments("trainer", plain["trainer"], inspect.signature(pl.Trainer).parameters)


def _check_arguments(path: str, section: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in section:
        if not key.startswith("_") and key not in parameters:
            raise UserError(
                f"there is no key {path + '.' + key!r}; did you mean {path + '.' + nearest(key, parameters)!r}?"
            )


def _check_hardware(config: HardwareConfig) -> None:
    if config.kind != "dataflow":
        raise unknown("kind of hardware", config.kind, ["dataflow"])


def _check_ranges(config: RunConfig) -> None:
    search = config.search
    if search.engine != "learned":
        raise unknown("search engine", search.engine, ["learned"])
    if config.sparsity.pattern != "unstructured":
        raise unknown("sparsity pattern", config.sparsity.pattern, ["unstructured"])
    for name in ("warmup", "search", "recover"):
        phase = getattr(search, name)
        if phase.epochs < 0:
            raise UserError(f"search.{name}.epochs is {phase.epochs}; it must be ≥ 0")
        if not 0 < phase.lr < 10:
            raise UserError(f"search.{name}.lr is {phase.lr}; it must lie between 0 and 10")
    for name, low, high in (
        ("margin", 0.0, 1.0), ("density_floor", 1e-3, 1.0), ("default_density", 1e-3, 1.0),
        ("threshold_travel", 1e-3, 1e3),
        ("max_penalty", 0.0, 1e6), ("weight_decay", 0.0, 10.0), ("label_smoothing", 0.0, 0.99),
    ):  # fmt: skip
        value = getattr(search, name)
        if not low <= value <= high:
            raise UserError(f"search.{name} is {value}; it must lie in [{low:g}, {high:g}]")
    if search.calibration_images < 1:
        raise UserError(f"search.calibration_images is {search.calibration_images}; it must be ≥ 1")
    if int(config.data.get("batch_size", 1)) < 2:
        raise UserError(f"data.batch_size is {config.data['batch_size']}; batch normalisation needs at least 2")
