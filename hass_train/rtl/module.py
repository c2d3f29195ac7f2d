"""What every hardware module has beside its SystemVerilog: streams, a reference in numpy, and cycles."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from hass_train.hardware.dataflow.costs.modules.parameters import ModuleParameters
from hass_train.rtl.streams import Ints, Memory, Stream

SOURCES = Path(__file__).parent / "modules"
"""The folder of the SystemVerilog files, one a module, each named like its module."""

Words = Mapping[str, Ints]
"""What passes through streams, by the stream's name: (words, values) integers."""


@dataclass(frozen=True, kw_only=True)
class Module(ModuleParameters):
    """How one module of `hass_train/rtl/modules/` behaves at one set of parameters, and how it is tried.

    A subclass inherits from this class behind one of `hass_train.hardware.dataflow.costs.modules`, which has its
    parameters and what it costs.
    """

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

    @classmethod
    @abstractmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        """Parameters drawn at random from the range that networks use, for the characterisation."""
