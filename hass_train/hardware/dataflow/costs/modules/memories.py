"""What memories and multiplexers take, by family, as Yosys builds them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.modules.parameters import Family

_BLOCK_BITS = ((9, 36), (10, 18), (11, 9), (12, 4), (13, 2), (14, 1))
"""The address bits of a block RAM, and the bits of a row then: of 18 kbit on Xilinx devices, of 16 kbit on ECP5."""

_ROM_BITS: dict[Family, int] = {"xc7": 8256, "ecp5": 2048}
"""Bits of constants for each block RAM that they would take, up to which LUTs hold them."""
Ints = NDArray[np.int64]

SMALL_PRODUCT = 8
"""Bits of a product for which Yosys takes no DSP of a Xilinx device."""


def state_bits(depth: Any) -> Any:
    """The bits that count `depth` states, for a number or an array."""
    if isinstance(depth, (np.ndarray, np.integer)):
        return np.frexp(depth - 1)[1].astype(np.int64)  # the exponent of 2 above it: exact up to 53 bits
    return (depth - 1).bit_length()


def address_bits(count: Any) -> Any:
    """The bits of a number below `count`, at least one, for a number or an array."""
    return state_bits(count) + (count == 1)


def multipliers(bits: Any) -> Any:
    """The multipliers of an ECP5, of 18 bits, that an operand is spread over; two bits beyond them go to LUTs."""
    return -(-(bits - 2) // 17) + (bits <= 2)


def multiplexer(inputs: Any, family: Family) -> Any:
    """The LUTs of a bit of a multiplexer, as measured; Yosys does not use the slice's own for those of data."""
    if family == "ecp5":
        return -(-inputs // 2) * (inputs > 1)
    return 4 * -(-inputs // 8) * (inputs > 4) + (inputs > 1) * (inputs <= 4)


def choice(inputs: Any, family: Family) -> Any:
    """The LUTs of a bit of `choose`: a LUT for four inputs, four for sixteen, and what joins them."""
    if family == "ecp5":
        return inputs // 2  # with the multiplexers behind LUTs
    sixteens = (inputs + 3) // 16
    rest = (inputs - 16 * sixteens) * (inputs > 16 * sixteens)
    parts = sixteens + -(-rest // 4)
    last = rest % 4
    luts = 4 * sixteens + -(-rest // 4) - ((last == 1) | ((last == 2) & (parts == 2)))
    return luts + 1 * (parts != 1) + 1 * (parts >= 4)


def registers_of_delay(cycles: Any) -> Any:
    """The flip-flops of a delay that shift registers of a Xilinx device, of 3 to 16 or 32 cycles, leave over."""
    return cycles * (cycles < 3) + (cycles >= 3) * (cycles % 16 == 1)


def tree(inputs: Any, family: Family) -> Any:
    """The LUTs of a gate of many inputs, at least one."""
    return -(-(inputs - 1) // (5 if family == "xc7" else 3))


def lutram(width: Any, depth: Any, family: Family) -> Any:
    """The LUTs of a memory in LUTs with an address to write and one to read, and of what joins its parts."""
    if family == "ecp5":
        parts = -(-depth // 16)
        return 4 * -(-width // 4) * parts + width * multiplexer(parts, family)
    parts = -(-depth // 64)
    return 4 * -(-width // (6 - 3 * (depth > 32))) * parts + width * multiplexer(parts, family)


def block_rams(width: Any, depth: Any, family: Family) -> Any:
    """The block RAMs of a memory whose rows are a power of two, at least `depth`; for numbers or arrays.

    Two of a Xilinx device make a wider one of 9 bits a row at 4,096 rows.
    """
    address = np.asarray(state_bits(depth))
    wide = np.asarray(width)
    found = wide << np.maximum(address - 14, 0)
    for bits, row in reversed(_BLOCK_BITS):
        found = np.where(address <= bits, -(-wide // row), found)
    if family == "xc7":
        found = np.where(address == 12, np.minimum(found, 2 * -(-wide // 9)), found)
    return found if found.ndim else int(found)


class Rom(NamedTuple):
    """A memory of constants that is read a cycle later, as it is synthesised; the fields are arrays.

    Args:
        blocks: block RAMs; 0 if it is in LUTs.
        lut, ff: LUTs that hold it, or choose between parts of block RAMs, and registers behind these.
    """

    blocks: Ints
    lut: Ints
    ff: Ints


def rom(width: Any, depth: Any, family: Family) -> Rom:
    """What a memory of `depth` constant rows of `width` bits takes.

    Yosys cuts rows that do not fit a block RAM into parts that lie side by side in its width: 9,216 rows of 8 bits are
    1,024 rows of 72, and four block RAMs. It takes LUTs where 64 bits in a LUT are cheaper than what a block RAM counts
    for. A LUT of six inputs holds 64 bits and one of four 16; beyond 64 rows of those, multiplexers join them.
    """
    wide, rows = np.broadcast_arrays(np.asarray(width, np.int64), np.asarray(depth, np.int64))
    blocks, parts = np.full(wide.shape, 2**62), np.ones(wide.shape, np.int64)
    for bits, row in _BLOCK_BITS:
        cut = -(-rows >> bits)
        count = -(-wide * cut // row)
        better = (count < blocks) | (count == blocks) & (cut < parts)
        blocks, parts = np.where(better, count, blocks), np.where(better, cut, parts)
    held = _ROM_BITS[family]
    in_luts = wide * rows <= held * blocks
    columns = np.minimum(wide, 2 ** np.minimum(rows, 62) - 2)  # of few rows not more differ, and are not constant
    holding = np.ceil(rows / (16 if family == "ecp5" else 64))  # LUTs of a bit
    joining = np.where(rows > 64, 0.45 * holding if family == "ecp5" else 1 + holding / 8, 0)  # as measured
    lut = np.where(in_luts, np.ceil(columns * (holding + joining)).astype(np.int64), wide * multiplexer(parts, family))
    return Rom(np.where(in_luts, 0, blocks), lut, np.where(in_luts, columns, state_bits(parts)))
