"""The AI-engine array: its cores, memories and bandwidths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from hass_train.hardware.workload import Operation

WeightStorage = Literal["dense", "compressed"]


@dataclass(frozen=True, slots=True)
class AieArray:
    """An array of AI-engine cores and how layers run on it.

    The first fields are facts of AIE2 (Weight Block Sparsity, section on AIE2; AM020). The three `…_efficiency` fields
    are one number by default, calibrated on the published times of 2×2 and 4×4 arrays (`benchmarks/aie.py`). Nothing
    else is calibrated.

    Args:
        name: name of the array, as in `conf/hw/`.
        rows, columns: rows and columns of cores. A column shares activations, a row shares weights.
        clock_mhz: clock of the cores, MHz.
        macs_per_cycle: multiply-accumulates of a core in a cycle at 8×8 bits; at other widths in inverse proportion to
            the product of the widths.
        lanes: pixels × input channels × output channels of the matrix product that a core computes in one cycle.
            Channels are padded to these, and zeros are skipped in blocks of input × output lanes with the full kernel.
        core_kb: data memory of a core, KB of 1,024 bytes.
        tile_kb: memory tile of a column, KB.
        ddr_gbs: bandwidth of each channel between DDR and a memory tile, GB/s; a tile has one to read and one to write.
        stream_gbs: bandwidth of each stream between a memory tile and cores, GB/s; activations of a column, weights of
            a row and results of a core have streams of their own.
        weight_bits, activation_bits, accumulator_bits: word widths, bits, of operations that have none of their own.
        weights: `compressed` = blocks of zeros are neither stored nor moved; `dense` = they are moved, but not
            multiplied.
        square_kernels: whether kernels that are not square, such as 1×7, are padded to squares.
        depth_tiling: whether the map between two layers is kept in the memory tiles where both layers fit, instead of
            in DDR; rows that neighbouring columns both need are then computed twice.
        balance: whether rows of blocks are dealt to rows of cores so that all have about equally many; else in order.
        kernel_efficiency: fraction of `macs_per_cycle` that inner loops reach.
        stream_efficiency, ddr_efficiency: fractions of the bandwidths that transfers reach.
        static_w: static power, W.
        mac_pj: energy of one 8×8-bit multiply-accumulate, pJ.
        onchip_pj_per_bit, offchip_pj_per_bit: energy of moving a bit between tile and core, and to or from DDR, pJ.

    Raises:
        ValueError: a field is out of range.
    """

    name: str
    rows: int
    columns: int
    clock_mhz: float = 1000.0
    macs_per_cycle: int = 256
    lanes: Sequence[int] = (4, 8, 8)
    core_kb: int = 64
    tile_kb: int = 512
    ddr_gbs: float = 4.0
    stream_gbs: float = 4.0
    weight_bits: int = 8
    activation_bits: int = 8
    accumulator_bits: int = 32
    weights: WeightStorage = "compressed"
    square_kernels: bool = False
    depth_tiling: bool = False
    balance: bool = True
    kernel_efficiency: float = 0.45
    stream_efficiency: float = 0.45
    ddr_efficiency: float = 0.45
    static_w: float = 3.0
    mac_pj: float = 0.2
    onchip_pj_per_bit: float = 0.16
    offchip_pj_per_bit: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lanes", tuple(self.lanes))
        if len(self.lanes) != 3 or min(self.lanes) < 1:
            raise ValueError(
                f"lanes is {list(self.lanes)}; pixels, input and output channels ≥ 1 are wanted, as [4,8,8]"
            )
        if self.weights not in ("dense", "compressed"):
            raise ValueError(f"weights is {self.weights!r}; choose dense or compressed")
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in _OPEN or isinstance(value, (str, bool, tuple)):
                continue
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"{item.name} is {value}; it must be > 0")
        for name in ("rows", "columns"):
            if getattr(self, name) > 64:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 1 … 64")
        for name in ("weight_bits", "activation_bits", "accumulator_bits"):
            if not _LEAST_BITS <= getattr(self, name) <= 64:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in {_LEAST_BITS} … 64")
        for name in ("kernel_efficiency", "stream_efficiency", "ddr_efficiency"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in (0, 1]")
        for name in _OPEN:
            if not 0 <= getattr(self, name) < 1e6:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be ≥ 0")

    def of(self, operation: Operation) -> AieArray:
        """The array as an operation runs on it, whose numbers may have widths of their own; at least 4 bits."""
        if not (operation.weight_bits or operation.activation_bits):
            return self
        weight, activation = (
            max(own or array, _LEAST_BITS)
            for own, array in (
                (operation.weight_bits, self.weight_bits),
                (operation.activation_bits, self.activation_bits),
            )
        )
        return replace(self, weight_bits=weight, activation_bits=activation)

    @property
    def macs(self) -> float:
        """The multiply-accumulates that inner loops reach on a core in a cycle, at the array's word widths."""
        return self.macs_per_cycle * 64 / (self.weight_bits * self.activation_bits) * self.kernel_efficiency

    @property
    def stream_bytes(self) -> float:
        """The bytes that one stream carries in a cycle."""
        return self.stream_gbs * 1e3 / self.clock_mhz * self.stream_efficiency

    @property
    def ddr_bytes(self) -> float:
        """The bytes that one channel between DDR and a memory tile carries in a cycle."""
        return self.ddr_gbs * 1e3 / self.clock_mhz * self.ddr_efficiency


_LEAST_BITS = 4  # of a word
_OPEN = ("static_w", "mac_pj", "onchip_pj_per_bit", "offchip_pj_per_bit")
