"""timm networks by name."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from hass_train.config.checks import first_line
from hass_train.config.schema import ModelConfig
from hass_train.hardware import UnsupportedOperation, Workload, trace
from hass_train.runtime.errors import UserError, unknown


def check_network(name: str) -> None:
    """Raise UserError, with the nearest name there is, for a network that timm does not have."""
    if not timm.is_model(name.split(".")[0]):
        raise unknown("timm model", name, timm.list_models())


def create_network(config: ModelConfig, **arguments: Any) -> nn.Module:
    """Make a timm network.

    Args:
        config: name, pretrained, kwargs.
        arguments: of `timm.create_model`; the configuration's kwargs go before them.

    Raises:
        UserError: an unknown name, arguments it does not take, or pretrained weights that cannot be had.
    """
    name = config.name
    check_network(name)
    try:
        network: nn.Module = timm.create_model(name, pretrained=config.pretrained, **{**arguments, **config.kwargs})
        return network
    except TypeError as error:
        raise UserError(f"model.kwargs do not fit {name}: {first_line(error)}") from error
    except Exception as error:
        if config.pretrained:
            raise UserError(
                f"pretrained weights of {name} cannot be loaded ({type(error).__name__}); without a network put them "
                "into the Hugging Face cache first, or use model.pretrained=false with init_from=FILE"
            ) from error
        raise


def traced(network: nn.Module, input_size: tuple[int, int, int], name: str) -> Workload:
    """Trace a network into a workload.

    Raises:
        UserError: an operation that no accelerator can cost.
    """
    try:
        return trace(network, input_size, name)
    except UnsupportedOperation as error:
        raise UserError(str(error)) from error
