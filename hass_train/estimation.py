"""What a configuration of `python -m hass_train.estimate` describes: a network, an accelerator and a sparsity.

Nothing here needs images or Lightning.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hass_train.config.checks import checked_estimate, made
from hass_train.config.schema import EstimateConfig, ProfileConfig
from hass_train.export.profile import load_profile
from hass_train.hardware import Accelerator, SparsityProfile, Workload
from hass_train.precision import Mixed, Numbers, resolved, with_widths
from hass_train.results.estimation import measured_network
from hass_train.runtime.errors import UserError
from hass_train.training.networks import create_network, deployed, given, traced


class EstimateExperiment:
    """A network, an accelerator and a sparsity to estimate, without images or training.

    Args:
        config: the checked configuration.
    """

    def __init__(self, config: EstimateConfig) -> None:
        self.config = config

    @classmethod
    def of(cls, config: DictConfig) -> EstimateExperiment:
        """Check a composed configuration.

        Raises:
            UserError: a problem that the user can solve.
        """
        return cls(checked_estimate(config))

    @cached_property
    def precision(self) -> Numbers:
        """What the network computes with."""
        found = made(self.config.precision, "precision", Numbers)
        if isinstance(found, Mixed):
            raise UserError(
                "precision=mixed chooses bits in a search; for an estimate take precision=int8 or int4, with rules for "
                "layers"
            )
        return found

    @property
    def hardware(self) -> dict[str, Any]:
        """The section of the configuration that says what the accelerator is, with all widths."""
        return resolved(self.config.hw, self.precision)

    @cached_property
    def accelerator(self) -> Accelerator:
        """The accelerator."""
        return made(self.hardware, "hw", Accelerator)  # type: ignore[type-abstract]

    @cached_property
    def workload(self) -> Workload:
        """The network as a workload; its input size is the one that is given, the measured run's, or timm's default."""
        model, shape, arguments = self.config.model, None, dict[str, Any]()
        if model.input_size is not None:
            shape, arguments = tuple(model.input_size), {"in_chans": model.input_size[0]}
        elif self.config.profile.kind == "run":
            load_profile(Path(self.config.profile.path))  # raises a clear error if there is none
            shape, arguments = measured_network(Path(self.config.profile.path))
        network: Any = create_network(model, **arguments)
        if shape is not None and getattr(network, "default_cfg", {}).get("fixed_input_size"):
            network = create_network(model, **arguments, img_size=tuple(shape[1:]))
        size = shape or network.default_cfg["input_size"]
        channels = given(model.kwargs).get("in_chans", size[0])
        if shape is not None and channels != size[0]:
            raise UserError(f"model.kwargs.in_chans is {channels}, but images have {size[0]} channels; leave it out")
        network = deployed(network)
        workload = traced(network, (channels, size[1], size[2]), model.name)
        return with_widths(workload, network, self.precision, self.config.hw)

    @cached_property
    def profile(self) -> SparsityProfile:
        """The sparsity profile that the configuration describes.

        Raises:
            UserError: the profile is of another network, or cannot be loaded.
        """
        config = self.config.profile
        profile = load_profile(Path(config.path)) if config.kind == "run" else _uniform(config, self.workload)
        try:
            profile.check_covers(self.workload)
        except ValueError as error:
            raise UserError(f"{config.path}: {error}") from error
        return profile


def _uniform(config: ProfileConfig, workload: Workload) -> SparsityProfile:
    """The profile with the same sparsity in all layers, except those that are named dense."""
    block = (config.block[0], config.block[1]) if config.block else None
    try:
        return SparsityProfile.uniform(workload, config.pair_density, config.dense_layers, config.weight_density, block)
    except ValueError as error:
        raise UserError(f"profile: {error}") from error
