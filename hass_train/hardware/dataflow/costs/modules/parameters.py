"""What the parameters of every RTL module have in common: names, checks, and what costs grow with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from hass_train.runtime.errors import UserError

Family = Literal["xc7", "ecp5"]
"""What modules are synthesised for: Xilinx devices with LUTs of six inputs, or Lattice ECP5 with LUTs of four."""

Number = Any
"""A number, or an array of them where a module's parameters are arrays."""


@dataclass(frozen=True, kw_only=True)
class ModuleParameters(ABC):
    """One module of `hass_train/rtl/modules/` at one set of parameters, and what its costs grow with.

    A subclass is a dataclass whose fields are the parameters of the SystemVerilog module, in lower case. How the module
    behaves is told by a subclass of both this one and `hass_train.rtl.module.Module`.

    Attributes:
        name: the SystemVerilog module's, and the name of its file.
        block_ram: whether synthesis may put memories of it into block RAM.
        vectorised: whether costs may be asked of arrays of parameters (`unchecked`), as thousands of designs are.
    """

    name: ClassVar[str]
    block_ram: ClassVar[bool] = False
    vectorised: ClassVar[bool] = False

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

    @classmethod
    def unchecked(cls, parameters: Mapping[str, Any]) -> Self:
        """Modules side by side, whose parameters may be arrays that broadcast, if the class is `vectorised`."""
        modules = object.__new__(cls)
        vars(modules).update(parameters)
        return modules

    @abstractmethod
    def lut_terms(self, family: Family) -> dict[str, Number]:
        """What its LUTs grow with: a number by a short name of its meaning, such as multiplexer bits.

        The characterisation finds how many LUTs each of them takes (coefficients ≥ 0). A term "fixed" is 1 if given.
        """

    @abstractmethod
    def ff_terms(self, family: Family) -> dict[str, Number]:
        """What its flip-flops grow with, likewise."""

    def dsps(self, family: Family) -> Number:
        """The DSPs that it takes, exactly."""
        return 0

    def block_rams(self, family: Family) -> Number:
        """The block RAMs that it takes, exactly: of 18 kbit on Xilinx devices, of 16 kbit on ECP5."""
        return 0
