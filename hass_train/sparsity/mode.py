"""The modes of a sparse layer."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """What the gates do."""

    DENSE = 0
    SEARCH = 1
    FROZEN = 2
