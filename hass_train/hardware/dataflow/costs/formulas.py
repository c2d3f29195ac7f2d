"""What RTL modules cost, by formulas fitted to synthesised points (CSV files in `synthesis/`, docs/rtl.md)."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from hass_train.hardware.dataflow.costs.alike import alike
from hass_train.hardware.dataflow.costs.modules.parameters import Family, ModuleParameters
from hass_train.runtime.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TABLES = Path(__file__).parent / "synthesis"
"""The folder of the CSV files, one a module and family."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a synthesised module takes: LUTs (LUTRAM and shift registers included), flip-flops, DSPs, block RAMs.

    On Xilinx devices block RAMs are of 18 kbit, and DSPs DSP48E1; on ECP5 they are of 16 kbit (DP16KD) and MULT18X18D,
    and a carry cell of two bits (CCU2C) counts as the two LUT4 that it takes.
    """

    lut: int
    ff: int
    dsp: int
    bram: int


RESULTS = tuple(field.name for field in fields(Costs))
"""The columns of `module_costs` and the last ones of a CSV file."""


@dataclass(frozen=True)
class Formula:
    """LUTs and flip-flops of a module as sums of terms; DSPs and block RAMs are the module's own, exact.

    Args:
        kind: the module's class.
        family: what the module is synthesised for.
        lut, ff: the coefficient of each term.
    """

    kind: type[ModuleParameters]
    family: Family
    lut: Mapping[str, float]
    ff: Mapping[str, float]

    def __call__(self, module: ModuleParameters) -> Costs:
        """The costs of the module at some parameters, in whole LUTs and flip-flops."""
        return Costs(*self._of(module, ()).tolist())

    def many(self, **parameters: ArrayLike) -> Ints:
        """The costs of many instances, by `module_costs`."""
        given = {name: np.asarray(value, np.int64) for name, value in parameters.items()}
        shape = np.broadcast_shapes(*(value.shape for value in given.values()))
        if 0 in shape:
            return np.zeros((*shape, len(RESULTS)), np.int64)
        # numbers stay numbers: most operations on them cost nothing
        numbers = {name: int(one) for name, one in given.items() if not one.ndim}
        arrays = {name: np.broadcast_to(one, shape).ravel() for name, one in given.items() if one.ndim}
        if self.kind.vectorised:
            found = self._of(self.kind.unchecked(numbers | arrays), (math.prod(shape),))
        else:
            first, which = alike(*arrays.values()) if arrays else (np.zeros(1, np.int64), np.zeros(1, np.int64))
            different = zip(*(values[first].tolist() for values in arrays.values()), strict=True) if arrays else [()]
            each = [numbers | dict(zip(arrays, values, strict=True)) for values in different]
            found = np.stack([self._known(tuple(one.items())) for one in each])[which]
        return found.reshape(*shape, len(RESULTS))

    @cached_property
    def _known(self) -> Callable[[tuple[tuple[str, int], ...]], Ints]:
        """Gives the costs of a module of certain parameters, and keeps them."""
        return cache(lambda parameters: self._of(self.kind(**dict(parameters)), ()))

    def _of(self, module: ModuleParameters, shape: tuple[int, ...]) -> Ints:
        """(…, 4) costs, as `RESULTS` has them, of a module or of several side by side.

        Raises:
            KeyError: it has terms that were not fitted.
        """
        found = np.empty((*shape, len(RESULTS)))
        sides = (self.lut, module.lut_terms(self.family)), (self.ff, module.ff_terms(self.family))
        for column, (known, terms) in enumerate(sides):
            if unknown := terms.keys() - known.keys():
                raise KeyError(f"{module.name} has terms that were not fitted: {', '.join(sorted(unknown))}")
            found[..., column] = sum(known[name] * terms[name] for name in known if name in terms)
        found[..., 2], found[..., 3] = module.dsps(self.family), module.block_rams(self.family)
        return np.asarray(np.rint(found), np.int64)


def module_costs(kind: type[ModuleParameters], family: Family, **parameters: ArrayLike) -> Ints:
    """The costs of many instances of a module, exactly as its formula gives them one by one.

    Where the module's class is `vectorised`, all at once and unchecked; otherwise once for each that is different.

    Args:
        kind: the module's class.
        family: what it is synthesised for.
        parameters: all of the module's, numbers or arrays that broadcast.

    Returns:
        (…, 4) whole LUTs, flip-flops, DSPs and block RAMs, in the order of `RESULTS`.

    Raises:
        UserError: there are no points to fit its formula to; or a module that is not `vectorised` does not support the
            parameters. Those of the others are designs that the exploration allows.
    """
    return formula(kind, family).many(**parameters)


@cache
def formula(kind: type[ModuleParameters], family: Family) -> Formula:
    """The formula through the points in the package; read and fitted when it is first asked for.

    Raises:
        UserError: there are none.
    """
    return fitted(kind, family, read_points(table(kind.name, family)))


def table(name: str, family: Family, folder: Path = TABLES) -> Path:
    """The CSV file of a module's points."""
    return folder / f"{name}.{family}.csv"


def read_points(path: Path) -> list[tuple[dict[str, int], Costs]]:
    """The points of a CSV file: parameters by their names in SystemVerilog, and costs; none where there is no file."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()[1:]  # the first says what made them
    rows = [{name: int(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    return [(row, Costs(*(row.pop(name) for name in RESULTS))) for row in rows]


def fitted(kind: type[ModuleParameters], family: Family, points: Sequence[tuple[Mapping[str, int], Costs]]) -> Formula:
    """The formula of a module through some points.

    Raises:
        UserError: there are none.
    """
    if not points:
        command = f"python -m hass_train.rtl.characterise {kind.name} --family {family}"
        raise UserError(f"there are no synthesised points of {kind.name}; run {command}")
    known = [(kind(**{name.lower(): value for name, value in one.items()}), costs) for one, costs in points]
    luts = _coefficients([(module.lut_terms(family), costs.lut) for module, costs in known])
    ffs = _coefficients([(module.ff_terms(family), costs.ff) for module, costs in known])
    return Formula(kind, family, luts, ffs)


def _coefficients(points: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Coefficients ≥ 0 of the terms, by least squares of the relative errors."""
    names = list(dict.fromkeys(name for terms, _ in points for name in terms))
    measured = np.array([max(cost, 1) for _, cost in points], float)
    rows = np.array([[terms.get(name, 0.0) for name in names] for terms, _ in points]).reshape(len(points), -1)
    if not names:
        return {}
    found, _ = nnls(rows / measured[:, None], np.array([cost for _, cost in points]) / measured)
    return dict(zip(names, found.tolist(), strict=True))
