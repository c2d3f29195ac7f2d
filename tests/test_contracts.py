"""Every pattern, engine and accelerator of the project keeps the contracts that it ships for others."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest
from omegaconf import OmegaConf

from hass_train.hardware import Accelerator, DataflowAccelerator, DataflowOptions, ai_engine_array, load_device
from hass_train.search import engines
from hass_train.search.engine import SearchEngine
from hass_train.search.engines import NSGA2, TPE, Greedy, Incremental, Learned, OneShot, Uniform
from hass_train.sparsity import NM, Balanced, Block, Channel, Pattern, Unstructured
from hass_train.testing import AcceleratorContract, EngineContract, PatternContract
from tests.conftest import ROOT

PATTERNS = [
    Unstructured(), Block(), Block((4, 2), "l1"), NM(), NM(1, 8), Balanced(), Balanced(5, 3), Channel(),
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
class TestPatterns(PatternContract):
    @pytest.fixture(autouse=True)
    def _made(self, pattern: Pattern) -> None:
        self.pattern = pattern

    def make_pattern(self) -> Pattern:
        return self.pattern


class TestDataflow(AcceleratorContract):
    def make_accelerator(self) -> Accelerator:
        return DataflowAccelerator(load_device("zedboard"), DataflowOptions(tolerance=0.005))


class TestArray(AcceleratorContract):
    def make_accelerator(self) -> Accelerator:
        return ai_engine_array(name="small", rows=2, columns=2)


ENGINES = {
    "learned": lambda output: Learned(),
    "one_shot": lambda output: OneShot(0.5),
    "incremental": lambda output: Incremental(0.5, increment=0.25, every=1),
    "tpe": lambda output: TPE(trials=5, output=str(output)),
    "nsga2": lambda output: NSGA2(trials=5, output=str(output)),
    "greedy": lambda output: Greedy(trials=5, output=str(output)),
    "uniform": lambda output: Uniform(trials=5, output=str(output)),
}


@pytest.mark.parametrize("name", ENGINES)
class TestEngines(EngineContract):
    @pytest.fixture(autouse=True)
    def _named(self, name: str) -> None:
        self.engine_name = name

    def make_engine(self, output: Path) -> SearchEngine:
        return ENGINES[self.engine_name](output)


@pytest.mark.parametrize("place", ["docs/using.md", "docs/sparsity-and-search.md", "conf/hydra/default.yaml"])
def test_engines_are_told_of_where_users_look_for_them(place: str) -> None:
    text = (ROOT / place).read_text()
    assert [name for name in ENGINES if not re.search(rf"\b{name}\b", text)] == []


def test_every_engine_can_be_chosen_by_its_name() -> None:
    files = {path.stem: OmegaConf.load(path) for path in (ROOT / "conf" / "search").glob("*.yaml")}
    chosen = {stem: resolve_name(file.engine._target_) for stem, file in files.items() if stem != "trials"}
    assert {stem: engine.name for stem, engine in chosen.items()} == {name: name for name in ENGINES}
    assert {engine.__name__ for engine in chosen.values()} == {*engines.__all__} - {"Choice", "SearchEngine"}
