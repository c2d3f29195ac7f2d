"""Play the hardware modules against their references: `python -m hass_train.rtl.verify [MODULE …]`.

Every module is played at random parameters, with random data and sparsity, once without stalls, where its cycles have
to be what its formula says, and once with random stalls on all streams. Of some compute engines the synthesised netlist
is played too, on the same words.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from hass_train.rtl.module import SOURCES
from hass_train.rtl.reference import MODULES
from hass_train.rtl.simulate import Case, Outcome, play
from hass_train.rtl.synthesise import cell_models, has_yosys, netlist
from hass_train.runtime.errors import UserError, unknown
from hass_train.runtime.terminal import Parser, fail

NETLISTS = ("dense_engine", "weight_engine", "pair_engine")
"""The modules of which a netlist is played."""
_TOGETHER = 8  # modules in one program: enough to share the compiler's start, few enough to see it going on


@dataclass(frozen=True)
class Plan:
    """How much is played.

    Args:
        words: least words of every input stream.
        seed: of parameters, data and stalls.
        cases: parameter sets of each module.
    """

    words: int = 1000
    seed: int = 1
    cases: int = 4

    def __post_init__(self) -> None:
        for name, least in (("words", 1), ("seed", 0), ("cases", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name}={getattr(self, name)} must be at least {least}")

    def __str__(self) -> str:
        """The options of the command that plays as much."""
        return f"--words {self.words} --seed {self.seed} --cases {self.cases}"

    def of(self, name: str) -> list[Case]:
        """The cases of a module: they depend on the seed and the module's name, not on what else is played."""
        rng = np.random.default_rng([self.seed, crc32(name.encode())])
        return [Case.of(MODULES[name].random(rng), rng, self.words) for _ in range(self.cases)]


def verify(
    names: Sequence[str], plan: Plan, netlists: bool, sources: Path = SOURCES
) -> Iterator[tuple[str, list[Case], list[Outcome]]]:
    """Play some modules.

    Args:
        names: of the modules.
        plan: how much is played.
        netlists: whether netlists of `NETLISTS` are synthesised and played as well.
        sources: the folder of the modules.

    Yields:
        Each module's name, or that name with "netlist" behind it, its cases and how they went.

    Raises:
        UserError: a tool is missing, or the modules do not compile.
    """
    for first in range(0, len(names), _TOGETHER):
        groups = [(name, plan.of(name)) for name in names[first : first + _TOGETHER]]
        yield from _played(groups, play([case for _, group in groups for case in group], sources))
    if netlists:
        with tempfile.TemporaryDirectory() as folder:
            groups = []
            for name in (name for name in names if name in NETLISTS):
                case = min(plan.of(name), key=lambda case: case.module.weight)
                made = netlist(case.module, Path(folder), f"netlist_of_{name}", sources=sources)
                groups.append((f"{name} netlist", [replace(case, netlist=made)]))
            flat = [case for _, group in groups for case in group]
            if flat:
                yield from _played(groups, play(flat, sources, cell_models()))


def _played(
    groups: Sequence[tuple[str, list[Case]]], outcomes: Sequence[Outcome]
) -> Iterator[tuple[str, list[Case], list[Outcome]]]:
    """Deal the outcomes of all cases to the groups that they belong to."""
    at = 0
    for name, group in groups:
        yield name, group, list(outcomes[at : at + len(group)])
        at += len(group)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 1 at the first difference, and with 2 and a line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.rtl.verify", description=(__doc__ or "").partition(chr(10))[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="names of modules (all)")
    parser.add_argument(
        "--words", type=int, default=Plan.words, help=f"least words of every input stream ({Plan.words})"
    )
    parser.add_argument("--seed", type=int, default=Plan.seed, help=f"of parameters, data and stalls ({Plan.seed})")
    parser.add_argument("--cases", type=int, default=Plan.cases, help=f"parameter sets of each ({Plan.cases})")
    given = parser.parse_args(arguments)
    try:
        plan = Plan(given.words, given.seed, given.cases)
        for name in given.modules:
            if name not in MODULES:
                raise unknown("module", name, MODULES)
        names = given.modules or list(MODULES)
        for name, group, outcomes in verify(names, plan, has_yosys()):
            _tell(name, group, outcomes, plan)
        if not has_yosys() and set(names) & set(NETLISTS):
            print("netlists were not played: Yosys is missing (pip install 'hass-train[rtl]')")
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _tell(name: str, group: Sequence[Case], outcomes: Sequence[Outcome], plan: Plan) -> None:
    """Print how a module went, in a line; exit with status 1 if anything differed, with what reproduces it."""
    for case, outcome in zip(group, outcomes, strict=True):
        if outcome.fault:
            print(f"{name:<26} DIFFERS: {outcome.fault}; {case.module}")
            print(f"again: python -m hass_train.rtl.verify {name.split()[0]} {plan}")
            sys.exit(1)
    played, cycles = (sum(getattr(one, what) for one in outcomes) for what in ("words", "cycles"))
    print(f"{name:<26} {len(group)} cases  {played:>8,} words  {cycles:>9,} cycles as the formula says  ok", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
