"""A whole accelerator synthesised part by part: what stands in its top module, each different instance once.

Every part is flattened and mapped by itself, with the commands that the modules' costs were measured with, and kept as
a netlist as soon as it is there. So a synthesis that was stopped goes on, and needs no more memory than its largest
part. Joined, the netlists are the accelerator.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from hass_train.hardware.dataflow.costs.formulas import Costs
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.rtl.reference import MODULES
from hass_train.rtl.synthesise import FLOWS, LIBRARIES, cells_of, counted, run_yosys
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import write_text

TOP = "top"
_BATCH = 6  # parts in a process: enough to share its start, few enough to lose little
_INSTANCE = re.compile(r"^  cell (\S+) \\?(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Parts:
    """The parts of a generated accelerator.

    Args:
        design: the folder of top.sv, `modules/` and `memories/`.
        kept: the folder in which netlists are kept.
        family: what they are synthesised for.
    """

    design: Path
    kept: Path
    family: Family

    def instances(self) -> dict[str, int]:
        """The instances of the top module, each with the number of its part; elaborated where that was not done yet.

        Raises:
            UserError: Yosys is missing or refuses the design, or the top module holds more than instances; one line.
        """
        index = self.kept / "instances.json"
        if not index.is_file():
            with tempfile.TemporaryDirectory() as name:
                self._elaborate(Path(name))
            kinds = dict(sorted((instance, kind) for kind, instance in _INSTANCE.findall(self._top)))
            logic = [kind for kind in kinds.values() if not kind.startswith(("$paramod", "\\"))]
            if logic:
                raise UserError(f"{TOP}.sv holds logic beside instances ({logic[0]}); put it into a module")
            numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds.values()))}
            write_text(index, json.dumps({"kinds": list(numbers), "of": {k: numbers[v] for k, v in kinds.items()}}))
        found: dict[str, int] = json.loads(index.read_text())["of"]
        return found

    def costs(self) -> dict[int, Costs]:
        """What the parts take that are synthesised, by number."""
        files = {number: self.kept / f"{number}.json" for number in range(len(self._kinds))}
        return {number: Costs(**json.loads(file.read_text())) for number, file in files.items() if file.is_file()}

    def complete(self, workers: int) -> Iterator[tuple[int, int]]:
        """Synthesise the parts that are missing; yields how many are there, and of how many, as it goes.

        Raises:
            UserError: Yosys is missing or refuses a part; one line.
        """
        self.instances()
        count, done = len(self._kinds), len(self.costs())
        missing = sorted(set(range(count)) - set(self.costs()))
        batches = [missing[first : first + _BATCH] for first in range(0, len(missing), _BATCH)]
        yield done, count
        with ThreadPoolExecutor(workers) as pool:
            for made in pool.map(self._synthesise, batches):
                done += made
                yield done, count

    def joined(self) -> list[str]:
        """The commands that read the netlists of all parts and the top module of them, in a copy of `kept`."""
        text = self._top
        for number, kind in enumerate(self._kinds):
            text = text.replace(f"  cell {kind} ", f"  cell \\part_{number} ")
        write_text(self.kept / "joined.il", text)
        return [*(f"read_rtlil {number}.il" for number in range(len(self._kinds))), "read_rtlil joined.il"]

    @property
    def _top(self) -> str:
        return (self.kept / "top.il").read_text()

    @property
    def _kinds(self) -> list[str]:
        """The parts as Yosys calls them: the module with its parameters."""
        found: list[str] = json.loads((self.kept / "instances.json").read_text())["kinds"]
        return found

    def _elaborate(self, folder: Path) -> None:
        """Have all parameters filled in and all memory files read."""
        for name in ("modules", "memories"):
            if (self.design / name).is_dir():
                shutil.copytree(self.design / name, folder / name)
        shutil.copy(self.design / f"{TOP}.sv", folder)
        sources = " ".join(f"modules/{path.name}" for path in sorted((folder / "modules").glob("*.sv")))
        run_yosys(
            [
                f"read_verilog -sv -defer {sources}", f"read_verilog -sv {TOP}.sv",
                f"hierarchy -check -top {TOP}", "write_rtlil elaborated.il", f"select {TOP}",
                "write_rtlil -selected top.il",
            ],
            folder,
        )  # fmt: skip
        self.kept.mkdir(parents=True, exist_ok=True)
        for name in ("elaborated.il", "top.il"):
            shutil.move(folder / name, self.kept / f"{name}.part")
            (self.kept / f"{name}.part").replace(self.kept / name)

    def _synthesise(self, numbers: list[int]) -> int:
        """Synthesise some parts, keep their netlists and costs, and return how many these are."""
        kinds, sources = self._kinds, _split((self.kept / "elaborated.il").read_text())
        lines = [*LIBRARIES[self.family], "design -save cells"]
        for number in numbers:
            module = MODULES.get(kinds[number].split("\\")[1])
            flow = FLOWS[self.family, module is None or module.block_ram]
            lines += ["design -load cells", f"read_rtlil source_{number}.il", f"hierarchy -top {kinds[number]}"]
            lines += ["rename -top synthesised", *flow]
            lines += [f"tee -q -o {number}.json stat -json", f"rename synthesised part_{number}"]
            lines += [f"select part_{number}", f"write_rtlil -selected {number}.il"]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number in numbers:
                (folder / f"source_{number}.il").write_text(_with_inner(kinds[number], sources))
            run_yosys(lines, folder)
            for number in numbers:
                costs = counted(cells_of(folder / f"{number}.json"), self.family)
                write_text(self.kept / f"{number}.il", (folder / f"{number}.il").read_text())
                write_text(self.kept / f"{number}.json", json.dumps(asdict(costs)))  # last: it says that both are whole
        return len(numbers)


def _split(elaborated: str) -> dict[str, str]:
    """The modules of a design that Yosys wrote, by name; the first line, a counter, is with each of them."""
    head = next(line for line in elaborated.splitlines() if line.startswith("autoidx"))
    blocks = elaborated.split("\nend\n")[:-1]
    named = {
        re.search(r"^module (\S+)$", block, re.MULTILINE): block.partition(f"{head}\n")[2] or block for block in blocks
    }
    return {name[1]: f"{head}\n{block}\nend\n" for name, block in named.items() if name}


def _with_inner(name: str, modules: dict[str, str]) -> str:
    """The text of a module and of all that are in it."""
    found, left = dict[str, str](), [name]
    while left:
        one = left.pop()
        if one not in found and one in modules:
            found[one] = modules[one]
            left += [kind for kind, _ in _INSTANCE.findall(modules[one])]
    return "".join(found.values())
