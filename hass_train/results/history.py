"""What a run logged of every epoch, read back from its CSV log and, if it was resumed, from its predecessors'."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hass_train.runtime.files import AnyPath, replacing
from hass_train.search.phases import Phase

METRICS = Path("csv") / "metrics.csv"
BEFORE = "earlier.csv"
"""File in a resumed run's directory that holds what the runs before it had logged."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive epochs of one phase, from `first` to `last`, counted from 1."""

    phase: Phase
    first: int
    last: int


@dataclass(frozen=True)
class History:
    """What the CSV log says of every epoch.

    Args:
        epochs: by the number of the epoch, counted from 1, the scalars that were logged in it, by their keys.
    """

    epochs: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, run: AnyPath) -> History:
        """Read the history of a run and, before it, that of the runs that it went on with."""
        epochs: dict[int, dict[str, float]] = {}
        for name in (BEFORE, METRICS):
            rows = [row for row in rows_of(Path(run) / name) if row.get("epoch")]
            begun = min((int(float(row["epoch"])) + 1 for row in rows), default=math.inf)
            epochs = {epoch: values for epoch, values in epochs.items() if epoch < begun}
            for row in rows:
                at = epochs.setdefault(int(float(row["epoch"])) + 1, {})
                at.update({key: float(value) for key, value in row.items() if value and key != "epoch"})
        return cls(epochs)

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """The epochs in which a scalar was logged, and its values in them."""
        found = [(epoch, values[key]) for epoch, values in sorted(self.epochs.items()) if key in values]
        return [epoch for epoch, _ in found], [value for _, value in found]

    def layers(self, prefix: str) -> list[str]:
        """Names of the layers that have a series `PREFIX + LAYER`, in the order of the log."""
        keys = dict.fromkeys(key for values in self.epochs.values() for key in values)
        return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]

    @property
    def stretches(self) -> list[Stretch]:
        """The phases of the run, in the order of its epochs."""
        found: list[Stretch] = []
        for epoch, index in zip(*self.series("phase/index"), strict=True):
            phase = list(Phase)[int(index)]
            if found and found[-1].phase is phase:
                found[-1] = Stretch(phase, found[-1].first, epoch)
            else:
                found.append(Stretch(phase, epoch, epoch))
        return found


def carry_over(run: Path, output: Path) -> None:
    """Keep what a run and those before it have logged for the run that goes on with it.

    Args:
        run: directory of the run that is resumed.
        output: directory of the run that goes on.
    """
    found = History.read(run).epochs
    keys = dict.fromkeys(key for values in found.values() for key in values)
    if found:
        with replacing(output / BEFORE) as partly, partly.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["epoch", *keys])
            writer.writeheader()
            writer.writerows({"epoch": epoch - 1, **values} for epoch, values in sorted(found.items()))


def rows_of(path: Path) -> Sequence[dict[str, str]]:
    """A CSV file's rows; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
