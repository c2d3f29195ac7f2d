"""The hardware model that a configuration describes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from hass_train.config import HardwareConfig
from hass_train.errors import UserError
from hass_train.hardware import DataflowAccelerator, DataflowOptions, Device


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
