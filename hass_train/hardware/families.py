"""The accelerators that come with the project, as `conf/hw/` names them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hass_train.hardware.accelerator import with_fields_of
from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.aie.model import AieAccelerator
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.device import Device


@with_fields_of(Device, DataflowOptions)
def fpga(**settings: Any) -> DataflowAccelerator:
    """Return a dataflow accelerator on an FPGA.

    Args:
        settings: the fields of `Device` and of `DataflowOptions`, by name.

    Raises:
        ValueError: a field out of range.
    """
    device, options = (
        {item.name: settings[item.name] for item in fields(kind) if item.name in settings}
        for kind in (Device, DataflowOptions)
    )
    return DataflowAccelerator(Device(**device), DataflowOptions(**options))


@with_fields_of(AieArray)
def ai_engine_array(**settings: Any) -> AieAccelerator:
    """Return an array of AI-engine cores.

    Args:
        settings: the fields of `AieArray`, by name.

    Raises:
        ValueError: a field out of range.
    """
    return AieAccelerator(AieArray(**settings))
