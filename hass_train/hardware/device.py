"""FPGA devices: what there is for a design to spend."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.resources import LIMITS
from hass_train.runtime.errors import suggested

_FAMILIES: dict[tuple[int, str], Family] = {(6, "dsp48"): "xc7", (4, "mult18"): "ecp5"}
_DEVICES = Path(__file__).resolve().parents[2] / "conf" / "hw"


@dataclass(frozen=True, slots=True)
class Device:
    """The resources and the speed of one FPGA (hardware-model, section 9).

    Args:
        name: name of the device, as in `conf/hw/`.
        dsp: DSP48 slices, or the multipliers that a device has instead.
        bram18: 18-kbit block RAMs.
        uram: 288-kbit UltraRAMs.
        lut: look-up tables.
        ff: flip-flops.
        clock_mhz: clock of the accelerator, MHz.
        bandwidth_gbps: off-chip memory bandwidth, Gbit/s.
        reconfiguration_s: seconds to load another bitstream.
        static_w: static power, W; only energy estimates use it.
        lut_inputs: inputs of a look-up table, 6 or 4.
        multiplier: what `dsp` counts: `dsp48`, or `mult18` (18 × 18 bits, without an adder).

    Raises:
        ValueError: a field is negative or not finite, or there are no DSPs or no clock.
    """

    name: str
    dsp: int
    bram18: int
    uram: int
    lut: int
    ff: int
    clock_mhz: float
    bandwidth_gbps: float
    reconfiguration_s: float = 0.08255
    static_w: float = 3.0
    lut_inputs: int = 6
    multiplier: str = "dsp48"

    def __post_init__(self) -> None:
        for item in fields(self)[1:-2]:
            value = getattr(self, item.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{item.name} of device {self.name} is {value}; it must be a number ≥ 0")
        for needed in ("dsp", "clock_mhz"):
            if getattr(self, needed) <= 0:
                raise ValueError(f"{needed} of device {self.name} is {getattr(self, needed)}; it must be > 0")
        if (self.lut_inputs, self.multiplier) not in _FAMILIES:
            known = " or ".join(f"{inputs} with {multiplier}" for inputs, multiplier in _FAMILIES)
            raise ValueError(
                f"lut_inputs of device {self.name} is {self.lut_inputs!r} with multiplier {self.multiplier!r}; "
                f"modules are synthesised for {known}"
            )

    @property
    def family(self) -> Family:
        """What modules are synthesised for."""
        return _FAMILIES[self.lut_inputs, self.multiplier]

    @property
    def available(self) -> dict[str, float]:
        """What there is of each resource, by name, and the off-chip `bandwidth` in Gbit/s."""
        return {name: float(self.bandwidth_gbps if name == "bandwidth" else getattr(self, name)) for name in LIMITS}


def load_device(name: str, **changes: Any) -> Device:
    """A device of `conf/hw/`, or one like it.

    Args:
        name: `u250`, `zcu104`, …, or the path of a YAML file with the fields of a device.
        changes: fields to set to other values.

    Raises:
        ValueError: the device is not known (the message names the nearest), or a field is missing, unknown or out of
            range.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _DEVICES / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in _DEVICES.glob("*.yaml") if "dsp:" in file.read_text())
        raise ValueError(f"there is no device {name!r}{suggested(name, known)}")
    given: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    known = [item.name for item in fields(Device)]
    for key in changes:
        if key not in known:
            raise ValueError(f"a device has no field {key!r}{suggested(key, known)}")
    values = {key: value for key, value in {**given, **changes}.items() if key in known}
    try:
        return Device(**values)
    except TypeError as error:
        raise ValueError(f"{path.name} is not a whole device: {str(error).split('__init__() ')[-1]}") from error
