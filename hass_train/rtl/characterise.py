"""Synthesise the modules and fit formulas to what they cost: `python -m hass_train.rtl.characterise [MODULE …]`.

The points are kept in CSV files in the package. Those that are there and were made from the present sources are not
made again, so a run that was stopped goes on. With `--check K` every module is synthesised at K more points, and the
errors of its formula there are printed.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import Progress

from hass_train.hardware.dataflow.costs.formulas import Costs, Formula
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.rtl.costs import Table, error, grid
from hass_train.rtl.module import Module
from hass_train.rtl.reference import MODULES
from hass_train.rtl.synthesise import synthesise, yosys_version
from hass_train.runtime.errors import UserError, unknown
from hass_train.runtime.terminal import Parser, fail


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.rtl.characterise", description=(__doc__ or "").partition(chr(10))[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="names of modules (all)")
    parser.add_argument("--family", choices=("xc7", "ecp5"), default="xc7", help="what to synthesise for (xc7)")
    parser.add_argument("--check", type=int, default=0, metavar="K", help="points beside the grid to check formulas on")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="Yosys processes at once (cores)")
    given = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        if given.check < 0 or given.workers < 1:
            raise UserError(f"--check={given.check} must be at least 0 and --workers={given.workers} at least 1")
        for name in given.modules:
            if name not in MODULES:
                raise unknown("module", name, MODULES)
        tables = [Table(MODULES[name], given.family) for name in given.modules or MODULES]
        _complete(tables, given.workers, console)
        for table in tables:
            formula = table.fit()
            known = table.read()
            _tell(table.kind, formula, [(one, known[str(one)]) for one in grid(table.kind)], "grid", console)
            for what in ("lut", "ff"):
                console.print(f"  {what.upper()} = {_sum(getattr(formula, what))}", soft_wrap=True)
            if given.check:
                modules = grid(table.kind, given.check)
                found = _synthesised(modules, given.family, given.workers)
                _tell(table.kind, formula, found, "check", console)
    except UserError as wrong:
        fail(str(wrong))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _complete(tables: Sequence[Table], workers: int, console: Console) -> None:
    """Synthesise what the tables lack, and show how far it is."""
    tool = yosys_version() if any(len(table.read()) < len(grid(table.kind)) for table in tables) else ""
    with Progress(console=console, transient=True) as progress:
        for table in tables:
            known = table.read()
            points = grid(table.kind)
            task = progress.add_task(f"{table.kind.name}, {table.family}", total=len(points))
            progress.advance(task, sum(str(point) in known for point in points))
            for made in table.complete(tool, workers):
                progress.advance(task, made)
            progress.remove_task(task)


def _sum(coefficients: Mapping[str, float]) -> str:
    """A formula as a reader would write it."""
    terms = [f"{value:.2f}·{name}" for name, value in coefficients.items() if name != "fixed" and value >= 0.005]
    fixed = coefficients.get("fixed", 0.0)
    return " + ".join([*terms, *([f"{fixed:.1f}"] if fixed >= 0.05 or not terms else [])])


def _synthesised(modules: Sequence[Module], family: Family, workers: int) -> list[tuple[Module, Costs]]:
    """Some modules with their costs, by several processes."""
    with ThreadPoolExecutor(workers) as pool:
        return list(zip(modules, pool.map(lambda one: synthesise([one], family)[0], modules), strict=True))


def _tell(
    kind: type[Module], formula: Formula, points: Sequence[tuple[Module, Costs]], which: str, console: Console
) -> None:
    """Print the errors of a formula over some points, and the first at which DSPs or block RAMs are not exact."""
    told = [f"{kind.name:<18} {which:<5} {len(points):>3} points "]
    if not points:
        console.print(f"{told[0]} it has no more", soft_wrap=True)
        return
    for what in ("lut", "ff"):
        errors = [error(getattr(formula(one), what), getattr(costs, what)) for one, costs in points]
        told.append(f" {what.upper()} median {statistics.median(errors):6.1%} largest {max(errors):6.1%} ")
    for what in ("dsp", "bram"):
        wrong = [one for one, costs in points if getattr(formula(one), what) != getattr(costs, what)]
        told.append(f" {what.upper()} {f'{len(wrong)} differ, first {wrong[0]}' if wrong else 'exact'}")
    console.print("".join(told), soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
