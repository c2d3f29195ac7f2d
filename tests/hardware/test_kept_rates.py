"""Rates of formulas from one process to the next."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hass_train.hardware.dataflow.costs import kept_rates
from hass_train.hardware.dataflow.costs.kept_rates import KeptRates

KEY = (("positions", 9), ("multipliers", 3))
RATES = np.arange(6.0).reshape(2, 3)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept_rates, "_FOLDER", tmp_path / "cache")
    return tmp_path / "cache"


def test_what_one_process_writes_another_reads_and_adds_to() -> None:
    first, second = KeptRates("engine.xc7", "a"), KeptRates("engine.xc7", "a")
    first.add(KEY, RATES)
    first.write()
    second.add((*KEY[:1], ("multipliers", 4)), RATES + 1)
    second.write()  # it has not seen what the first wrote
    third = KeptRates("engine.xc7", "a")
    assert len(third) == 2
    np.testing.assert_array_equal(third[KEY], RATES)


def test_many_rates_are_kept_before_a_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a container whose Python writes no bytecode; numba keeps its loops there, too."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    first, second = KeptRates("engine.xc7", "a"), KeptRates("engine.xc7", "a")
    for number in range(kept_rates._WRITTEN_EVERY):
        first.add((*KEY[:1], ("multipliers", number)), RATES + number)
    assert len(KeptRates("engine.xc7", "a")) == kept_rates._WRITTEN_EVERY
    second.add(KEY, RATES)
    second.write()
    np.testing.assert_array_equal(second[(*KEY[:1], ("multipliers", 9))], RATES + 9)


def test_rates_of_another_formula_are_not_read_but_replaced(folder: Path) -> None:
    one = KeptRates("engine.xc7", "a")
    one.add(KEY, RATES)
    one.write()
    other = KeptRates("engine.xc7", "b")
    assert not other
    other.add(KEY, RATES)
    other.write()
    assert len(list(folder.iterdir())) == 1
    assert not KeptRates("engine.xc7", "a")


def test_a_damaged_file_and_a_folder_that_cannot_be_written_do_no_harm(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = KeptRates("engine.xc7", "a")
    rates.add(KEY, RATES)
    rates.write()
    (file,) = folder.iterdir()
    file.write_bytes(b"no such file")
    assert not KeptRates("engine.xc7", "a")
    file.unlink()
    folder.rmdir()
    folder.write_text("a file")  # where the folder should be
    rates.write()
    assert folder.read_text() == "a file"
    monkeypatch.setattr(kept_rates, "_FOLDER", folder.parent)  # as where only the file's own folder has gone
    rates.write()
    assert folder.read_text() == "a file"
