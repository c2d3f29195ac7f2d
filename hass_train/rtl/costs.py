"""What modules cost: synthesised points kept as CSV files in the package, and formulas fitted to them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from hass_train.hardware.dataflow.costs.formulas import RESULTS, TABLES, Costs, Formula, fitted, read_points, table
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.rtl.module import SOURCES, Module
from hass_train.rtl.synthesise import FLOWS, synthesise
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import write_text

_FREE = re.compile(r"//.*|if \([^;]*?\)\s*\$error\([^;]*;")
POINTS = 30
"""Parameter sets at which a module is synthesised for a family."""
_BATCH = 3  # points of one call of Yosys, which are kept together


def grid(kind: type[Module], beside: int = 0) -> list[Module]:
    """Different parameter sets of the range that networks use, the same at every call; fewer where there are no more.

    Args:
        kind: the module's class.
        beside: give so many others instead, to check formulas on.
    """
    rng = np.random.default_rng(crc32(kind.name.encode()))
    found: dict[str, Module] = {}
    wanted = POINTS + beside
    for _ in range(20 * wanted):
        if len(found) == wanted:
            break
        module = kind.typical(rng)
        found.setdefault(str(module), module)
    return list(found.values())[POINTS if beside else 0 :]


@dataclass(frozen=True)
class Table:
    """The synthesised points of a module for one family, in a CSV file that grows while they are made.

    The file's first line says from which sources, with which synthesiser, the points were made. Points of other sources
    are not used.

    Args:
        kind: the module's class.
        family: what it is synthesised for.
        folder: where the file is.
    """

    kind: type[Module]
    family: Family
    folder: Path = TABLES

    @property
    def path(self) -> Path:
        """The CSV file."""
        return table(self.kind.name, self.family, self.folder)

    @property
    def origin(self) -> str:
        """The file's first line."""
        return (
            f"# {digest(self.kind.name)} python -m hass_train.rtl.characterise {self.kind.name} --family {self.family}"
        )

    def read(self) -> dict[str, Costs]:
        """The costs of the points that were made from the present sources, by `str(module)`."""
        if not self.path.exists():
            return {}
        first = self.path.read_text().partition("\n")[0]
        if first.split()[1:2] != self.origin.split()[1:2]:
            return {}
        return {
            f"{self.kind.name} " + " ".join(f"{name}={value}" for name, value in point.items()): costs
            for point, costs in read_points(self.path)
        }

    def write(self, costs: Mapping[str, Costs], tool: str) -> None:
        """Replace the file."""
        text = io.StringIO()
        text.write(f"{self.origin}; {tool}\n")
        writer = csv.writer(text, lineterminator="\n")
        for number, (point, found) in enumerate(costs.items()):
            pairs = [pair.split("=") for pair in point.split()[1:]]
            if not number:
                writer.writerow([*(name for name, _ in pairs), *RESULTS])
            writer.writerow([*(value for _, value in pairs), *(getattr(found, name) for name in RESULTS)])
        write_text(self.path, text.getvalue())

    def complete(self, tool: str, workers: int) -> Iterator[int]:
        """Synthesise the points that are missing, some at a time, keeping what is done; yields how many were made."""
        wanted, made = {str(module): module for module in grid(self.kind)}, self.read()
        known = {point: made[point] for point in wanted if point in made}
        missing = [module for point, module in wanted.items() if point not in known]
        batches = [missing[first : first + _BATCH] for first in range(0, len(missing), _BATCH)]
        with ThreadPoolExecutor(workers) as pool:
            for batch, found in zip(batches, pool.map(self._synthesised, batches), strict=True):
                known |= {str(module): costs for module, costs in zip(batch, found, strict=True)}
                self.write(known, tool)
                yield len(batch)

    def _synthesised(self, modules: Sequence[Module]) -> list[Costs]:
        return synthesise(modules, self.family)

    def fit(self) -> Formula:
        """The formula through the points of the grid.

        Raises:
            UserError: points are missing.
        """
        known = self.read()
        modules = grid(self.kind)
        if any(str(module) not in known for module in modules):
            raise UserError(f"{self.path.name} lacks points of the present sources; run {self.origin.split(' ', 2)[2]}")
        return fitted(self.kind, self.family, read_points(self.path))


def error(formula: int, measured: int) -> float:
    """The relative error of a formula, |formula − measured| / measured; of nothing, it is the formula itself."""
    return abs(formula - measured) / max(measured, 1)


def digest(name: str, sources: Path = SOURCES) -> str:
    """A short hash of the flow and of the text of a module and of all that it instantiates, but for what costs nothing:
    comments, checks of parameters, and white space."""
    texts = {path.stem: _FREE.sub("", path.read_text()) for path in sources.glob("*.sv")}
    wanted, pending = set[str](), [name]
    while pending:
        one = pending.pop()
        wanted.add(one)
        words = set(re.findall(r"\w+", texts[one]))
        pending += [other for other in texts if other in words and other not in wanted]
    joined = "\n".join([*(texts[one] for one in sorted(wanted)), repr(FLOWS)])
    return hashlib.sha256("".join(joined.split()).encode()).hexdigest()[:12]
