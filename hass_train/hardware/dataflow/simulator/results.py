"""What a simulation of a design measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


class Deadlock(RuntimeError):
    """The pipeline stands still for ever; the message names the FIFO that is too small.

    Attributes:
        fifo: name of that FIFO.
    """

    def __init__(self, fifo: str, message: str) -> None:
        super().__init__(message)
        self.fifo = fifo


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage did from the second image to the last.

    Args:
        name: name of the operation.
        interval_cycles: cycles per image that its compute engines were busy or uneven, which it would take by itself.
        busy, starved, blocked, uneven: fractions of the time that its engines compute, lack input, lack room for
            results, or wait for a slower engine of the same stage.
        first: (images, 3) cycles at which each image's first word came in, its first word left and its last word left.
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
        interval_cycles: cycles between images in steady state.
        latency_cycles: cycles from the first image's first word to its last result.
        images: how many images were played.
        stages: what each stage did, in topological order.
        peaks: the most entries that each FIFO held, by name.
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
        name: the stage that it feeds; `stage <- operand` for one of several operands, `stage rows` for a line buffer.
        stage, operand: indices of the stage and of its operand.
        words: words of an entry.
        kind: `join` holds an operand back for another one; `input` stands before a line buffer, for what arrives while
            the border is read; `rows` makes the line buffer longer, to read ahead of the windows.
    """

    name: str
    stage: int
    operand: int
    words: int
    kind: Literal["join", "input", "rows"]


def join_name(name: str, inputs: Sequence[str], operand: int) -> str:
    """The name of the FIFO of one of an operation's operands; the second of two equal operands is numbered.

    Args:
        name: of the operation.
        inputs: the names of its operands.
        operand: which one, from 0.
    """
    name, again = f"{name} <- {inputs[operand]}", inputs[:operand].count(inputs[operand])
    return f"{name} ({again + 1})" if again else name
