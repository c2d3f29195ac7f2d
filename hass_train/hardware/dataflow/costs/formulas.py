"""What RTL modules cost, by formulas fitted to synthesised points (CSV files in `synthesis/`, docs/rtl.md)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from hass_train.hardware.dataflow.costs.kept_rates import KeptRates
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
        return Costs(*self.many(**{name.lower(): value for name, value in module.parameters.items()}).tolist())

    def many(self, **parameters: ArrayLike) -> Ints:
        """The costs of many instances, by `module_costs`."""
        arrays = np.broadcast_arrays(*(np.asarray(value, np.int64) for value in parameters.values()))
        shape, given = arrays[0].shape, {name: one.ravel() for name, one in zip(parameters, arrays, strict=True)}
        if 0 in shape:
            return np.zeros((*shape, len(RESULTS)), np.int64)
        if self.kind.vectorised:
            return self._costs(self._values(self.kind.unchecked(given), arrays[0].size)).T.reshape(*shape, len(RESULTS))
        fixed = [name for name in given if name not in self.kind.samples[0]]
        first, which = _alike([given[name] for name in fixed if np.ndim(parameters[name])], arrays[0].size)
        different = zip(*(given[name][first].tolist() for name in fixed), strict=True)
        rates = np.stack([self._rates_of(tuple(zip(fixed, values, strict=True))) for values in different])
        grown = rates @ self._weights  # (kinds, factors, results)
        found = np.zeros((len(which), len(RESULTS)))
        for k, factor in enumerate(self.kind.unchecked(given).factors):
            found += grown[which, k] * np.reshape(factor, (-1, 1))
        return np.asarray(np.rint(found), np.int64).reshape(*shape, len(RESULTS))

    @cached_property
    def _weights(self) -> Floats:
        """(terms + 2, results) what each of `_values` counts for in each result."""
        weights = np.zeros((len(self.lut) + len(self.ff) + 2, len(RESULTS)))
        weights[: len(self.lut), 0] = list(self.lut.values())
        weights[len(self.lut) : -2, 1] = list(self.ff.values())
        weights[-2:, 2:] = np.eye(2)
        return weights

    def _values(self, module: ModuleParameters, count: int = 0) -> Floats:
        """(terms + 2,) its terms in the order of the coefficients, LUTs' first, then DSPs and block RAMs.

        Args:
            module: the module, or several side by side.
            count: how many, for (terms + 2, count) values; 0 = one.
        """
        values: list[Any] = []
        for known, terms in ((self.lut, module.lut_terms(self.family)), (self.ff, module.ff_terms(self.family))):
            if unknown := terms.keys() - known.keys():
                raise KeyError(f"{module} has terms that were not fitted: {', '.join(sorted(unknown))}")
            values += [terms.get(name, 0.0) for name in known]
        values += [module.dsps(self.family), module.block_rams(self.family)]
        return np.array([np.broadcast_to(one, count) for one in values] if count else values, float)

    def _costs(self, values: Floats) -> Ints:
        """(4, …) costs, as `Costs` has them, from (terms + 2, …) values."""
        lut = _weighted(self.lut.values(), values[: len(self.lut)])
        ff = _weighted(self.ff.values(), values[len(self.lut) : -2])
        return np.asarray(np.rint([lut, ff, *values[-2:]]), np.int64)

    @cached_property
    def _kept_rates(self) -> KeptRates:
        """What `_rates_of` found, in this process or in one before; filled on demand."""
        return KeptRates(f"{self.kind.name}.{self.family}", repr((list(self.lut), list(self.ff))))

    def _rates_of(self, fixed: tuple[tuple[str, int], ...]) -> Floats:
        """(factors, terms + 2) what a term grows by with each of the module's `factors`.

        Args:
            fixed: the parameters that are not in the module's `samples`.

        Raises:
            ValueError: it is not linear in them.
        """
        if fixed not in self._kept_rates:
            modules = [self.kind(**dict(fixed), **sample) for sample in self.kind.samples]
            factors = np.array([module.factors for module in modules], float)
            values = np.array([self._values(module) for module in modules])
            # terms are multiples of a half: rounded, they are exact
            rates = np.rint(2 * np.linalg.lstsq(factors, values, rcond=None)[0]) / 2
            if not np.array_equal(factors @ rates, values):
                raise ValueError(f"the terms of {modules[0]} are not linear in its factors")
            self._kept_rates.add(fixed, rates)
        return self._kept_rates[fixed]


def module_costs(kind: type[ModuleParameters], family: Family, **parameters: ArrayLike) -> Ints:
    """The costs of many instances of a module, exactly as its formula gives them one by one.

    Terms are evaluated at a few parameter sets for each that differs in more than the module's `samples`, which are
    kept; the rest is array arithmetic.

    Args:
        kind: the module's class.
        family: what it is synthesised for.
        parameters: all of the module's, numbers or arrays that broadcast. Those in `samples` are not checked.

    Returns:
        (…, 4) whole LUTs, flip-flops, DSPs and block RAMs, in the order of `RESULTS`.

    Raises:
        UserError: the module does not support the parameters, or there are no points to fit its formula to.
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


def _weighted(coefficients: Iterable[float], values: Floats) -> Floats:
    """The sum of (terms, …) values times their coefficients, in the same order for one module as for many."""
    total = np.zeros(values.shape[1:])
    for coefficient, value in zip(coefficients, values, strict=True):
        total = total + coefficient * value
    return total


def _alike(columns: Sequence[Ints], count: int) -> tuple[Ints, Ints]:
    """Which of `count` rows have the same values in all columns: the first row of each kind, and each row's kind."""
    first, which = np.zeros(1, np.int64), np.zeros(count, np.int64)
    for column in columns:
        different, value = np.unique(column, return_inverse=True)
        _, first, which = np.unique(which * len(different) + value, return_index=True, return_inverse=True)
    return first, which
