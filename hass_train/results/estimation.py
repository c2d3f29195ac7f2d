"""What `python -m hass_train.estimate` answered: estimate.json, written and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hass_train.export.profile import PROFILE
from hass_train.hardware.estimate import Estimate
from hass_train.results.legacy import with_present_engines
from hass_train.results.result import RESULT, Result, read_object
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath, write_text
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

    def save(self, path: AnyPath) -> None:
        """Write the file."""
        write_text(path, json.dumps(self.to_dict(), indent=1))

    @classmethod
    def load(cls, folder: AnyPath) -> Estimation:
        """Read the estimate.json of a directory.

        Raises:
            UserError: there is none, or it cannot be read; one line.
        """
        path = Path(folder) / ESTIMATE
        try:
            return from_plain(with_present_engines(read_object(path)), cls)
        except ValueError as error:
            raise UserError(f"{path} cannot be read: {error}") from error


def measured_network(path: AnyPath) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """What network a profile was measured on.

    Args:
        path: of the profile, or of the run directory that holds it; `load_profile` has accepted it.

    Returns:
        The shape of its images (channels, height, width), and the arguments that timm made it with: those of the
        result beside it, or the number of channels alone where the profile lies by itself.

    Raises:
        UserError: the profile does not say, or the result beside it cannot be read.
    """
    path = Path(path)
    file = path / PROFILE if path.is_dir() else path
    try:
        channels, height, width = json.loads(file.read_text())["input_shape"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} does not say what network it was measured on; give model.input_size") from error
    beside = file.with_name(RESULT).is_file()
    arguments = Result.load(file.parent).model.arguments if beside else {"in_chans": channels}
    return (channels, height, width), dict(arguments)
