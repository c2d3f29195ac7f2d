"""What the user may say about the dataflow accelerator beside the device itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Folding = Literal["free", "divisors"]
Bundle = Literal["ends", "auto"]
WeightStorage = Literal["dense", "compressed"]


@dataclass(frozen=True, slots=True)
class DataflowOptions:
    """Design rules of the dataflow accelerator.

    Args:
        weight_bits, activation_bits: word widths.
        folding: `free`, or `divisors` of the dimension only (the peer's rule).
        bundle: input channels in one SPE of a 1×1 or linear layer: `ends` = 1 or all parallel channels, `auto` = every
            divisor of the parallel channels.
        weights: how sparse engines keep weights: `dense`, or `compressed` to a bitmap and the non-zero ones where that
            is smaller (the decoder's logic is not counted).
        skip_all_zero: whether a window without any non-zero pair costs no cycle (t_min = 0) or one (t_min = 1).
        max_replicas: most copies of the pipeline on the device; 0 = as many as fit.
        max_dsp_utilization, max_bram_utilization, max_uram_utilization: usable fraction of the device.

    Raises:
        ValueError: a field out of range.
    """

    weight_bits: int = 16
    activation_bits: int = 16
    folding: Folding = "free"
    bundle: Bundle = "ends"
    weights: WeightStorage = "compressed"
    skip_all_zero: bool = False
    max_replicas: int = 0
    max_dsp_utilization: float = 1.0
    max_bram_utilization: float = 1.0
    max_uram_utilization: float = 1.0

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits"):
            if not 2 <= getattr(self, name) <= 32:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 2 … 32")
        for name, choices in (
            ("folding", get_args(Folding)),
            ("bundle", get_args(Bundle)),
            ("weights", get_args(WeightStorage)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose {' or '.join(choices)}")
        if self.max_replicas < 0:
            raise ValueError(f"max_replicas is {self.max_replicas}; it must be ≥ 1, or 0 for as many as fit")
        for name in ("max_dsp_utilization", "max_bram_utilization", "max_uram_utilization"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in (0, 1]")

    def stored_fraction(self, weight_density: float) -> float:
        """Bits that a sparse engine's weights take, over those of all its weights uncompressed."""
        if self.weights == "dense":
            return 1.0
        return min(1.0, weight_density + 1 / self.weight_bits)

    @property
    def t_min(self) -> int:
        """Least cycles of one SPE initiation."""
        return 0 if self.skip_all_zero else 1
