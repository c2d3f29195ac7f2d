"""FPGA devices: what a design may spend."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Device:
    """Resources and speed of one FPGA (hardware-model, section 9).

    Args:
        name: as in `conf/hw/`.
        dsp: DSP48 slices.
        bram18: 18-kbit block RAMs.
        uram: 288-kbit UltraRAMs.
        lut: look-up tables.
        ff: flip-flops.
        clock_mhz: clock of the accelerator, MHz.
        bandwidth_gbps: off-chip memory bandwidth, Gbit/s.
        reconfiguration_s: seconds to load another bitstream.

    Raises:
        ValueError: a negative or non-finite field, no DSPs, or no clock.
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

    def __post_init__(self) -> None:
        for item in fields(self)[1:]:
            value = getattr(self, item.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{item.name} of device {self.name} is {value}; it must be a number ≥ 0")
        for needed in ("dsp", "clock_mhz"):
            if getattr(self, needed) <= 0:
                raise ValueError(f"{needed} of device {self.name} is {getattr(self, needed)}; it must be > 0")
