"""Simulates the design of a finished run, with the network and the data of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor

from hass_train.config.schema import ModelConfig
from hass_train.data import ImageData
from hass_train.export.design import load_design
from hass_train.export.profile import load_profile
from hass_train.export.weights import load_sparse
from hass_train.precision import IntegerNetwork
from hass_train.precision.integer_network import INTEGERS_JSON
from hass_train.results.result import Result
from hass_train.results.simulation import DesignSimulation
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath
from hass_train.training.networks import create_network, deployed, traced


def simulate_run(
    folder: AnyPath, count: int, sized: bool = False, told: Callable[[str], None] = lambda message: None
) -> DesignSimulation:
    """Simulate the design of a finished run on its own validation images.

    Args:
        folder: directory of a search that has ended.
        count: number of images.
        sized, told: see `simulate_design`.

    Raises:
        UserError: a file is missing or contradicts another one, or the design cannot be simulated (`simulate_design`).
    """
    from hass_train.results.playing import simulate_design  # late: it brings numba

    if count < 1:
        raise UserError(f"--images is {count}; it must be ≥ 1")
    folder = Path(folder)
    design, result = load_design(folder), Result.load(folder)
    profile = load_profile(folder)
    settings = ModelConfig(name=result.model.name)
    network = deployed(create_network(settings, **result.model.arguments))
    workload = traced(network, design.input_shape, settings.name)
    model = load_sparse(network, folder)
    data = _data_of(result, folder)
    images = torch.cat(list(data.images("val", model, images=count)))
    integers = IntegerNetwork.load(folder) if (folder / INTEGERS_JSON).is_file() else None
    return simulate_design(design, workload, integers or model, images, profile, sized, told)


def validation_images(folder: AnyPath, count: int) -> Tensor:
    """The first validation images of a finished search, (n, channels, height, width).

    Args:
        folder: the run's directory.
        count: number of images.

    Raises:
        UserError: the run has no result, or its data cannot be loaded.
    """
    folder = Path(folder)
    data = _data_of(Result.load(folder), folder)
    return torch.cat(list(data.images("val", None, images=count)))


def _data_of(result: Result, folder: Path) -> ImageData:
    """Make and load the data module of a run's configuration.

    Raises:
        UserError: the configuration names no data module, or its files cannot be loaded.
    """
    section = result.config.get("data")
    try:  # a result.json may come from anybody: only data modules may be made from it
        kind = resolve_name(section["_target_"])  # type: ignore[index]
        known = issubclass(kind, ImageData)
    except (AttributeError, KeyError, TypeError, ValueError, ImportError):
        known = False
    if not known:
        named = section.get("_target_") if isinstance(section, Mapping) else section
        raise UserError(f"{folder}'s data is a {named}, which is no data module of HASS-Train")
    try:
        data: ImageData = instantiate(section)
        data.serve(result.model.arguments.get("in_chans", data.input_size[0]))
        data.setup()
    except InstantiationException as error:
        raise UserError(f"the run's data cannot be loaded: {str(error.__cause__ or error).splitlines()[0]}") from error
    return data
