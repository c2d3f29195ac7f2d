"""What designs are made of: names of the resources that can bind them, and what they are called in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Limit = Literal["dsp", "bram18", "uram", "lut", "ff", "bandwidth"]

LIMITS: tuple[Limit, ...] = get_args(Limit)
"""Everything that can bind a design on an FPGA, in the order of every vector of resources."""
LABELS: Mapping[str, str] = {
    "dsp": "DSPs", "bram18": "block RAMs", "uram": "UltraRAMs", "lut": "LUTs", "ff": "flip-flops",
    "bandwidth": "off-chip bandwidth",
}  # fmt: skip
"""What resources are called in sentences."""
