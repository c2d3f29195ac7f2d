"""What `python -m hass_train.estimate` answered: estimate.json, written and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hass_train.hardware.estimate import Estimate
from hass_train.results.result import read_object
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import write_text
from hass_train.runtime.plain import from_plain, layout, to_plain

ESTIMATE = "estimate.json"


@layout(also=("folds",))
@dataclass(frozen=True)
class Estimation:
    """An estimate, and what was asked.

    Args:
        network: as timm names it.
        input_shape: channels, height and width of an image.
        macs, weights: of the network.
        pair_sparsity: fraction of weight–activation pairs with a zero, weighted by multiply-accumulates.
        profile, hw: the sections of the configuration that say how sparse the network is, and the accelerator.
        estimate: the answer.
        wall_s: seconds of trace, explore and total.
        command: to repeat it.
        schema: of the file.
    """

    network: str
    input_shape: tuple[int, int, int]
    macs: int
    weights: int
    pair_sparsity: float
    profile: Mapping[str, Any] = field(repr=False)
    hw: Mapping[str, Any] = field(repr=False)
    estimate: Estimate
    wall_s: Mapping[str, float]
    command: str = ""
    schema: int = 1

    @property
    def folds(self) -> dict[str, dict[str, int]]:
        """The folds of every operation, by name."""
        return {row.name: dict(row.folds) for row in self.estimate.layers}

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the content of estimate.json."""
        return to_plain(self)  # type: ignore[no-any-return]

    def save(self, path: Path) -> None:
        """Write the file."""
        write_text(path, json.dumps(self.to_dict(), indent=1))

    @classmethod
    def load(cls, folder: Path) -> Estimation:
        """Read the estimate.json of a directory.

        Raises:
            UserError: there is none, or it cannot be read; one line.
        """
        path = folder / ESTIMATE
        try:
            return from_plain(read_object(path), cls)
        except ValueError as error:
            raise UserError(f"{path} cannot be read: {error}") from error
