"""The hardware model that a configuration describes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from hass_train.config.schema import AieConfig, CustomConfig, DataflowConfig, HardwareConfig
from hass_train.hardware import (
    AieAccelerator,
    AieArray,
    DataflowAccelerator,
    DataflowOptions,
    Device,
    HardwareModel,
)
from hass_train.runtime.errors import UserError


def build_hardware(config: HardwareConfig, tolerance: float | None = None) -> HardwareModel:
    """The hardware model.

    Args:
        config: of any kind.
        tolerance: in place of the configured one, for models that search a design until they are so near the best.

    Raises:
        UserError: a field out of range.
    """

    def pick(kind: type) -> dict[str, Any]:
        return {item.name: getattr(config, item.name) for item in fields(kind)}

    try:
        if isinstance(config, AieConfig):
            return AieAccelerator(AieArray(**pick(AieArray)))
        if isinstance(config, DataflowConfig):
            options = DataflowOptions(**pick(DataflowOptions))
            if tolerance is not None:
                options = replace(options, tolerance=tolerance)
            return DataflowAccelerator(Device(**pick(Device)), options)
        assert isinstance(config, CustomConfig)
        model = instantiate(config.model, _convert_="all")
        if not callable(getattr(model, "estimate", None)):
            raise ValueError(f"model is {config.model}; it must name a class (_target_) with an estimate method")
        return model  # type: ignore[no-any-return]
    except (ValueError, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        raise UserError(f"hw: {str(cause).strip().splitlines()[0]}") from error
