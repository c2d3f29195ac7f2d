"""How the source is laid out: which way imports point, and how long a function may be."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Set
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

Graph = Mapping[str, Set[str]]

OWN = ("hass_train", "callbacks")
HEAVY = {"pytorch_lightning", "lightning_fabric", "timm", "hydra", "wandb", "omegaconf"}
LONGEST, DOORS = 60, 10
WHOLE = {("hass_train.hardware.dataflow.simulator.kernel", "play")}
"""One compiled loop over cycles, which is slower in pieces."""


@cache
def sources() -> dict[str, Path]:
    """Every module of ours by its full name; a package is its `__init__`."""
    files = [path for package in OWN for path in (ROOT / package).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return dict(zip(names, files, strict=True))


def imported(name: str, path: Path) -> Iterator[str]:
    """Full names of what a module imports anywhere in it, for the type checker too: `from a import b` is `a.b`."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{whole}.{one.name}" for one in node.names)


@cache
def imports() -> dict[str, frozenset[str]]:
    """What each module imports, ours and others'."""
    return {name: frozenset(imported(name, path)) for name, path in sources().items()}


def module_of(name: str) -> str | None:
    """The module of ours that a full name is, or is in."""
    known = sources()
    return next((one for one in (name, name.rpartition(".")[0]) if one in known), None)


@cache
def modules() -> dict[str, frozenset[str]]:
    """Which modules of ours each of them imports."""
    return {name: frozenset(filter(None, map(module_of, found))) - {name} for name, found in imports().items()}


def circle(graph: Graph) -> list[str]:
    """The names along some circle; none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def rooms(package: str) -> set[str]:
    """The sub-packages of a package."""
    packages = {name for name, path in sources().items() if path.name == "__init__.py"}
    return {one for one in packages if one.rpartition(".")[0] == package}


def between(package: str) -> dict[str, dict[str, list[str]]]:
    """Which rooms of a package import which, and where; its own modules and every `__main__` are doors: not counted."""
    found: dict[str, dict[str, list[str]]] = {room: {} for room in rooms(package)}

    def room_of(module: str) -> str | None:
        return next((room for room in found if f"{module}.".startswith(f"{room}.")), None)

    for name, others in modules().items():
        mine = room_of(name)
        for other, theirs in ((other, room_of(other)) for other in sorted(others)):
            if mine and theirs and mine != theirs and not name.endswith(".__main__"):
                found[mine].setdefault(theirs, []).append(f"{name} imports {other}")
    return found


def test_the_walker_sees_every_kind_of_import(tmp_path: Path) -> None:
    path = tmp_path / "here.py"
    path.write_text(
        "import os.path\nfrom typing import TYPE_CHECKING\nfrom . import beside\nfrom ..above import thing\n"
        "if TYPE_CHECKING:\n    from x.y import Z\ndef f():\n    import late\n"
    )
    found = set(imported("a.b.here", path))
    assert found == {"os.path", "typing.TYPE_CHECKING", "a.b.beside", "a.above.thing", "x.y.Z", "late"}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})
    assert len(modules()) > 100
    assert sum(map(len, modules().values())) > 300


def test_no_modules_import_each_other() -> None:
    assert circle(modules()) == []


@pytest.mark.parametrize("package", sorted(name for name in sources() if len(rooms(name)) > 1))
def test_no_rooms_import_each_other(package: str) -> None:
    found = between(package)
    round_ = circle({room: set(others) for room, others in found.items()})
    assert round_ == [], [where for there, here in itertools.pairwise(round_) for where in found[here][there]]


def test_the_package_imports_no_callbacks() -> None:
    found = {name for name, others in imports().items() for one in others if one.split(".")[0] == "callbacks"}
    assert {name for name in found if not name.startswith("callbacks")} == set()


def test_hardware_knows_no_training_and_no_configuration() -> None:
    """What costs and generates designs is of use where none of these is installed."""
    found = {
        f"{name} imports {one}" for name, others in imports().items() for one in others
        if name.startswith(("hass_train.hardware", "hass_train.rtl", "hass_train.build")) and one.split(".")[0] in HEAVY
    }  # fmt: skip
    assert found == set()


def test_few_modules_lie_at_the_top() -> None:
    doors = [path.name for path in (ROOT / "hass_train").glob("*.py") if path.name != "__init__.py"]
    assert len(doors) <= DOORS, doors


def test_functions_are_short() -> None:
    long = {
        f"{name}:{node.lineno} {node.name}"
        for name, path in sources().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno >= LONGEST and (name, node.name) not in WHOLE
    }  # fmt: skip
    assert long == set()
