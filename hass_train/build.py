"""From configuration to objects."""

from __future__ import annotations

from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from hass_train.config.schema import RunConfig
from hass_train.data import ImageData
from hass_train.runtime.errors import UserError
from hass_train.sparsity import LayerRule, Pattern, link_norms, sparsify
from hass_train.training.networks import check_name, create_network


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


def make_sparse(model: nn.Module, config: RunConfig, data: ImageData) -> nn.Module:
    """Swap sparse layers in, by the configuration's pattern and rules.

    Raises:
        UserError: an argument of the pattern out of range, or rules that do not fit the model.
    """
    given = {name: rule for name, rule in config.sparsity.rules.items() if rule}
    # zeros that gain nothing would but cost accuracy: an array's activations are never gated
    rules = {name: LayerRule(r.match, r.weight, r.activation and config.hw.gates) for name, r in given.items()}
    pattern = build_pattern(config)
    sparsify(model, rules, pattern)
    if pattern.prunes_norm:
        parameter = next(model.parameters())
        link_norms(model, parameter.new_zeros(1, *data.input_size))
    return model


def build_pattern(config: RunConfig) -> Pattern:
    """The pattern of the weights.

    Raises:
        UserError: an argument out of range.
    """
    try:
        pattern = instantiate(config.sparsity.pattern, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise UserError(f"sparsity.pattern: {str(cause).strip().splitlines()[0]}") from error
    if not isinstance(pattern, Pattern):
        raise UserError(f"sparsity.pattern is a {type(pattern).__name__}, no hass_train.sparsity.Pattern")
    return pattern
