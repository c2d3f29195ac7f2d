"""From configuration to objects."""

from __future__ import annotations

import hass_train.torchvision_shim  # noqa: F401 - before anything imports torchvision

# isort: split
from dataclasses import fields, replace
from typing import Any

import timm
import torch
from torch import nn

from hass_train.config import HardwareConfig, RunConfig
from hass_train.data import ImageData
from hass_train.errors import UserError, unknown
from hass_train.hardware import Device
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.sparsity import LayerRule, sparsify


def model_arguments(config: RunConfig, data: ImageData) -> dict[str, Any]:
    """Arguments of `timm.create_model` for this run."""
    channels = (config.model.input_size or data.input_size)[0]
    return {"num_classes": data.classes, "in_chans": channels, **config.model.kwargs}


def build_model(config: RunConfig, data: ImageData) -> nn.Module:
    """The dense timm model, laid out channels-last.

    Raises:
        UserError: an unknown name, arguments it does not take, or pretrained weights that cannot be had.
    """
    name = config.model.name
    if not timm.is_model(name.split(".")[0]):
        raise unknown("timm model", name, timm.list_models())
    size = config.model.input_size
    if size is not None and tuple(size) != tuple(data.input_size):
        raise UserError(
            f"model.input_size is {size}, but {data.name} gives images of {list(data.input_size)}; set the data's size"
        )
    try:
        model: nn.Module = timm.create_model(name, pretrained=config.model.pretrained, **model_arguments(config, data))
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
    except TypeError as error:
        raise UserError(f"model.kwargs do not fit {name}: {str(error).splitlines()[0]}") from error
    except Exception as error:
        if config.model.pretrained:
            raise UserError(
                f"pretrained weights of {name} cannot be loaded ({type(error).__name__}); without a network put them "
                "into the Hugging Face cache first, or use model.pretrained=false with init_from=FILE"
            ) from error
        raise


def build_hardware(config: HardwareConfig, tolerance: float | None = None) -> DataflowAccelerator:
    """The hardware model; `tolerance` in place of the configured one.

    Raises:
        UserError: a field out of range.
    """

    def pick(kind: type) -> dict[str, Any]:
        return {item.name: getattr(config, item.name) for item in fields(kind)}

    try:
        options = DataflowOptions(**pick(DataflowOptions))
        if tolerance is not None:
            options = replace(options, tolerance=tolerance)
        return DataflowAccelerator(Device(**pick(Device)), options)
    except ValueError as error:
        raise UserError(f"hw: {error}") from error


def make_sparse(model: nn.Module, config: RunConfig) -> nn.Module:
    """Swap sparse layers in, by the configuration's rules."""
    given = {name: rule for name, rule in config.sparsity.rules.items() if rule}
    rules = {name: LayerRule(rule.match, rule.weight, rule.activation) for name, rule in given.items()}
    return sparsify(model, rules)
