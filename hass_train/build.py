"""From configuration to objects."""

from __future__ import annotations

import hass_train.torchvision_shim  # noqa: F401 - before anything imports torchvision

# isort: split
from typing import Any

import torch
from torch import nn

from hass_train.config import RunConfig
from hass_train.data import ImageData
from hass_train.errors import UserError
from hass_train.networks import check_name, create_network
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
    check_name(config.model.name)
    size = config.model.input_size
    if size is not None and tuple(size) != tuple(data.input_size):
        raise UserError(
            f"model.input_size is {size}, but {data.name} gives images of {list(data.input_size)}; set the data's size"
        )
    model = create_network(config.model, **model_arguments(config, data))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def make_sparse(model: nn.Module, config: RunConfig) -> nn.Module:
    """Swap sparse layers in, by the configuration's rules."""
    given = {name: rule for name, rule in config.sparsity.rules.items() if rule}
    rules = {name: LayerRule(rule.match, rule.weight, rule.activation) for name, rule in given.items()}
    return sparsify(model, rules)
