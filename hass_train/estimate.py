"""What a device could do with a network, without training anything: `python -m hass_train.estimate`."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hass_train import cli

if TYPE_CHECKING:  # at run time they are imported late, see `main`
    from hass_train.config.schema import EstimateConfig, ProfileConfig
    from hass_train.hardware import SparsityProfile, Workload


def main(config: DictConfig) -> dict[str, Any]:
    """Trace, explore, print and write.

    Returns:
        What is in estimate.json.

    Raises:
        UserError: whatever the user can mend.
    """
    # late, so that typing errors are told before torch loads; none of these imports Lightning
    from hass_train.accelerator import build_hardware
    from hass_train.config.checks import checked_estimate
    from hass_train.hardware import CannotFit
    from hass_train.report.console import report_console
    from hass_train.report.estimate import print_estimate, save_estimate_picture
    from hass_train.results.estimation import ESTIMATE, Estimation
    from hass_train.runtime.errors import UserError
    from hass_train.training.networks import create_network, traced

    typed = checked_estimate(config)
    started = time.perf_counter()
    accelerator = build_hardware(typed.hw)
    shape, arguments = _network(typed)
    network = create_network(typed.model, **arguments)
    if shape is not None and getattr(network, "default_cfg", {}).get("fixed_input_size"):
        network = create_network(typed.model, **arguments, img_size=tuple(shape[1:]))
    size: Any = shape or network.default_cfg["input_size"]  # type: ignore[union-attr,index]
    workload = traced(network, (size[0], size[1], size[2]), typed.model.name)
    tracing = time.perf_counter()
    profile = _profile(typed.profile, workload)
    try:
        estimate = accelerator.estimate(workload, profile)
    except (CannotFit, ValueError) as error:
        raise UserError(str(error)) from error
    exploring = time.perf_counter()
    output = Path(typed.paths.output)
    output.mkdir(parents=True, exist_ok=True)
    seconds = {"trace": tracing - started, "explore": exploring - tracing, "total": exploring - started}
    answer = Estimation(
        workload.name, workload.input_shape, workload.macs, workload.weights, profile.pair_sparsity(workload),
        asdict(typed.profile), asdict(typed.hw), estimate, seconds, cli.job_command(),
    )  # fmt: skip
    files = [output / ESTIMATE, output / "estimate.png"]
    answer.save(files[0])
    save_estimate_picture(files[1], estimate, f"{workload.name} on {typed.hw.name}")
    print_estimate(workload, profile, estimate, typed.hw.name, exploring - started, files, report_console())
    return answer.to_dict()


def _network(typed: EstimateConfig) -> tuple[tuple[int, ...] | None, dict[str, Any]]:
    """Input size, if not timm's own, and timm arguments: those of the run whose profile is asked about, or as given."""
    from hass_train.export.profile import load_profile, measured_network

    size = typed.model.input_size
    if typed.profile.kind == "run" and size is None:
        load_profile(Path(typed.profile.path))  # says what is wrong with it
        return measured_network(Path(typed.profile.path))
    return (None, {}) if size is None else (tuple(size), {"in_chans": size[0]})


def _profile(config: ProfileConfig, workload: Workload) -> SparsityProfile:
    """The sparsity that the configuration describes."""
    from hass_train.export.profile import load_profile
    from hass_train.hardware import SparsityProfile, Structure
    from hass_train.runtime.errors import UserError

    if config.kind == "run":
        profile = load_profile(Path(config.path))
    else:
        try:
            uniform = SparsityProfile.uniform(workload, config.pair_density, config.dense_layers)
        except ValueError as error:
            raise UserError(f"profile: {error}") from error
        structure = Structure(block=(config.block[0], config.block[1])) if config.block else None
        layers = dict(uniform.layers)
        for name in layers.keys() - set(config.dense_layers):
            layers[name] = replace(layers[name], weight_density=config.weight_density, structure=structure)
        profile = SparsityProfile(layers)
    try:
        profile.check_covers(workload)
    except ValueError as error:
        raise UserError(f"{config.path}: {error}") from error
    return profile


if __name__ == "__main__":
    cli.run("estimate", main)
