"""The accelerators that come with the project, as `conf/hw/` names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hass_train.hardware.accelerator import WIDTHS, with_fields_of
from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.aie.model import AieAccelerator
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.device import Device


@with_fields_of(Device, DataflowOptions)
def fpga(**settings: Any) -> DataflowAccelerator:
    """Return a dataflow accelerator on an FPGA.

    Args:
        settings: the fields of `Device` and of `DataflowOptions`, by name; widths that are None have their defaults.

    Raises:
        ValueError: a field out of range.
    """
    device, options = (
        {item.name: settings[item.name] for item in fields(kind) if _given(settings, item.name)}
        for kind in (Device, DataflowOptions)
    )
    return DataflowAccelerator(Device(**device), DataflowOptions(**options))


@with_fields_of(AieArray)
def ai_engine_array(**settings: Any) -> AieAccelerator:
    """Return an array of AI-engine cores.

    Args:
        settings: the fields of `AieArray`, by name; widths that are None have their defaults.

    Raises:
        ValueError: a field out of range.
    """
    return AieAccelerator(AieArray(**{name: value for name, value in settings.items() if _given(settings, name)}))


def _given(settings: Mapping[str, Any], name: str) -> bool:
    """Whether a field is given, rather than left to its default."""
    return name in settings and not (name in WIDTHS and settings[name] is None)
