"""A whole search with `precision=mixed`: bits chosen at the freeze, the goal met with them, and resumed bit for bit."""

from __future__ import annotations

import csv
import itertools
import re
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hass_train import pipeline
from hass_train.export.profile import load_profile
from hass_train.precision import IntegerNetwork
from hass_train.precision.formats import largest_weight
from hass_train.results.result import Result
from hass_train.runtime import stopping
from tests.chaos.kills import numbers
from tests.conftest import SMALL, composed

MIXED = (
    *(one for one in SMALL if not one.startswith(("hw", "+model.kwargs.channels"))), "hw=aie2_2x2", "sparsity=block",
    "+model.kwargs.channels=[64,64,128,128]", "search.target_speedup=null", "search.penalty=0.1",
    "search.calibration_images=8", "precision=mixed", "precision.output_error=0.1",
)  # fmt: skip
"""On an array, whose answers come at once, and whose bandwidth binds: fewer bits are faster."""


def run(folder: Path, *overrides: str) -> None:
    """Run the small search, in this process."""
    pipeline.search(composed(*MIXED, *overrides, output=folder))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small search that nobody stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    with pytest.MonkeyPatch.context() as patch:
        told: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: told.append(" ".join(map(str, words))))
        run(folder)
    return folder, "\n".join(told)


def test_each_layer_has_bits_of_its_own(searched: tuple[Path, str]) -> None:
    folder, told = searched
    assert re.search(r"weights: (8 bits in \d+ layers?, )?.*; the answers' error is .* of at most 0.1", told)
    result, network = Result.load(folder), IntegerNetwork.load(folder)
    bits = {row.name: row.weight_bits for row in result.sparse.estimate.layers if row.weight_bits}
    assert len({*bits.values()}) > 1
    assert {row.weight_bits for row in result.dense.estimate.layers if row.weight_bits} == {8}
    for name, own in bits.items():
        most = int(network.tensors[f"{name}.weight"].abs().max())
        assert most <= largest_weight(own)
    with (folder / "layers.csv").open() as stream:
        rows = {row["layer"]: row["weight_bits"] for row in csv.DictReader(stream)}
    assert {name: int(own) for name, own in rows.items() if own} == bits
    assert load_profile(folder).layers.keys() == bits.keys()


@pytest.mark.nightly
def test_a_goal_is_met_with_these_bits(tmp_path: Path) -> None:
    run(tmp_path / "run", "search.penalty=null", "search.target_speedup=2.5")
    result = Result.load(tmp_path / "run")
    assert result.goal.met
    assert result.gain.throughput < 2.6
    assert len({row.weight_bits for row in result.sparse.estimate.layers if row.weight_bits}) > 1


@pytest.mark.nightly
@pytest.mark.parametrize("step", [21, 15])
def test_a_stopped_search_goes_on_bit_for_bit(
    step: int, searched: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, first, second = itertools.count(), tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "requested", lambda: int(signal.SIGTERM) if next(seen) >= step else None)
        with pytest.raises(stopping.Stopped):
            run(first)
    run(second, "ckpt_path=last")
    assert numbers(second) == numbers(searched[0])
    for name in ("model.safetensors", "integers.safetensors"):
        mine, other = load_file(second / name), load_file(searched[0] / name)
        assert all(torch.equal(value, other[key]) for key, value in mine.items()), name
    assert (second / "integers.json").read_text() == (searched[0] / "integers.json").read_text()
