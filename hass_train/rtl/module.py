"""What every hardware module has beside its SystemVerilog: parameters, streams, a reference in numpy, and cycles."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np

from hass_train.rtl.streams import Ints, Memory, Stream
from hass_train.runtime.errors import UserError

SOURCES = Path(__file__).parent / "modules"
"""The folder of the SystemVerilog files, one a module, each named like its module."""

Family = Literal["xc7", "ecp5"]
"""What modules are synthesised for: Xilinx devices with LUTs of six inputs, or Lattice ECP5 with LUTs of four."""

Words = Mapping[str, Ints]
"""What passes through streams, by the stream's name: (words, values) integers."""


@dataclass(frozen=True, kw_only=True)
class Module(ABC):
    """One module of `hass_train/rtl/modules/` at one set of parameters.

    A subclass is a dataclass whose fields are the parameters of the SystemVerilog module, in lower case.

    Attributes:
        name: the SystemVerilog module's, and the name of its file.
        block_ram: whether synthesis may put memories of it into block RAM.
    """

    name: ClassVar[str]
    block_ram: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for parameter, value in self.parameters.items():
            if value < self.least(parameter):
                raise self.refused(parameter, f"it must be at least {self.least(parameter)}")
        self.check()

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of the SystemVerilog module by their names there."""
        return {field.name.upper(): int(getattr(self, field.name)) for field in fields(self)}

    def least(self, parameter: str) -> int:
        """The smallest value of a parameter; 1 unless a module says otherwise."""
        return 1

    def check(self) -> None:  # noqa: B027 most modules support all that is positive
        """Refuse parameters that the module does not support together.

        Raises:
            UserError: which parameter, with its value and what would work.
        """

    def refused(self, parameter: str, why: str) -> UserError:
        """The error that names a parameter, its value, and what would work."""
        return UserError(f"{self.name}: {parameter}={self.parameters[parameter]} is not supported: {why}")

    def __str__(self) -> str:
        """The module with its parameters, as the SystemVerilog instance would name them."""
        return f"{self.name} " + " ".join(f"{name}={value}" for name, value in self.parameters.items())

    @property
    def weight(self) -> int:
        """How large it is, roughly: the product of its parameters."""
        return math.prod(max(value, 1) for value in self.parameters.values())

    # ---- what it does --------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def inputs(self) -> dict[str, Stream]:
        """The streams it reads, by their prefix in the port list."""

    @property
    @abstractmethod
    def outputs(self) -> dict[str, Stream]:
        """The streams it writes, by their prefix in the port list."""

    @property
    def vectors(self) -> dict[str, tuple[str, ...]]:
        """Ports that carry several streams, by their prefix: the streams from the lowest bits up; none by default.

        Bit k of `NAME_valid` and `NAME_ready` and the k-th word of `NAME_data` are those of the k-th stream.
        """
        return {}

    @abstractmethod
    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        """What it writes, if it reads these words.

        Args:
            words: (words, values) integers by input stream.
            memories: the memories beside it, by their prefix in the port list.

        Returns:
            (words, values) integers by output stream.
        """

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        """The cycles for which these words occupy it where nobody stalls: one for each word of its first input stream,
        unless a module says otherwise."""
        return len(next(iter(words.values())))

    @property
    def latency(self) -> int:
        """The cycles from offering the first word to writing the last one, both included, beyond the busy ones."""
        return 0

    @property
    def holds(self) -> int | None:
        """The words that it takes while its reader takes none, where that is promised."""
        return None

    # ---- how it is tried -----------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Parameters drawn at random from all that the module supports, small enough to simulate."""

    @abstractmethod
    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        """At least `words` random words for every input stream, whole frames where there are such."""

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        """Random contents of the memories it reads, by their prefix in the port list; none unless it has any."""
        return {}

    # ---- what it costs -------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        """Parameters drawn at random from the range that networks use, for the characterisation."""

    @abstractmethod
    def lut_terms(self, family: Family) -> dict[str, float]:
        """What its LUTs grow with: a number by a short name of its meaning, such as multiplexer bits.

        The characterisation finds how many LUTs each of them takes (coefficients ≥ 0). A term "fixed" is 1 if given.
        """

    @abstractmethod
    def ff_terms(self, family: Family) -> dict[str, float]:
        """What its flip-flops grow with, likewise."""

    def dsps(self, family: Family) -> int:
        """The DSPs that it takes, exactly."""
        return 0

    def block_rams(self, family: Family) -> int:
        """The block RAMs that it takes, exactly: of 18 kbit on Xilinx devices, of 16 kbit on ECP5."""
        return 0
