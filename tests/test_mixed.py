"""A whole search with `precision=mixed`: bits chosen at the freeze, the goal met with them, and resumed bit for bit."""

from __future__ import annotations

import itertools
import json
import re
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hass_train.export.profile import load_profile
from hass_train.precision import IntegerNetwork
from hass_train.precision.formats import largest_weight
from hass_train.results.result import Result
from hass_train.runtime import stopping
from tests.chaos.kills import numbers
from tests.conftest import run_small

MIXED = ("precision=mixed", "precision.output_error=1", "search.target_speedup=1.1")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small search that nobody stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    with pytest.MonkeyPatch.context() as patch:
        told: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: told.append(" ".join(map(str, words))))
        run_small(folder, *MIXED)
    return folder, "\n".join(told)


def test_each_layer_has_bits_of_its_own(searched: tuple[Path, str]) -> None:
    folder, told = searched
    assert re.search(r"weights: (8 bits in \d+ layers?, )?.*; the answers' error is .* of at most 1", told)
    result, network = Result.load(folder), IntegerNetwork.load(folder)
    bits = {row.name: row.weight_bits for row in result.sparse.estimate.layers if row.weight_bits}
    assert len({*bits.values()}) > 1
    assert {row.weight_bits for row in result.dense.estimate.layers if row.weight_bits} == {8}
    for name, own in bits.items():
        assert int(network.tensors[f"{name}.weight"].abs().max()) <= largest_weight(own)
    rows = {row["name"]: row["weight_bits"] for row in json.loads((folder / "design.json").read_text())["layers"]}
    assert {name: own for name, own in rows.items() if own} == bits
    assert load_profile(folder).layers.keys() == bits.keys()


def test_the_goal_is_met_with_these_bits(searched: tuple[Path, str]) -> None:
    result = Result.load(searched[0])
    assert result.goal.met
    assert result.sparse.float_test_acc is not None


@pytest.mark.parametrize("step", [21, pytest.param(15, marks=pytest.mark.nightly)])
def test_a_stopped_search_goes_on_bit_for_bit(
    step: int, searched: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, first, second = itertools.count(), tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "requested", lambda: int(signal.SIGTERM) if next(seen) >= step else None)
        with pytest.raises(stopping.Stopped):
            run_small(first, *MIXED)
    run_small(second, *MIXED, "ckpt_path=last")
    assert numbers(second) == numbers(searched[0])
    for name in ("model.safetensors", "integers.safetensors"):
        mine, other = load_file(second / name), load_file(searched[0] / name)
        assert all(torch.equal(value, other[key]) for key, value in mine.items()), name
    assert (second / "integers.json").read_text() == (searched[0] / "integers.json").read_text()
