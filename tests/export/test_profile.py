"""Profiles as files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch import nn

from hass_train.export.profile import load_profile, save_profile
from hass_train.hardware import LayerSparsity, SparsityProfile, trace
from hass_train.runtime.errors import UserError

NETWORK = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 4, 3))
PROFILE = SparsityProfile(
    {"0": LayerSparsity(0.5, 0.5, 0.25, {2: (0.6, 0.3, 0.1)}, (0.1, 0.4)), "2": LayerSparsity(1 / 3, 0.1, 1 / 30)}
)


def test_a_file_and_its_directory_load_alike(tmp_path: Path) -> None:
    workload = trace(NETWORK, (2, 6, 6), "tiny")
    save_profile(tmp_path / "profile.json", workload, PROFILE)
    assert load_profile(tmp_path) == load_profile(tmp_path / "profile.json") == PROFILE


def test_a_profile_of_another_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not match tiny: 2"):
        save_profile(tmp_path / "profile.json", trace(NETWORK[:1], (2, 6, 6), "tiny"), PROFILE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "profile.json is not JSON: Expecting value: line 1"),
        (b'{"schema": 1, "lay', "profile.json is not JSON: Unterminated string"),
        (b"\xff\xfe", "profile.json is not JSON: "),
        (b"[" * 100_000, "profile.json is not JSON: "),
        (b"[]", "profile.json is no sparsity profile: [] is not an object"),
        (b'{"schema": 1}', "profile.json is no sparsity profile: 'layers' is missing"),
        (b'{"schema": 2, "layers": {}}', "profile.json has schema 2; this version reads schema 1"),
        (b'{"schema": 1, "layers": {"0": {}}}', "profile.json is no sparsity profile: layer '0': 'weight_density'"),
    ],
)
def test_files_that_are_no_profile(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_profile(tmp_path)
    assert "\n" not in str(caught.value)


def test_places_without_a_profile(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no profile.json; a search.py run that ends writes one"):
        load_profile(tmp_path)
    for path in (tmp_path / "nowhere", tmp_path / "nowhere" / "profile.json"):
        with pytest.raises(UserError, match=f"there is no run directory or profile {re.escape(str(path))}"):
            load_profile(path)
