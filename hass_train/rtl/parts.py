"""A whole accelerator synthesised part by part: what stands in its top module, each different instance once.

Every part is flattened and mapped by itself, with the commands that the modules' costs were measured with, and kept as
a netlist as soon as it is there. So a synthesis that was stopped goes on, one after a small change is short, and none
needs more memory than its largest part. Joined, the netlists are the accelerator.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from hass_train.hardware.dataflow.costs.formulas import Costs
from hass_train.hardware.dataflow.costs.memory import LUTRAM_BITS
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.rtl.reference import MODULES
from hass_train.rtl.synthesise import FLOWS, LIBRARIES, cells_of, counted, run_yosys
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import write_text

TOP = "top"
_BATCH = 6  # parts in a process: enough to share its start, few enough to lose little
_MEMORY = re.compile(r"^  memory (?:width (\d+) )?size (\d+) ", re.MULTILINE)
_NUMBER = re.compile(r"\$\d+")
_INSTANCE = re.compile(r"^  cell (\S+) \\?(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Parts:
    """The parts of a generated accelerator.

    Args:
        design: the folder of top.sv, `modules/` and `memories/`.
        work: a folder for what holds of this design alone; to be removed when that changes.
        netlists: the folder in which netlists are kept, by what they were made from: those of parts that another design
            has too are not made again.
        family: what they are synthesised for.
    """

    design: Path
    work: Path
    netlists: Path
    family: Family

    def instances(self) -> dict[str, str]:
        """The instances of the top module, each with its part; elaborated where that was not done yet.

        Raises:
            UserError: Yosys is missing or refuses the design, or the top module holds more than instances; one line.
        """
        index = self.work / "instances.json"
        if not index.is_file():
            with tempfile.TemporaryDirectory() as name:
                self._elaborate(Path(name))
            kinds = dict(sorted((instance, kind) for kind, instance in _INSTANCE.findall(self._top)))
            logic = [kind for kind in kinds.values() if not kind.startswith(("$paramod", "\\"))]
            if logic:
                raise UserError(f"{TOP}.sv holds logic beside instances ({logic[0]}); put it into a module")
            modules = self._modules
            parts = {kind: self._digest(kind, modules) for kind in dict.fromkeys(kinds.values())}
            of = {instance: parts[kind] for instance, kind in kinds.items()}
            write_text(index, json.dumps({"parts": parts, "of": of}))
        found: dict[str, str] = json.loads(index.read_text())["of"]
        return found

    def costs(self) -> dict[str, Costs]:
        """What the parts take that are synthesised."""
        files = {part: self.netlists / f"{part}.json" for part in self._kinds}
        return {part: Costs(**json.loads(file.read_text())) for part, file in files.items() if file.is_file()}

    def complete(self, workers: int) -> Iterator[tuple[int, int]]:
        """Synthesise the parts that are missing; yields how many are there, and of how many, as it goes.

        Raises:
            UserError: Yosys is missing or refuses a part; one line.
        """
        self.instances()
        known = self.costs()
        missing, done, count = [part for part in self._kinds if part not in known], len(known), len(self._kinds)
        batches = [missing[first : first + _BATCH] for first in range(0, len(missing), _BATCH)]
        self.netlists.mkdir(parents=True, exist_ok=True)
        yield done, count
        with ThreadPoolExecutor(workers) as pool:
            for made in pool.map(self._synthesise, batches):
                done += made
                yield done, count
        used = set(self._kinds)
        for old in self.netlists.iterdir():
            if old.stem not in used:
                old.unlink()

    def joined(self, folder: Path) -> list[str]:
        """Copy the netlists of all parts, and the top module of them, into a folder; the commands that read them."""
        text = self._top
        for part, kind in self._kinds.items():
            text = text.replace(f"  cell {kind} ", f"  cell \\part_{part} ")
            shutil.copy(self.netlists / f"{part}.il", folder)
        (folder / "joined.il").write_text(text)
        return [*(f"read_rtlil {part}.il" for part in self._kinds), "read_rtlil joined.il"]

    @property
    def _top(self) -> str:
        return (self.work / "top.il").read_text()

    @property
    def _kinds(self) -> dict[str, str]:
        """The parts, each with what Yosys calls it: the module with its parameters."""
        found: dict[str, str] = json.loads((self.work / "instances.json").read_text())["parts"]
        return {part: kind for kind, part in found.items()}

    @property
    def _modules(self) -> dict[str, str]:
        return _split((self.work / "elaborated.il").read_text())

    def _digest(self, kind: str, modules: dict[str, str]) -> str:
        """Of all that a part's netlist is made from; numbers that Yosys gives to names count for nothing."""
        text = _NUMBER.sub("$", _with_inner(kind, modules))
        flows = {key: flow for key, flow in FLOWS.items() if key[0] == self.family}
        return hashlib.sha256(f"{flows}{text}".encode()).hexdigest()[:16]

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
        for name in ("elaborated.il", "top.il"):
            write_text(self.work / name, (folder / name).read_text())

    def _synthesise(self, parts: list[str]) -> int:
        """Synthesise some parts, keep their netlists and costs, and return how many these are."""
        kinds, modules = self._kinds, self._modules
        lines = [*LIBRARIES[self.family], "design -save cells"]
        for part in parts:
            module = MODULES.get(kinds[part].split("\\")[1])
            flow = FLOWS[self.family, module.block_ram if module else _in_blocks(modules[kinds[part]])]
            lines += ["design -load cells", f"read_rtlil source_{part}.il", f"hierarchy -top {kinds[part]}"]
            lines += ["rename -top synthesised", *flow]
            lines += [f"tee -q -o {part}.json stat -json", f"rename synthesised part_{part}"]
            lines += [f"select part_{part}", f"write_rtlil -selected {part}.il"]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in parts:
                (folder / f"source_{part}.il").write_text(_with_inner(kinds[part], modules))
            run_yosys(lines, folder)
            for part in parts:
                costs = counted(cells_of(folder / f"{part}.json"), self.family)
                write_text(self.netlists / f"{part}.il", (folder / f"{part}.il").read_text())
                write_text(self.netlists / f"{part}.json", json.dumps(asdict(costs)))  # last: both are whole
        return len(parts)


def _split(elaborated: str) -> dict[str, str]:
    """The modules of a design that Yosys wrote, by name."""
    found = {}
    for block in elaborated.split("\nend\n"):
        name = re.search(r"^module (\S+)$", block, re.MULTILINE)
        if name:
            lines = (line for line in block.splitlines() if not line.startswith(("#", "autoidx")))
            found[name[1]] = "\n".join([*lines, "end", ""])
    return found


def _in_blocks(text: str) -> bool:
    """Whether a module outside `MODULES`, a memory of constants, may be in block RAM; small ones never are."""
    sizes = [int(width or 1) * int(rows) for width, rows in _MEMORY.findall(text)]
    return max(sizes, default=0) >= LUTRAM_BITS


def _with_inner(name: str, modules: dict[str, str]) -> str:
    """The text of a module and of all that are in it."""
    found, left = dict[str, str](), [name]
    while left:
        one = left.pop()
        if one not in found and one in modules:
            found[one] = modules[one]
            left += [kind for kind, _ in _INSTANCE.findall(modules[one])]
    return "".join(["autoidx 10000000\n", *found.values()])
