"""Reads what an offline W&B run recorded: a log of LevelDB's format, each record a message of W&B's protocol."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as messages

_BLOCK, _HEAD = 32768, 7


@dataclass
class OfflineRun:
    """What it holds.

    Args:
        history: key and value of every row.
        summaries: of the metrics that were defined, by name: `max`, `min` or `last`.
        steps: what those metrics are drawn against.
        artifacts: names of the files, by type.
        config: settings.
        group, job_type, name: of the run.
        ended: whether its exit was recorded.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    summaries: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, set[str]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    job_type: str = ""
    name: str = ""
    ended: bool = False

    @property
    def keys(self) -> set[str]:
        """Every key that was logged."""
        return {key for row in self.history for key in row}

    @classmethod
    def read(cls, folder: Path) -> OfflineRun:
        """The only offline run in a run's directory.

        W&B's own process writes the file, and is not done when the run's `finish` returns.
        """
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
        for _ in range(100):
            found = cls()
            for data in _records(file.read_bytes()):
                record = messages.Record()
                record.ParseFromString(data)
                found._take(record)
            if found.ended:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{file} has no end")

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "history":
            self.history.append(_values(record.history.item))
        elif kind == "config":
            self.config.update(_values(record.config.update))
        elif kind == "metric":
            chosen = [name for name in ("max", "min", "last") if getattr(record.metric.summary, name)]
            self.summaries[record.metric.name] = ",".join(chosen)
            self.steps[record.metric.name] = record.metric.step_metric
        elif kind == "artifact":
            files = {content.path for content in record.artifact.manifest.contents}
            self.artifacts.setdefault(record.artifact.type, set()).update(files)
        elif kind == "exit":
            self.ended = True
        elif kind == "run":
            self.group, self.job_type, self.name = record.run.run_group, record.run.job_type, record.run.display_name
            self.config.update(_values(record.run.config.update))


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> list[bytes]:
    """Records of a log: each is split over blocks into pieces with a head of checksum, length and kind."""
    found, partly, at = [], b"", _HEAD  # the file begins with a head of its own
    while at + _HEAD <= len(data):
        if _BLOCK - at % _BLOCK < _HEAD:
            at += _BLOCK - at % _BLOCK  # the rest of a block that is too short for a piece
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + _HEAD])
        piece, at = data[at + _HEAD : at + _HEAD + length], at + _HEAD + length
        partly += piece
        if kind in (1, 4):  # whole, or the last piece
            found.append(partly)
            partly = b""
    return found
