"""What playing a design gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


class Deadlock(RuntimeError):
    """The pipeline stops for ever; the message names the FIFO that is too small.

    Attributes:
        fifo: its name.
    """

    def __init__(self, fifo: str, message: str) -> None:
        super().__init__(message)
        self.fifo = fifo


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage did from the second image to the last.

    Args:
        name: of the operation.
        interval_cycles: per image that its engines were busy or uneven: what it would take alone.
        busy, starved, blocked, uneven: fractions of the time: computing; without input; without room for results;
            waiting for a slower engine of the same stage.
        first: (images, 3) cycles at which each image's first word came in, its first and its last word left.
    """

    name: str
    interval_cycles: float
    busy: float
    starved: float
    blocked: float
    uneven: float
    first: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulation measured.

    Args:
        interval_cycles: between images, in steady state.
        latency_cycles: from the first image's first word to its last result.
        images: played.
        stages: in topological order.
        peaks: most entries that every FIFO held, by name.
    """

    interval_cycles: float
    latency_cycles: int
    images: int
    stages: tuple[StageResult, ...] = field(repr=False)
    peaks: Mapping[str, int] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fifo:
    """A memory between two stages whose depth is a choice.

    Args:
        name: the stage it feeds; of several operands `stage <- operand`, of a line buffer `stage rows`.
        stage, operand: places of both.
        words: of an entry.
        kind: `join`: holds an operand back for another one; `input`: before a line buffer, for what arrives while
            padding is read; `rows`: makes the line buffer longer, for reading ahead of the windows.
    """

    name: str
    stage: int
    operand: int
    words: int
    kind: Literal["join", "input", "rows"]
