"""The modes of a sparse layer."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """How a sparse layer treats its operands: DENSE leaves them as they are, SEARCH applies thresholds that can be
    learned, and FROZEN applies a fixed mask and a fixed activation threshold."""

    DENSE = 0
    SEARCH = 1
    FROZEN = 2
