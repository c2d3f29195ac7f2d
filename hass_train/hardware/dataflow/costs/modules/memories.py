"""What memories and multiplexers take, by family, as Yosys builds them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.runtime.compiled import compiled

_BLOCK_BITS = ((9, 36), (10, 18), (11, 9), (12, 4), (13, 2), (14, 1))
"""The address bits of a block RAM, and the bits of a row then: of 18 kbit on Xilinx devices, of 16 kbit on ECP5."""
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
    # what joins parts in LUTs is as measured
    held, cell, joined = (2048, 16, (0.0, 0.45)) if family == "ecp5" else (8256, 64, (1.0, 1 / 8))
    blocks, parts, lut, ff = (
        one.reshape(wide.shape) for one in _rom(wide.ravel(), rows.ravel(), np.array(_BLOCK_BITS), held, cell, joined)
    )
    in_blocks = blocks > 0
    lut[in_blocks] = wide[in_blocks] * multiplexer(parts[in_blocks], family)
    ff[in_blocks] = state_bits(parts[in_blocks])
    return Rom(blocks, lut, ff)


@compiled
def _rom(width, depth, classes, held, cell, joined):  # type: ignore[no-untyped-def]
    """Decide whether LUTs hold memories of constants.

    Args:
        width, depth: (n,) bits of a row, and rows.
        classes: (shapes, 2) address bits of a block RAM, and the bits of a row then.
        held: bits of constants for each block RAM that they would take, up to which LUTs hold them.
        cell: bits that a LUT holds.
        joined: LUTs for each bit of a row that join those of more than 64 rows, and how many more for each of them.

    Returns:
        (n,) block RAMs, 0 if it is in LUTs; the parts that rows are cut into in these; and, if it is in LUTs, LUTs and
        registers.
    """
    count = len(width)
    blocks, parts = np.empty(count, np.int64), np.empty(count, np.int64)
    lut, ff = np.empty(count, np.int64), np.empty(count, np.int64)
    for one in range(count):
        wide, rows = width[one], depth[one]
        fewest, fewest_parts = 2**62, 1
        for bits, row in classes:
            cut = -(-rows >> bits)
            found = -(-wide * cut // row)
            if found < fewest or (found == fewest and cut < fewest_parts):
                fewest, fewest_parts = found, cut
        blocks[one], parts[one] = fewest, fewest_parts
        if wide * rows <= held * fewest:
            columns = min(wide, 2 ** min(rows, 62) - 2)  # of few rows not more differ, and are not constant
            holding = np.ceil(rows / cell)  # LUTs of a bit
            joining = joined[0] + joined[1] * holding if rows > 64 else 0.0
            blocks[one], lut[one], ff[one] = 0, np.int64(np.ceil(columns * (holding + joining))), columns
    return blocks, parts, lut, ff
